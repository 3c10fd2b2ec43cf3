"""Photos that others made are decoded in processes of their own: a photo that needs too much costs only its process."""

import atexit
import json
import math
import os
import select
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from functools import cache
from multiprocessing import Pipe
from pathlib import Path
from queue import Empty, LifoQueue
from threading import Event
from typing import TypeVar

import numpy as np

import crossmodal
from crossmodal.data.prepared import Prepared, Wanted
from crossmodal.errors import BusyError, CrossmodalError, PhotoError, SlowPhotoError

STARTING = 60.0  # seconds that a process may take to start
SECONDS = 20  # of a processor's time that one photo may take
UPLOAD_SECONDS = 5
QUICK_SECONDS = 0.1  # in which a JPEG of 12 megapixels is decoded, or a PNG of two
LOOK = 100  # milliseconds between two looks at whether a photo is still wanted
WALL = 3  # times as many seconds by the clock, since processors are shared
AT_ONCE = 2  # quick uploads, and photos that are shown, that are decoded at a time
PATIENCE = 3.0  # seconds that one of them waits for its turn
UPLOAD_PATIENCE = 10.0  # of those that take long
NICE = 10  # so that searches go before uploads that take long

Kept = TypeVar("Kept", "Decoders", "Uploads")


class Decoders:
    """Decodes up to `count` photos at a time, for any number of threads; processes are started as they are needed."""

    def __init__(self, count: int, seconds: int = SECONDS, nice: int = 0, patience: float | None = None) -> None:
        """A photo may take `seconds` of a processor's time; BusyError is raised after `patience` seconds without a turn."""
        self._seconds, self._nice, self._patience = seconds, nice, patience
        self._free: LifoQueue[_Process | None] = LifoQueue()
        for _ in range(count):
            self._free.put(None)
        self._count = count

    def __call__(self, source: Path | bytes, wanted: Wanted, unwanted: Event | None = None) -> Prepared:
        """Decode a photo; raises PhotoError, and BusyError where too many are decoded already.

        Once `unwanted` is set the decoding is stopped, which is a PhotoError too: nobody waits for the photo any more.
        """
        try:
            process = self._free.get(timeout=self._patience)
        except Empty as error:
            raise BusyError("Too many photos are being decoded already; try again soon.") from error
        try:
            if process is None or not process.alive:
                process = _Process(self._seconds, self._nice)
            return process.decode(source, wanted, unwanted or Event())
        except PhotoError:
            # Started again by the one who needed too much, rather than by the next.
            if process and not process.alive:
                with suppress(CrossmodalError):
                    process = _Process(self._seconds, self._nice)
            raise
        except BaseException:  # an interrupt: what it would answer is not for the next photo
            if process:
                process.close()
            raise
        finally:
            self._free.put(process)

    def begin(self) -> None:
        """Start all processes at once, ahead of the first photos; raises CrossmodalError where they do not start."""
        free = [self._free.get() for _ in range(self._count)]
        with ThreadPoolExecutor(self._count) as pool:
            list(pool.map(self._begin, free))

    def _begin(self, process: "_Process | None") -> None:
        try:
            process = process or _Process(self._seconds, self._nice)
        finally:
            self._free.put(process)

    def close(self) -> None:
        """End the processes, after what they do now; the next photo starts new ones."""
        for process in [self._free.get() for _ in range(self._count)]:
            if process:
                process.close()
            self._free.put(None)

    def __enter__(self) -> "Decoders":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


class _Process:
    """One process; what it is asked, it answers or dies of."""

    def __init__(self, seconds: int, nice: int) -> None:
        self._seconds = seconds
        self._connection, theirs = Pipe()
        self._answer = select.poll()  # several times as fast as the connection's own
        self._answer.register(self._connection.fileno(), select.POLLIN)
        path = os.pathsep.join([str(Path(crossmodal.__file__).parent.parent), *filter(None, sys.path)])
        # A single arena, and no threads of numpy's: both take address space, which is bounded.
        environment = {**os.environ, "PYTHONPATH": path, "MALLOC_ARENA_MAX": "1", "OPENBLAS_NUM_THREADS": "1"}
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "crossmodal.data.decoding_process", *map(str, (theirs.fileno(), seconds, nice))],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                env=environment, pass_fds=[theirs.fileno()],
            )  # fmt: skip
        try:
            ready = self._connection.poll(STARTING) and self._connection.recv_bytes() == b"ready"
        except (EOFError, OSError):
            ready = False
        if not ready:
            self.close()
            raise CrossmodalError("The process that decodes photos does not start; is the installation whole?")

    @property
    def alive(self) -> bool:
        """Say whether it can decode a photo; of one that cannot, everything is closed."""
        if self._process.poll() is None:
            return True
        self._connection.close()
        return False

    def decode(self, source: Path | bytes, wanted: Wanted, unwanted: Event) -> Prepared:
        """Decode a photo; raises PhotoError, after which it may be alive or not."""
        end = time.monotonic() + WALL * self._seconds
        try:
            self._connection.send((source, wanted))
            while time.monotonic() < end and not unwanted.is_set():
                if self._answer.poll(LOOK):
                    return _prepared(self._connection.recv_bytes(), wanted)
        except (EOFError, OSError, ValueError, TypeError, KeyError):
            pass  # it died, or what it sent is no answer
        self.close()
        if unwanted.is_set():
            raise PhotoError(f"{wanted.label} is no longer wanted.")
        raise SlowPhotoError(
            f"{wanted.label} cannot be decoded in {self._seconds} seconds and 1 GB of memory; it may be damaged."
        )

    def close(self) -> None:
        """End the process."""
        self._connection.close()
        self._process.kill()
        self._process.wait()


def _prepared(answer: bytes, wanted: Wanted) -> Prepared:
    line, _, content = answer.partition(b"\n")
    facts = json.loads(line)
    if "reason" in facts:
        raise (SlowPhotoError if facts["slow"] else PhotoError)(facts["reason"])
    size = wanted.preprocessing.size if wanted.preprocessing else 0
    pixels = np.frombuffer(content, np.uint8, 3 * size**2).reshape(size, size, 3) if size else None
    return Prepared(**facts, pixels=pixels, jpeg=content[3 * size**2 :])


class Uploads:
    """Decodes photos that may be hostile: those that take long, by their header or as it turns out, wait for one another alone."""

    def __init__(self) -> None:
        self._quick = Decoders(AT_ONCE, math.ceil(QUICK_SECONDS), patience=PATIENCE)
        self._slow = Decoders(1, UPLOAD_SECONDS, NICE, UPLOAD_PATIENCE)

    def quick(self, source: bytes, wanted: Wanted, unwanted: Event | None = None) -> Prepared:
        """Decode one as Decoders do; raises SlowPhotoError where it takes long."""
        return self._quick(source, replace(wanted, seconds=QUICK_SECONDS), unwanted)

    def slow(self, source: bytes, wanted: Wanted, unwanted: Event | None = None) -> Prepared:
        """Decode one that takes long, as Decoders do."""
        return self._slow(source, wanted, unwanted)

    def __call__(self, source: bytes, wanted: Wanted) -> Prepared:
        """Decode one as Decoders do, quickly or not."""
        try:
            return self.quick(source, wanted)
        except SlowPhotoError:
            return self.slow(source, wanted)

    def begin(self) -> None:
        """Start the processes of quick ones, ahead of the first; raises CrossmodalError where they do not start."""
        self._quick.begin()

    def close(self) -> None:
        """End the processes, as Decoders do."""
        self._quick.close()
        self._slow.close()


@cache
def uploads() -> Uploads:
    """Return what decodes the uploads of this server."""
    return _kept(Uploads())


@cache
def shown_photos() -> Decoders:
    """Return what decodes a gallery's own photos to be shown."""
    return _kept(Decoders(AT_ONCE, patience=10 * PATIENCE))


def _kept(decoders: Kept) -> Kept:
    atexit.register(decoders.close)
    return decoders
