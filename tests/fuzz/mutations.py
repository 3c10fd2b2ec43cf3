"""Seeded mutations of files, and what bounds the time and the memory that each may take."""

import os
import random
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import psutil
import pytest

SECONDS = 20  # for one input, on a machine that does other work too
MEGABYTES = 300  # beyond what there was before
CUTS = 4  # mutations of one input at the most


def counts(few: int, many: int) -> pytest.MarkDecorator:
    """Run a test on a few inputs, and on many with `-m real`."""
    return pytest.mark.parametrize("count", [few, pytest.param(many, marks=pytest.mark.real)])


def mutated(content: bytes, chance: random.Random, tokens: tuple[bytes, ...] = ()) -> bytes:
    """Return a content with bytes changed, removed, repeated, put in, or cut off."""
    changed = bytearray(content)
    for _ in range(chance.randint(1, CUTS)):
        at, length = chance.randrange(len(changed) + 1), chance.choice((1, 2, 4, 16, 200))
        kind = chance.randrange(6 if tokens else 5)
        if kind == 0 and at < len(changed):
            changed[at] ^= 1 << chance.randrange(8)
        elif kind == 1:
            changed[at : at + length] = chance.randbytes(length)
        elif kind == 2:
            del changed[at : at + length]
        elif kind == 3:
            changed[at:at] = changed[at : at + length] * chance.choice((1, 2, 50))
        elif kind == 4 and chance.random() < 0.3:
            del changed[at:]
        elif kind == 5:
            changed[at:at] = chance.choice(tokens)
    return bytes(changed)


@contextmanager
def bounded(what: object) -> Iterator[None]:
    """Fail where a block takes longer than SECONDS, also where it would never end."""

    def late(number: int, frame: FrameType | None) -> None:
        pytest.fail(f"{what} takes more than {SECONDS} seconds")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(SECONDS)
    started = time.monotonic()
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
    assert time.monotonic() - started < SECONDS, what


@contextmanager
def modest() -> Iterator[None]:
    """Fail where a block takes more than MEGABYTES of memory at any moment beyond what this process had before."""
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak of what ran before
    before = psutil.Process().memory_info().rss
    yield
    grown = peak_of(os.getpid()) - before / 1e6
    assert grown < MEGABYTES, f"{grown:.0f} MB more at the peak"


def peak_of(process: int) -> float:
    """Return the most memory that a process held at any moment, in MB."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1000
