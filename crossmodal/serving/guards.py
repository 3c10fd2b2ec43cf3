"""What stands before every request: its id and log line, size limit, key, rate limit, and the headers of the answer."""

import json
import logging
import re
import time
import uuid
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import IPv6Address, IPv6Network, ip_address
from urllib.parse import urlsplit

from cachetools import TTLCache
from limits import RateLimitItem, parse
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from crossmodal.serving.bodies import Body
from crossmodal.serving.keys import owner_of
from crossmodal.serving.turns import Turns

LOG = logging.getLogger("crossmodal.serving")
CLIENTS = 100_000  # whose requests are counted; those of one that asked nothing for the longest time are forgotten
REQUEST_ID = re.compile(r"^[A-Za-z0-9_.-]{1,64}$")
OPEN = ("/health",)  # asked by load balancers, which have no key and no name for this server
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
METHODS = ("GET", "HEAD", "POST", "OPTIONS")  # any other, which anybody can make up, is "other" in logs and metrics
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
    """What one client may."""

    upload_bytes: int = 10_000_000
    body_bytes: int = 64_000  # of what is no upload
    upload_pixels: int = 40_000_000
    rate: RateLimitItem = field(default_factory=lambda: parse("600/minute"))  # of a key, or an address without one


def error(status: int, code: str, message: str, request_id: str, headers: dict[str, str] | None = None) -> JSONResponse:
    """Return an answer in the one shape of all errors."""
    content = {"error": {"code": code, "message": message, "request_id": request_id}}
    return JSONResponse(content, status, headers)


class Rate:
    """Counts what each client asked for in the last minute, or whatever the rate is of.

    The storage of `limits` starts a thread for each request, which takes longer than the search.
    """

    def __init__(self, rate: RateLimitItem) -> None:
        self._rate, self._seconds = rate, rate.get_expiry()
        self._asked: TTLCache[str, deque[float]] = TTLCache(CLIENTS, self._seconds)

    def count(self, who: str, cost: int = 1) -> None:
        """Count a request; raises HTTPException 429 where it is one too many."""
        now, asked = time.monotonic(), self._asked.get(who) or deque()
        while asked and asked[0] <= now - self._seconds:
            asked.popleft()
        if len(asked) + cost <= self._rate.amount:
            asked.extend([now] * cost)
            self._asked[who] = asked
        elif cost:
            wait = {"retry-after": str(max(1, round(asked[0] + self._seconds - now) if asked else self._seconds))}
            raise HTTPException(
                429,
                f"This is more than {self._rate}, where each term of a query counts, and each word that is explained; "
                "wait a while.",
                wait,
            )


class Guards:
    """An ASGI middleware around everything else."""

    def __init__(
        self, app: ASGIApp, limits: Limits, keys: dict[str, bytes], hosts: frozenset[str],
        done: Callable[[str, str, int, float], None],
    ) -> None:  # fmt: skip
        """`keys` are hashes by name, none for an open server; `hosts` are names that this server answers to, beside its own.

        `done` is told of each request's method, route, status and seconds.
        """
        self._app, self._limits, self._keys, self._done = app, limits, keys, done
        self._hosts = LOOPBACK | {host.lower() for host in hosts}
        self._rate, self._turns = Rate(limits.rate), Turns()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        headers, method = Headers(scope=scope), scope["method"]
        given = headers.get("x-request-id", "")
        request_id = given if REQUEST_ID.match(given) else uuid.uuid4().hex
        scope.setdefault("state", {})["request_id"] = request_id
        if method == "HEAD":  # is what GET is, without the body
            scope["method"] = "GET"
        started, status, body = time.perf_counter(), 500, Body(self._most(scope), self._turns)

        async def answering(message: Message) -> None:
            nonlocal status
            if body.too_many and not body.told:
                return  # whatever the application makes of a body that was cut off
            if message["type"] == "http.response.start":
                status = message["status"]
                written = MutableHeaders(scope=message)
                written["x-request-id"] = request_id
                for name, value in HEADERS.items():
                    written.setdefault(name, value)
                if scope["path"].startswith("/api/search"):
                    written["cache-control"] = "no-store"
            elif method == "HEAD":
                message = {**message, "body": b""}
            await send(message)

        try:
            refused = self._refusal(scope, headers, request_id)
            if refused:
                await refused(scope, receive, answering)
            else:
                await self._app(scope, body.reader(receive), answering)
                if body.too_many:
                    body.told = True
                    await self._too_large(request_id, scope)(scope, receive, answering)
        finally:
            body.done()
            seconds = time.perf_counter() - started
            # The route rather than the path: ids and what was asked stay out of logs and metrics.
            route = getattr(scope.get("route"), "path", "-")
            method = method if method in METHODS else "other"
            self._done(method, route, status, seconds)
            LOG.info(json.dumps({"request_id": request_id, "method": method, "route": route, "status": status,
                                 "ms": round(1000 * seconds, 1)}))  # fmt: skip

    def _refusal(self, scope: Scope, headers: Headers, request_id: str) -> JSONResponse | None:
        """Return the answer to one who may not ask, or None."""
        if scope["path"] in OPEN:
            return None
        if not self._is_ours(headers.get("host", ""), scope):
            return error(
                400, "bad_request", "This server does not answer to that name; allow it with --allow-host.", request_id
            )
        owner = None
        needs_key = self._keys and (scope["path"].startswith("/api/") or scope["path"] == "/metrics")
        if needs_key:
            bearer = headers.get("authorization", "").removeprefix("Bearer ").strip()
            owner = owner_of(headers.get("x-api-key") or bearer, self._keys)
        who = f"key {owner}" if owner else f"address {_network((scope.get('client') or ('-',))[0])}"
        try:
            self._rate.count(who)
        except HTTPException as refused:
            return error(429, "too_many_requests", refused.detail, request_id, dict(refused.headers or {}))
        scope["state"] |= {"who": who, "charge": lambda cost: self._rate.count(who, cost)}
        if needs_key and owner is None:
            told = {"www-authenticate": "Bearer"}
            return error(401, "unauthorized", "This needs an API key, in the header X-API-Key.", request_id, told)
        length = headers.get("content-length", "0")
        if not length.isdigit() or int(length) > self._most(scope):
            return self._too_large(request_id, scope)
        return None

    def _is_ours(self, host: str, scope: Scope) -> bool:
        """Say whether a request is for this server by name, or by the address that it came to.

        Otherwise a web site could give its own name this machine's address, and read what only this machine may.
        """
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        return name in self._hosts or _same_address(name, (scope.get("server") or ("",))[0])

    def _most(self, scope: Scope) -> int:
        return self._limits.upload_bytes if scope["path"] == "/api/search/upload" else self._limits.body_bytes

    def _too_large(self, request_id: str, scope: Scope) -> JSONResponse:
        return error(413, "too_large", f"This is more than the {self._most(scope):,} bytes that are read.", request_id)


def _network(address: str) -> str:
    """Return what an address is counted by: of IPv6 the network, since one subscriber has all 2^64 addresses in it."""
    try:
        found = ip_address(address)
    except ValueError:
        return address
    if isinstance(found, IPv6Address):
        return str(found.ipv4_mapped or IPv6Network((int(found) >> 64 << 64, 64)))
    return address


def _same_address(one: str, other: str) -> bool:
    try:
        return ip_address(one) == ip_address(other)
    except ValueError:
        return one == other
