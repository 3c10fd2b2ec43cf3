"""The scenes of the drawn sample, from a seed, and captions as different people would write them."""

import random
from dataclasses import dataclass

COUNT_WORDS = {1: ("a", "one"), 2: ("two", "a pair of", "a couple of"), 3: ("three", "3"), 4: ("four", "4")}
PAINTS = ("red", "blue", "green", "yellow", "orange", "purple", "pink", "white", "black")
FURS = ("brown", "black", "white", "grey")


@dataclass(frozen=True)
class Kind:
    """A thing that can be drawn: its names (singular), what it does, its colours, and how many fit in an image."""

    words: tuple[str, ...]
    doings: tuple[str, ...]
    colours: tuple[str, ...] = PAINTS
    most: int = 4


KINDS = {
    "car": Kind(("car", "car", "automobile", "vehicle"), ("parked", "standing", "driving by"), most=3),
    "bus": Kind(("bus", "bus", "coach"), ("waiting", "driving along", "standing"), most=2),
    "bicycle": Kind(("bicycle", "bike", "bike"), ("standing", "leaning there", "parked"), most=3),
    "person": Kind(("person", "person", "figure"), ("standing", "posing", "looking at us")),
    "dog": Kind(("dog", "dog", "puppy"), ("standing", "walking", "playing"), FURS, most=3),
    "cat": Kind(("cat", "cat", "kitty"), ("sitting", "resting", "watching"), FURS, most=3),
    "horse": Kind(("horse", "horse", "pony"), ("grazing", "standing", "walking"), FURS, most=3),
    "duck": Kind(("duck", "duck", "bird"), ("swimming", "floating", "paddling"), ("yellow", "white", "brown")),
    "boat": Kind(("sailboat", "boat", "sailing boat"), ("sailing", "floating", "drifting"), most=3),
    "umbrella": Kind(("umbrella", "parasol", "sunshade"), ("standing open", "giving shade", "open"), most=3),
    "ball": Kind(("ball", "ball", "beach ball"), ("lying there", "on the ground", "waiting to be kicked")),
    "balloon": Kind(("balloon", "balloon", "toy balloon"), ("floating", "flying", "rising")),
    "kite": Kind(("kite", "kite", "paper kite"), ("flying", "high in the air", "soaring"), most=3),
    "house": Kind(("house", "house", "cottage"), ("standing", "in view", "by itself"), most=2),
    "tent": Kind(("tent", "tent", "camping tent"), ("pitched", "set up", "standing"), most=3),
    "tractor": Kind(("tractor", "tractor", "farm machine"), ("working", "parked", "standing"), most=2),
    "snowman": Kind(("snowman", "snowman", "man of snow"), ("standing", "smiling", "in a scarf"), ("white",), most=3),
    "cactus": Kind(("cactus", "cactus", "prickly plant"), ("growing", "standing", "upright"), ("green",), most=4),
    "flower": Kind(("flower", "flower", "blossom"), ("growing", "in bloom", "blooming")),
    "cup": Kind(("cup", "mug", "coffee cup"), ("standing", "in a row", "ready to use")),
    "apple": Kind(
        ("apple", "apple", "piece of fruit"), ("lying there", "ready to eat", "set out"), ("red", "green", "yellow")
    ),
    "bottle": Kind(("bottle", "bottle", "glass bottle"), ("standing", "lined up", "in view")),
    "chair": Kind(("chair", "chair", "wooden chair"), ("standing", "empty", "in place"), most=3),
    "lamp": Kind(("lamp", "floor lamp", "lamp"), ("standing", "lighting the room", "switched on"), most=2),
    "sofa": Kind(("sofa", "couch", "sofa"), ("standing", "empty", "against the wall"), most=1),
}
PLURALS = {
    "kitty": "kitties", "puppy": "puppies", "pony": "ponies", "bus": "buses", "coach": "coaches", "person": "people",
    "snowman": "snowmen", "man of snow": "men of snow", "cactus": "cacti", "couch": "couches",
    "piece of fruit": "pieces of fruit",
}  # fmt: skip


@dataclass(frozen=True)
class Place:
    """The setting of a scene: the words for it, and the kinds of things that are found there."""

    words: tuple[str, ...]
    kinds: tuple[str, ...]
    outdoors: bool = True


PLACES = {
    "street": Place(("on a street", "in the city", "on the road between buildings", "in town"), ("car", "bus", "bicycle", "person", "dog", "balloon")),
    "beach": Place(("on the beach", "on the sand by the sea", "at the seaside", "on a sandy beach"), ("umbrella", "ball", "boat", "person", "dog", "kite")),
    "park": Place(("in a park", "on the green grass", "on a lawn with trees", "in the park"), ("bicycle", "dog", "ball", "kite", "person", "flower", "balloon")),
    "snow": Place(("in the snow", "on a snowy field", "in a white winter landscape", "in snowy mountains"), ("snowman", "person", "dog", "house", "car")),
    "lake": Place(("on a lake", "on the water", "on the calm water in front of hills", "on a blue lake"), ("boat", "duck", "balloon", "kite")),
    "farm": Place(("on a farm", "in a field", "in the countryside", "on farm land with a fence"), ("horse", "tractor", "house", "cat", "flower")),
    "desert": Place(("in the desert", "among sand dunes", "in a dry, sandy place", "in the desert sand"), ("cactus", "car", "tent", "horse", "balloon")),
    "forest": Place(("in a forest", "among tall trees", "in the woods", "between pine trees"), ("tent", "person", "dog", "bicycle", "flower", "house")),
    "kitchen": Place(("in a kitchen", "on the kitchen counter", "on a counter in front of tiles", "in the kitchen"), ("cup", "apple", "bottle"), outdoors=False),
    "living room": Place(("in a living room", "in a room with a window", "at home", "inside a house"), ("sofa", "lamp", "cat", "chair", "ball", "balloon"), outdoors=False),
}  # fmt: skip
LIGHTS = {
    "day": ("on a sunny day", "under a blue sky", "in daylight", "on a bright day"),
    "sunset": ("at sunset", "in the evening light", "under an orange sky", "at dusk"),
    "night": ("at night", "under the stars", "in the dark", "in the moonlight"),
}
SIDES = {
    "left": ("on the left", "to the left", "at the left side"),
    "right": ("on the right", "to the right", "at the right side"),
    "middle": ("in the middle", "in the centre", "in the middle"),
}


@dataclass(frozen=True)
class Group:
    """Some things of one kind and colour, standing together."""

    kind: str
    colour: str
    count: int
    side: str


@dataclass(frozen=True)
class Scene:
    """All that is needed to draw one image and to describe it."""

    place: str
    light: str
    groups: tuple[Group, ...]
    seed: int


def imagine_scene(rng: random.Random) -> Scene:
    """Draw a scene at random: a place, a light, and one or two groups of things."""
    place = rng.choice(sorted(PLACES))
    light = rng.choices(("day", "sunset", "night"), (6, 2, 2))[0] if PLACES[place].outdoors else "day"
    kinds = rng.sample(PLACES[place].kinds, rng.choices((1, 2), (2, 3))[0])
    sides = ("middle",) if len(kinds) == 1 else rng.choice((("left", "right"), ("right", "left")))
    groups = []
    for kind, side in zip(kinds, sides, strict=True):
        most = min(KINDS[kind].most, 4 if len(kinds) == 1 else 3)
        count = rng.choices(range(1, most + 1), (5, 3, 2, 1)[:most])[0]
        groups.append(Group(kind, rng.choice(KINDS[kind].colours), count, side))
    return Scene(place, light, tuple(groups), rng.randrange(2**31))


def describe(scene: Scene, rng: random.Random) -> list[str]:
    """Write five captions of a scene: different words, details and length; no two the same."""
    writers = [_brief, _plain, _careful, _chatty, _place_first]
    rng.shuffle(writers)
    captions: list[str] = []
    for writer in writers:
        caption = writer(scene, rng)
        while caption in captions:  # two writers may choose the same words
            caption = _careful(scene, rng)
        captions.append(caption)
    return captions


def _noun(group: Group, rng: random.Random, colour: bool = True) -> str:
    """Return a group in words, such as "two red cars" or "a black dog"."""
    word = rng.choice(KINDS[group.kind].words)
    if group.count > 1:
        word = PLURALS.get(word, word + "s")
    if group.kind == "person" and colour:
        clothes = rng.choice(("in {}", "wearing {}", "with a {} shirt" if group.count == 1 else "with {} shirts"))
        word = f"{word} {clothes.format(group.colour)}"
    elif colour and group.kind not in ("snowman", "cactus"):
        word = f"{group.colour} {word}"
    number = rng.choice(COUNT_WORDS[group.count])
    if number == "a" and word[0] in "aeio":
        number = "an"
    return f"{number} {word}"


def _sentence(text: str, rng: random.Random) -> str:
    """Return text as a sentence with a capital and a full stop, or, like some people, without."""
    return text if rng.random() < 0.3 else text[0].upper() + text[1:] + "."


def _brief(scene: Scene, rng: random.Random) -> str:
    what = " and ".join(_noun(group, rng) for group in scene.groups)
    return _sentence(f"{what} {rng.choice(PLACES[scene.place].words)}", rng)


def _plain(scene: Scene, rng: random.Random) -> str:
    first, *others = scene.groups
    doing = rng.choice(KINDS[first.kind].doings)
    verb = "is" if first.count == 1 else "are"
    rest = "".join(f" next to {_noun(group, rng)}" for group in others)
    return _sentence(f"there {verb} {_noun(first, rng)} {doing}{rest} {rng.choice(PLACES[scene.place].words)}", rng)


def _careful(scene: Scene, rng: random.Random) -> str:
    parts = [f"{_noun(group, rng)} {rng.choice(SIDES[group.side])}" for group in scene.groups]
    light = f", {rng.choice(LIGHTS[scene.light])}" if PLACES[scene.place].outdoors else ""
    return _sentence(f"{' and '.join(parts)}, {rng.choice(PLACES[scene.place].words)}{light}", rng)


def _chatty(scene: Scene, rng: random.Random) -> str:
    opening = rng.choice(("a drawing of", "I can see", "this image shows", "we are looking at"))
    what = " with ".join(_noun(group, rng) for group in scene.groups)
    place = rng.choice(PLACES[scene.place].words)
    doing = rng.choice(KINDS[scene.groups[-1].kind].doings)
    return _sentence(f"{opening} {what} {doing} {place}", rng)


def _place_first(scene: Scene, rng: random.Random) -> str:
    when = f"{rng.choice(LIGHTS[scene.light])} " if PLACES[scene.place].outdoors else ""
    place = rng.choice(PLACES[scene.place].words)
    what = " and ".join(_noun(group, rng) for group in scene.groups)
    return _sentence(f"{when}{place}: {what}" if rng.random() < 0.4 else f"{when}{place} we find {what}", rng)
