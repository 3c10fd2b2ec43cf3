"""The things of the drawn sample, one function per kind.

Each stands on (x, y), is about `s` pixels tall or wide, and is painted in `c`.
"""

from collections.abc import Callable

from crossmodal.data.drawn.drawing import Canvas, Colour, mix

DARK: Colour = (44, 44, 50)
GLASS: Colour = (196, 226, 244)
SKIN: Colour = (232, 190, 156)
WOOD: Colour = (146, 104, 66)
Painter = Callable[[Canvas, float, float, float, Colour], None]


def _deep(c: Colour) -> Colour:
    return mix(c, (0, 0, 0), 0.28)


def _light(c: Colour, share: float) -> Colour:
    return mix(c, (255, 255, 255), share)


def _polygon(d: Canvas, x: float, y: float, s: float, c: Colour, *corners: tuple[float, float]) -> None:
    """Fill a polygon whose corners are given as shares of `s`, to the right of x and above y."""
    d.shape([(x + s * right, y - s * up) for right, up in corners], c)


def _wheels(d: Canvas, xs: tuple[float, ...], y: float, r: float) -> None:
    for x in xs:
        d.oval(x, y, r, r, DARK)
        d.oval(x, y, r * 0.45, r * 0.45, (190, 190, 196))


def _car(d: Canvas, x: float, y: float, s: float, c: Colour) -> None:
    _polygon(d, x, y, s, c, (-0.3, 0.3), (-0.2, 0.55), (0.2, 0.55), (0.34, 0.3))
    _polygon(d, x, y, s, GLASS, (-0.22, 0.32), (-0.15, 0.49), (-0.01, 0.49), (-0.01, 0.32))
    _polygon(d, x, y, s, GLASS, (0.03, 0.32), (0.03, 0.49), (0.16, 0.49), (0.25, 0.32))
    d.box(x - s * 0.5, y - s * 0.33, s, s * 0.24, c, s * 0.07)
    d.box(x - s * 0.5, y - s * 0.16, s, s * 0.05, _deep(c))
    _wheels(d, (x - s * 0.28, x + s * 0.28), y - s * 0.08, s * 0.11)


def _bus(d: Canvas, x: float, y: float, s: float, c: Colour) -> None:
    d.box(x - s * 0.55, y - s * 0.62, s * 1.1, s * 0.54, c, s * 0.06)
    for index in range(5):
        d.box(x - s * 0.48 + index * s * 0.2, y - s * 0.54, s * 0.15, s * 0.18, GLASS, 1)
    d.box(x - s * 0.55, y - s * 0.22, s * 1.1, s * 0.05, _deep(c))
    _wheels(d, (x - s * 0.32, x + s * 0.32), y - s * 0.08, s * 0.1)


def _bicycle(d: Canvas, x: float, y: float, s: float, c: Colour) -> None:
    for wheel in (x - s * 0.32, x + s * 0.32):
        d.arc(wheel, y - s * 0.23, s * 0.23, s * 0.23, 0, 360, DARK, s * 0.045)
    back, front = (x - s * 0.32, y - s * 0.23), (x + s * 0.32, y - s * 0.23)
    seat, bar, pedal = (x - s * 0.12, y - s * 0.55), (x + s * 0.22, y - s * 0.6), (x - s * 0.02, y - s * 0.23)
    d.line([back, seat, pedal, back], c, s * 0.06)
    d.line([seat, (x + s * 0.24, y - s * 0.5), pedal], c, s * 0.06)
    d.line([front, bar, (x + s * 0.12, y - s * 0.66)], c, s * 0.06)
    d.box(x - s * 0.2, y - s * 0.62, s * 0.18, s * 0.06, DARK, 1)


def _person(d: Canvas, x: float, y: float, s: float, c: Colour) -> None:
    d.box(x - s * 0.13, y - s * 0.38, s * 0.11, s * 0.38, (58, 66, 92), 2)
    d.box(x + s * 0.02, y - s * 0.38, s * 0.11, s * 0.38, (58, 66, 92), 2)
    for side in (-1, 1):
        d.line([(x + side * s * 0.14, y - s * 0.7), (x + side * s * 0.24, y - s * 0.42)], c, s * 0.09)
        d.oval(x + side * s * 0.25, y - s * 0.4, s * 0.045, s * 0.045, SKIN)
    d.box(x - s * 0.17, y - s * 0.76, s * 0.34, s * 0.42, c, s * 0.07)
    d.oval(x, y - s * 0.88, s * 0.11, s * 0.12, SKIN)
    d.half(x, y - s * 0.89, s * 0.12, s * 0.13, (70, 48, 34))


def _dog(d: Canvas, x: float, y: float, s: float, c: Colour) -> None:
    for leg in (-0.26, -0.15, 0.12, 0.22):
        d.box(x + s * leg, y - s * 0.3, s * 0.08, s * 0.3, _deep(c), 1)
    d.oval(x - s * 0.02, y - s * 0.38, s * 0.34, s * 0.16, c)
    d.line([(x - s * 0.32, y - s * 0.42), (x - s * 0.46, y - s * 0.62)], c, s * 0.07)
    d.oval(x + s * 0.34, y - s * 0.56, s * 0.16, s * 0.14, c)
    d.oval(x + s * 0.48, y - s * 0.52, s * 0.1, s * 0.07, c)
    d.oval(x + s * 0.56, y - s * 0.54, s * 0.03, s * 0.03, DARK)
    d.oval(x + s * 0.25, y - s * 0.55, s * 0.06, s * 0.14, _deep(c))
    d.oval(x + s * 0.39, y - s * 0.6, s * 0.025, s * 0.025, DARK)


def _cat(d: Canvas, x: float, y: float, s: float, c: Colour) -> None:
    d.arc(x + s * 0.22, y - s * 0.16, s * 0.2, s * 0.16, 250, 80, c, s * 0.07)
    d.oval(x, y - s * 0.26, s * 0.22, s * 0.28, c)
    head = y - s * 0.62
    for side in (-1, 1):
        d.shape(
            [
                (x + side * s * 0.17, head),
                (x + side * s * 0.15, head - s * 0.28),
                (x + side * s * 0.02, head - s * 0.14),
            ],
            c,
        )
    d.oval(x, head, s * 0.18, s * 0.16, c)
    for side in (-1, 1):
        d.oval(x + side * s * 0.07, head - s * 0.02, s * 0.03, s * 0.04, (180, 210, 90))
        d.oval(x + side * s * 0.09, y - s * 0.03, s * 0.07, s * 0.04, _deep(c))
    d.oval(x, head + s * 0.05, s * 0.02, s * 0.015, (230, 150, 160))


def _horse(d: Canvas, x: float, y: float, s: float, c: Colour) -> None:
    for leg in (-0.3, -0.2, 0.14, 0.24):
        d.box(x + s * leg, y - s * 0.4, s * 0.07, s * 0.4, _deep(c), 1)
    d.oval(x, y - s * 0.48, s * 0.36, s * 0.17, c)
    _polygon(d, x, y, s, c, (0.2, 0.5), (0.38, 0.92), (0.5, 0.86), (0.36, 0.42))
    d.oval(x + s * 0.5, y - s * 0.84, s * 0.15, s * 0.08, c)
    d.line([(x + s * 0.18, y - s * 0.6), (x + s * 0.36, y - s * 0.95)], _deep(_deep(c)), s * 0.06)
    d.line([(x - s * 0.34, y - s * 0.52), (x - s * 0.44, y - s * 0.24)], _deep(_deep(c)), s * 0.07)


def _duck(d: Canvas, x: float, y: float, s: float, c: Colour) -> None:
    d.oval(x, y - s * 0.22, s * 0.38, s * 0.22, c)
    _polygon(d, x, y, s, c, (-0.3, 0.25), (-0.52, 0.45), (-0.2, 0.35))
    d.oval(x - s * 0.05, y - s * 0.24, s * 0.2, s * 0.11, _deep(c))
    d.oval(x + s * 0.28, y - s * 0.52, s * 0.16, s * 0.15, c)
    _polygon(d, x, y, s, (240, 140, 30), (0.42, 0.56), (0.62, 0.48), (0.42, 0.44))
    d.oval(x + s * 0.32, y - s * 0.56, s * 0.025, s * 0.025, DARK)


def _boat(d: Canvas, x: float, y: float, s: float, c: Colour) -> None:
    d.line([(x, y - s * 0.2), (x, y - s)], WOOD, s * 0.04)
    _polygon(d, x, y, s, c, (0.04, 0.96), (0.04, 0.28), (0.44, 0.28))
    _polygon(d, x, y, s, _light(c, 0.25), (-0.04, 0.86), (-0.04, 0.28), (-0.32, 0.28))
    _polygon(d, x, y, s, WOOD, (-0.46, 0.2), (0.5, 0.2), (0.34, 0), (-0.34, 0))


def _umbrella(d: Canvas, x: float, y: float, s: float, c: Colour) -> None:
    d.line([(x, y), (x, y - s * 0.9)], (120, 90, 66), s * 0.05)
    d.half(x, y - s * 0.55, s * 0.5, s * 0.42, c)
    d.half(x, y - s * 0.55, s * 0.17, s * 0.42, _light(c, 0.35))
    d.oval(x, y - s * 0.97, s * 0.03, s * 0.03, _deep(c))


def _ball(d: Canvas, x: float, y: float, s: float, c: Colour) -> None:
    d.oval(x, y, s * 0.4, s * 0.07, (90, 90, 80))
    d.oval(x, y - s * 0.4, s * 0.4, s * 0.4, c)
    d.arc(x - s * 0.3, y - s * 0.4, s * 0.4, s * 0.5, 300, 60, _light(c, 0.6), s * 0.05)
    d.oval(x - s * 0.14, y - s * 0.56, s * 0.08, s * 0.07, _light(c, 0.6))


def _balloon(d: Canvas, x: float, y: float, s: float, c: Colour) -> None:
    d.line([(x, y), (x + s * 0.06, y + s * 0.3), (x - s * 0.04, y + s * 0.7)], (120, 120, 126), 1)
    _polygon(d, x, y, s, _deep(c), (0, 0.06), (-0.08, -0.06), (0.08, -0.06))
    d.oval(x, y - s * 0.45, s * 0.36, s * 0.44, c)
    d.oval(x - s * 0.13, y - s * 0.62, s * 0.07, s * 0.11, _light(c, 0.55))


def _kite(d: Canvas, x: float, y: float, s: float, c: Colour) -> None:
    top, left, right, bottom = (
        (x, y - s * 0.8),
        (x - s * 0.34, y - s * 0.46),
        (x + s * 0.34, y - s * 0.46),
        (x, y + s * 0.06),
    )
    d.line(
        [bottom, (x - s * 0.16, y + s * 0.3), (x + s * 0.02, y + s * 0.5), (x - s * 0.14, y + s * 0.8)],
        (120, 110, 120),
        1.2,
    )
    d.shape([top, left, bottom, right], c)
    d.shape([top, left, (x, y - s * 0.46)], _light(c, 0.35))
    d.shape([bottom, right, (x, y - s * 0.46)], _light(c, 0.35))


def _house(d: Canvas, x: float, y: float, s: float, c: Colour) -> None:
    d.box(x - s * 0.4, y - s * 0.52, s * 0.8, s * 0.52, c)
    d.box(x + s * 0.16, y - s * 0.98, s * 0.12, s * 0.3, (120, 90, 84))
    _polygon(d, x, y, s, (126, 72, 58), (-0.5, 0.5), (0, 0.95), (0.5, 0.5))
    d.box(x - s * 0.08, y - s * 0.3, s * 0.17, s * 0.3, WOOD)
    for window in (-0.3, 0.16):
        d.box(x + window * s, y - s * 0.4, s * 0.15, s * 0.15, (255, 236, 160))


def _tent(d: Canvas, x: float, y: float, s: float, c: Colour) -> None:
    _polygon(d, x, y, s, c, (-0.52, 0), (-0.05, 0.68), (0.52, 0))
    _polygon(d, x, y, s, _light(c, 0.2), (-0.52, 0), (-0.05, 0.68), (0.06, 0))
    _polygon(d, x, y, s, _deep(_deep(c)), (-0.34, 0), (-0.12, 0.46), (-0.04, 0))


def _tractor(d: Canvas, x: float, y: float, s: float, c: Colour) -> None:
    d.box(x - s * 0.05, y - s * 0.5, s * 0.5, s * 0.24, c, 2)
    d.box(x - s * 0.34, y - s * 0.56, s * 0.34, s * 0.32, c, 2)
    d.box(x - s * 0.3, y - s * 0.8, s * 0.28, s * 0.26, GLASS)
    d.box(x - s * 0.36, y - s * 0.84, s * 0.4, s * 0.06, _deep(c))
    d.box(x + s * 0.3, y - s * 0.7, s * 0.05, s * 0.22, DARK)
    _wheels(d, (x - s * 0.22,), y - s * 0.22, s * 0.22)
    _wheels(d, (x + s * 0.32,), y - s * 0.14, s * 0.14)


def _snowman(d: Canvas, x: float, y: float, s: float, c: Colour) -> None:
    shadow = mix(c, (110, 140, 190), 0.3)
    for height, radius in ((0.24, 0.26), (0.58, 0.19), (0.84, 0.14)):
        d.oval(x, y - s * height, s * radius + 1, s * radius + 1, shadow)
        d.oval(x - 1, y - s * height - 1, s * radius, s * radius, c)
    d.box(x - s * 0.15, y - s * 0.73, s * 0.3, s * 0.06, (200, 50, 50), 2)
    d.box(x - s * 0.12, y - s * 1.1, s * 0.24, s * 0.17, DARK)
    d.box(x - s * 0.18, y - s * 0.96, s * 0.36, s * 0.04, DARK)
    _polygon(d, x, y, s, (240, 130, 30), (0, 0.86), (0.2, 0.82), (0, 0.8))
    for side in (-1, 1):
        d.oval(x + side * s * 0.05, y - s * 0.89, s * 0.018, s * 0.018, DARK)
        d.line([(x + side * s * 0.17, y - s * 0.6), (x + side * s * 0.4, y - s * 0.74)], WOOD, 1.5)


def _cactus(d: Canvas, x: float, y: float, s: float, c: Colour) -> None:
    d.box(x - s * 0.1, y - s, s * 0.2, s, c, s * 0.1)
    d.box(x - s * 0.36, y - s * 0.74, s * 0.13, s * 0.34, c, s * 0.06)
    d.box(x - s * 0.36, y - s * 0.48, s * 0.3, s * 0.12, c, s * 0.05)
    d.box(x + s * 0.24, y - s * 0.86, s * 0.13, s * 0.36, c, s * 0.06)
    d.box(x + s * 0.06, y - s * 0.6, s * 0.3, s * 0.12, c, s * 0.05)
    for shift in (-0.03, 0.04):
        d.line([(x + shift * s, y - s * 0.92), (x + shift * s, y)], _deep(c), 1)


def _flower(d: Canvas, x: float, y: float, s: float, c: Colour) -> None:
    d.line([(x, y), (x, y - s * 0.6)], (50, 120, 54), s * 0.06)
    d.oval(x + s * 0.14, y - s * 0.22, s * 0.13, s * 0.05, (60, 136, 62))
    for dx, dy in ((0, -0.17), (0.16, -0.05), (0.1, 0.14), (-0.1, 0.14), (-0.16, -0.05)):
        d.oval(x + dx * s, y - s * 0.72 + dy * s, s * 0.13, s * 0.13, c)
    d.oval(x, y - s * 0.71, s * 0.1, s * 0.1, (250, 190, 40) if c[2] > 60 or c[1] < 120 else (140, 84, 30))


def _cup(d: Canvas, x: float, y: float, s: float, c: Colour) -> None:
    d.arc(x + s * 0.3, y - s * 0.34, s * 0.17, s * 0.19, 260, 100, _deep(c), s * 0.07)
    d.box(x - s * 0.3, y - s * 0.66, s * 0.6, s * 0.66, c, s * 0.1)
    d.oval(x, y - s * 0.64, s * 0.3, s * 0.09, _deep(c))
    d.oval(x, y - s * 0.63, s * 0.25, s * 0.06, (84, 52, 36))


def _apple(d: Canvas, x: float, y: float, s: float, c: Colour) -> None:
    for side in (-1, 1):
        d.oval(x + side * s * 0.14, y - s * 0.36, s * 0.28, s * 0.36, c)
    d.line([(x, y - s * 0.64), (x + s * 0.05, y - s * 0.86)], (90, 60, 40), s * 0.05)
    d.oval(x + s * 0.17, y - s * 0.8, s * 0.13, s * 0.06, (70, 150, 60))
    d.oval(x - s * 0.2, y - s * 0.5, s * 0.06, s * 0.09, _light(c, 0.6))


def _bottle(d: Canvas, x: float, y: float, s: float, c: Colour) -> None:
    d.box(x - s * 0.08, y - s * 1.1, s * 0.16, s * 0.4, c)
    d.box(x - s * 0.2, y - s * 0.78, s * 0.4, s * 0.78, c, s * 0.1)
    d.box(x - s * 0.09, y - s * 1.16, s * 0.18, s * 0.1, WOOD)
    d.box(x - s * 0.2, y - s * 0.5, s * 0.4, s * 0.26, (244, 240, 226))


def _chair(d: Canvas, x: float, y: float, s: float, c: Colour) -> None:
    for leg in (-0.28, 0.2):
        d.box(x + leg * s, y - s * 0.45, s * 0.08, s * 0.45, _deep(c))
    d.box(x - s * 0.28, y - s * 1.02, s * 0.09, s * 0.6, c)
    for bar in (0.98, 0.8, 0.62):
        d.box(x - s * 0.26, y - bar * s, s * 0.5, s * 0.1, c, 2)
    d.box(x + s * 0.17, y - s * 1.02, s * 0.09, s * 0.6, c)
    d.box(x - s * 0.34, y - s * 0.5, s * 0.68, s * 0.1, c, 2)


def _lamp(d: Canvas, x: float, y: float, s: float, c: Colour) -> None:
    d.oval(x, y - s * 0.02, s * 0.17, s * 0.04, DARK)
    d.line([(x, y), (x, y - s * 0.8)], DARK, s * 0.04)
    _polygon(d, x, y, s, c, (-0.13, 1.05), (0.13, 1.05), (0.25, 0.72), (-0.25, 0.72))
    d.box(x - s * 0.22, y - s * 0.74, s * 0.44, s * 0.03, (255, 240, 180))


def _sofa(d: Canvas, x: float, y: float, s: float, c: Colour) -> None:
    d.box(x - s * 0.5, y - s * 0.62, s, s * 0.45, c, s * 0.08)
    d.box(x - s * 0.42, y - s * 0.36, s * 0.41, s * 0.2, _light(c, 0.18), 3)
    d.box(x + s * 0.01, y - s * 0.36, s * 0.41, s * 0.2, _light(c, 0.18), 3)
    for arm in (-0.6, 0.44):
        d.box(x + arm * s, y - s * 0.45, s * 0.16, s * 0.38, _deep(c), s * 0.06)
    d.box(x - s * 0.5, y - s * 0.18, s, s * 0.12, _deep(c), 2)


THINGS: dict[str, Painter] = {
    "car": _car, "bus": _bus, "bicycle": _bicycle, "person": _person, "dog": _dog, "cat": _cat, "horse": _horse,
    "duck": _duck, "boat": _boat, "umbrella": _umbrella, "ball": _ball, "balloon": _balloon, "kite": _kite,
    "house": _house, "tent": _tent, "tractor": _tractor, "snowman": _snowman, "cactus": _cactus, "flower": _flower,
    "cup": _cup, "apple": _apple, "bottle": _bottle, "chair": _chair, "lamp": _lamp, "sofa": _sofa,
}  # fmt: skip
SIZES = {
    "car": 72, "bus": 92, "bicycle": 62, "person": 72, "dog": 52, "cat": 50, "horse": 74, "duck": 40, "boat": 64,
    "umbrella": 72, "ball": 34, "balloon": 46, "kite": 48, "house": 84, "tent": 72, "tractor": 76, "snowman": 66,
    "cactus": 62, "flower": 46, "cup": 42, "apple": 36, "bottle": 52, "chair": 60, "lamp": 96, "sofa": 120,
}  # fmt: skip
FLYING = ("balloon", "kite")
WATER = ("boat", "duck")
