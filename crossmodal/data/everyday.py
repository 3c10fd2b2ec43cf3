"""About 2,000 captions of everyday scenes, so that any uploaded photo finds sensible ones.

Each group has subjects, actions and places that go together; the captions are their combinations, drawn with a
fixed seed.
"""

import itertools
import random

SENTENCES = 1980
PEOPLE = (
    "a man", "a woman", "a young man", "a young woman", "a little boy", "a little girl", "an old man",
    "an old woman", "a couple", "a family", "two children", "two friends", "a group of people", "a teenager",
    "a man in a red shirt", "a woman in a white dress", "a boy in a blue jacket", "a girl in pink",
)  # fmt: skip
ADULTS = (
    "a man", "a woman", "a young man", "a young woman", "two friends", "a group of people",
    "a man with a beard", "a woman with long hair",
)  # fmt: skip
CHILDREN = (
    "a little boy", "a little girl", "two children", "a toddler", "three kids", "a boy in a striped shirt",
    "a girl with a ponytail",
)  # fmt: skip
DOGS = (
    "a brown dog", "a black dog", "a white dog", "a black and white dog", "two dogs", "a small dog",
    "a large dog", "a puppy", "three dogs",
)  # fmt: skip
# Subjects, actions and places. Actions end in "-ing", which fits singular and plural subjects.
SCENES: tuple[tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]], ...] = (
    (PEOPLE, ("walking", "standing", "sitting on a bench", "taking a photo", "laughing"), ("in the park", "on a city street", "on the beach", "in front of a building", "by the river")),
    (PEOPLE, ("eating", "talking", "drinking coffee", "reading"), ("at a table", "in a restaurant", "in a café", "in the kitchen", "outdoors in the sun")),
    (ADULTS, ("riding a bicycle", "running", "riding a motorcycle", "waiting to cross"), ("on the road", "in the city", "down a country lane", "in a race")),
    (ADULTS, ("hiking", "climbing", "resting with a backpack", "looking at the view"), ("in the mountains", "on a rocky cliff", "on a forest trail", "above a lake")),
    (ADULTS, ("skiing", "snowboarding", "sledding", "walking"), ("down a snowy slope", "in deep snow", "through a winter forest")),
    (ADULTS, ("surfing", "swimming", "kayaking", "fishing", "sailing a small boat"), ("in the ocean", "on the lake", "in the river", "at sunset")),
    (ADULTS, ("cooking", "washing the dishes", "cutting vegetables", "baking a cake"), ("in a kitchen", "at home", "in a restaurant kitchen")),
    (ADULTS, ("playing guitar", "singing into a microphone", "playing the drums", "dancing"), ("on a stage", "in the street", "at a party", "in front of a crowd")),
    (ADULTS, ("working on a laptop", "talking on the phone", "writing", "giving a speech"), ("in an office", "at a desk", "in a train", "in a classroom")),
    (ADULTS, ("shopping", "selling fruit", "looking at the goods"), ("at a market", "in a store", "at a street stall")),
    (ADULTS, ("playing soccer", "playing basketball", "playing tennis", "playing football", "playing baseball", "playing volleyball"), ("on a field", "in a stadium", "on an outdoor court", "in front of spectators")),
    (ADULTS, ("building a wall", "repairing a car", "painting a house", "standing on a ladder"), ("in the sun", "at work", "in a helmet")),
    (CHILDREN, ("playing", "running", "jumping", "laughing"), ("on the grass", "in the sand", "in a playground", "in the water", "in the snow", "in autumn leaves")),
    (CHILDREN, ("going down a slide", "swinging on a swing", "climbing on bars", "playing with a ball"), ("at a playground", "in the park", "in the garden", "on a sunny day")),
    (CHILDREN, ("splashing", "swimming", "jumping into the water"), ("in a swimming pool", "in a fountain", "in a lake", "at the beach")),
    (CHILDREN, ("painting a picture", "playing with toys", "blowing out candles", "sleeping", "eating ice cream"), ("at home", "on the floor", "at a birthday party", "in a chair")),
    (DOGS, ("running", "standing", "playing with a ball", "jumping", "lying down"), ("on the grass", "in the snow", "on the beach", "in the water", "in a field", "on a path")),
    (DOGS, ("catching a frisbee", "carrying a stick", "shaking off water", "looking at the camera"), ("in the park", "in a garden", "by a lake", "in the woods")),
    (("a cat", "a grey cat", "an orange cat", "two cats", "a kitten"), ("sleeping", "sitting", "looking out", "playing"), ("on a sofa", "by a window", "on a bed", "in the garden", "on a wall")),
    (("a horse", "two horses", "a brown horse", "a white horse", "a herd of horses"), ("grazing", "running", "standing"), ("in a meadow", "in a field", "by a fence", "on a beach")),
    (("cows", "sheep", "a goat", "a flock of sheep", "a donkey"), ("grazing", "standing", "resting"), ("on a green hill", "in a field", "on a farm", "by the road")),
    (("a bird", "a seagull", "two ducks", "a swan", "a flock of birds", "an eagle"), ("flying", "sitting", "standing"), ("over the sea", "on a branch", "on the water", "on a rock", "in the sky")),
    (("a butterfly", "a bee", "a ladybug"), ("sitting", "resting"), ("on a flower", "on a green leaf", "on a finger")),
    (("an elephant", "a lion", "a giraffe", "a zebra", "a bear", "a monkey", "a tiger"), ("standing", "walking", "resting", "eating"), ("in a zoo", "in the wild", "in tall grass", "under a tree")),
    (("a red car", "a white car", "a blue car", "an old car", "a truck", "a yellow taxi", "a city bus", "a motorcycle"), ("parked", "driving", "waiting"), ("on the street", "at a traffic light", "in front of a house", "on a wet road", "on a highway")),
    (("a train", "a tram", "a steam train", "a subway train"), ("arriving", "standing", "passing"), ("at a station", "over a bridge", "through the countryside")),
    (("a sailboat", "a fishing boat", "a ferry", "a rowing boat", "a cruise ship"), ("floating", "moored", "passing"), ("in the harbour", "on the lake", "on the open sea", "at sunset")),
    (("an airplane", "a helicopter", "a hot air balloon", "a kite"), ("flying", "rising"), ("in a blue sky", "over the mountains", "above a city", "at sunset")),
    (("a plate of pasta", "a pizza", "a salad", "a bowl of soup", "a burger with fries", "a sandwich", "sushi", "a steak with vegetables", "pancakes", "a chocolate cake", "a slice of pie", "fresh fruit", "bread and cheese"), ("served", "ready to eat"), ("on a wooden table", "on a white plate", "in a restaurant", "at a picnic")),
    (("a cup of coffee", "a glass of wine", "a glass of beer", "a pot of tea", "a cold drink"), ("standing", "served"), ("on a table", "beside a book", "in a café", "by the window")),
    (("snowy mountains", "green hills", "a waterfall", "a forest", "a desert", "a rocky coast", "a sandy beach", "a quiet lake", "a field of flowers", "a winding river"), ("lying", "stretching out"), ("under a cloudy sky", "under a blue sky", "at sunset", "in the morning mist", "in autumn colours")),
    (("a church", "a castle", "a lighthouse", "a tall building", "an old house", "a wooden cabin", "a bridge", "a tower"), ("standing", "rising"), ("in the city", "by the sea", "in the snow", "among trees", "at night", "under a blue sky")),
    (("a living room", "a bedroom", "a kitchen", "a bathroom", "an office", "a library"), ("seen", "lit"), ("in daylight", "with a large window", "with modern furniture", "with wooden floors")),
    (("flowers", "a red rose", "a sunflower", "a potted plant", "a cactus", "tulips", "cherry blossoms"), ("growing", "blooming"), ("in a garden", "in a vase", "in a field", "on a windowsill")),
    (("a laptop", "a phone", "a book", "a camera", "a pair of glasses", "a bag", "a clock", "a pair of shoes", "a guitar"), ("lying", "placed"), ("on a desk", "on a wooden table", "on a bed", "on the floor")),
    (("a crowd", "musicians", "fans", "a marching band", "dancers"), ("gathered", "celebrating", "performing"), ("in a stadium", "at a concert", "on a city square", "at a festival", "in a parade")),
    (("fireworks", "city lights", "a full moon", "stars", "a campfire"), ("shining", "glowing"), ("at night", "over the water", "above the city")),
)  # fmt: skip
OPENINGS = ("", "a photo of ")


def everyday_scenes() -> list[str]:
    """Return SENTENCES different captions, always the same, as evenly from all groups as their sizes allow."""
    rng = random.Random(0)
    groups = [list(itertools.product(*group)) for group in SCENES]
    for group in groups:
        rng.shuffle(group)
    # Each round takes one from each group, so that large groups do not crowd out small ones.
    rounds = (parts for turn in itertools.zip_longest(*groups) for parts in turn if parts is not None)
    sentences = (rng.choices(OPENINGS, (3, 1))[0] + " ".join(parts) + "." for parts in rounds)
    chosen = itertools.islice(sentences, SENTENCES)
    return [sentence[0].upper() + sentence[1:] for sentence in chosen]
