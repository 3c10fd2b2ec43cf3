"""The HTTP API: typed questions and answers over one gallery."""

import asyncio
import base64
import hashlib
import io
import logging
import os
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path, PurePath
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Depends, FastAPI, File, HTTPException, Request, Response
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import FileResponse
from fastapi_offline import FastAPIOffline
from PIL import Image
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.concurrency import run_in_threadpool

from crossmodal.data.decoding import decoded, opened_photo
from crossmodal.data.thumbnails import Size, as_jpeg, thumbnail
from crossmodal.errors import PhotoError, UnknownPhotoError
from crossmodal.files import shown
from crossmodal.search.filters import FilterKind, Filters, filters_on
from crossmodal.search.gallery import UNKNOWN_PHOTO, Gallery
from crossmodal.search.hit import Hit
from crossmodal.search.query import Query, Term, parse_terms
from crossmodal.search.record import FIELDS
from crossmodal.search.search import Search
from crossmodal.serving import schema
from crossmodal.serving.failures import CODES, add_failures
from crossmodal.serving.guards import Guards, Limits
from crossmodal.serving.state import Measures, Serving

LOG = logging.getLogger("crossmodal.serving")
PHOTO = "image/jpeg"  # as the schema says it; any format that photos come in is read
PAGE = Path(__file__).with_name("web_interface.html")
SHOWN_BY_BROWSERS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "AVIF")
PREVIEW = 256  # pixels of the longer side of what is shown of an upload that a browser cannot show
VALUES = 1000  # folders, or cameras, that are listed to choose from
FAILURES: dict[int | str, dict[str, object]] = {
    status: {"model": schema.Error, "description": CODES[status].replace("_", " ")}
    for status in (400, 401, 413, 422, 429, 503)
}
ABSENT: dict[int | str, dict[str, object]] = {404: {"model": schema.Error, "description": "no such photo"}}
JPEG: dict[int | str, dict[str, object]] = {200: {"content": {"image/jpeg": {}}, "description": "JPEG"}}
ANY: dict[int | str, dict[str, object]] = {200: {"content": {"*/*": {}}, "description": "the file"}}


def create_app(
    open_search: Callable[[], Search],
    limits: Limits | None = None,
    keys: dict[str, bytes] | None = None,
    origins: tuple[str, ...] = (),
    hosts: frozenset[str] = frozenset(),
    log_queries: bool = False,
) -> FastAPI:
    """Return the application; `open_search` is called when it starts, and for each swap."""
    limits, measures = limits or Limits(), Measures()

    @asynccontextmanager
    async def life(app: FastAPI) -> AsyncIterator[None]:
        app.state.serving = await run_in_threadpool(Serving.begin, open_search, measures)
        yield
        app.state.serving.let_go()

    app: FastAPI = FastAPIOffline(
        title="Photos and sentences", description=__doc__, version="1", lifespan=life, redoc_url=None, docs_url="/docs"
    )
    app.state.measures, app.state.limits, app.state.log_queries = measures, limits, log_queries
    app.state.open_search, app.state.swapping = open_search, asyncio.Lock()
    # Each decoded photo takes much memory, and more at a time than there are cores are not done sooner.
    app.state.decoding = asyncio.Semaphore(os.cpu_count() or 1)
    app.include_router(ROUTES)
    add_failures(app)
    app.add_middleware(Guards, limits=limits, keys=keys or {}, hosts=hosts, done=measures.done)
    if origins:
        app.add_middleware(CORSMiddleware, allow_origins=list(origins), allow_methods=["GET", "POST"],
                           allow_headers=["content-type", "x-api-key", "authorization"])  # fmt: skip
    return app


async def swap(app: FastAPI) -> None:
    """Open the search anew and serve it from the next request on; one that cannot be opened changes nothing.

    Swaps come one after the other. Requests under way end with the search that they began with.
    """
    async with app.state.swapping:
        try:
            fresh = await run_in_threadpool(Serving.begin, app.state.open_search, app.state.measures)
        except Exception as failure:  # whatever it is, what is served goes on
            LOG.error("The gallery is not swapped, and the old one is served on: %s", " ".join(str(failure).split()))
            return
        before, app.state.serving = app.state.serving, fresh
        before.let_go()
        about = fresh.search.gallery.about
        LOG.warning("Serving %s with the model %s, %s", about.title, about.recipe, about.fingerprint)


async def _held(request: Request) -> AsyncIterator[Serving]:
    with request.app.state.serving.held() as serving:
        yield serving


Held = Annotated[Serving, Depends(_held)]
ROUTES = APIRouter()


@ROUTES.get("/", include_in_schema=False)
async def page() -> FileResponse:
    """Return the web page."""
    return FileResponse(PAGE, media_type="text/html")


@ROUTES.get("/health")
async def health() -> schema.Health:
    """Tell that the server answers."""
    return schema.Health()


# --- searches ---


@ROUTES.post("/api/search/text", responses=FAILURES)
async def search_text(request: Request, serving: Held, asked: schema.TextQuery) -> schema.Photos:
    """Find photos for a sentence, or for terms with signs and weights."""
    query = await serving.query(_terms(request, asked.query))
    return schema.Photos(**await _photos(serving, query, asked, asked.filters.plain()))


@ROUTES.post("/api/search/image", responses={**FAILURES, **ABSENT})
async def search_image(request: Request, serving: Held, asked: schema.ImageQuery) -> schema.PhotosAndCaptions:
    """Find photos like one of the gallery, alone or beside words, and captions that fit."""
    vector = await run_in_threadpool(serving.search.gallery.vector, asked.image_id)
    query = await serving.query(_words(request, asked.query), [(vector, asked.image_weight)])
    return schema.PhotosAndCaptions(**await _photos_and_captions(serving, query, asked, asked.filters.plain()))


@ROUTES.post(
    "/api/search/upload",
    responses={**FAILURES, 415: {"model": schema.Error, "description": "no photo"}},
    openapi_extra={"requestBody": {"content": {"multipart/form-data": {"encoding": {"file": {"contentType": PHOTO}}}}}},
)
async def search_upload(
    request: Request, serving: Held, asked: Annotated[schema.Upload, File()]
) -> schema.PhotosAndCaptions:
    """Find photos like an uploaded one, alone or beside words, and captions that fit."""
    terms = _words(request, asked.query)
    pixels, preview = await _decoded(request, serving.search, await asked.file.read())
    query = await serving.query(terms, [(await serving.pixels(pixels), asked.image_weight)])
    found = await _photos_and_captions(serving, query, asked, asked.plain())
    return schema.PhotosAndCaptions(**found, preview=preview)


def _terms(request: Request, text: str) -> list[Term]:
    """Return the terms of a query; each costs as much as a request, since each is encoded."""
    if request.app.state.log_queries:
        LOG.info("query %r", text)
    terms = parse_terms(text)
    request.state.charge(len(terms) - 1)
    return terms


def _words(request: Request, text: str) -> list[Term]:
    return _terms(request, text) if text.strip() else []


async def _decoded(request: Request, search: Search, content: bytes) -> tuple[np.ndarray, str | None]:
    """Return what the image tower is given of an upload, and a preview of it where browsers cannot show its format.

    An upload whose client has left meanwhile is not decoded.
    """
    async with request.app.state.decoding:
        if await request.is_disconnected():
            raise HTTPException(499, "The client has left.")
        try:
            return await run_in_threadpool(_pixels, search, content, request.app.state.limits.upload_pixels)
        except PhotoError as failure:
            raise HTTPException(415, str(failure)) from failure


def _pixels(search: Search, content: bytes, most: int) -> tuple[np.ndarray, str | None]:
    prepare = search.runtime.preprocessing
    with opened_photo(content, "The upload", most) as photo:
        image = decoded(photo, prepare.size)
        preview = None if photo.format in SHOWN_BY_BROWSERS else _preview(image)
    return prepare.array(image), preview


def _preview(image: Image.Image) -> str:
    file = io.BytesIO()
    small = image.copy()
    small.thumbnail((PREVIEW, PREVIEW))
    small.save(file, "JPEG")
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"


async def _photos(
    serving: Serving, query: Query, asked: schema.Question | schema.Upload, filters: Filters
) -> dict[str, Any]:
    answer = await run_in_threadpool(serving.search.photos, query, asked.top_k, filters, asked.by_date, asked.cut_off)
    return {
        "photos": [_photo(hit) for hit in answer.hits], "passing": answer.passing, "cut_off": answer.cut_off,
        "notes": answer.notes,
    }  # fmt: skip


async def _photos_and_captions(
    serving: Serving, query: Query, asked: schema.Question | schema.Upload, filters: Filters
) -> dict[str, Any]:
    found = await _photos(serving, query, asked, filters)
    hits = await run_in_threadpool(serving.search.captions, query, asked.top_k)
    captions = [schema.Caption(caption=hit.caption, score=round(hit.score, 4), image_id=hit.photo) for hit in hits]
    return {**found, "captions": captions}


def _photo(hit: Hit) -> schema.Photo:
    url = f"/api/image/{hit.id}"
    return schema.Photo(
        id=hit.id, score=round(hit.score, 4), url=url, thumbnail=f"{url}/thumbnail", original=f"{url}/original",
        captions=list(hit.photo.captions), copies=[copy.id for copy in hit.copies], **hit.facts,
    )  # fmt: skip


# --- photos ---


async def _file(serving: Serving, image_id: str) -> Path:
    """Return the file of a photo; raises UnknownPhotoError also for one that its record says is not below the root."""
    photo = await run_in_threadpool(serving.search.gallery.photo, image_id)
    path = PurePath(photo.path)
    if path.is_absolute() or ".." in path.parts:
        raise UnknownPhotoError(UNKNOWN_PHOTO)
    return serving.search.path(photo)


@ROUTES.get("/api/image/{image_id}", responses={**FAILURES, **ABSENT, **JPEG}, response_class=Response)
async def image(serving: Held, image_id: schema.Id) -> Response:
    """Return a photo as JPEG, without the data that cameras write into files."""
    content = await _jpeg(as_jpeg, await _file(serving, image_id))
    return Response(content, media_type="image/jpeg", headers={"cache-control": "private, max-age=3600"})


@ROUTES.get("/api/image/{image_id}/thumbnail", responses={**FAILURES, **ABSENT, **JPEG}, response_class=Response)
async def small_image(request: Request, serving: Held, image_id: schema.Id, size: Size = Size.MIDDLE) -> Response:
    """Return a photo as JPEG of at most so many pixels."""
    content, _ = await _jpeg(thumbnail, await _file(serving, image_id), int(size))
    # Of the content, since one of the path would let paths be guessed.
    tag = f'"{hashlib.blake2b(content, digest_size=16).hexdigest()}"'
    headers = {"etag": tag, "cache-control": "private, max-age=86400"}
    if tag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(content, media_type="image/jpeg", headers=headers)


@ROUTES.get("/api/image/{image_id}/original", responses={**FAILURES, **ABSENT, **ANY}, response_class=FileResponse)
async def original(serving: Held, image_id: schema.Id) -> FileResponse:
    """Return the file of a photo as it is, to be downloaded."""
    path = await _file(serving, image_id)
    if not path.is_file():
        raise _gone()
    return FileResponse(path, filename=shown(path.name), headers={"cache-control": "private, no-cache"})


async def _jpeg(make: Callable[..., Any], path: Path, *more: int) -> Any:
    try:
        return await run_in_threadpool(make, path, *more)
    except (PhotoError, OSError) as failure:
        raise _gone() from failure


def _gone() -> HTTPException:
    return HTTPException(404, "The photo is gone, or cannot be shown.")


# --- what is served ---


@ROUTES.get("/api/stats", responses=FAILURES)
async def stats(request: Request, serving: Held) -> schema.Stats:
    """Tell what is served, and how it goes."""
    return await run_in_threadpool(_stats, serving.search.gallery, request.app.state.measures)


def _stats(gallery: Gallery, measures: Measures) -> schema.Stats:
    about, cuts = gallery.about, measures.percentiles()
    recall = {key: round(value, 1) for key, value in about.metrics.items() if "_r" in key}
    return schema.Stats(
        photos=gallery.count(), captions=gallery.caption_count(), model=about.recipe, fingerprint=about.fingerprint,
        note=about.note, search=gallery.kind, fields=sorted(about.fields),
        filters=[_filter(gallery, kind) for kind in filters_on(about.fields)], recall=recall,
        uptime_seconds=round(time.time() - measures.started, 1), queries=measures.queries,
        latency=schema.Latencies(p50=cuts[0], p95=cuts[1], p99=cuts[2]) if cuts else None,
    )  # fmt: skip


def _filter(gallery: Gallery, kind: FilterKind) -> schema.Filter:
    values: Sequence[Any] = []
    first_and_last = None
    if kind.kind == "text" and kind.name in FIELDS:
        values = [value for value in gallery.values(kind.name) if value == shown(value)][:VALUES]
    if kind.kind == "day":
        days = gallery.values(kind.field)
        first_and_last = (
            (datetime.fromtimestamp(days[0]).date(), datetime.fromtimestamp(days[-1]).date()) if days else None
        )
    return schema.Filter(
        name=kind.name, kind=kind.kind, label=kind.label, help=kind.help, choices=list(kind.choices), values=list(values),
        range=first_and_last,
    )  # fmt: skip


@ROUTES.get("/metrics", responses={status: FAILURES[status] for status in (400, 401, 429)}, response_class=Response)
async def metrics(request: Request) -> Response:
    """Return counters and times for Prometheus."""
    return Response(generate_latest(request.app.state.measures.registry), media_type=CONTENT_TYPE_LATEST)
