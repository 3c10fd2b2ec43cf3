"""Keys and columns of captions files: several captions of an entry, keys that stand twice, and which column has the splits."""

import csv
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from crossmodal.data.captions import read_captions
from crossmodal.errors import CaptionsError
from tests.test_captions import write

KEYS = {
    "numbered": ({"image": "a.jpg", "caption": "one", "caption_2": "two"}, ["one", "two"], []),
    "plural": ({"image": "a.jpg", "caption": "one", "Captions": ["two", "three"]}, ["one", "two", "three"], []),
    "numbered alone": ({"image": "a.jpg", "caption_1": "one", "caption_2": "two"}, ["one", "two"], []),
    "some empty": ({"image": "a.jpg", "caption": "one", "caption_2": "", "caption_3": None}, ["one"], []),
    "an empty kind": ({"image": "a.jpg", "caption": "", "text": "t t"}, ["t t"], ["'caption', else from 'text'"]),
    "two kinds": ({"image": "a.jpg", "text": "t t", "caption": "one"}, ["one"], ["'caption', else from 'text'"]),
    "no text": ({"image": "a.jpg", "caption": 5, "text": "t t"}, ["t t"], ["'caption', else from 'text'"]),
}  # fmt: skip


@pytest.mark.parametrize("form", ["list", "lines", "parquet"])
@pytest.mark.parametrize(("entry", "captions", "said"), KEYS.values(), ids=KEYS.keys())
def test_keys_of_captions_are_taken_as_columns_are(
    tmp_path: Path, form: str, entry: dict[str, object], captions: list[str], said: list[str]
) -> None:
    path = tmp_path / "captions"
    if form == "parquet":
        pq.write_table(pa.table({key: [value, value] for key, value in entry.items()}), path)
        said = said if isinstance(entry.get("caption", ""), str) else []  # a column of numbers is not read
    else:
        path.write_text(json.dumps([entry, entry]) if form == "list" else f"{json.dumps(entry)}\n{json.dumps(entry)}\n")
    read = read_captions(path)
    assert [row.caption for row in read.rows] == captions * 2 and not read.bad
    assert all(word in read.notes[0] for word in said) and ("captions from" in read.notes[0]) == bool(said)


def test_a_key_that_stands_twice_loses_no_caption_and_gives_none_to_another_image(tmp_path: Path) -> None:
    entries = [
        '{"image": "a.jpg", "caption": "one", "caption": "two"}', '{"image": "a.jpg", "image": "b.jpg", "caption": "whose?"}',
        '{"image": "b.jpg", "caption": "three", "Caption": "four", "split": "val", "split": "val"}',
        '{"image": "c.jpg", "caption": "five", "split": "test", "split": "train"}',
    ]  # fmt: skip
    for text in ("\n".join(entries), f"[{','.join(entries)}]"):
        read = read_captions(write(tmp_path, text))
        assert [(row.image, row.caption) for row in read.rows] == [
            ("a.jpg", "one"), ("a.jpg", "two"), ("b.jpg", "three"), ("b.jpg", "four"),
        ]  # fmt: skip
        assert [row.reason for row in read.bad] == [
            "the key 'image' stands twice, with different values", "the key 'split' stands twice, with different values",
        ]  # fmt: skip
    assert len(read_captions(write(tmp_path, entries[0])).rows) == 2


def test_a_key_that_stands_twice_in_cocos_or_karpathys_form(tmp_path: Path) -> None:
    read = read_captions(write(tmp_path, '''{"images": [
        {"id": 1, "file_name": "a.jpg"}, {"id": 2, "file_name": "b.jpg", "file_name": "c.jpg"}],
        "annotations": [{"image_id": 1, "caption": "one", "caption": "two"}, {"image_id": 2, "caption": "x"},
        {"image_id": 2, "image_id": 1, "caption": "y"}]}'''))  # fmt: skip
    assert [(row.image, row.caption) for row in read.rows] == [("a.jpg", "one"), ("a.jpg", "two")]
    assert [str(row) for row in read.bad] == [
        "annotation 2: in its image the key 'file_name' stands twice, with different values",
        "annotation 3: the key 'image_id' stands twice, with different values",
    ]
    read = read_captions(write(tmp_path, '''{"images": [
        {"filename": "a.jpg", "sentences": [{"raw": "one", "raw": "two"}], "sentences": [{"raw": "three"}]},
        {"filename": "b.jpg", "filename": "c.jpg", "sentences": [{"raw": "whose?"}]}]}'''))  # fmt: skip
    assert [(row.image, row.caption) for row in read.rows] == [("a.jpg", text) for text in ("one", "two", "three")]
    assert [row.where for row in read.bad] == ["image 2"]
    with pytest.raises(CaptionsError, match="the key 'images' stands twice"):
        read_captions(write(tmp_path, '{"images": [], "images": [{"id": 1}], "annotations": []}'))


SPLITS = ("train", "Test", "")


@pytest.mark.parametrize("form", ["table", "list", "lines", "coco", "parquet"])
def test_a_column_of_splits_is_told_by_its_values(tmp_path: Path, form: str) -> None:
    path = tmp_path / "captions"

    def read(**columns: tuple[str, ...]) -> tuple[list[str | None], str]:
        named = {"image": ("a.jpg", "b.jpg", "c.jpg"), "caption": ("a dog", 'two "cats"', "a\nbird"), **columns}
        entries = [dict(zip(named, row, strict=True)) for row in zip(*named.values(), strict=True)]
        if form == "table":
            with path.open("w", newline="") as file:
                writer = csv.DictWriter(file, list(named))
                writer.writeheader()
                writer.writerows(entries)
        elif form == "parquet":
            pq.write_table(pa.table(named), path)
        elif form == "coco":
            images = [{**entry, "id": number} for number, entry in enumerate(entries)]
            annotations = [{"image_id": number, "caption": entry["caption"]} for number, entry in enumerate(entries)]
            path.write_text(json.dumps({"images": images, "annotations": annotations}))
        else:
            path.write_text(json.dumps(entries) if form == "list" else "\n".join(map(json.dumps, entries)))
        found = read_captions(path)
        assert not found.bad
        return [row.split for row in found.rows], found.notes[0]

    taken = ["train", "test", None]
    splits, note = read(set=SPLITS, source=("train", "web", "test"))
    assert splits == taken and "splits from 'set'" in note
    splits, note = read(subset=SPLITS, split=("val", "val", "val"))
    assert splits == ["val"] * 3 and "subset" not in note.replace("columns image, caption, subset", "")
    splits, note = read(set=SPLITS, fold=SPLITS)
    assert splits == [None] * 3 and "no splits, since more than one column looks like them ('set', 'fold')" in note
    assert read(title=SPLITS)[0] == read(note=("", "", ""))[0] == [None] * 3


def test_two_columns_of_splits_without_a_header_are_said(tmp_path: Path) -> None:
    read = read_captions(write(tmp_path, "a.jpg,a dog runs,train,val\nb.jpg,two cats sleep,test,val\n"))
    assert [row.split for row in read.rows] == [None, None]
    assert "no splits, since more than one column looks like them (3, 4)" in read.notes[-1]


def test_a_split_that_is_none_after_those_looked_at_is_a_bad_row(tmp_path: Path) -> None:
    lines = "".join(f"p{number}.jpg,a dog,train\n" for number in range(30))
    read = read_captions(write(tmp_path, f"image,caption,set\n{lines}a.jpg,a cat,tset\n"))
    assert len(read.rows) == 30 and "'tset' is none of train, val and test" in read.bad[0].reason
