"""Photos by URL: small, large and original, under ids that tell nothing of paths; and pictures that were dropped."""

import io
import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar
from urllib.parse import unquote

from PIL import Image
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from crossmodal.data.decoders import uploads
from crossmodal.data.names import safe_name
from crossmodal.data.prepared import Wanted
from crossmodal.data.thumbnails import Size, thumbnail
from crossmodal.errors import BusyError, CrossmodalError
from crossmodal.files import shown

V = TypeVar("V")
KNOWN_PHOTOS = 100_000  # ids that the page has shown, the last ones
KEPT_PICTURES = 300_000_000  # bytes
PICTURE_SIDE = 768
LARGEST_UPLOAD = 50_000_000
SOON = {"Retry-After": "2"}
FOR_EVER = {"Cache-Control": "private, max-age=31536000, immutable", "X-Content-Type-Options": "nosniff"}


class Known(Generic[V]):
    """The most recently used values by key, whose sizes, by default 1 each, add up to at most `most`; safe for threads."""

    def __init__(self, most: int, size: Callable[[V], int] = lambda value: 1) -> None:
        self._most, self._size, self._values = most, size, OrderedDict[str, V]()
        self._total, self._lock = 0, threading.Lock()

    def add(self, key: str, value: V) -> None:
        """Keep a value, or move it to the end."""
        with self._lock:
            if key in self._values:
                self._total -= self._size(self._values.pop(key))
            self._values[key] = value
            self._total += self._size(value)
            while self._total > self._most:
                self._total -= self._size(self._values.popitem(last=False)[1])

    def get(self, key: str) -> V | None:
        """Return a value, or None."""
        with self._lock:
            return self._values.get(key)


PHOTOS: Known[Path] = Known(KNOWN_PHOTOS)
PICTURES: Known[bytes] = Known(KEPT_PICTURES, len)


def url_of(photo_id: str, path: Path, form: str = "small") -> str | None:
    """Return where the page finds a photo: `small`, `tiny`, `large` or `original`; None where there is no file.

    The URL changes with the file, so that a browser may keep what it got.
    """
    try:
        stat = path.stat()
    except OSError:
        return None
    PHOTOS.add(photo_id, path)
    return f"photos/{photo_id}/{form}?v={stat.st_mtime_ns:x}-{stat.st_size:x}"


def keep_picture(content: bytes, name: str | None = None) -> str:
    """Keep a picture that was dropped; return its token, which cannot be guessed. Raises PhotoError for what is no photo."""
    uploads()(content, Wanted(jpeg=PICTURE_SIDE, label=name or "The photo"))
    token = secrets.token_hex(12)
    PICTURES.add(token, content)
    return token


def keep_image(image: Image.Image) -> str:
    """Keep an image as JPEG; return its token."""
    file, token = io.BytesIO(), secrets.token_hex(12)
    image.save(file, "JPEG", quality=88)
    PICTURES.add(token, file.getvalue())
    return token


def _busy(error: BusyError) -> Response:
    return PlainTextResponse(str(error), 503, SOON)


def _photo(request: Request) -> Response:
    path = PHOTOS.get(request.path_params["id"])
    form = request.path_params["form"]
    if path is None or form not in FORMS:
        return PlainTextResponse("There is no such photo.", 404)
    try:
        if form == "original":
            return FileResponse(path, filename=safe_name(shown(path.name)), headers=FOR_EVER)
        content, _ = thumbnail(path, FORMS[form])
    except BusyError as error:
        return _busy(error)
    except (OSError, CrossmodalError):
        return PlainTextResponse("This photo cannot be shown.", 404)
    return Response(content, media_type="image/jpeg", headers=FOR_EVER)


FORMS = {"tiny": Size.MIDDLE, "small": Size.BIG, "large": Size.HUGE, "original": 0}


def _picture(request: Request) -> Response:
    content = PICTURES.get(request.path_params["token"])
    if content is None:
        return PlainTextResponse("There is no such picture.", 404)
    try:
        jpeg = uploads()(content, Wanted(jpeg=PICTURE_SIDE)).jpeg
    except BusyError as error:
        return _busy(error)
    except CrossmodalError:
        return PlainTextResponse("This picture cannot be shown.", 404)
    return Response(jpeg, media_type="image/jpeg", headers=FOR_EVER)


async def _add_picture(request: Request) -> Response:
    # Another site's page could not send this header without asking first.
    if "x-picture-name" not in request.headers:
        return JSONResponse({"error": "Pictures are sent by the page itself."}, 403)
    content = bytearray()
    async for part in request.stream():
        content += part
        if len(content) > LARGEST_UPLOAD:
            most = f"{LARGEST_UPLOAD // 1_000_000} MB"
            return JSONResponse({"error": f"The picture is larger than {most}; make it smaller."}, 413)
    name = unquote(request.headers["x-picture-name"])[:100]
    try:
        token = await run_in_threadpool(keep_picture, bytes(content), name)
    except BusyError as error:
        return JSONResponse({"error": str(error)}, 503, SOON)
    except CrossmodalError as error:
        return JSONResponse({"error": str(error)}, 400)
    return JSONResponse({"token": token})


ROUTES = [
    Route("/photos/{id}/{form}", _photo),
    Route("/pictures/{token}", _picture),
    Route("/pictures", _add_picture, methods=["POST"]),
]
