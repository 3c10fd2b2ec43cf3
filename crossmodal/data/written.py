"""What is written into a photo's file (IPTC, XMP, EXIF): title, keywords, description, place, and the camera's position.

Nothing of it is believed: every block may be malformed, and then says nothing, and every text is cut.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

from PIL import ExifTags, Image, IptcImagePlugin

from crossmodal.data.limits import KEYWORDS, WRITTEN

XMP_BYTES = 1_000_000  # larger blocks hold a program's history of edits, or are made to be slow
MOST = 500  # values of one kind that are looked at
Values = Mapping[str, Iterable[object]]  # values, the most telling first, of what WRITTEN names
# By the local names of dc, photoshop and Iptc4xmpCore; `Description` of rdf is another than dc's `description`.
XMP: Mapping[str, tuple[str, ...]] = {
    "title": ("title", "Headline"), "keywords": ("subject",), "description": ("description",),
    "place": ("Location", "City", "State", "Country"),
}  # fmt: skip
# Data sets of record 2: object name, headline; keywords; caption; sublocation, city, province, country.
IPTC: Mapping[str, tuple[int, ...]] = {
    "title": (5, 105),
    "keywords": (25,),
    "description": (120,),
    "place": (92, 90, 95, 101),
}
EXIF: Mapping[str, tuple[int, ...]] = {
    "title": (ExifTags.Base.XPTitle,), "keywords": (ExifTags.Base.XPKeywords,),
    "description": (ExifTags.Base.ImageDescription, ExifTags.Base.XPComment, ExifTags.Base.XPSubject),
}  # fmt: skip
# Descriptions that cameras write into all of their photos.
OF_CAMERAS = {
    "olympus digital camera",
    "sony dsc",
    "minolta digital camera",
    "kodak digital still camera",
    "dcim",
    "samsung",
}


def written_in(photo: Image.Image, exif: Image.Exif) -> dict[str, str]:
    """Return what is written into an opened photo by the names of WRITTEN, "" for what is not; nothing is raised."""
    blocks = [_values(_xmp, photo), _values(_iptc, photo), _values(_exif, exif)]
    said = {name: [value for block in blocks for value in block.get(name, ())] for name in WRITTEN}
    keywords = [part for value in said["keywords"] for part in value.split(";")]
    descriptions = [value for value in said["description"] if value.casefold() not in OF_CAMERAS]
    return {
        "title": _joined(said["title"][:1], "", "title"), "keywords": _joined(keywords, KEYWORDS, "keywords"),
        "description": _joined(descriptions, " ", "description"), "place": _joined(said["place"], ", ", "place"),
    }  # fmt: skip


def position_in(exif: Image.Exif) -> tuple[float, float] | None:
    """Return latitude and longitude in degrees where the camera wrote them, else None; nothing is raised."""
    try:
        gps = exif.get_ifd(ExifTags.IFD.GPSInfo)
        latitude = _degrees(gps[ExifTags.GPS.GPSLatitude], gps.get(ExifTags.GPS.GPSLatitudeRef) == "S")
        longitude = _degrees(gps[ExifTags.GPS.GPSLongitude], gps.get(ExifTags.GPS.GPSLongitudeRef) == "W")
    except Exception:  # none, or a malformed one
        return None
    # 0, 0 is what a receiver without a signal writes.
    there = abs(latitude) <= 90 and abs(longitude) <= 180 and (latitude or longitude)
    return (latitude, longitude) if there else None


def _degrees(parts: Iterable[Any], negative: bool) -> float:
    """Return degrees, minutes and seconds as degrees; NaN compares as out of every range."""
    degrees = sum(float(part) / 60**place for place, part in enumerate(islice(parts, 3)))
    return -degrees if negative else degrees if math.isfinite(degrees) else math.inf


def _values(read: Callable[[Any], Values], source: Any) -> dict[str, list[str]]:
    try:
        return {
            name: [text for value in islice(values, MOST) if (text := _text(value, name))]
            for name, values in read(source).items()
        }
    except Exception:  # a malformed block says nothing; the pixels are fine
        return {}


def _text(value: object, name: str) -> str:
    return plain_text(_decoded(value) if isinstance(value, bytes) else str(value), WRITTEN[name])


def plain_text(text: str, most: int) -> str:
    """Return up to `most` characters of a text in single spaces on one line, without what cannot be printed."""
    text = text[:most].encode("utf-8", "replace").decode()
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def _decoded(value: bytes) -> str:
    """Return IPTC's bytes, whose encoding few programs name, as text."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


def _joined(values: Iterable[str], between: str, name: str) -> str:
    """Return different values in one text, each as it is spelled first, as many as there is room for."""
    different: dict[str, str] = {}
    for value in filter(None, map(str.strip, values)):
        different.setdefault(value.casefold(), value)
    joined = ""
    for text in different.values():
        longer = f"{joined}{between}{text}" if joined else text
        if len(longer) > WRITTEN[name]:
            break
        joined = longer
    return joined


# --- the blocks ---


def _xmp(photo: Image.Image) -> Values:
    if not 0 < len(photo.info.get("xmp", b"")) <= XMP_BYTES:
        return {}
    tree = photo.getxmp()  # by defusedxml, which refuses entities
    return {
        name: [text for key in keys for value in _named(tree, key) for text in _texts(value)]
        for name, keys in XMP.items()
    }


def _named(tree: Any, name: str) -> Iterator[Any]:
    """Yield what stands under a name, wherever that is in a tree."""
    if isinstance(tree, dict):
        for key, value in tree.items():
            if key == name:
                yield value
            else:
                yield from _named(value, name)
    elif isinstance(tree, list):
        for value in tree:
            yield from _named(value, name)


def _texts(value: Any) -> Iterator[str]:
    """Yield the texts of a value, or of its list (Bag, Seq, Alt); the language of a text is none."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, part in value.items():
            if key != "lang":
                yield from _texts(part)
    elif isinstance(value, list):
        for part in value:
            yield from _texts(part)


def _iptc(photo: Image.Image) -> Values:
    said = IptcImagePlugin.getiptcinfo(photo) or {}  # type: ignore[arg-type]
    found: dict[str, list[object]] = {}
    for name, numbers in IPTC.items():
        values = [said[2, number] for number in numbers if (2, number) in said]
        found[name] = [one for value in values for one in (value if isinstance(value, list) else [value])]
    return found


def _exif(exif: Image.Exif) -> Values:
    return {name: [_of_windows(value) for tag in tags if (value := exif.get(tag))] for name, tags in EXIF.items()}


def _of_windows(value: object) -> object:
    """Return what Windows writes, UTF-16 as bytes or as a tuple of them, as text; other values as they are."""
    if isinstance(value, tuple):
        value = bytes(value)
    return value.decode("utf-16-le", "replace") if isinstance(value, bytes) else value
