"""Errors as answers: one shape, one sentence, and nothing of the inside."""

import logging

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from crossmodal.errors import BusyError, CrossmodalError, UnavailableError, UnknownNameError, UnknownPhotoError
from crossmodal.serving.guards import error
from crossmodal.serving.schema import Error
from crossmodal.serving.turns import Overloaded

LOG = logging.getLogger("crossmodal.serving")
CODES = {400: "bad_request", 401: "unauthorized", 403: "forbidden", 404: "not_found", 405: "method_not_allowed", 413: "too_large",
         415: "unsupported_media_type", 422: "unprocessable", 429: "too_many_requests", 503: "unavailable"}  # fmt: skip
FAILURES: dict[int | str, dict[str, object]] = {
    status: {"model": Error, "description": CODES[status].replace("_", " ")}
    for status in (400, 401, 413, 422, 429, 503)
}
ABSENT: dict[int | str, dict[str, object]] = {404: {"model": Error, "description": "no such photo, or album"}}
SOON = {"retry-after": "2"}


def add_failures(app: FastAPI) -> None:
    """Have the application answer what is raised in it."""
    app.add_exception_handler(RequestValidationError, _unprocessable)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(UnknownPhotoError, _absent)
    app.add_exception_handler(UnknownNameError, _absent)
    app.add_exception_handler(UnavailableError, _unavailable)
    app.add_exception_handler(CrossmodalError, _refused)
    app.add_exception_handler(Overloaded, _overloaded)
    app.add_exception_handler(BusyError, _overloaded)
    app.add_exception_handler(Exception, _unexpected)


def _id(request: Request) -> str:
    return str(getattr(request.state, "request_id", "-"))


async def _unprocessable(request: Request, failure: Exception) -> JSONResponse:
    assert isinstance(failure, RequestValidationError)
    # "body.filters.after: Value error, write a day ..." is of no use to who only sees the page.
    told = [f"{one['loc'][-1] if one['loc'] else 'request'}: {_reason(one['msg'])}" for one in failure.errors()[:5]]
    return error(422, CODES[422], "; ".join(told), _id(request))


def _reason(message: str) -> str:
    if "UploadFile" in message:
        return "This should be a file; send it with a file name."
    return message.removeprefix("Value error, ")


async def _http(request: Request, failure: Exception) -> JSONResponse:
    assert isinstance(failure, HTTPException)
    code = CODES.get(failure.status_code, "error")
    headers = dict(failure.headers) if failure.headers else None
    return error(failure.status_code, code, str(failure.detail), _id(request), headers)


async def _refused(request: Request, failure: Exception) -> JSONResponse:
    return error(400, CODES[400], str(failure), _id(request))


async def _absent(request: Request, failure: Exception) -> JSONResponse:
    return error(404, CODES[404], str(failure), _id(request))


async def _unavailable(request: Request, failure: Exception) -> JSONResponse:
    LOG.error("request %s: %s", _id(request), failure)  # the address of what is unavailable stays in the log
    return error(503, CODES[503], "Search is temporarily unavailable; try again soon.", _id(request), SOON)


async def _overloaded(request: Request, failure: Exception) -> JSONResponse:
    return error(
        503, CODES[503], "Too many requests of this kind are waiting already; try again soon.", _id(request), SOON
    )


async def _unexpected(request: Request, failure: Exception) -> JSONResponse:
    LOG.exception("request %s failed", _id(request), exc_info=failure)
    return error(500, "internal", "Something went wrong here; the log has it under this id.", _id(request))
