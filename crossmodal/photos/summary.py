"""What a run of indexing did, in words, for the command line and the page."""

from collections import Counter
from collections.abc import Collection
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from crossmodal.photos.changes import Changes


def summary(changes: "Changes", photos: int, skipped: Collection[str], options: bool = True) -> str:
    """Return in a few lines what a run did; `photos` are in the index, `skipped` are the reasons of unusable files.

    With `options` they say which options of the command line change that.
    """
    counts = (
        (changes.new, "new"), (changes.changed, "changed"), (changes.moved, "moved"), (changes.copies, "copies"),
        (changes.forgotten, "forgotten"),
    )  # fmt: skip
    did = ", ".join(f"{count:,} {name}" for count, name in counts if count > 0) or "nothing new"
    encoded = changes.new + changes.changed
    speed = f", {encoded / changes.seconds:.0f} photos a second" if encoded and changes.seconds else ""
    lines = [f"{photos:,} photos in the index: {did}, in {changes.seconds:.1f} s{speed}."]
    if not (photos or skipped or changes.missing):
        lines.append("There is no photo in this folder, nor in the folders below it.")
    if skipped:
        often = Counter(skipped).most_common(1)[0][0]
        lines.append(f"{counted(len(skipped), 'file')} cannot be used; most common reason: {often}.")
    if changes.read:
        lines.append(f"Text was looked for in {counted(changes.read, 'photo')}.")
    if changes.unreadable:
        lines.append(f"{counted(len(changes.unreadable), 'folder')} cannot be listed; what was known of it is kept.")
    return "\n".join([*lines, *changes.remarks(options)])


def counted(count: int, one: str) -> str:
    """Return a number with its noun."""
    return f"{count:,} {one if count == 1 else f'{one}s'}"
