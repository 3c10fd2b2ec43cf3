"""The exceptions of the package; each message is one sentence a user can act on."""


class CrossmodalError(Exception):
    """Something the user can mend; the message says what is wrong, where, and what to do."""


class PhotoError(CrossmodalError):
    """A photo that cannot be used, and why."""


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
