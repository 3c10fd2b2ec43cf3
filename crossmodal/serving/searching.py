"""The routes that search: by words, by a photo of the gallery, by an upload, and by words beside a photo."""

import asyncio
import base64
import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, File, HTTPException, Request, UploadFile
from fastapi import Query as Parameters
from starlette.concurrency import run_in_threadpool

from crossmodal.data.decoders import uploads
from crossmodal.data.prepared import Prepared, Wanted
from crossmodal.errors import PhotoError, SlowPhotoError
from crossmodal.search.examples import examples
from crossmodal.search.feedback import feedback
from crossmodal.search.filters import Filters
from crossmodal.search.hit import Hit
from crossmodal.search.query import Query
from crossmodal.search.search import Search
from crossmodal.search.typed import Understood, has_pieces
from crossmodal.serving import schema
from crossmodal.serving.failures import ABSENT, FAILURES
from crossmodal.serving.state import Held, Serving

LOG = logging.getLogger("crossmodal.serving")
PHOTO = "image/jpeg"  # as the schema says it; any format that photos come in is read
SHOWN_BY_BROWSERS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "AVIF")
NEWEST = 30  # photos, before anything is asked
PREVIEW = 256  # pixels of the longer side of what is shown of an upload that a browser cannot show
LEFT = "The client has left."
LOOK = 0.2  # seconds between two looks at whether it has
ROUTES = APIRouter()


@ROUTES.get("/api/beginning", responses=FAILURES)
async def beginning(serving: Held, asked: Annotated[schema.Narrowed, Parameters()]) -> schema.Beginning:
    """Return photos that pass some filters, and examples, to show before anything is asked."""
    hits = await run_in_threadpool(_newest, serving.search, asked)
    found = await run_in_threadpool(examples, serving.search.gallery)
    return schema.Beginning(photos=[_photo(hit) for hit in hits], examples=list(found))


def _newest(search: Search, asked: schema.Narrowed) -> list[Hit]:
    return search.newest(NEWEST, search.narrowed(asked.query, asked.plain()))


@ROUTES.get("/api/image/{image_id}/about", responses={**FAILURES, **ABSENT})
async def about(serving: Held, image_id: schema.Id) -> schema.Photo:
    """Return what is known of a photo, as when it is found."""
    return _photo(await run_in_threadpool(serving.search.hit, image_id))


@ROUTES.post("/api/search/text", responses={**FAILURES, **ABSENT})
async def search_text(request: Request, serving: Held, asked: schema.TextQuery) -> schema.Photos:
    """Find photos for a sentence, or for terms with signs and weights."""
    understood, judged = await _understood(request, serving, asked), await _judged(serving, asked)
    query = await serving.query(understood.terms, judged) if understood.terms or judged else None
    return schema.Photos(**await _photos(serving, query, asked, understood, asked.filters.plain()))


@ROUTES.post("/api/search/image", responses={**FAILURES, **ABSENT})
async def search_image(request: Request, serving: Held, asked: schema.ImageQuery) -> schema.PhotosAndCaptions:
    """Find photos like one of the gallery, alone or beside words, and captions that fit."""
    vector = await run_in_threadpool(serving.search.gallery.vector, asked.image_id)
    photos = [(vector, asked.image_weight), *await _judged(serving, asked)]
    understood = await _words(request, serving, asked)
    query = await serving.query(understood.terms, photos)
    return schema.PhotosAndCaptions(
        **await _photos_and_captions(serving, query, asked, understood, asked.filters.plain())
    )


@ROUTES.post(
    "/api/search/upload",
    responses={**FAILURES, **ABSENT, 415: {"model": schema.Error, "description": "no photo"}},
    openapi_extra={"requestBody": {"content": {"multipart/form-data": {"encoding": {"file": {"contentType": PHOTO}}}}}},
)
async def search_upload(
    request: Request, serving: Held, asked: Annotated[schema.Upload, File()]
) -> schema.PhotosAndCaptions:
    """Find photos like an uploaded one, alone or beside words, and captions that fit."""
    names = [name for name, _ in (await request.form()).multi_items() if name not in ("more", "less")]
    if len(names) > len(set(names)):
        raise HTTPException(422, "Each field of the form but more and less is given once.")
    understood = await _words(request, serving, asked)
    pixels, preview, notes = await _decoded(request, serving.search, asked.file)
    photo = (await serving.pixels(pixels), asked.image_weight)
    query = await serving.query(understood.terms, [photo, *await _judged(serving, asked)])
    found = await _photos_and_captions(serving, query, asked, understood, asked.plain())
    found["notes"] += notes
    return schema.PhotosAndCaptions(**found, preview=preview)


async def _understood(
    request: Request, serving: Serving, asked: schema.TextQuery | schema.ImageQuery | schema.Upload
) -> Understood:
    """Return a query as it is understood; each sentence that is encoded for it costs as much as a request."""
    if request.app.state.log_queries:
        LOG.info("query %r", asked.query)
    # Words alone are read at once: under load the way through another thread costs a query more than that.
    read = serving.search.understood
    understood = await run_in_threadpool(read, asked.query) if has_pieces(asked.query) else read(asked.query)
    words = sum(len(term.text.split()) for term in understood.terms) if asked.explain else 0
    request.state.charge(max(0, len(understood.terms) - 1) + words)
    return understood


async def _judged(serving: Serving, asked: schema.Question | schema.Upload) -> list[tuple[np.ndarray, float]]:
    """Return the vectors of judged photos, with weights."""
    if not asked.more and not asked.less:
        return []
    vector = serving.search.gallery.vector
    return await run_in_threadpool(
        lambda: feedback(*([vector(one) for one in ids] for ids in (asked.more, asked.less)))
    )


async def _words(request: Request, serving: Serving, asked: schema.ImageQuery | schema.Upload) -> Understood:
    return await _understood(request, serving, asked) if asked.query.strip() else Understood()


async def _decoded(request: Request, search: Search, file: UploadFile) -> tuple[np.ndarray, str | None, list[str]]:
    """Return what the image tower is given of an upload, a preview where browsers cannot show its format, and notes.

    An upload whose client has left is not decoded, or no longer; those that take long are decoded one after the other.
    """
    state, who = request.app.state, request.state.who
    wanted = Wanted(search.runtime.preprocessing, PREVIEW, "The upload", state.limits.upload_pixels)
    photo = None
    try:
        async with state.uploading.held(who):
            with suppress(SlowPhotoError):  # that it takes long is no failure yet
                photo = await _unless_left(request, uploads().quick, file, wanted)
        if not photo:
            async with state.uploading_slowly.held(who):
                photo = await _unless_left(request, uploads().slow, file, wanted)
    except PhotoError as failure:
        raise HTTPException(415, str(failure)) from failure
    assert photo.pixels is not None
    notes = ["The upload lacks its last bytes and is used as far as it goes."] if photo.cut_short else []
    return photo.pixels, None if photo.format in SHOWN_BY_BROWSERS else _preview(photo.jpeg), notes


async def _unless_left(request: Request, decode: Callable[..., Prepared], file: UploadFile, wanted: Wanted) -> Prepared:
    """Decode an upload while its client is there; raises PhotoError, and HTTPException once the client has left."""
    if await request.is_disconnected():
        raise HTTPException(499, LEFT)
    unwanted = threading.Event()
    watching = asyncio.create_task(_watch(request, unwanted))
    await file.seek(0)
    try:
        return await run_in_threadpool(decode, await file.read(), wanted, unwanted)
    except PhotoError as failure:
        if unwanted.is_set():
            raise HTTPException(499, LEFT) from failure
        raise
    finally:
        watching.cancel()


async def _watch(request: Request, unwanted: threading.Event) -> None:
    """Tell when the client of an upload has left."""
    while not await request.is_disconnected():
        await asyncio.sleep(LOOK)
    unwanted.set()


def _preview(jpeg: bytes) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"


async def _photos(
    serving: Serving,
    query: Query | None,
    asked: schema.Question | schema.Upload,
    understood: Understood,
    others: Filters,
) -> dict[str, Any]:
    answer = await run_in_threadpool(
        serving.search.answer, understood, query, asked.top_k, others, asked.by_date, asked.cut_off,
        explain=asked.explain,
    )  # fmt: skip
    return {
        "photos": [_photo(hit) for hit in answer.hits], "passing": answer.passing, "cut_off": answer.cut_off, "alike": answer.alike,
        "notes": answer.notes, "understood": [vars(piece) for piece in answer.understood],
    }  # fmt: skip


async def _photos_and_captions(
    serving: Serving, query: Query, asked: schema.Question | schema.Upload, understood: Understood, others: Filters
) -> dict[str, Any]:
    found = await _photos(serving, query, asked, understood, others)
    hits = await run_in_threadpool(serving.search.captions, query, asked.top_k)
    captions = [schema.Caption(caption=hit.caption, score=round(hit.score, 4), image_id=hit.photo) for hit in hits]
    return {**found, "captions": captions}


def _photo(hit: Hit) -> schema.Photo:
    url = f"/api/image/{hit.id}"
    return schema.Photo(
        id=hit.id, name=hit.name.rpartition("/")[2], score=round(hit.score, 4), url=url, thumbnail=f"{url}/thumbnail", original=f"{url}/original",
        captions=list(hit.photo.captions), words=list(hit.words), copies=[copy.id for copy in hit.copies], word_weights=hit.weights(), **hit.facts,
    )  # fmt: skip
