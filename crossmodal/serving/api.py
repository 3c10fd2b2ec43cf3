"""The HTTP API: typed questions and answers over one gallery."""

import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated

import numpy as np
from fastapi import APIRouter, FastAPI, File, HTTPException, Request, Response, UploadFile
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import FileResponse, JSONResponse
from fastapi_offline import FastAPIOffline
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException as StarletteHTTPException

from crossmodal.data.decoding import load_photo, opened_photo
from crossmodal.data.thumbnails import Size, as_jpeg, thumbnail
from crossmodal.errors import CrossmodalError, GalleryError, PhotoError, UnavailableError, UnknownPhotoError
from crossmodal.search.filters import Filters
from crossmodal.serving import schema
from crossmodal.serving.batching import Overloaded
from crossmodal.serving.gallery import Found, FoundCaption, Gallery
from crossmodal.serving.guards import Guards, Limits, error
from crossmodal.serving.state import Measures, Query, Serving

LOG = logging.getLogger("crossmodal.serving")
PHOTO = "image/jpeg"  # as the schema says it; any format that photos come in is read
PAGE = Path(__file__).with_name("web_interface.html")
CODES = {400: "bad_request", 401: "unauthorized", 404: "not_found", 405: "method_not_allowed", 409: "conflict", 413: "too_large",
         415: "unsupported_media_type", 422: "unprocessable", 429: "too_many_requests", 503: "unavailable"}  # fmt: skip
FAILURES: dict[int | str, dict[str, object]] = {
    status: {"model": schema.Error, "description": CODES[status].replace("_", " ")}
    for status in (400, 401, 409, 413, 422, 429, 503)
}
ABSENT: dict[int | str, dict[str, object]] = {404: {"model": schema.Error, "description": "no such photo"}}
JPEG: dict[int | str, dict[str, object]] = {200: {"content": {"image/jpeg": {}}, "description": "JPEG"}}


def create_app(
    open_gallery: Callable[[], Gallery],
    limits: Limits | None = None,
    keys: dict[str, bytes] | None = None,
    origins: tuple[str, ...] = (),
    log_queries: bool = False,
) -> FastAPI:
    """Return the application; `open_gallery` is called when it starts, and for each swap."""
    limits, measures = limits or Limits(), Measures()

    @asynccontextmanager
    async def life(app: FastAPI) -> AsyncIterator[None]:
        app.state.serving = Serving(await run_in_threadpool(open_gallery), measures)
        yield
        app.state.serving.close()

    app: FastAPI = FastAPIOffline(
        title="Photos and sentences", description=__doc__, version="1", lifespan=life, redoc_url=None, docs_url="/docs"
    )
    app.state.measures, app.state.limits, app.state.log_queries = measures, limits, log_queries
    app.state.open_gallery = open_gallery
    app.include_router(ROUTES)
    app.add_exception_handler(RequestValidationError, _unprocessable)
    app.add_exception_handler(StarletteHTTPException, _http)
    app.add_exception_handler(GalleryError, _not_here)
    app.add_exception_handler(UnknownPhotoError, _absent)
    app.add_exception_handler(UnavailableError, _away)
    app.add_exception_handler(CrossmodalError, _refused)
    app.add_exception_handler(Overloaded, _overloaded)
    app.add_exception_handler(Exception, _unexpected)
    app.add_middleware(Guards, limits=limits, keys=keys or {}, done=measures.done)
    if origins:
        app.add_middleware(CORSMiddleware, allow_origins=list(origins), allow_methods=["GET", "POST"],
                           allow_headers=["content-type", "x-api-key", "authorization"])  # fmt: skip
    return app


async def swap(app: FastAPI) -> None:
    """Open the gallery anew and serve it from the next request on; one that cannot be opened changes nothing."""
    try:
        fresh = Serving(await run_in_threadpool(app.state.open_gallery), app.state.measures)
    except CrossmodalError as failure:
        LOG.error("The model is not swapped: %s", failure)
        return
    before, app.state.serving = app.state.serving, fresh
    LOG.warning("Serving %s, %s", fresh.gallery.label, fresh.gallery.fingerprint)
    before.close()


ROUTES = APIRouter()


@ROUTES.head("/", include_in_schema=False)
@ROUTES.get("/", include_in_schema=False)
async def page() -> FileResponse:
    """Return the web page."""
    return FileResponse(PAGE, media_type="text/html")


@ROUTES.head("/health", include_in_schema=False)
@ROUTES.get("/health")
async def health() -> schema.Health:
    """Tell that the server answers."""
    return schema.Health()


@ROUTES.post("/api/search/text", responses=FAILURES)
async def search_text(request: Request, asked: schema.TextQuery) -> schema.Photos:
    """Find photos for a sentence, or for terms with signs and weights."""
    serving: Serving = request.app.state.serving
    if request.app.state.log_queries:
        LOG.info("query %r", asked.query)
    query = await serving.query(asked.query)
    found = await _find(serving, query, asked.top_k, asked.filters.plain(), asked.cut_off, asked.by_date)
    return schema.Photos(photos=found)


@ROUTES.post("/api/search/image", responses={**FAILURES, **ABSENT})
async def search_image(request: Request, asked: schema.ImageQuery) -> schema.PhotosAndCaptions:
    """Find photos like one of the gallery, and captions that fit it; words beside it are optional."""
    serving: Serving = request.app.state.serving
    vector = await run_in_threadpool(serving.gallery.vector, asked.image_id)
    query = await serving.query(asked.query, [(vector, asked.image_weight)])
    return await _both(serving, query, asked.top_k, asked.filters.plain())


@ROUTES.post(
    "/api/search/upload",
    responses={**FAILURES, 415: {"model": schema.Error, "description": "no photo"}},
    openapi_extra={"requestBody": {"content": {"multipart/form-data": {"encoding": {"file": {"contentType": PHOTO}}}}}},
)
async def search_upload(
    request: Request,
    file: Annotated[UploadFile, File(description="a photo; it is not stored")],
    top_k: schema.TopK = 10,
) -> schema.PhotosAndCaptions:
    """Find captions that fit an uploaded photo, and photos like it."""
    serving: Serving = request.app.state.serving
    content = await file.read()
    try:
        pixels = await run_in_threadpool(_pixels, serving.gallery, content, request.app.state.limits.upload_pixels)
    except PhotoError as failure:
        raise HTTPException(415, str(failure)) from failure
    query = await serving.query(parts=[(await serving.pixels(pixels), 1.0)])
    return await _both(serving, query, top_k, Filters())


@ROUTES.get("/api/image/{image_id}", responses={**FAILURES, **ABSENT, **JPEG}, response_class=Response)
async def image(request: Request, image_id: schema.Id) -> Response:
    """Return a photo as JPEG, without the data that cameras write into files."""
    gallery: Gallery = request.app.state.serving.gallery
    path = await run_in_threadpool(gallery.path, image_id)
    try:
        content = await run_in_threadpool(as_jpeg, path)
    except (PhotoError, OSError) as failure:
        raise HTTPException(404, "The photo is gone, or cannot be shown.") from failure
    return Response(content, media_type="image/jpeg", headers={"cache-control": "private, max-age=3600"})


@ROUTES.get("/api/image/{image_id}/thumbnail", responses={**FAILURES, **ABSENT, **JPEG}, response_class=Response)
async def small_image(request: Request, image_id: schema.Id, size: Size = Size.MIDDLE) -> Response:
    """Return a photo as JPEG of at most so many pixels."""
    gallery: Gallery = request.app.state.serving.gallery
    path = await run_in_threadpool(gallery.path, image_id)
    try:
        content, tag = await run_in_threadpool(thumbnail, path, int(size))
    except (PhotoError, OSError) as failure:
        raise HTTPException(404, "The photo is gone, or cannot be shown.") from failure
    headers = {"etag": f'"{tag}"', "cache-control": "private, max-age=86400"}
    if f'"{tag}"' in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(content, media_type="image/jpeg", headers=headers)


@ROUTES.get("/api/stats", responses=FAILURES)
async def stats(request: Request) -> schema.Stats:
    """Tell what is served, and how it goes."""
    gallery: Gallery = request.app.state.serving.gallery
    measures: Measures = request.app.state.measures
    photos = await run_in_threadpool(gallery.photo_count)
    captions = await run_in_threadpool(gallery.caption_count)
    cuts = measures.percentiles()
    recall = {key: round(value, 1) for key, value in gallery.metrics.items() if "_r" in key}
    return schema.Stats(
        photos=photos, captions=captions, model=gallery.label, fingerprint=gallery.fingerprint,
        search=gallery.kind, recall=recall, uptime_seconds=round(time.time() - measures.started, 1),
        queries=measures.queries, latency=schema.Latencies(p50=cuts[0], p95=cuts[1], p99=cuts[2]) if cuts else None,
    )  # fmt: skip


@ROUTES.get("/metrics", responses={401: FAILURES[401], 429: FAILURES[429]}, response_class=Response)
async def metrics(request: Request) -> Response:
    """Return counters and times for Prometheus."""
    return Response(generate_latest(request.app.state.measures.registry), media_type=CONTENT_TYPE_LATEST)


def _pixels(gallery: Gallery, content: bytes, most: int) -> np.ndarray:
    prepare = gallery.runtime.preprocessing
    with opened_photo(content, "The upload") as photo:
        if photo.width * photo.height > most:
            raise PhotoError(f"The upload has more than the {most // 1_000_000} megapixels that are decoded.")
    return prepare.array(load_photo(content, at_least=prepare.size, name="The upload"))


async def _find(
    serving: Serving, query: Query, top_k: int, filters: Filters, cut_off: bool = True, by_date: bool = False
) -> list[schema.Photo]:
    gallery = serving.gallery
    found = await run_in_threadpool(gallery.search, query.vector, top_k, filters, query.sentence, cut_off, by_date)
    return [_photo(one) for one in found]


async def _both(serving: Serving, query: Query, top_k: int, filters: Filters) -> schema.PhotosAndCaptions:
    photos = await _find(serving, query, top_k, filters)
    captions = await run_in_threadpool(serving.gallery.find_captions, query.vector, top_k)
    return schema.PhotosAndCaptions(photos=photos, captions=[_caption(one) for one in captions])


def _photo(found: Found) -> schema.Photo:
    url = f"/api/image/{found.id}"
    return schema.Photo(
        id=found.id, score=round(found.score, 4), url=url, thumbnail=f"{url}/thumbnail", captions=list(found.captions),
        copies=list(found.copies), **found.about,
    )  # fmt: skip


def _caption(found: FoundCaption) -> schema.Caption:
    return schema.Caption(caption=found.caption, score=round(found.score, 4), image_id=found.id)


# --- errors, in one shape and without internals ---


def _id(request: Request) -> str:
    return str(getattr(request.state, "request_id", "-"))


async def _unprocessable(request: Request, failure: Exception) -> JSONResponse:
    assert isinstance(failure, RequestValidationError)
    told = [f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in failure.errors()[:5]]
    return error(422, CODES[422], "; ".join(told), _id(request))


async def _http(request: Request, failure: Exception) -> JSONResponse:
    assert isinstance(failure, StarletteHTTPException)
    code = CODES.get(failure.status_code, "error")
    headers = dict(failure.headers) if failure.headers else None
    return error(failure.status_code, code, str(failure.detail), _id(request), headers)


async def _refused(request: Request, failure: Exception) -> JSONResponse:
    return error(400, CODES[400], str(failure), _id(request))


async def _not_here(request: Request, failure: Exception) -> JSONResponse:
    return error(409, CODES[409], str(failure), _id(request))


async def _absent(request: Request, failure: Exception) -> JSONResponse:
    return error(404, CODES[404], str(failure), _id(request))


async def _away(request: Request, failure: Exception) -> JSONResponse:
    LOG.error("request %s: %s", _id(request), failure)  # its address stays in the log
    return error(
        503, CODES[503], "The search is away for a moment; try again soon.", _id(request), {"retry-after": "2"}
    )


async def _overloaded(request: Request, failure: Exception) -> JSONResponse:
    return error(503, CODES[503], "Too many wait already; try again soon.", _id(request), {"retry-after": "2"})


async def _unexpected(request: Request, failure: Exception) -> JSONResponse:
    LOG.exception("request %s failed", _id(request), exc_info=failure)
    return error(500, "internal", "Something went wrong here; the log has it under this id.", _id(request))
