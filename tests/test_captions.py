"""Readers of caption files: every format by its content, every bad row with its line."""

import json
from pathlib import Path

import pytest

from crossmodal.data.captions import read_captions
from crossmodal.errors import CaptionsError


def write(folder: Path, text: str, name: str = "captions.any") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


FORMATS = {
    "csv": "image,caption\na.jpg,A dog.\nb.jpg,\"A cat, asleep.\"\n",
    "csv with a byte-order mark and other columns": "\ufeffid,image,caption\n1,a.jpg,A dog.\n2,b.jpg,\"A cat, asleep.\"\n",
    "results.csv": "image_name| comment_number| comment\na.jpg| 0| A dog.\nb.jpg| 0| A cat, asleep.\n",
    "results.csv with its missing bar": "image_name| comment_number| comment\na.jpg| 0| A dog.\nb.jpg| 4   A cat, asleep.\n",
    "token": "a.jpg#0\tA dog.\nb.jpg#0\tA cat, asleep.\n",
    "karpathy": json.dumps({"images": [
        {"filename": "a.jpg", "split": "restval", "sentences": [{"raw": "A dog."}]},
        {"filename": "b.jpg", "split": "test", "sentences": [{"raw": "A cat, asleep."}]},
    ]}),
    "coco": json.dumps({
        "images": [{"id": 7, "file_name": "a.jpg"}, {"id": 9, "file_name": "b.jpg"}],
        "annotations": [{"image_id": 7, "caption": "A dog."}, {"image_id": 9, "caption": "A cat, asleep."}],
    }),
    "list": json.dumps([{"file_name": "a.jpg", "caption": "A dog."}, {"file_name": "b.jpg", "caption": "A cat, asleep."}]),
}  # fmt: skip


@pytest.mark.parametrize("text", FORMATS.values(), ids=FORMATS.keys())
def test_every_format_is_told_by_its_content(tmp_path: Path, text: str) -> None:
    read = read_captions(write(tmp_path, text))
    assert [(row.image, row.caption) for row in read.rows] == [("a.jpg", "A dog."), ("b.jpg", "A cat, asleep.")]
    assert read.bad == ()


def test_karpathy_splits_are_kept_and_coco_folders_too(tmp_path: Path) -> None:
    content = {"images": [{"filepath": "val2014", "filename": "a.jpg", "split": "val", "sentences": [{"raw": "x"}]}]}
    (row,) = read_captions(write(tmp_path, json.dumps(content))).rows
    assert (row.image, row.split) == ("val2014/a.jpg", "val")
    rows = read_captions(write(tmp_path, FORMATS["karpathy"])).rows
    assert [row.split for row in rows] == ["train", "test"]


def test_bad_rows_are_named_by_line(tmp_path: Path) -> None:
    text = 'image,caption\na.jpg,A dog.\na.jpg,\n,A bird.\na.jpg,A dog.\nonly.jpg\nb.jpg,"never closed\nc.jpg,A cow.\n'
    read = read_captions(write(tmp_path, text))
    assert [row.image for row in read.rows] == ["a.jpg", "c.jpg"]
    assert [(row.where, row.reason) for row in read.bad] == [
        ("line 3", "the caption is empty"),
        ("line 4", "no image name"),
        ("line 5", "the same row as line 2"),
        ("line 6", "1 columns where the header has 2"),
        ("line 7", "a quotation mark is opened and not closed"),
    ]


def test_an_unquoted_comma_and_a_caption_over_two_lines_are_read(tmp_path: Path) -> None:
    text = 'image,caption\na.jpg,A dog, a cat, a bird.\nb.jpg,"one\ntwo"\nc.jpg,three\n'
    rows = read_captions(write(tmp_path, text)).rows
    assert [row.caption for row in rows] == ["A dog, a cat, a bird.", "one two", "three"]


def test_marks_within_a_caption_are_just_text(tmp_path: Path) -> None:
    text = 'image,caption\na.jpg,A 5" pipe.\nb.jpg,"A ""big"" dog."\nc.jpg,one\u2028two\nd.jpg,' + "x" * 200_000 + "\n"
    read = read_captions(write(tmp_path, text))
    assert [row.caption for row in read.rows] == ['A 5" pipe.', 'A "big" dog.', "one two"]
    assert [(row.where, row.image) for row in read.bad] == [("line 5", "d.jpg")]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is empty"),
        ("photo,caption\na.jpg,x\n", "no column 'image'"),
        ("image,text\na.jpg,x\n", "no column 'caption'"),
        ('{"images": [', "not whole"),
        ('{"a": 1}', "the keys a"),
    ],
)
def test_a_file_in_no_known_format_is_one_sentence(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(CaptionsError, match=words):
        read_captions(write(tmp_path, text))


def test_absent_folder_and_foreign_encoding(tmp_path: Path) -> None:
    with pytest.raises(CaptionsError, match="is not there"):
        read_captions(tmp_path / "none.txt")
    with pytest.raises(CaptionsError, match="is a folder"):
        read_captions(tmp_path)
    (tmp_path / "latin.txt").write_bytes("image,caption\na.jpg,caf\xe9\n".encode("latin-1"))
    with pytest.raises(CaptionsError, match="UTF-8"):
        read_captions(tmp_path / "latin.txt")
