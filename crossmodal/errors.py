"""The exceptions of the package, each message one sentence that a user can act on; what makes text printable."""

import unicodedata


def printable(text: str) -> str:
    """Return a text on one line in which what cannot be printed, such as what commands a terminal, stands as an escape.

    What comes out of a file may hold anything; it goes through here before it is shown.
    """
    if text.isprintable():  # as nearly all are, and each photo of each answer is asked
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def has_controls(text: str) -> bool:
    """Say whether there are control characters in a text, or bytes that are no UTF-8; joiners of letters may be in one."""
    return any(unicodedata.category(character) in ("Cc", "Cs") for character in text)


class CrossmodalError(Exception):
    """Something the user can mend; the message says what is wrong, where, and what to do, and can be printed."""

    def __str__(self) -> str:
        return printable(super().__str__())


class PhotoError(CrossmodalError):
    """A photo that cannot be used, and why."""


class SlowPhotoError(PhotoError):
    """A photo that takes longer to be decoded than was given to it."""


class CaptionsError(CrossmodalError):
    """A caption file that cannot be read, and why."""


class WeightsError(CrossmodalError):
    """Pretrained weights that cannot be had, and what was tried."""


class CheckpointError(CrossmodalError):
    """A checkpoint or embedding file that cannot be used, and what to do."""


class UnknownPhotoError(CrossmodalError):
    """An id that no photo of the gallery has."""


class UnknownNameError(CrossmodalError):
    """A name that nothing that is kept has."""


class UnavailableError(CrossmodalError):
    """A server elsewhere, as of Milvus, that does not answer or refuses."""


class BusyError(CrossmodalError):
    """Too much is being done already; the same may work in a moment."""
