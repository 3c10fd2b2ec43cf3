"""The route that counts photos by month and place, to narrow a search by."""

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.concurrency import run_in_threadpool

from crossmodal.search.facets import Facet
from crossmodal.search.search import Search
from crossmodal.search.typed import facet_typed
from crossmodal.serving import schema
from crossmodal.serving.failures import ABSENT, FAILURES
from crossmodal.serving.state import Held

ROUTES = APIRouter()


@ROUTES.get("/api/facets", responses={**FAILURES, **ABSENT})
async def facets(serving: Held, asked: Annotated[schema.Narrowed, Query()]) -> schema.Facets:
    """Count the photos that pass some filters, by month and by place."""
    return await run_in_threadpool(_facets, serving.search, asked)


def _facets(search: Search, asked: schema.Narrowed) -> schema.Facets:
    filters = search.narrowed(asked.query, asked.plain())

    def counts(facet: Facet) -> list[schema.Facet]:
        found = search.facet(facet, filters).items()
        return [schema.Facet(value=value, photos=many, typed=facet_typed(facet, value)) for value, many in found]

    return schema.Facets(passing=search.count(None, filters), months=counts("month"), places=counts("place"))
