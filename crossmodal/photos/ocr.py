"""Text in photos (OCR), read by rapidocr, whose wheel carries its weights: after the indexing, since it takes far longer."""

import io
import time
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from threading import Lock

import numpy as np
from PIL import Image

from crossmodal.data.decoders import Decoders
from crossmodal.data.limits import READ_TEXT
from crossmodal.data.prepared import Wanted
from crossmodal.data.written import plain_text
from crossmodal.encoding.openvino_core import openvino
from crossmodal.errors import CrossmodalError, PhotoError
from crossmodal.photos.changes import Step
from crossmodal.photos.reading import content_of
from crossmodal.photos.store import Store

SIDE = 1280  # pixels of a photo's longer side, in which text is looked for; smaller photos are not enlarged
SURE = 0.8  # less sure readings are mostly of patterns, as are single characters
SHORTEST = 2

Reader = Callable[[np.ndarray], str]  # the text in a photo, uint8 [height, width, 3] RGB


def has_rapidocr() -> bool:
    """Say whether rapidocr is installed."""
    return find_spec("rapidocr") is not None


def require_rapidocr() -> None:
    """Raise CrossmodalError where rapidocr is not installed."""
    if not has_rapidocr():
        raise CrossmodalError(
            "Reading text in photos needs rapidocr: pip install -r requirements-ocr.txt; --no-ocr indexes without."
        )


@cache
def rapidocr_reader() -> Reader:
    """Return what reads Latin and Chinese script, and more, on this CPU; raises CrossmodalError where rapidocr is not installed.

    It is one for the process, and for one thread at a time: its cores of OpenVINO must not be closed (`openvino_core.core`).
    """
    require_rapidocr()
    openvino()
    from rapidocr import EngineType, RapidOCR

    engines = {f"{part}.engine_type": EngineType.OPENVINO for part in ("Det", "Cls", "Rec")}
    ocr = RapidOCR(
        params={**engines, "Global.log_level": "critical", "Det.limit_type": "max", "Det.limit_side_len": SIDE}
    )

    one_at_a_time = Lock()

    def read(pixels: np.ndarray) -> str:
        with one_at_a_time:
            found = ocr(np.ascontiguousarray(pixels[:, :, ::-1]))
        pieces = zip(found.txts or (), found.scores or (), strict=True)
        return " ".join(text for text, score in pieces if score >= SURE and len(text) >= SHORTEST)

    return read


def read_texts(store: Store, root: Path, reader: Callable[[], Reader], watch: Callable[[Step], None]) -> int:
    """Read the text in each photo that was not read yet, and record it at once; return how many photos were read.

    The lock of the index is held by the caller. The reader is opened where there is a photo to read. A photo that changed
    meanwhile, or is away, is left to the next run.
    """
    started, done = time.monotonic(), 0
    todo = {one.described.digest: one.found for one in store.photos() if one.described.text is None}
    if not todo:
        return 0
    in_all, done_bytes = sum(found.size for found in todo.values()), 0
    read = reader()
    with Decoders(1) as decoders:
        for place, (digest, found) in enumerate(todo.items(), 1):
            path = root / found.path
            with suppress(OSError, PhotoError):
                known, content = content_of(path, found.size)
                if known == digest:
                    photo = decoders(path if content is None else content, Wanted(jpeg=SIDE))
                    # What the decoding process gave, not what lies in the folder.
                    pixels = np.asarray(Image.open(io.BytesIO(photo.jpeg), formats=("JPEG",)).convert("RGB"))
                    store.set_text(digest, plain_text(read(pixels), READ_TEXT))
                    done += 1
            done_bytes += found.size
            watch(Step(place, len(todo), done_bytes, in_all, time.monotonic() - started, "Reading text"))
    return done
