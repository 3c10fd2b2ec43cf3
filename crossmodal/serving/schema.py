"""What is asked and answered, as OpenAPI shows it; filters and facts of photos are those that the search declares."""

import re
from datetime import date
from typing import Annotated, Any, Literal

from fastapi import UploadFile
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictBool, StringConstraints, create_model

from crossmodal.search.filters import Filters, Kind, filters_on
from crossmodal.search.query import HEAVIEST, LIGHTEST_PHOTO, LONGEST_QUERY, replaced_surrogates
from crossmodal.search.record import FIELDS

ID = r"^[0-9a-f]{24}$"
DAY = r"\d{4}-\d{2}-\d{2}"
MOST = 200  # photos in one answer


def _day(value: object) -> object:
    """Let days be written as days alone; a number would be read as seconds."""
    if value is not None and not (isinstance(value, str) and re.fullmatch(DAY, value)):
        raise ValueError("write a day as 2024-08-31")
    return value


def _number(value: object) -> object:
    """Let a number be written as a number alone."""
    if isinstance(value, (str, bool)):
        raise ValueError("write a number")
    return value


def _id(value: object) -> object:
    if not (isinstance(value, str) and re.match(ID, value)):
        raise ValueError(f"{str(value)!r:.40} is no photo's id; a photo that is found comes with its own")
    return value


def _whole(value: object) -> object:
    return replaced_surrogates(value) if isinstance(value, str) else value


Id = Annotated[str, StringConstraints(pattern=ID), BeforeValidator(_id)]
Judged = Annotated[list[Id], Field(max_length=20)]
Words = Annotated[str, StringConstraints(max_length=LONGEST_QUERY), BeforeValidator(_whole)]
WORDS = Field("", description="words beside the photo: a sentence, or terms with signs and weights")
WEIGHT = Field(1.0, ge=LIGHTEST_PHOTO, le=HEAVIEST, description="weight of the photo beside the words")
BY_DATE = Field(False, description="the newest of the best first, where dates are known")
CUT_OFF = Field(True, description="leave out what does not look like the query, where the model is calibrated for it")
EXPLAIN = Field(False, description="tell how much each word counts for each photo; a word costs as much as a request")
TOP_K = Field(10, ge=1, le=MOST, description="how many photos, and how many captions")
MORE: list[str] = Field([], description="ids of photos of the gallery: find more like these")
LESS: list[str] = Field([], description="ids of photos of the gallery: find fewer like these")
FILTERS: dict[Kind, Any] = {
    "day": Annotated[date, BeforeValidator(_day)],
    "number": Annotated[float, Field(ge=0, le=100_000)],
    "text": Words,
}


def _filter_fields(of_json: bool) -> dict[str, Any]:
    """Return the fields of a model for all filters; in JSON a number is written as a number, in a form as text."""
    made: dict[str, Any] = {}
    for one in filters_on():
        kind = Literal[one.choices] if one.choices else FILTERS[one.kind]  # type: ignore[valid-type]
        if of_json and one.kind == "number":
            kind = Annotated[kind, BeforeValidator(_number)]
        # A form has no null: a field is there or not.
        made[one.name] = (kind | None if of_json else kind, Field(None, description=one.help))
    return made


def _facts() -> dict[str, Any]:
    """Return the fields of a model for what is shown of a record."""
    return {name: (type(field.plain(field.type())) | None, None) for name, field in FIELDS.items() if field.plain}


class Asked(BaseModel):
    """Only fields that are known, so that a misspelt one is told."""

    model_config = ConfigDict(extra="forbid")


class WithFilters(Asked):
    """A model that has the filters among its fields."""

    def plain(self) -> Filters:
        """Return the filters as the search knows them."""
        return Filters(**{one.name: getattr(self, one.name) for one in filters_on()})


class UploadFields(WithFilters):
    """The fields of an upload's form beside the filters."""

    file: Annotated[UploadFile, Field(description="a photo; it is not stored")]
    query: Words = WORDS
    image_weight: float = WEIGHT
    top_k: int = TOP_K
    by_date: bool = BY_DATE
    cut_off: bool = CUT_OFF
    explain: bool = EXPLAIN
    more: Judged = MORE
    less: Judged = LESS


class WordWeight(BaseModel):
    """A word of the query, and how much it counts for a photo."""

    word: str
    weight: float = Field(description="how much the similarity falls without the word, times the weight of its term")


class NarrowedFields(WithFilters):
    """What narrows photos beside the filters, in an address."""

    query: Words = Field("", description="filters as they stand in words; other words narrow nothing")


class PhotoFields(BaseModel):
    """What is told of a photo beside the facts of its record."""

    id: Id
    name: str = Field(description="of its file, without the folders")
    score: float = Field(description="cosine similarity with the query; 0 where nothing is asked")
    url: str = Field(description="as JPEG, without the data that cameras write into files")
    thumbnail: str
    original: str = Field(description="the file itself, to be downloaded")
    captions: list[str] = Field(description="its own captions")
    words: list[str] = Field(description="what is written of it, or in its name, that words of the query match")
    copies: list[Id] = Field(description="copies of it that were found too")
    word_weights: list[WordWeight] = Field(description="the words of the query, with `explain`; else none")


# Classes below are made of what the search declares, which a type checker cannot follow.


class PhotoFilters(create_model("_", __base__=WithFilters, **_filter_fields(of_json=True))):  # type: ignore[misc]
    """What a photo must be; a filter that the gallery does not know is not applied."""


class Upload(create_model("_", __base__=UploadFields, **_filter_fields(of_json=False))):  # type: ignore[misc]
    """A photo, alone or beside words."""


class Narrowed(create_model("_", __base__=NarrowedFields, **_filter_fields(of_json=False))):  # type: ignore[misc]
    """The photos that pass some filters."""


class Photo(create_model("_", __base__=PhotoFields, **_facts())):  # type: ignore[misc]
    """A photo of the gallery, with the facts that are known of it."""


class Question(Asked):
    """What all questions in JSON have in common."""

    top_k: Annotated[int, BeforeValidator(_number)] = TOP_K
    filters: PhotoFilters = PhotoFilters()
    by_date: StrictBool = BY_DATE
    cut_off: StrictBool = CUT_OFF
    explain: StrictBool = EXPLAIN
    more: Judged = MORE
    less: Judged = LESS


class TextQuery(Question):
    """A sentence, or terms with signs and weights."""

    query: Words = Field(
        description="a sentence, or terms: dog + beach - people, 2:dog + cat", examples=["two dogs in the snow"],
        # What Python strips and the schema's regular expressions do not take for space is named.
        json_schema_extra={"pattern": r"[^\s\u0085\u001c-\u001f]"},  # told, not validated here: an empty query is refused in words
    )  # fmt: skip


class ImageQuery(Question):
    """A photo of the gallery, alone or beside words."""

    image_id: Id
    query: Words = WORDS
    image_weight: Annotated[float, BeforeValidator(_number)] = WEIGHT


class Beginning(BaseModel):
    """What can be shown before anything is asked."""

    photos: list[Photo] = Field(description="the newest where dates are known, else some")
    examples: list[str] = Field(description="queries that photos of the gallery answer")


class Caption(BaseModel):
    """A caption, and the photo it was written for, where there is one."""

    caption: str
    score: float
    image_id: Id | None = None


class Piece(BaseModel):
    """A piece of the words that was understood as a filter."""

    text: str = Field(description="as it stands in the words; without it they are the same search without the filter")
    meaning: str
    kind: str = Field(
        description="the filter, by its name in `filters`; date for a date in words, album for a saved search"
    )


class Facet(BaseModel):
    """What a search can be narrowed by, and how many photos that leaves."""

    value: str = Field(description="a month, as 2023-06, or one name of a place")
    photos: int
    typed: str = Field(description="the filter among the words of a query")


class Facets(BaseModel):
    """What photos that pass can be narrowed by; none of what the gallery does not know, or does not count."""

    passing: int = Field(description="photos that pass the filters")
    months: list[Facet] = Field(description="months that photos were taken in, the earliest first")
    places: list[Facet] = Field(description="names of places, from towns to countries, those of most photos first")


class Photos(BaseModel):
    """Photos that were found, best first; none where nothing looks like the query."""

    photos: list[Photo]
    passing: int = Field(description="photos that pass the filters")
    cut_off: bool = Field(description="whether photos were left out because they do not look like the query")
    alike: int | None = Field(description="how many look like the query, copies included, where others were left out")
    understood: list[Piece] = Field(description="filters that stood in the words")
    notes: list[str] = Field(description="what a user has to be told, for example of filters that were not applied")


class PhotosAndCaptions(Photos):
    """Similar photos, and captions that fit."""

    captions: list[Caption]
    preview: str | None = Field(None, description="an upload as a data URL, where browsers cannot show its format")


class Health(BaseModel):
    """That the server answers."""

    status: Literal["ok"] = "ok"


class Latencies(BaseModel):
    """Of the last searches, milliseconds."""

    p50: float
    p95: float
    p99: float


class Filter(BaseModel):
    """A filter that this gallery can apply, as a page shows it."""

    name: str
    kind: Kind
    label: str
    help: str
    choices: list[str] = Field(description="the values there are, where others make no sense")
    values: list[str] = Field(description="values that photos have, where they can be listed")
    range: tuple[date, date] | None = Field(description="the first and the last day that photos are of")


class Stats(BaseModel):
    """What is served, and how it goes."""

    photos: int
    captions: int
    model: str = Field(description="the recipe of the model that encodes")
    fingerprint: str
    note: str = Field(description="what a user has to know of these photos")
    search: str = Field(description="how the gallery is searched")
    fields: list[str] = Field(description="what the gallery knows of its photos")
    filters: list[Filter]
    saves_albums: bool = Field(description="whether a search can be saved as an album")
    recall: dict[str, float] = Field(description="of the model on its validation split, per cent, where known")
    measured: int = Field(description="photos of the validation split that `recall` is of; 0 where that is not known")
    uptime_seconds: float
    queries: int
    latency: Latencies | None = Field(None, description="none before the second search")


class ErrorDetail(BaseModel):
    """What went wrong, without internals."""

    code: str
    message: str
    request_id: str


class Error(BaseModel):
    """The one shape of all errors."""

    error: ErrorDetail
