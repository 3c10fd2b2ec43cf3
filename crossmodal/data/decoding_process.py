"""A process that decodes photos one at a time, with bounds on its memory and time: `python -m ... DESCRIPTOR SECONDS NICE`."""

import contextlib
import json
import math
import os
import resource
import sys
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import pillow_heif
from PIL import AvifImagePlugin

from crossmodal.data.decoding import MOST_MEMORY
from crossmodal.data.prepared import prepared
from crossmodal.errors import PhotoError, SlowPhotoError

SPARE = 200_000_000  # bytes beside what decoding a photo may need: the photo's file, and what stays allocated
Resource = int


def main(descriptor: int, seconds: int, nice: int) -> None:
    """Answer what is asked until the other end is closed.

    What is asked is a photo's content or path, and a Wanted. The answer is JSON, either a reason (with whether it is that the
    photo takes too long) or the facts of a Prepared and in the next lines its pixels and its JPEG, so that nothing that comes
    out of this process is unpickled.
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
    with Connection(descriptor) as connection, contextlib.suppress(EOFError, OSError):
        connection.send_bytes(b"ready")
        while True:
            source, wanted = connection.recv()
            used = resource.getrusage(resource.RUSAGE_SELF)
            _limit(resource.RLIMIT_CPU, math.ceil(used.ru_utime + used.ru_stime) + seconds)
            try:
                photo = prepared(source, wanted)
            except PhotoError as error:
                answer = {"reason": str(error), "slow": isinstance(error, SlowPhotoError)}
                connection.send_bytes(json.dumps(answer).encode())
                continue
            facts = {key: value for key, value in vars(photo).items() if key not in ("pixels", "jpeg")}
            pixels = b"" if photo.pixels is None else np.ascontiguousarray(photo.pixels).data.cast("B")
            connection.send_bytes(b"".join((json.dumps(facts).encode(), b"\n", pixels, photo.jpeg)))


def _limit(what: Resource, most: int) -> None:
    """Set a soft limit; a system that does not know it goes without."""
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(what, (most, resource.getrlimit(what)[1]))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
