"""The backgrounds of the drawn sample, one function per place."""

import random

from crossmodal.data.drawn.drawing import DIM, HEIGHT, WIDTH, Canvas, Colour, mix
from crossmodal.data.drawn.scenes import PLACES, Scene


def draw_place(canvas: Canvas, scene: Scene, rng: random.Random) -> None:
    """Paint sky and place over the whole canvas."""
    if PLACES[scene.place].outdoors:
        _sky(canvas, scene.light, rng)
    _PLACES[scene.place](canvas, rng, DIM[scene.light])


def _shade(colour: Colour, dim: float) -> Colour:
    return mix((8, 10, 34), colour, dim)


def _sky(canvas: Canvas, light: str, rng: random.Random) -> None:
    x, y = rng.uniform(40, WIDTH - 40), rng.uniform(22, 48)
    if light == "night":
        for _ in range(45):
            canvas.oval(rng.uniform(0, WIDTH), rng.uniform(0, 120), 0.8, 0.8, (230, 232, 250))
        canvas.oval(x, y, 13, 13, (240, 240, 214))
        canvas.oval(x + 6, y - 3, 11, 11, (20, 26, 60))
    elif light == "sunset":
        canvas.oval(x, 112, 26, 26, (255, 214, 110))
    else:
        canvas.oval(x, y, 15, 15, (255, 226, 92))
        for _ in range(rng.randint(1, 3)):
            cloud, height = rng.uniform(30, WIDTH - 30), rng.uniform(25, 70)
            for shift, size in ((-14, 8), (0, 12), (13, 9), (24, 6)):
                canvas.oval(cloud + shift, height, size, size * 0.7, (250, 252, 255))


def _hills(canvas: Canvas, rng: random.Random, colour: Colour, base: float, height: float) -> None:
    for x in range(-20, WIDTH + 60, 70):
        canvas.oval(x + rng.uniform(-15, 15), base + 20, 75, height * rng.uniform(0.7, 1.1), colour)


def _pine(canvas: Canvas, x: float, y: float, size: float, colour: Colour, dim: float) -> None:
    canvas.box(x - size * 0.06, y - size * 0.2, size * 0.12, size * 0.2, _shade((100, 70, 45), dim))
    for level in range(3):
        top, half = y - size * (1 - 0.22 * level), size * (0.2 + 0.07 * level)
        canvas.shape([(x, top), (x - half, top + size * 0.4), (x + half, top + size * 0.4)], colour)


def _round_tree(canvas: Canvas, x: float, y: float, size: float, dim: float) -> None:
    canvas.box(x - size * 0.07, y - size * 0.45, size * 0.14, size * 0.45, _shade((110, 76, 48), dim))
    for dx, dy, part in ((-0.2, 0.55, 0.26), (0.2, 0.58, 0.25), (0, 0.8, 0.3)):
        canvas.oval(x + dx * size, y - dy * size, part * size, part * size, _shade((62, 140, 66), dim))


def _street(canvas: Canvas, rng: random.Random, dim: float) -> None:
    x = -5.0
    while x < WIDTH:
        width, height = rng.uniform(38, 62), rng.uniform(70, 130)
        wall = rng.choice(((176, 132, 108), (196, 180, 150), (150, 156, 170), (170, 110, 96)))
        canvas.box(x, 178 - height, width, height, _shade(wall, dim))
        window = (255, 226, 130) if dim < 0.7 else _shade((206, 226, 240), dim)
        for row in range(int(height // 24)):
            for column in range(int(width // 16)):
                canvas.box(x + 5 + column * 16, 184 - height + row * 24, 8, 12, window)
        x += width + 2
    canvas.box(0, 174, WIDTH, 8, _shade((188, 186, 180), dim))
    canvas.box(0, 182, WIDTH, HEIGHT - 182, _shade((92, 94, 102), dim))
    for x in range(8, WIDTH, 52):
        canvas.box(x, 228, 28, 4, _shade((236, 232, 210), dim))


def _beach(canvas: Canvas, rng: random.Random, dim: float) -> None:
    canvas.box(0, 118, WIDTH, 50, _shade((38, 132, 180), dim))
    for _ in range(14):
        x, y = rng.uniform(0, WIDTH), rng.uniform(124, 152)
        canvas.line([(x, y), (x + 18, y)], _shade((140, 200, 224), dim), 1)
    canvas.oval(WIDTH / 2, 250, 260, 95, _shade((238, 246, 248), dim))
    canvas.oval(WIDTH / 2, 254, 260, 95, _shade((236, 210, 150), dim))


def _park(canvas: Canvas, rng: random.Random, dim: float) -> None:
    _hills(canvas, rng, _shade((124, 182, 110), dim), 150, 46)
    canvas.box(0, 150, WIDTH, HEIGHT - 150, _shade((110, 184, 82), dim))
    for _ in range(rng.randint(3, 5)):
        _round_tree(canvas, rng.uniform(10, WIDTH - 10), rng.uniform(154, 168), rng.uniform(62, 86), dim)
    path = [(120, HEIGHT), (220, HEIGHT), (176, 162), (166, 162)]
    canvas.shape([(float(x), float(y)) for x, y in path], _shade((222, 206, 170), dim))


def _snow(canvas: Canvas, rng: random.Random, dim: float) -> None:
    for x in range(-10, WIDTH, 88):
        peak, height = x + rng.uniform(30, 60), rng.uniform(52, 80)
        canvas.shape([(peak - 70, 165), (peak, 160 - height), (peak + 70, 165)], _shade((150, 166, 190), dim))
        tip = [(peak - 22, 160 - height * 0.68), (peak, 160 - height), (peak + 22, 160 - height * 0.68)]
        canvas.shape(tip, _shade((246, 250, 255), dim))
    canvas.box(0, 155, WIDTH, HEIGHT - 155, _shade((238, 244, 252), dim))
    for _ in range(rng.randint(2, 4)):
        _pine(canvas, rng.uniform(10, WIDTH - 10), 170, rng.uniform(40, 60), _shade((60, 110, 96), dim), dim)
    for _ in range(30):
        canvas.oval(rng.uniform(0, WIDTH), rng.uniform(0, HEIGHT), 1.3, 1.3, (250, 252, 255))


def _lake(canvas: Canvas, rng: random.Random, dim: float) -> None:
    _hills(canvas, rng, _shade((84, 136, 96), dim), 130, 50)
    canvas.box(0, 132, WIDTH, HEIGHT - 132, _shade((66, 142, 196), dim))
    for _ in range(34):
        x, y = rng.uniform(-10, WIDTH), rng.uniform(138, HEIGHT)
        canvas.line([(x, y), (x + 22, y)], _shade((126, 186, 224), dim), 1.2)


def _farm(canvas: Canvas, rng: random.Random, dim: float) -> None:
    _hills(canvas, rng, _shade((160, 180, 92), dim), 150, 40)
    canvas.box(0, 150, WIDTH, HEIGHT - 150, _shade((196, 186, 92), dim))
    for x in range(-160, WIDTH + 160, 26):
        canvas.line([(WIDTH / 2 + (x - WIDTH / 2) * 0.4, 152), (x, HEIGHT)], _shade((170, 156, 70), dim), 2)
    for x in range(0, WIDTH, 32):
        canvas.box(x, 150, 4, 26, _shade((150, 110, 72), dim))
    for y in (156, 166):
        canvas.box(0, y, WIDTH, 3, _shade((166, 124, 82), dim))


def _desert(canvas: Canvas, rng: random.Random, dim: float) -> None:
    _hills(canvas, rng, _shade((222, 168, 100), dim), 150, 55)
    canvas.box(0, 152, WIDTH, HEIGHT - 152, _shade((232, 184, 116), dim))
    for _ in range(5):
        x, y = rng.uniform(0, WIDTH), rng.uniform(165, 230)
        canvas.arc(x, y + 12, 46, 14, 200, 340, _shade((206, 154, 88), dim), 2)


def _forest(canvas: Canvas, rng: random.Random, dim: float) -> None:
    canvas.box(0, 120, WIDTH, HEIGHT - 120, _shade((70, 104, 58), dim))
    for row, (y, size) in enumerate(((150, 110), (168, 140))):
        for x in range(-10, WIDTH + 20, 34):
            green = mix((22, 74, 50), (50, 120, 66), rng.random() * 0.5 + row * 0.3)
            _pine(canvas, x + rng.uniform(-9, 9), y, size * rng.uniform(0.8, 1.1), _shade(green, dim), dim)
    canvas.box(0, 172, WIDTH, HEIGHT - 172, _shade((98, 124, 66), dim))


def _kitchen(canvas: Canvas, rng: random.Random, dim: float) -> None:
    wall = rng.choice(((236, 240, 238), (214, 230, 226), (242, 232, 210)))
    canvas.box(0, 0, WIDTH, 160, wall)
    for x in range(0, WIDTH, 26):
        canvas.line([(x, 60), (x, 160)], mix(wall, (120, 130, 140), 0.3), 1)
    for y in range(60, 160, 20):
        canvas.line([(0, y), (WIDTH, y)], mix(wall, (120, 130, 140), 0.3), 1)
    cabinet = rng.choice(((190, 146, 100), (120, 152, 160), (228, 226, 220)))
    for x in range(0, WIDTH, 80):
        canvas.box(x + 2, 0, 76, 52, cabinet, 3)
        canvas.box(x + 36, 42, 10, 3, (90, 90, 96))
        canvas.box(x + 2, 196, 76, 44, cabinet, 3)
        canvas.box(x + 34, 202, 14, 3, (90, 90, 96))
    canvas.box(0, 160, WIDTH, 30, (150, 114, 80))
    canvas.box(0, 186, WIDTH, 7, (118, 86, 58))


def _living_room(canvas: Canvas, rng: random.Random, dim: float) -> None:
    wall = rng.choice(((222, 212, 196), (196, 212, 222), (226, 204, 200), (206, 216, 196)))
    canvas.box(0, 0, WIDTH, 176, wall)
    canvas.box(0, 172, WIDTH, 6, (244, 240, 234))
    canvas.box(0, 178, WIDTH, HEIGHT - 178, (176, 130, 88))
    for y in range(186, HEIGHT, 14):
        canvas.line([(0, y), (WIDTH, y)], (156, 112, 74), 1)
    x = rng.choice((40, 130, 210))
    canvas.box(x, 26, 74, 74, (250, 250, 248))
    canvas.box(x + 5, 31, 30, 64, (156, 206, 240))
    canvas.box(x + 39, 31, 30, 64, (156, 206, 240))
    painting = (x + 110) % 260
    canvas.box(painting, 40, 40, 30, (120, 84, 56))
    canvas.box(painting + 4, 44, 32, 22, rng.choice(((110, 160, 130), (200, 150, 110), (110, 130, 180))))


_PLACES = {
    "street": _street, "beach": _beach, "park": _park, "snow": _snow, "lake": _lake, "farm": _farm,
    "desert": _desert, "forest": _forest, "kitchen": _kitchen, "living room": _living_room,
}  # fmt: skip
