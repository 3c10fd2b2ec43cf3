"""Entries of JSON and rows of Parquet: the image, the captions and the split that stand under their keys."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from crossmodal.data.captions.rows import (
    CAPTION_KEYS,
    IMAGE_KEYS,
    SAMPLE,
    BadRow,
    Row,
    are_splits,
    caption_kind,
    is_empty,
    pairs_of,
    plain_name,
    rows_of_entry,
)

SPLIT = "split"
Pairs = list[tuple[str, Any]]  # keys, as the names of columns are compared, and values; a key may stand twice


@dataclass(frozen=True)
class Keys:
    """The keys that entries have: those of captions where some entries have several kinds, and those of splits."""

    captions: tuple[str, ...]  # the keys of each kind, in words; the kinds in order of preference
    splits: tuple[str, ...]

    @property
    def split(self) -> str:
        """The key of splits; the usual one where there is none or more than one."""
        return self.splits[0] if len(self.splits) == 1 else SPLIT

    def said(self) -> list[str]:
        """Return in words what was decided; nothing where it goes without saying."""
        captions = ["captions from " + ", else from ".join(self.captions)] if self.captions else []
        return captions + ([] if self.splits == (SPLIT,) else said_of_splits(list(map(repr, self.splits)), "from"))


def said_of_splits(columns: Sequence[str], preposition: str) -> list[str]:
    """Return in words which column has the splits, or that several could have them; nothing where there is none."""
    if len(columns) > 1:
        return [f"no splits, since more than one column looks like them ({', '.join(columns)})"]
    return [f"splits {preposition} {column}" for column in columns]


def plain_pairs(entry: Any) -> Pairs:
    """Return the keys and values of an object; none for what is no object."""
    return [(plain_name(key), value) for key, value in pairs_of(entry)] if isinstance(entry, dict) else []


def keys_of(entries: Iterable[Any]) -> Keys:
    """Return what keys entries have; where none is called split, one whose first values are names of splits is it."""
    values: dict[str, list[Any]] = {}
    kinds: dict[str, dict[str, None]] = {}
    several = False
    for entry in entries:
        own = set()
        for key, value in plain_pairs(entry):
            seen = values.setdefault(key, [])
            if value is not None and len(seen) < SAMPLE:
                seen.append(value)
            if value is not None and (kind := caption_kind(key)):
                kinds.setdefault(kind, {})[repr(key)] = None
                own.add(kind)
        several |= len(own) > 1
    captions = [" and ".join(kinds[kind]) for kind in CAPTION_KEYS if kind in kinds] if several else []
    found = [key for key, seen in values.items() if not _is_known(key) and are_splits(seen)]
    return Keys(tuple(captions), (SPLIT,) if SPLIT in values else tuple(found))


def _is_known(key: str) -> bool:
    return key in IMAGE_KEYS or bool(caption_kind(key))


def read_entries(entries: Sequence[tuple[str, Any]]) -> tuple[list[str], Iterator[Row]]:
    """Return what is to be said of the keys of entries, each given with where it stands, and their rows.

    What could not be parsed is given as a BadRow.
    """
    keys = keys_of(entry for _, entry in entries)
    return keys.said(), _rows(entries, keys.split)


def _rows(entries: Sequence[tuple[str, Any]], split: str) -> Iterator[Row]:
    for where, entry in entries:
        if isinstance(entry, BadRow):
            yield entry
            continue
        pairs = plain_pairs(entry)
        if twice := repeated(pairs, (*IMAGE_KEYS, split)):
            yield BadRow(where, "", twice)
        else:
            yield from rows_of_captions(image_in(dict(pairs)), pairs, where, dict(pairs).get(split))


def rows_of_captions(image: str | None, pairs: Pairs, where: str, split: Any) -> Iterator[Row]:
    """Yield a row for each caption under any key of the kind that is taken."""
    for captions in captions_in(pairs):
        yield from rows_of_entry(image, captions, where, split)


def captions_in(pairs: Pairs) -> list[Any]:
    """Return the values of all keys of one kind, the first in CAPTION_KEYS that has text; one value without text where none has."""
    told = [(kind, value) for key, value in pairs if value is not None and (kind := caption_kind(key))]
    for kind in sorted({kind for kind, _ in told}, key=CAPTION_KEYS.index):
        given = [value for own, value in told if own == kind and not is_empty(value)]
        if any(isinstance(value, (str, list)) for value in given):
            return given
    return [told[0][1] if told else None]


def image_in(entry: dict[str, Any]) -> str | None:
    """Return the name of the image of an entry, None where it has none."""
    name = next((entry[key] for key in IMAGE_KEYS if entry.get(key) is not None), None)
    return name if isinstance(name, str) else None


def repeated(pairs: Pairs, keys: Iterable[str]) -> str:
    """Return why an entry is refused in which one of these keys stands twice and says two things; "" where none does."""
    last = dict(pairs)
    if len(last) == len(pairs):
        return ""
    twice = next((key for key, value in pairs if key in keys and value != last[key]), None)
    return f"the key {twice!r} stands twice, with different values" if twice else ""
