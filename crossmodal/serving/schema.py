"""What is asked and answered, as OpenAPI shows it."""

import re
from datetime import date
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictBool, StringConstraints

from crossmodal.search.filters import Filters

Id = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{24}$")]
TopK = Annotated[int, Field(ge=1, le=200, description="how many to return")]
DAY = r"^\d{4}-\d{2}-\d{2}$"
VISIBLE = r"[^\s\x00-\x1f\x7f-\x9f]"  # a query of nothing else would be none


def _whole(text: object) -> object:
    """Replace halves of characters, which JSON can hold and a tokenizer cannot read."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace") if isinstance(text, str) else text


def _written(day: object) -> object:
    """Let days be written as days alone; a number would be taken for seconds."""
    if day is not None and not (isinstance(day, str) and re.match(DAY, day)):
        raise ValueError("write a day as 2024-08-31")
    return day


def _number(value: object) -> object:
    """Let a number be written as a number alone."""
    if isinstance(value, (str, bool)):
        raise ValueError("write a number")
    return value


BodyTopK = Annotated[int, Field(ge=1, le=200, description="how many to return"), BeforeValidator(_number)]
Day = Annotated[date, BeforeValidator(_written)]


class Asked(BaseModel):
    """No field that is not known, so that a misspelt one is told."""

    model_config = ConfigDict(extra="forbid")


class PhotoFilters(Asked):
    """What a photo of an index must be."""

    folder: Annotated[str, StringConstraints(max_length=1000)] | None = Field(
        None, description="and all below it, from the top"
    )
    after: Day | None = Field(None, description="taken on this day or later")
    before: Day | None = Field(None, description="taken on this day or earlier")
    megapixels: Annotated[float, Field(strict=True, ge=0, le=1000)] | None = Field(None, description="at least so many")
    orientation: Literal["landscape", "portrait", "square"] | None = None
    camera: Annotated[str, StringConstraints(max_length=200)] | None = Field(None, description="a part of its name")

    def plain(self) -> Filters:
        """Return them as the search knows them."""
        return Filters(**self.model_dump())


class TextQuery(Asked):
    """A sentence, or terms with signs and weights."""

    query: Annotated[str, StringConstraints(pattern=VISIBLE, max_length=1000), BeforeValidator(_whole)] = Field(
        description="a sentence, or terms: dog + beach - people, 2:dog + cat", examples=["two dogs in the snow"]
    )
    top_k: BodyTopK = 10
    filters: PhotoFilters = PhotoFilters()
    by_date: StrictBool = Field(False, description="the newest of the best first")
    cut_off: StrictBool = Field(True, description="leave out what does not look like the sentence, where that is known")


class ImageQuery(Asked):
    """A photo of the gallery, alone or beside words."""

    image_id: Id
    top_k: BodyTopK = 10
    query: Annotated[str, StringConstraints(max_length=1000), BeforeValidator(_whole)] = Field(
        "", description="words beside it, or none"
    )
    image_weight: Annotated[float, Field(strict=True, ge=0.01, le=100)] = Field(
        1.0, description="of the photo beside the words"
    )
    filters: PhotoFilters = PhotoFilters()


class Photo(BaseModel):
    """A photo of the gallery."""

    id: Id
    score: float | None = Field(None, description="cosine similarity with the query")
    url: str
    thumbnail: str
    captions: list[str] = []
    copies: list[Id] = Field([], description="copies of it that were found too")
    date: str | None = None
    width: int | None = None
    height: int | None = None
    orientation: str | None = None
    camera: str | None = None
    bytes: int | None = None


class Caption(BaseModel):
    """A caption, and the photo it was written for, where there is one."""

    caption: str
    score: float
    image_id: Id | None = None


class Photos(BaseModel):
    """Photos that were found, best first; none where nothing looks like the query."""

    photos: list[Photo]


class PhotosAndCaptions(Photos):
    """Similar photos, and captions that fit."""

    captions: list[Caption]


class Health(BaseModel):
    """That the server answers."""

    status: Literal["ok"] = "ok"


class Latencies(BaseModel):
    """Of the last searches, milliseconds."""

    p50: float
    p95: float
    p99: float


class Stats(BaseModel):
    """What is served, and how it goes."""

    photos: int
    captions: int
    model: str
    fingerprint: str
    search: str = Field(description="how the gallery is searched")
    recall: dict[str, float] = Field(description="of the model on its validation split, per cent, where known")
    uptime_seconds: float
    queries: int
    latency: Latencies | None = Field(None, description="none before the first search")


class ErrorDetail(BaseModel):
    """What went wrong, without internals."""

    code: str
    message: str
    request_id: str


class Error(BaseModel):
    """The one shape of all errors."""

    error: ErrorDetail
