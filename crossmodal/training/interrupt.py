"""Ctrl-C and SIGTERM as a wish to stop, which the loop grants after its step."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any

from crossmodal.training.setting import Interrupted


class StopWish:
    """While entered, the first signal raises a flag and the second acts as it did before."""

    def __init__(self, say: Callable[[str], None]) -> None:
        """`say` tells the user that the wish was heard."""
        self.wished, self._waits = False, True
        self._say = say
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> "StopWish":
        """Take the signals over."""
        for name in (signal.SIGINT, signal.SIGTERM):
            self._before[name] = signal.signal(name, self._heard)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Give the signals back."""
        for name, handler in self._before.items():
            signal.signal(name, handler)

    @contextmanager
    def granted_at_once(self) -> Iterator[None]:
        """Raise Interrupted at a signal in this block, where nothing is trained yet that would be lost."""
        self._waits = False
        try:
            yield
        except KeyboardInterrupt as wish:
            raise Interrupted from wish
        finally:
            self._waits = True

    def _heard(self, number: int, frame: FrameType | None) -> None:
        if not self._waits:
            raise KeyboardInterrupt
        self.wished = True
        self._say("Finishing this step, then saving; once more to stop at once.")
        self.__exit__(None, None, None)
