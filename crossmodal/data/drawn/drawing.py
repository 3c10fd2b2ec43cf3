"""Draws a scene of the sample as an image, with Pillow's shapes alone."""

import random
from collections.abc import Callable

from PIL import Image, ImageDraw

from crossmodal.data.drawn.scenes import PLACES, Group, Scene

WIDTH, HEIGHT = 320, 240
SCALE = 2  # images are drawn twice as large and then shrunk, which smooths the edges
Colour = tuple[int, int, int]
COLOURS: dict[str, Colour] = {
    "red": (214, 48, 49), "blue": (41, 98, 217), "green": (46, 160, 67), "yellow": (250, 204, 21),
    "orange": (245, 130, 32), "purple": (132, 62, 190), "pink": (244, 130, 180), "white": (248, 248, 246),
    "black": (38, 38, 44), "brown": (133, 84, 48), "grey": (140, 142, 150),
}  # fmt: skip
SKIES: dict[str, tuple[Colour, Colour]] = {
    "day": ((94, 170, 235), (205, 232, 250)),
    "sunset": ((110, 70, 130), (252, 160, 80)),
    "night": ((12, 18, 48), (46, 58, 104)),
}
DIM = {"day": 1.0, "sunset": 0.88, "night": 0.62}


def mix(first: Colour, second: Colour, share: float) -> Colour:
    """Blend two colours; `share` of the second."""
    return tuple(round(a + (b - a) * share) for a, b in zip(first, second, strict=True))  # type: ignore[return-value]


class Canvas:
    """An image being drawn; lengths are in pixels of the finished image."""

    def __init__(self, top: Colour, bottom: Colour) -> None:
        ramp = Image.linear_gradient("L").resize((WIDTH * SCALE, HEIGHT * SCALE))
        size = ramp.size
        self.image = Image.composite(Image.new("RGB", size, bottom), Image.new("RGB", size, top), ramp)
        self.draw = ImageDraw.Draw(self.image)

    def shape(self, points: list[tuple[float, float]], fill: Colour) -> None:
        """Fill a polygon."""
        self.draw.polygon([(x * SCALE, y * SCALE) for x, y in points], fill=fill)

    def box(self, x: float, y: float, width: float, height: float, fill: Colour, radius: float = 0) -> None:
        """Fill a rectangle with its upper left corner at (x, y)."""
        corners = (x * SCALE, y * SCALE, (x + width) * SCALE, (y + height) * SCALE)
        self.draw.rounded_rectangle(corners, radius * SCALE, fill=fill)

    def oval(self, x: float, y: float, rx: float, ry: float, fill: Colour) -> None:
        """Fill an ellipse around (x, y)."""
        self.draw.ellipse(((x - rx) * SCALE, (y - ry) * SCALE, (x + rx) * SCALE, (y + ry) * SCALE), fill=fill)

    def line(self, points: list[tuple[float, float]], fill: Colour, width: float) -> None:
        """Draw a line through the points."""
        self.draw.line([(x * SCALE, y * SCALE) for x, y in points], fill=fill, width=max(1, round(width * SCALE)))

    def arc(
        self, x: float, y: float, rx: float, ry: float, start: float, end: float, fill: Colour, width: float
    ) -> None:
        """Draw a part of an ellipse's edge, angles in degrees."""
        corners = ((x - rx) * SCALE, (y - ry) * SCALE, (x + rx) * SCALE, (y + ry) * SCALE)
        self.draw.arc(corners, start, end, fill=fill, width=max(1, round(width * SCALE)))

    def half(self, x: float, y: float, rx: float, ry: float, fill: Colour) -> None:
        """Fill the upper half of an ellipse around (x, y)."""
        corners = ((x - rx) * SCALE, (y - ry) * SCALE, (x + rx) * SCALE, (y + ry) * SCALE)
        self.draw.pieslice(corners, 180, 360, fill=fill)

    def finish(self) -> Image.Image:
        """Return the image at its final size."""
        return self.image.resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS)


def draw_scene(scene: Scene) -> Image.Image:
    """Draw a scene: 320 x 240 RGB, the same for the same scene."""
    # Imported here, because both modules of shapes import the Canvas above.
    from crossmodal.data.drawn.places import draw_place
    from crossmodal.data.drawn.things import FLYING, SIZES, THINGS, WATER

    rng = random.Random(scene.seed)
    dim = DIM[scene.light]
    canvas = Canvas(*SKIES[scene.light])
    draw_place(canvas, scene, rng)
    for group in scene.groups:
        paint = mix((0, 0, 20), COLOURS[group.colour], 0.5 + dim / 2)
        draw_thing: Callable[[Canvas, float, float, float, Colour], None] = THINGS[group.kind]
        size = SIZES.get(group.kind, 46) * rng.uniform(0.9, 1.1)
        size *= 1.0 if group.count < 3 or len(scene.groups) == 1 else 0.8
        for x in _spread_out(group, size, rng):
            y = _ground(scene.place, rng)
            if group.kind in FLYING and PLACES[scene.place].outdoors:
                y = rng.uniform(85, 110)
            elif group.kind in FLYING:
                y = rng.uniform(105, 130)
            elif group.kind in WATER and scene.place == "beach":
                y = rng.uniform(132, 138)
            draw_thing(canvas, x, y, size, paint)
    return canvas.finish()


def _spread_out(group: Group, size: float, rng: random.Random) -> list[float]:
    """Return the x of each thing of a group, spread around its side of the image."""
    centre = {"left": 0.26, "right": 0.74, "middle": 0.5}[group.side] * WIDTH
    room = WIDTH * (0.84 if group.side == "middle" else 0.44)
    step = min(size * 1.25, room / group.count)
    first = centre - step * (group.count - 1) / 2 + rng.uniform(-6, 6)
    return [first + step * index + rng.uniform(-2, 2) for index in range(group.count)]


def _ground(place: str, rng: random.Random) -> float:
    """Return the height at which things stand, in pixels from the top."""
    low, high = {"kitchen": (176, 182), "living room": (206, 216), "lake": (188, 216)}.get(place, (198, 220))
    return rng.uniform(low, high)
