"""The HTTP API: typed questions and answers over one gallery."""

import asyncio
import hashlib
import logging
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from fastapi import APIRouter, FastAPI, HTTPException, Request, Response
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import FileResponse
from fastapi_offline import FastAPIOffline
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.concurrency import run_in_threadpool

from crossmodal.data.decoders import AT_ONCE, PATIENCE, UPLOAD_PATIENCE
from crossmodal.data.names import safe_name
from crossmodal.data.thumbnails import Size, as_jpeg, thumbnail
from crossmodal.errors import PhotoError, printable
from crossmodal.files import shown
from crossmodal.search.filters import FilterKind, filters_on
from crossmodal.search.gallery import Gallery
from crossmodal.search.search import Search
from crossmodal.serving import albums, facets, schema, searching
from crossmodal.serving.failures import ABSENT, FAILURES, add_failures
from crossmodal.serving.guards import Guards, Limits
from crossmodal.serving.state import Held, Measures, Serving
from crossmodal.serving.turns import Places

LOG = logging.getLogger("crossmodal.serving")
PAGE = Path(__file__).with_name("web_interface.html")
VALUES = 1000  # folders, or cameras, that are listed to choose from
JPEG: dict[int | str, dict[str, object]] = {200: {"content": {"image/jpeg": {}}, "description": "JPEG"}}
ANY: dict[int | str, dict[str, object]] = {200: {"content": {"*/*": {}}, "description": "the file"}}


def create_app(
    open_search: Callable[[], Search],
    limits: Limits | None = None,
    keys: dict[str, bytes] | None = None,
    origins: tuple[str, ...] = (),
    hosts: frozenset[str] = frozenset(),
    log_queries: bool = False,
    writes: bool = False,
) -> FastAPI:
    """Return the application; `open_search` is called when it starts, and for each swap. With `writes` albums can be saved."""
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
    app.state.writes = writes
    app.state.open_search, app.state.swapping = open_search, asyncio.Lock()
    # They wait here rather than in the threads, which searches need too.
    app.state.uploading = Places(AT_ONCE, PATIENCE)
    app.state.uploading_slowly = Places(1, UPLOAD_PATIENCE)
    app.state.showing = Places(AT_ONCE, 10 * PATIENCE)
    app.include_router(searching.ROUTES)  # first, since routes are tried in their order
    app.include_router(ROUTES)
    app.include_router(albums.ROUTES)
    app.include_router(facets.ROUTES)
    add_failures(app)
    app.add_middleware(Guards, limits=limits, keys=keys or {}, hosts=hosts, done=measures.done)
    if origins:
        app.add_middleware(CORSMiddleware, allow_origins=list(origins), allow_methods=["GET", "POST"],
                           allow_headers=["content-type", "x-api-key", "authorization"])  # fmt: skip
    return app


async def swap(app: FastAPI) -> None:
    """Open the search again and serve it from the next request on; one that cannot be opened changes nothing.

    Swaps come one after the other. Requests under way end with the search that they began with.
    """
    async with app.state.swapping:
        try:
            fresh = await run_in_threadpool(Serving.begin, app.state.open_search, app.state.measures)
        except Exception as failure:  # whatever it is, what is served goes on
            LOG.error("The swap failed, and the old gallery is still served: %s", printable(str(failure)))
            return
        before, app.state.serving = app.state.serving, fresh
        before.let_go()
        about = fresh.search.gallery.about
        LOG.warning("Serving %s with the model %s, %s", *map(printable, (about.title, about.recipe, about.fingerprint)))


ROUTES = APIRouter()


@ROUTES.get("/", include_in_schema=False)
async def page() -> FileResponse:
    """Return the web page."""
    return FileResponse(PAGE, media_type="text/html")


@ROUTES.get("/health")
async def health() -> schema.Health:
    """Tell that the server answers."""
    return schema.Health()


# --- photos ---


async def _file(serving: Serving, image_id: str) -> Path:
    """Return the file of a photo; raises UnknownPhotoError."""
    return serving.search.path(await run_in_threadpool(serving.search.gallery.photo, image_id))


@ROUTES.get("/api/image/{image_id}", responses={**FAILURES, **ABSENT, **JPEG}, response_class=Response)
async def image(request: Request, serving: Held, image_id: schema.Id) -> Response:
    """Return a photo as JPEG, without the data that cameras write into files."""
    content = await _jpeg(request, as_jpeg, await _file(serving, image_id))
    return Response(content, media_type="image/jpeg", headers={"cache-control": "private, max-age=3600"})


@ROUTES.get("/api/image/{image_id}/thumbnail", responses={**FAILURES, **ABSENT, **JPEG}, response_class=Response)
async def small_image(request: Request, serving: Held, image_id: schema.Id, size: Size = Size.MIDDLE) -> Response:
    """Return a photo as JPEG of at most so many pixels."""
    content, _ = await _jpeg(request, thumbnail, await _file(serving, image_id), int(size))
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
    return FileResponse(path, filename=safe_name(shown(path.name)), headers={"cache-control": "private, no-cache"})


async def _jpeg(request: Request, make: Callable[..., Any], path: Path, *more: int) -> Any:
    try:
        async with request.app.state.showing.held(request.state.who):
            return await run_in_threadpool(make, path, *more)
    except (PhotoError, OSError) as failure:
        raise _gone() from failure


def _gone() -> HTTPException:
    return HTTPException(404, "The photo is gone, or cannot be shown.")


# --- what is served ---


@ROUTES.get("/api/stats", responses=FAILURES)
async def stats(request: Request, serving: Held) -> schema.Stats:
    """Tell what is served, and how it goes."""
    return await run_in_threadpool(_stats, serving.search.gallery, request.app.state.measures, request.app.state.writes)


def _stats(gallery: Gallery, measures: Measures, writes: bool) -> schema.Stats:
    about, cuts = gallery.about, measures.percentiles()
    recall = {key: round(value, 1) for key, value in about.metrics.items() if "_r" in key}
    return schema.Stats(
        photos=gallery.count(), captions=gallery.caption_count(), model=about.recipe, fingerprint=about.fingerprint,
        note=about.note, search=gallery.kind, fields=sorted(about.fields),
        filters=[_filter(gallery, kind) for kind in filters_on(about.fields)], recall=recall,
        measured=int(about.metrics.get("images", 0)),
        saves_albums=writes and about.albums,
        uptime_seconds=round(time.time() - measures.started, 1), queries=measures.queries,
        latency=schema.Latencies(p50=cuts[0], p95=cuts[1], p99=cuts[2]) if cuts else None,
    )  # fmt: skip


def _filter(gallery: Gallery, kind: FilterKind) -> schema.Filter:
    values: Sequence[Any] = []
    first_and_last = None
    if kind.kind == "text" and kind.chosen_from:
        values = [value for value in gallery.values(kind.chosen_from) if value == shown(value)][:VALUES]
    if kind.kind == "day" and kind.chosen_from:
        days = gallery.values(kind.chosen_from)
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
