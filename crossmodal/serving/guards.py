"""What stands before every request: its id and log line, size limit, key, rate limit, and the headers of the answer."""

import json
import logging
import re
import time
import uuid
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Any

from limits import RateLimitItem, parse
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from crossmodal.serving.keys import owner_of

LOG = logging.getLogger("crossmodal.serving")
REQUEST_ID = re.compile(r"^[A-Za-z0-9_.-]{1,64}$")
OPEN = ("/health",)  # asked by load balancers, which have no key
CONTENT_POLICY = (
    "default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
    "connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": CONTENT_POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}


@dataclass(frozen=True)
class Limits:
    """What one who asks may."""

    upload_bytes: int = 10_000_000
    body_bytes: int = 64_000  # of what is no upload
    upload_pixels: int = 40_000_000
    rate: RateLimitItem = field(default_factory=lambda: parse("600/minute"))  # a key, or an address without one


def error(status: int, code: str, message: str, request_id: str, headers: dict[str, str] | None = None) -> JSONResponse:
    """Return an answer in the one shape of all errors."""
    content = {"error": {"code": code, "message": message, "request_id": request_id}}
    return JSONResponse(content, status, headers)


class Guards:
    """An ASGI middleware around everything else."""

    def __init__(
        self, app: ASGIApp, limits: Limits, keys: dict[str, bytes], done: Callable[[str, str, int, float], None]
    ) -> None:
        """`keys` are hashes by name, none for an open server; `done` is told of each request's method, route, status, seconds."""
        self._app, self._limits, self._keys, self._done = app, limits, keys, done
        self._limiter = MovingWindowRateLimiter(MemoryStorage())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        headers = Headers(scope=scope)
        given = headers.get("x-request-id", "")
        request_id = given if REQUEST_ID.match(given) else uuid.uuid4().hex
        scope.setdefault("state", {})["request_id"] = request_id
        started, status, come = time.perf_counter(), 500, _Counted(self._most(scope))

        async def answering(message: Message) -> None:
            nonlocal status
            if come.too_many and not come.told:
                return  # whatever the application makes of a body that was cut off
            if message["type"] == "http.response.start":
                status = message["status"]
                written = MutableHeaders(scope=message)
                written["x-request-id"] = request_id
                for name, value in HEADERS.items():
                    written.setdefault(name, value)
                if scope["path"].startswith("/api/search"):
                    written["cache-control"] = "no-store"
            await send(message)

        try:
            refused = self._refusal(scope, headers, request_id)
            if refused:
                await refused(scope, receive, answering)
            else:
                await self._app(scope, come.reader(receive), answering)
                if come.too_many:
                    come.told = True
                    await self._too_large(request_id, scope)(scope, receive, answering)
        finally:
            seconds = time.perf_counter() - started
            # The route rather than the path: ids and what was asked stay out of logs and metrics.
            route = getattr(scope.get("route"), "path", "-")
            self._done(scope["method"], route, status, seconds)
            LOG.info(json.dumps({"request_id": request_id, "method": scope["method"], "route": route, "status": status,
                                 "ms": round(1000 * seconds, 1)}))  # fmt: skip

    def _refusal(self, scope: MutableMapping[str, Any], headers: Headers, request_id: str) -> JSONResponse | None:
        """Return the answer to one who may not ask, or None."""
        if scope["path"] in OPEN:
            return None
        owner = None
        needs_key = self._keys and (scope["path"].startswith("/api/") or scope["path"] == "/metrics")
        if needs_key:
            bearer = headers.get("authorization", "").removeprefix("Bearer ").strip()
            owner = owner_of(headers.get("x-api-key") or bearer, self._keys)
        who = f"key {owner}" if owner else f"address {(scope.get('client') or ('-',))[0]}"
        if not self._limiter.hit(self._limits.rate, who):
            reset = self._limiter.get_window_stats(self._limits.rate, who).reset_time
            wait = {"retry-after": str(max(1, round(reset - time.time())))}
            return error(
                429, "too_many_requests", f"More than {self._limits.rate} were made; wait a while.", request_id, wait
            )
        if needs_key and owner is None:
            told = {"www-authenticate": "Bearer"}
            return error(401, "unauthorized", "This needs an API key, in the header X-API-Key.", request_id, told)
        length = headers.get("content-length", "0")
        if not length.isdigit() or int(length) > self._most(scope):
            return self._too_large(request_id, scope)
        return None

    def _most(self, scope: MutableMapping[str, Any]) -> int:
        return self._limits.upload_bytes if scope["path"] == "/api/search/upload" else self._limits.body_bytes

    def _too_large(self, request_id: str, scope: MutableMapping[str, Any]) -> JSONResponse:
        return error(413, "too_large", f"More than the {self._most(scope):,} bytes that are read.", request_id)


class _Counted:
    """Counts the bytes that really come, since a header may say less, or nothing; at too many it cuts the body off."""

    def __init__(self, most: int) -> None:
        self._most, self._come = most, 0
        self.too_many = self.told = False

    def reader(self, receive: Receive) -> Receive:
        async def read() -> Message:
            message = await receive()
            self._come += len(message.get("body", b""))
            if self._come > self._most:
                self.too_many = True
                return {"type": "http.request", "body": b"", "more_body": False}
            return message

        return read
