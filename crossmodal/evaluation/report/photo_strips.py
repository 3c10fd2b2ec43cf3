"""The photos of a report: thumbnails inside the HTML file, and sheets of them as PNG files."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont, ImageOps

from crossmodal.data.decoding import load_photo
from crossmodal.errors import PhotoError

SIDE = 168
GAP, TEXT_SIZE = 10, 15
RIGHT, INK, PAPER = "#1f9d55", "#222222", "#ffffff"


@dataclass(frozen=True)
class Tile:
    """A photo with a line of text, framed if it is right; a tile without a photo is only text."""

    path: Path | None
    label: str
    right: bool = False


@dataclass(frozen=True)
class Strip:
    """A row of tiles under a line of text."""

    title: str
    tiles: Sequence[Tile]


class Thumbnails:
    """Small photos, each decoded once."""

    def __init__(self) -> None:
        self._photos: dict[Path, Image.Image] = {}

    def photo(self, path: Path) -> Image.Image:
        """Return a square of SIDE pixels, grey where the photo cannot be decoded."""
        if path not in self._photos:
            try:
                self._photos[path] = ImageOps.fit(load_photo(path, at_least=SIDE), (SIDE, SIDE))
            except PhotoError:
                self._photos[path] = Image.new("RGB", (SIDE, SIDE), "#999999")
        return self._photos[path]

    def url(self, path: Path, side: int = SIDE) -> str:
        """Return the photo as a data URL."""
        file = io.BytesIO()
        self.photo(path).resize((side, side)).save(file, "JPEG", quality=70)
        return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"

    def sheet(self, strips: Sequence[Strip]) -> Image.Image:
        """Return all strips as one image."""
        font = ImageFont.load_default(TEXT_SIZE)
        line = TEXT_SIZE + 6
        widest = max((len(strip.tiles) for strip in strips), default=1)
        width, height = GAP + widest * (SIDE + GAP), SIDE + 2 * line + 2 * GAP
        sheet = Image.new("RGB", (width, max(1, len(strips)) * height + GAP), PAPER)
        draw = ImageDraw.Draw(sheet)
        for number, strip in enumerate(strips):
            top = number * height + GAP
            draw.text((GAP, top), _fitting(strip.title, font, width - 2 * GAP), INK, font)
            for column, tile in enumerate(strip.tiles):
                left, upper = GAP + column * (SIDE + GAP), top + line
                if tile.path:
                    sheet.paste(self.photo(tile.path), (left, upper))
                if tile.right:
                    draw.rectangle((left - 3, upper - 3, left + SIDE + 2, upper + SIDE + 2), outline=RIGHT, width=4)
                draw.text((left, upper + SIDE + 4), _fitting(tile.label, font, SIDE), INK, font)
        return sheet


def _fitting(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> str:
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "...") > width:
        text = text[:-1]
    return text + "..."
