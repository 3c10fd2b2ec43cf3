"""The routes of saved searches: which there are, and what one holds now."""

from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.concurrency import run_in_threadpool

from crossmodal.errors import CrossmodalError
from crossmodal.search.albums import Album
from crossmodal.search.search import Search
from crossmodal.serving import schema, searching
from crossmodal.serving.failures import ABSENT, FAILURES
from crossmodal.serving.state import Held

ROUTES = APIRouter()


@ROUTES.get("/api/albums", responses=FAILURES)
async def albums(serving: Held) -> list[schema.Album]:
    """List the saved searches, each with how many photos it holds now."""
    return await run_in_threadpool(_albums, serving.search)


@ROUTES.get("/api/album", responses={**FAILURES, **ABSENT})
async def album(
    request: Request, serving: Held, name: schema.Words, top_k: Annotated[int, Query(ge=1, le=schema.MOST)] = 10
) -> schema.Photos:
    """Open a saved search by its name: as `album:NAME` does among the words of a query."""
    found = await run_in_threadpool(serving.search.albums.entry, name)
    return await searching.search_text(request, serving, schema.TextQuery(query=found.typed, top_k=top_k))


def _albums(search: Search) -> list[schema.Album]:
    return [_album(one, search) for one in search.albums.entries().values()] if search.gallery.about.albums else []


def _album(album: Album, search: Search) -> schema.Album:
    try:
        photos, note = search.albums.count(album, search), ""
    except CrossmodalError as error:
        photos, note = None, str(error)
    return schema.Album(name=album.name, query=album.query, typed=album.typed, photos=photos, note=note)
