"""The routes of saved searches: which there are, what one holds now, and, where the server may write, saving one."""

from typing import Annotated

from fastapi import APIRouter, HTTPException, Query, Request
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool

from crossmodal.errors import CrossmodalError
from crossmodal.search.albums import Album as Saved
from crossmodal.search.albums import save_album
from crossmodal.search.search import Search
from crossmodal.serving import schema, searching
from crossmodal.serving.failures import ABSENT, CODES, FAILURES
from crossmodal.serving.state import Held

ROUTES = APIRouter()
REFUSED: dict[int | str, dict[str, object]] = {
    status: {"model": schema.Error, "description": CODES[status].replace("_", " ")} for status in (403, 415)
}


class Album(BaseModel):
    """A saved search, which holds the photos that answer it now."""

    name: str
    query: str = Field(description="words and filters, as they are typed")
    typed: str = Field(description="what opens it among the words of any query")
    photos: int | None = Field(description="how many it holds now, copies included; none where it cannot be answered")
    note: str = Field(description="why it cannot be answered; empty where it can")


class NewAlbum(schema.Asked):
    """A search to be saved: words, filters, or both."""

    name: schema.Words = Field(description="no other album's, in any case")
    query: schema.Words = Field("", description="words and filters, as they are typed")
    filters: schema.PhotoFilters = schema.PhotoFilters()


@ROUTES.get("/api/albums", responses=FAILURES)
async def albums(serving: Held) -> list[Album]:
    """List the saved searches, each with how many photos it holds now."""
    return await run_in_threadpool(_albums, serving.search)


@ROUTES.get("/api/album", responses={**FAILURES, **ABSENT})
async def album(
    request: Request, serving: Held, name: schema.Words, top_k: Annotated[int, Query(ge=1, le=schema.MOST)] = 10
) -> schema.Photos:
    """Open a saved search by its name: as `album:NAME` does among the words of a query."""
    found = await run_in_threadpool(serving.search.albums.entry, name)
    return await searching.search_text(request, serving, schema.TextQuery(query=found.typed, top_k=top_k))


# A path of its own: what Starlette says of methods that a path allows is of one route alone.
@ROUTES.post("/api/albums/save", status_code=201, responses={**FAILURES, **ABSENT, **REFUSED})
async def save(request: Request, serving: Held, asked: NewAlbum) -> Album:
    """Save a search under a name; only a server that was started with --allow-writes does."""
    if not request.app.state.writes:
        raise HTTPException(403, "This server saves nothing; start it with --allow-writes to save albums.")
    # A browser sends JSON for another web site only where this server says that it may.
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise HTTPException(415, "Send the album as JSON, with the content type application/json.")
    search = serving.search
    return await run_in_threadpool(
        lambda: _album(save_album(search, asked.name, asked.query, asked.filters.plain()), search)
    )


def _albums(search: Search) -> list[Album]:
    return [_album(one, search) for one in search.albums.entries().values()] if search.gallery.about.albums else []


def _album(album: Saved, search: Search) -> Album:
    try:
        photos, note = search.albums.count(album, search), ""
    except CrossmodalError as error:
        photos, note = None, str(error)
    return Album(name=album.name, query=album.query, typed=album.typed, photos=photos, note=note)
