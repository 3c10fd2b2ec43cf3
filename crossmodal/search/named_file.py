"""Files of what is kept beside an index under names: read again when they change, written whole by one process at a time."""

import json
import stat
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, Self, TypeVar

import filelock

from crossmodal.errors import CrossmodalError, UnknownNameError, has_controls
from crossmodal.files import read_bounded, write_text

LONGEST_NAME = 60  # characters
VERSION = 1  # of all these files
WAIT = 10.0  # seconds for another process that is writing


class Named(Protocol):
    """Something with a name."""

    @property
    def name(self) -> str:
        """Its name, as it is shown."""
        ...

    def renamed(self, name: str) -> Self:
        """Return it under another name; raises CrossmodalError for one that it cannot have."""
        ...


T = TypeVar("T", bound=Named)


@dataclass(frozen=True)
class Form(Generic[T]):
    """How a kind of things is called, and written in a file."""

    noun: str
    again: str  # what a user does where the file is broken, in words
    most_bytes: int
    plain: Callable[[T], Mapping[str, Any]]
    read: Callable[[Mapping[str, Any]], T]  # raises CrossmodalError, or an error of Python's, for a broken one

    @property
    def nouns(self) -> str:
        """The noun in the plural, which is also the key of the file's list."""
        return f"{self.noun}s"

    @property
    def one(self) -> str:
        """The noun with its article."""
        return f"{'an' if self.noun[0] in 'aeiou' else 'a'} {self.noun}"

    @property
    def format(self) -> str:
        """The name of the file's format."""
        return f"crossmodal-{self.nouns}"


class NamedThings(ABC, Generic[T]):
    """Things that are kept under names; several threads and processes may use them."""

    def __init__(self, form: Form[T]) -> None:
        self.form = form

    @abstractmethod
    def entries(self) -> dict[str, T]:
        """Return the things by their keys (see `key_of`), in the order they were added.

        Raises CrossmodalError where what is kept is broken, and may be another's.
        """

    @abstractmethod
    def _changed(self) -> AbstractContextManager[dict[str, T]]:
        """Hold the things as they are now, to be changed and then written; nothing is written where an error is raised."""

    def entry(self, name: str) -> T:
        """Return a thing by its name; raises UnknownNameError, with the names there are, for an unknown one."""
        entries = self.entries()
        if key_of(name) not in entries:
            known = ", ".join(one.name for one in entries.values()) or "none yet"
            raise UnknownNameError(
                f"There is no {self.form.noun} {name!r:.80}; the {self.form.nouns} here are: {known}."
            )
        return entries[key_of(name)]

    def keep(self, *things: T) -> None:
        """Write things, in place of those of the same names."""
        with self._changed() as kept:
            kept.update({key_of(one.name): one for one in things})

    def add(self, thing: T) -> None:
        """Write a thing; raises CrossmodalError where another has its name."""
        with self._changed() as kept:
            self._refuse_second(thing.name, kept)
            kept[key_of(thing.name)] = thing

    def rename(self, old: str, new: str) -> T:
        """Give a thing another name; raises CrossmodalError for one that another has."""
        thing = self.entry(old).renamed(new)
        with self._changed() as kept:
            if key_of(new) != key_of(old):
                self._refuse_second(new, kept)
            kept.pop(key_of(old), None)
            kept[key_of(new)] = thing
        return thing

    def forget(self, name: str) -> None:
        """Take a thing away; raises UnknownNameError for an unknown one."""
        self.entry(name)
        with self._changed() as kept:
            kept.pop(key_of(name), None)

    def _refuse_second(self, name: str, kept: Mapping[str, T]) -> None:
        if key_of(name) in kept:
            raise CrossmodalError(
                f"There is {self.form.one} {name!r} already; forget it first, or choose another name."
            )


class NamedFile(NamedThings[T]):
    """The things in a file."""

    def __init__(self, path: Path, form: Form[T]) -> None:
        super().__init__(form)
        self.path = Path(path)
        self._read: tuple[object, dict[str, T]] = (None, {})

    @property
    def state(self) -> object:
        """What differs once the file was changed; None where there is none."""
        try:
            stat = self.path.stat()
        except OSError:
            return None
        return stat.st_mtime_ns, stat.st_size, stat.st_ino

    def entries(self) -> dict[str, T]:
        """Return the things by their keys, in the order they were added; none where there is no file."""
        state = self.state
        if state is None:
            return {}
        known, entries = self._read
        if known != state:
            entries = {key_of(one.name): one for one in read_entries(self.path, self.form)}
            self._read = (state, entries)
        return entries

    @contextmanager
    def _changed(self) -> Iterator[dict[str, T]]:
        lock = filelock.FileLock(self.path.with_name(f"{self.path.name}.lock"), timeout=WAIT)
        try:
            lock.acquire()
        except filelock.Timeout as error:
            raise CrossmodalError(f"Another program is changing {self.path.name}; try again in a moment.") from error
        except OSError as error:
            raise CrossmodalError(
                f"{self.path.name} cannot be written ({error.strerror}); {self.form.nouns} are kept beside the index, in a folder "
                "that can."
            ) from error
        try:
            kept = dict(self.entries())
            yield kept
            write_entries(self.path, self.form, kept.values())
        finally:
            lock.release()


def write_entries(path: Path, form: Form[T], things: Iterable[T]) -> None:
    """Write things into a file, whole or not at all."""
    content = {"format": form.format, "version": VERSION, form.nouns: [form.plain(one) for one in things]}
    write_text(path, json.dumps(content, ensure_ascii=False, indent=1) + "\n")


def read_entries(path: Path, form: Form[T]) -> list[T]:
    """Read the things of a file; raises CrossmodalError for one that is absent, broken or of another format.

    The message names the file without its folders, since a server may show it.
    """
    try:
        state = path.stat()
        if not stat.S_ISREG(state.st_mode) or state.st_size > form.most_bytes:
            raise CrossmodalError(
                f"{path.name} is no regular file, or too large to hold {form.nouns}; delete it, and {form.again}."
            )
        content = json.loads(read_bounded(path, form.most_bytes).decode("utf-8"))
    except OSError as error:
        raise CrossmodalError(f"{path.name} cannot be read ({error.strerror}).") from error
    except (ValueError, RecursionError) as error:
        raise _broken(path, form, "it is not JSON") from error
    if not isinstance(content, dict) or (content.get("format"), content.get("version")) != (form.format, VERSION):
        raise CrossmodalError(
            f"{path.name} is not a file of {form.nouns} of this version ({form.format} {VERSION}); delete it, and {form.again}."
        )
    try:
        things = [form.read(plain) for plain in content[form.nouns]]
    except (CrossmodalError, ValueError) as error:
        raise _broken(path, form, str(error)) from error
    except (KeyError, TypeError, AttributeError) as error:
        raise _broken(path, form, f"{form.one} in it lacks something, or has it of another kind") from error
    if len({key_of(one.name) for one in things}) < len(things):
        raise _broken(path, form, "two in it have one name")
    return things


def _broken(path: Path, form: Form[T], what: str) -> CrossmodalError:
    return CrossmodalError(f"{path.name} is broken ({what:.120}); delete it, and {form.again}.")


def one_line(name: str, what: str = "name") -> str:
    """Return a name in single spaces; raises CrossmodalError for one that is empty, too long, or has control characters."""
    name = " ".join(name.split())
    if not name or len(name) > LONGEST_NAME or has_controls(name):
        raise CrossmodalError(f"A {what} has 1 to {LONGEST_NAME} characters, on one line; {name!r:.80} does not.")
    return name


def key_of(name: str) -> str:
    """Return what two spellings of one name have in common: upper and lower case are the same."""
    return " ".join(name.split()).casefold()
