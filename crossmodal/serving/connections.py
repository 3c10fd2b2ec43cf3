"""A time limit for requests, and a limit on connections."""

import asyncio
import errno
import logging
import resource
import time
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

LOG = logging.getLogger("crossmodal.serving")
CONNECTIONS = 1000  # at a time; each has at most one request
OTHER_FILES = 200  # descriptors that are left for all else
BACKLOG = 100  # asyncio accepts so many at once before any of them is looked at
HEAD_SECONDS, REQUEST_SECONDS = 10.0, 120.0  # in which a request's head, and all of it, has to come
QUIET = 60.0  # seconds between two lines of the log that say the same
State = Any  # what h11 says that the client does; None for nothing that is waited for
FULL = (
    b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 2\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
)  # fmt: skip


class TooMany:
    """Says in the log that there are too many connections, once in a while rather than for each."""

    def __init__(self) -> None:
        self._last = -QUIET

    def tell(self) -> None:
        """Say so, unless it was said a moment ago."""
        if time.monotonic() - self._last >= QUIET:
            self._last = time.monotonic()
            LOG.warning("There are too many connections; new ones are turned away.")

    def handle(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Handle what no task awaited: no free descriptor is told as too many connections, all else as usual."""
        failure = context.get("exception")
        if isinstance(failure, OSError) and failure.errno in (errno.EMFILE, errno.ENFILE):
            self.tell()
        else:
            loop.default_exception_handler(context)


def most_connections() -> int:
    """Return how many connections there may be, after raising this process's limit of descriptors where it may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = CONNECTIONS + OTHER_FILES
    if soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return max(1, min(CONNECTIONS, soft - OTHER_FILES))


class Connection(H11Protocol):
    """A connection of uvicorn's that is closed when it is one too many, or when its request does not come in time."""

    most = CONNECTIONS
    too_many = TooMany()
    _timer: asyncio.TimerHandle | None = None
    _waits_for: State = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a connection, or turn it away."""
        super().connection_made(transport)
        if len(self.connections) > self.most:
            self.too_many.tell()
            transport.write(FULL)
            transport.close()
        else:
            self._await(h11.IDLE)

    def data_received(self, data: bytes) -> None:
        """Take a part of a request."""
        super().data_received(data)
        # Idle after data, it waits for the rest of a head; between two requests uvicorn's own timer runs.
        state = self.conn.their_state
        self._await(state if state in (h11.IDLE, h11.SEND_BODY) else None)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._await(None)
        super().connection_lost(exc)

    def _await(self, state: State) -> None:
        """Give the client some time to leave a state, counted from when it came to it."""
        if state is self._waits_for:
            return
        if self._timer:
            self._timer.cancel()
        self._waits_for, self._timer = state, None
        if state:
            seconds = HEAD_SECONDS if state is h11.IDLE else REQUEST_SECONDS
            self._timer = self.loop.call_later(seconds, self.transport.close)
