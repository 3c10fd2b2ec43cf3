"""Agreement with people: Kendall's tau-c between a model's scores and human ratings of captions."""

import csv
import io
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from crossmodal.data.captions import captions_by_number
from crossmodal.data.dataset import Dataset
from crossmodal.encoding.collection import encode_captions, encode_files
from crossmodal.encoding.devices import worker_count
from crossmodal.errors import CaptionsError, CrossmodalError
from crossmodal.evaluation.evaluate import ImageChoice, Say, choose_images
from crossmodal.files import read_bounded
from crossmodal.progress import Bars, silent
from crossmodal.runs.opening import open_encoder

FORMATS = (
    "CSV with the header image,caption,rating; Flickr8k's ExpertAnnotations.txt (image, image#number, three ratings); "
    "Flickr8k's CrowdFlowerAnnotations.txt (image, image#number, share, yes, no)"
)
CAPTION_ID = re.compile(r"^(?P<image>.+)#(?P<number>\d+)$")
LISTED = 5


@dataclass(frozen=True)
class Judgement:
    """A person's rating of how well a caption fits an image; higher is better, on the file's own scale.

    `own` says that the caption is one of the image's own captions.
    """

    image: str
    caption: str
    rating: float
    own: bool = False


def read_judgements(
    path: Path, known: Collection[str], captions_of: Mapping[str, Sequence[str]]
) -> tuple[list[Judgement], list[str]]:
    """Read any of FORMATS; return the judgements, and the images or caption ids that are not known.

    `known` are the images that can be judged; `captions_of` are the numbered captions of each image, by which
    Flickr8k's files name a caption. As in the literature, each of the three experts' ratings is a judgement of
    its own; the crowd's rating is the share of yes. Raises CaptionsError for another format.
    """
    try:
        text = read_bounded(path).decode("utf-8-sig").replace("\r\n", "\n")
    except (OSError, UnicodeDecodeError) as error:
        raise CaptionsError(f"The ratings {path} cannot be read as text ({error}).") from error
    lines = [line for line in text.split("\n") if line.strip()]
    first = lines[0].split("\t") if lines else []
    if len(first) == 5 and CAPTION_ID.match(first[1]):
        found, unknown = _annotations(path, lines, known, captions_of)
    elif lines and {"image", "caption", "rating"} <= {name.strip().lower() for name in lines[0].split(",")}:
        found, unknown = _ratings(path, text, known, captions_of)
    else:
        raise CaptionsError(f"{path} is in no known format of ratings; it should be one of: {FORMATS}.")
    if not found:
        raise CaptionsError(f"No judgement in {path} is about an image that is known here.")
    return found, unknown


def _annotations(
    path: Path, lines: Sequence[str], known: Collection[str], captions_of: Mapping[str, Sequence[str]]
) -> tuple[list[Judgement], list[str]]:
    found, unknown = [], []
    # The experts' ratings are whole numbers from 1 to 4; the crowd's third column is a share, then counts.
    experts = all(re.fullmatch(r"[1-4]", value.strip()) for line in lines[:50] for value in line.split("\t")[2:5])
    for line in lines:
        try:
            image, caption_id, *values = (part.strip() for part in line.split("\t"))
            if len(values) != 3:
                raise ValueError
            ratings = [float(value) for value in (values if experts else values[:1])]
        except ValueError:
            raise CaptionsError(f"{path}: {line[:80]!r} is no line of ratings.") from None
        match = CAPTION_ID.match(caption_id)
        theirs = captions_of.get(match["image"], ()) if match else ()
        number = int(match["number"]) if match else 0
        if image not in known:
            unknown.append(image)
        elif number >= len(theirs) or not theirs[number]:
            unknown.append(caption_id)
        else:
            own = theirs[number] in captions_of.get(image, ())
            found += [Judgement(image, theirs[number], rating, own) for rating in ratings]
    return found, unknown


def _ratings(
    path: Path, text: str, known: Collection[str], captions_of: Mapping[str, Sequence[str]]
) -> tuple[list[Judgement], list[str]]:
    found, unknown = [], []
    reader = csv.DictReader(io.StringIO(text), skipinitialspace=True)
    reader.fieldnames = [name.strip().lower() for name in reader.fieldnames or ()]
    for row in reader:
        try:
            rating = float(row["rating"])
        except (TypeError, ValueError):
            raise CaptionsError(f"{path}, line {reader.line_num}: {row['rating']!r} is no rating.") from None
        if row["image"] in known:
            caption = " ".join((row["caption"] or "").split())
            found.append(Judgement(row["image"], caption, rating, caption in captions_of.get(row["image"], ())))
        else:
            unknown.append(row["image"])
    return found, unknown


def kendall_tau_c(scores: Sequence[float], ratings: Sequence[float]) -> float:
    """Return tau-c in per cent (Stuart 1953), which is made for many equal ratings.

    Raises CrossmodalError when all ratings are equal.
    """
    from scipy.stats import kendalltau

    if len(set(ratings)) < 2:
        raise CrossmodalError("All ratings are equal, so there is nothing for the model to agree with.")
    return 100 * float(kendalltau(scores, ratings, variant="c").statistic)


def agreement(
    checkpoint: Path, ratings: Path, choice: ImageChoice, bars: Bars = silent, say: Say = print
) -> dict[str, float]:
    """Return tau-c (per cent) between a checkpoint's scores and the judgements, and how many there are.

    Where some judgements are of an image's own caption, `published_tau_c` and `published_judgements` leave
    those out: the protocol of SPICE (Anderson et al. 2016) and CLIPScore (Hessel et al. 2021), which keeps 16,992
    of the 17,466 expert ratings of Flickr8k.
    """
    model, content, _ = open_encoder(checkpoint, choice.weights)
    dataset, _ = choose_images(content, replace(choice, split="all"), bars, say)
    captions = captions_by_number(Path(choice.captions or content["data"]["captions"]))
    judgements, unknown = read_judgements(ratings, {image.name for image in dataset.images}, captions)
    if unknown:
        say(unknown_message(unknown))
    judged = {judgement.image for judgement in judgements}
    images = [replace(image, captions=()) for image in dataset.images if image.name in judged]
    embeds = encode_files(model, Dataset(tuple(images)), worker_count(), bars)
    photos = dict(zip((image.name for image in images), embeds, strict=True))
    texts = encode_captions(model, [judgement.caption for judgement in judgements], bars)
    scores = [float(photos[judgement.image] @ text) for judgement, text in zip(judgements, texts, strict=True)]
    figures = {"images": float(len(images)), "left_out": float(len(unknown))}
    return figures | agreement_figures(scores, judgements)


def agreement_figures(scores: Sequence[float], judgements: Sequence[Judgement]) -> dict[str, float]:
    """Return the figures of `agreement` that follow from a score for each judgement."""
    figures = {"tau_c": kendall_tau_c(scores, [judgement.rating for judgement in judgements])}
    figures["judgements"] = len(judgements)
    others = [
        (score, judgement.rating) for score, judgement in zip(scores, judgements, strict=True) if not judgement.own
    ]
    if 0 < len(others) < len(judgements):
        figures["published_tau_c"] = kendall_tau_c(*zip(*others, strict=True))
        figures["published_judgements"] = len(others)
    return figures


def unknown_message(unknown: Sequence[str]) -> str:
    """Return a sentence with the number of rows about unknown images or captions, and some of their names."""
    names = list(dict.fromkeys(unknown))
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return f"{len(unknown)} judgements of unknown images or captions are left out: {', '.join(names[:LISTED])}{more}."
