"""The server: uvicorn around the application, signals, and where another process finds it."""

import asyncio
import errno
import fcntl
import json
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import IO

import uvicorn
from fastapi import FastAPI

from crossmodal.data.decoders import uploads
from crossmodal.errors import CrossmodalError
from crossmodal.files import cache_folder
from crossmodal.search.search import Search
from crossmodal.serving.api import create_app, swap
from crossmodal.serving.connections import BACKLOG, Connection, most_connections
from crossmodal.serving.guards import Limits
from crossmodal.serving.keys import read_keys

DRAIN = 20  # seconds that requests under way have after SIGTERM


@dataclass(frozen=True)
class Served:
    """Where and how to serve."""

    host: str = "127.0.0.1"
    port: int = 8000
    keys: Path | None = None
    origins: tuple[str, ...] = ()
    hosts: frozenset[str] = frozenset()  # names that it answers to, beside its own
    proxies: tuple[str, ...] = ()  # addresses, or networks, that are believed when they say whom they ask for
    log_queries: bool = False
    writes: bool = False  # whether those who may ask may save albums too
    limits: Limits = field(default_factory=Limits)


def serve(open_search: Callable[[], Search], served: Served) -> None:
    """Serve until SIGTERM or Ctrl-C, which let requests under way end; SIGHUP swaps to what can be opened then.

    Raises CrossmodalError when the gallery or the keys cannot be read, or the port is taken.
    """
    keys = read_keys(served.keys) if served.keys else {}
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    if not keys and not _is_loopback(served.host):
        logging.warning(
            "Bound to %s without API keys: everyone who reaches this machine can search and see all photos. "
            "Make one with: python -m crossmodal api-key NAME --keys FILE",
            served.host,
        )
    first: list[Search] = [open_search()]  # here, so that what is wrong is one sentence and not a failed start
    app = create_app(lambda: first.pop() if first else open_search(), served.limits, keys, served.origins,
                     served.hosts | {served.host}, served.log_queries, served.writes)  # fmt: skip
    asyncio.run(_run(uvicorn.Server(config_of(app, served)), app, served))


def config_of(app: FastAPI, served: Served) -> uvicorn.Config:
    """Return how uvicorn serves the application."""
    Connection.most = most_connections()
    return uvicorn.Config(
        app, served.host, served.port, access_log=False, log_level="warning", server_header=False, http=Connection,
        proxy_headers=bool(served.proxies), forwarded_allow_ips=list(served.proxies), backlog=BACKLOG,
        timeout_graceful_shutdown=DRAIN, timeout_keep_alive=20, h11_max_incomplete_event_size=64_000,
    )  # fmt: skip


async def swap_when_told(app: FastAPI, told: asyncio.Event) -> None:
    """Swap each time `told` is set; being told several times during a swap is one more swap."""
    while True:
        await told.wait()
        told.clear()
        await swap(app)


async def _run(server: uvicorn.Server, app: FastAPI, served: Served) -> None:
    loop, told = asyncio.get_running_loop(), asyncio.Event()
    loop.set_exception_handler(Connection.too_many.handle)
    loop.add_signal_handler(signal.SIGHUP, told.set)
    listening = _listening(served.host, served.port)
    # Each connection inherits it. asyncio sets it on sockets of its own, but not on uvicorn's, and without it the kernel
    # holds every second part of an answer back for 40 ms.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    port = listening.getsockname()[1]
    # uvicorn ends what is under way and then sends the signal again, which would end this process before it has tidied up.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit())
    beside = [
        loop.create_task(_announce(server, f"Serving http://{served.host}:{port} (API: /docs)")),
        loop.create_task(swap_when_told(app, told)),
    ]
    with _findable(port):
        try:
            await server.serve(sockets=[listening])
        finally:
            for task in beside:
                task.cancel()


def _listening(host: str, port: int) -> socket.socket:
    """Return a socket on an address of this machine; raises CrossmodalError for another one, and for a port that is taken."""
    listening = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except (OSError, UnicodeError) as error:
        listening.close()
        number = getattr(error, "errno", None)
        if number == errno.EADDRINUSE:
            raise CrossmodalError(f"Port {port} is already in use; choose another with --port.") from error
        if number in (errno.EACCES, errno.EPERM):
            raise CrossmodalError(f"Port {port} is for administrators; choose one from 1024 on with --port.") from error
        raise CrossmodalError(f"--host {host} is not an address of this machine; use 127.0.0.1 or 0.0.0.0.") from error
    return listening


@contextmanager
def _findable(port: int) -> Iterator[None]:
    """Let `reload_model` find this process for the length of a block; a lock says that it lives, also after a kill."""
    path = _place(port)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write(json.dumps({"pid": os.getpid()}))
        file.flush()
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


async def _announce(server: uvicorn.Server, text: str) -> None:
    while not server.started:
        await asyncio.sleep(0.02)
    print(text, flush=True)
    with suppress(CrossmodalError):  # which the first upload is told
        await asyncio.to_thread(uploads().begin)


def reload_model(port: int) -> None:
    """Tell the server on a port of this machine to swap; raises CrossmodalError when there is none."""
    try:
        with _place(port).open("r+", encoding="utf-8") as file:
            if not _is_locked(file):  # left over from a server that was killed: another process may have its number now
                _place(port).unlink(missing_ok=True)
                raise FileNotFoundError
            os.kill(int(json.load(file)["pid"]), signal.SIGHUP)
    except (OSError, ValueError, KeyError) as error:
        raise CrossmodalError(f"No server of this user serves port {port} on this machine.") from error


def _is_locked(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False


def _place(port: int) -> Path:
    return cache_folder() / f"serving-{port}.json"


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
