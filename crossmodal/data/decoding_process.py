"""A process that decodes photos one at a time, with bounds on its memory and time: `python -m ... DESCRIPTOR SECONDS NICE STOPPABLE`."""

import contextlib
import io
import json
import math
import os
import resource
import signal
import sys
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import pillow_heif
from PIL import AvifImagePlugin, Image

from crossmodal.data.decoding import MOST_MEMORY
from crossmodal.data.prepared import Wanted, prepared
from crossmodal.errors import PhotoError

SPARE = 200_000_000  # bytes beside what decoding a photo may need: the photo's file, and what stays allocated
Resource = int
DECODING: set[int] = set()  # the process that decodes


def main(descriptor: int, seconds: int, nice: int, stoppable: int) -> None:
    """Answer what is asked until the other end is closed.

    What is asked is a photo's content or path, and a Wanted. The answer is JSON, either a reason or the facts of a
    Prepared and in the next lines its pixels and its JPEG, so that nothing that comes out of this process is unpickled.
    With `stoppable` each photo has a process of its own, which SIGTERM ends; the answer is then empty.
    """
    # A thread of a decoder takes room from the photo.
    AvifImagePlugin.DEFAULT_MAX_THREADS = 1
    pillow_heif.options.DECODE_THREADS = 1
    os.nice(nice)
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_FSIZE, 0)
    with contextlib.suppress(OSError):  # a system that does not say how much memory a process has
        mapped = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        _limit(resource.RLIMIT_AS, mapped + MOST_MEMORY + SPARE)
    if stoppable:
        signal.signal(signal.SIGTERM, _stop)
        first = io.BytesIO()
        Image.new("RGB", (8, 8)).save(first, "JPEG")
        _answer(first.getvalue(), Wanted(jpeg=8))  # what Pillow loads once is not loaded by each process
    with Connection(descriptor) as connection, contextlib.suppress(EOFError, OSError):
        connection.send_bytes(b"ready")
        while True:
            connection.send_bytes((_apart if stoppable else _here)(connection.recv(), seconds))


def _stop(*signal_and_frame: object) -> None:
    """Stop decoding: to begin a process for another photo takes milliseconds here, and half a second from the start."""
    for child in DECODING:
        os.kill(child, signal.SIGKILL)


def _here(asked: tuple[Path | bytes, Wanted], seconds: int) -> bytes:
    used = resource.getrusage(resource.RUSAGE_SELF)
    _limit(resource.RLIMIT_CPU, math.ceil(used.ru_utime + used.ru_stime) + seconds)
    return _answer(*asked)


def _apart(asked: tuple[Path | bytes, Wanted], seconds: int) -> bytes:
    """Return the answer of a process that decodes one photo; empty where it died of it."""
    readable, writable = os.pipe()
    child = os.fork()
    if not child:
        status = 1
        try:
            _limit(resource.RLIMIT_CPU, seconds)
            with open(writable, "wb") as answer:
                answer.write(_answer(*asked))
            status = 0
        finally:
            os._exit(status)
    DECODING.add(child)
    os.close(writable)
    try:
        with open(readable, "rb") as answer:
            content = answer.read()
    finally:
        DECODING.discard(child)  # while its number is still its own
        _, died = os.waitpid(child, 0)
    return b"" if died else content


def _answer(source: Path | bytes, wanted: Wanted) -> bytes:
    try:
        photo = prepared(source, wanted)
    except PhotoError as error:
        return json.dumps({"reason": str(error)}).encode()
    facts = {key: value for key, value in vars(photo).items() if key not in ("pixels", "jpeg")}
    pixels = b"" if photo.pixels is None else np.ascontiguousarray(photo.pixels).data.cast("B")
    return b"".join((json.dumps(facts).encode(), b"\n", pixels, photo.jpeg))


def _limit(what: Resource, most: int) -> None:
    """Set a soft limit; a system that does not know it goes without."""
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(what, (most, resource.getrlimit(what)[1]))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
