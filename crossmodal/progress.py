"""Progress bars, so that the same work can show itself in a terminal, on the page, or not at all."""

import io
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, redirect_stdout

from tqdm import tqdm

Advance = Callable[[int], None]
# A title, how much there is to do, and its unit, to something that is told of each advance.
Bars = Callable[[str, int, str], AbstractContextManager[Advance]]


@contextmanager
def silent(title: str, total: int, unit: str) -> Iterator[Advance]:
    """Show nothing."""
    yield lambda count: None


@contextmanager
def terminal(title: str, total: int, unit: str) -> Iterator[Advance]:
    """Show a bar with rate and time left, gone when it is done."""
    with tqdm(total=total, desc=title, unit=unit, leave=False) as bar:

        def advance(count: int) -> None:
            bar.update(count)

        yield advance


@contextmanager
def unprinted() -> Iterator[None]:
    """Hold back what a library prints within a block.

    Of the main thread alone: a process has one output, which another thread would take from all others, and give back when
    it may be closed.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    with redirect_stdout(io.StringIO()):
        yield


def print_anywhere() -> None:
    """Let what a terminal's encoding lacks be printed as an escape, instead of ending the program."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
