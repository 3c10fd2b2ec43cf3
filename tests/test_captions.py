"""Readers of caption files: every format by its content, every bad row with its line."""

import csv
import json
import os
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


ROWS = [("a.jpg", "a dog, running"), ("b.jpg", "two cats")]
LAYOUTS = {
    "tabs": ("image\tcaption\na.jpg\ta dog, running\nb.jpg\ttwo cats\n", "tabs"),
    "other names": ("filepath\ttitle\na.jpg\ta dog, running\nb.jpg\ttwo cats\n", "'filepath', captions from 'title'"),
    "semicolons": ("image;caption\na.jpg;a dog, running\nb.jpg;two cats\n", "semicolons"),
    "bars and numbers": ("file name|caption|split\na.jpg|a dog, running|train\nb.jpg|two cats|val\n", "bars"),
    "bars": ("filename|description\na.jpg|a dog, running\nb.jpg|two cats\n", "bars"),
    "Excel, quoted": ('"SEP=;"\nimage;caption\na.jpg;"a dog, running"\nb.jpg;two cats\n', "semicolons"),
    "Excel": ('sep=;\r\nimage;caption\r\na.jpg;"a dog, running"\r\nb.jpg;two cats\r\n', "semicolons"),
    "Flickr30k with commas": ('image_name,comment_number,comment\na.jpg,0," a dog, running"\nb.jpg,1, two cats\n', "'comment'"),
    "metadata.csv": ('file_name,text\na.jpg,"a dog, running"\nb.jpg,two cats\n', "'text'"),
    "JSON lines": ('{"file_name": "a.jpg", "text": "a dog, running"}\n{"file_name": "b.jpg", "text": "two cats"}\n', "JSON lines"),
    "no header": ('a.jpg,"a dog, running"\nb.jpg,two cats\n', "without a header"),
    "no header, tabs": ("0\ta.jpg\ta dog, running\n1\tb.jpg\ttwo cats\n", "in column 2 and captions in 3"),
    "captions first": ("caption,image\na dog, running,a.jpg\ntwo cats,b.jpg\n", "commas"),
    "an object": ('{"a.jpg": ["a dog, running"], "b.jpg": "two cats"}', "object"),
    "COCO with ids of both kinds": (json.dumps({
        "images": [{"id": "7", "file_name": "a.jpg"}, {"id": 9, "file_name": "b.jpg"}],
        "annotations": [{"image_id": 7, "caption": "a dog, running"}, {"image_id": "9", "caption": "two cats"}],
    }), "COCO"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "note"), LAYOUTS.values(), ids=LAYOUTS.keys())
def test_delimiters_and_columns_are_recognised_and_said(tmp_path: Path, text: str, note: str) -> None:
    read = read_captions(write(tmp_path, text))
    assert [(row.image, row.caption) for row in read.rows] == ROWS
    assert read.bad == ()
    assert note in read.notes[0]


SEVERAL = {
    "list": json.dumps([{"image": "a.jpg", "caption": ["one", "two"]}, {"image": "b.jpg", "captions": ["three"]}]),
    "object": json.dumps({"a.jpg": ["one", "two"], "b.jpg": ["three"]}),
    "columns": "image,caption_0,caption_1\na.jpg,one,two\nb.jpg,three,\n",
    "JSON in a cell": 'raw,sentids,split,filename\n"[""one"", ""two""]","[0, 1]",train,a.jpg\n"[""three""]",[2],test,b.jpg\n',
    "Python in a cell": "image,captions\na.jpg,\"['one', 'two']\"\nb.jpg,['three']\n",
}


@pytest.mark.parametrize("text", SEVERAL.values(), ids=SEVERAL.keys())
def test_several_captions_of_an_entry(tmp_path: Path, text: str) -> None:
    read = read_captions(write(tmp_path, text))
    assert [(row.image, row.caption) for row in read.rows] == [("a.jpg", "one"), ("a.jpg", "two"), ("b.jpg", "three")]
    assert read.bad == ()


def test_a_list_without_commas_is_refused_rather_than_run_together(tmp_path: Path) -> None:
    read = read_captions(write(tmp_path, "image,captions\na.jpg,['one' 'two']\nb.jpg,three\n"))
    assert [row.image for row in read.rows] == ["b.jpg"]


def test_splits_are_honoured_and_unknown_ones_are_bad(tmp_path: Path) -> None:
    read = read_captions(write(tmp_path, "image,caption,split\na.jpg,x,train\nb.jpg,x,validation\nc.jpg,x,fold7\n"))
    assert [row.split for row in read.rows] == ["train", "val"]
    assert "'fold7' is none of train, val and test" in read.bad[0].reason
    (row, *_) = read_captions(write(tmp_path, SEVERAL["JSON in a cell"])).rows
    assert row.split == "train"


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ('"image","caption"\n"a.jpg","one\n"b.jpg","two"\n"c.jpg","three"\n', [("b.jpg", "two"), ("c.jpg", "three")]),
        ('caption,image\n"one,a.jpg\n"two",b.jpg\nthree,c.jpg\n', [("b.jpg", "two"), ("c.jpg", "three")]),
        ('caption,image\n"one,a.jpg\ntwo",b.jpg\nthree,c.jpg\n', [("b.jpg", 'two"'), ("c.jpg", "three")]),
        ('image,caption\na.jpg,"one\nb.jpg,two"\nc.jpg,three\n', [("b.jpg", 'two"'), ("c.jpg", "three")]),
    ],
)
def test_an_open_quotation_mark_costs_one_row_and_moves_no_caption(
    tmp_path: Path, text: str, rows: list[tuple[str, str]]
) -> None:
    read = read_captions(write(tmp_path, text))
    assert [(row.image, row.caption) for row in read.rows] == rows
    assert [row.where for row in read.bad] == ["line 2"]


def test_equal_captions_of_an_image_are_kept_and_noted(tmp_path: Path) -> None:
    read = read_captions(write(tmp_path, "image,caption\na.jpg,A dog.\na.jpg,A dog.\nb.jpg,A dog.\n"))
    assert len(read.rows) == 3 and not read.bad
    assert read.notes[-1].startswith("Captions that an image has more than once: 1;")


def test_karpathy_splits_are_kept_and_coco_folders_too(tmp_path: Path) -> None:
    content = {"images": [{"filepath": "val2014", "filename": "a.jpg", "split": "val", "sentences": [{"raw": "x"}]}]}
    (row,) = read_captions(write(tmp_path, json.dumps(content))).rows
    assert (row.image, row.split) == ("val2014/a.jpg", "val")
    rows = read_captions(write(tmp_path, FORMATS["karpathy"])).rows
    assert [row.split for row in rows] == ["train", "test"]


def test_bad_rows_are_named_by_line(tmp_path: Path) -> None:
    text = 'image,caption\na.jpg,A dog.\na.jpg,\n,A bird.\na.jpg,A dog.\nonly.jpg\nb.jpg,"never closed\nc.jpg,A cow.\n'
    read = read_captions(write(tmp_path, text))
    assert [row.image for row in read.rows] == ["a.jpg", "a.jpg", "c.jpg"]
    assert [(row.where, row.reason) for row in read.bad] == [
        ("line 3", "the caption is empty"),
        ("line 4", "no image name"),
        ("line 6", "1 columns where there should be 2"),
        ("line 7", "a quotation mark is opened and not closed"),
    ]


def test_an_unquoted_comma_and_a_caption_over_two_lines_are_read(tmp_path: Path) -> None:
    text = 'image,caption\na.jpg,A dog, a cat, a bird.\nb.jpg,"one\ntwo"\nc.jpg,three\n'
    rows = read_captions(write(tmp_path, text)).rows
    assert [row.caption for row in rows] == ["A dog, a cat, a bird.", "one two", "three"]


@pytest.mark.parametrize("limit", [131_072, 10**9])
def test_marks_within_a_caption_are_just_text(tmp_path: Path, limit: int) -> None:
    before = csv.field_size_limit(limit)  # reverse_geocode lifts it where a photo with a position was indexed
    text = 'image,caption\na.jpg,A 5" pipe.\nb.jpg,"A ""big"" dog."\nc.jpg,one\u2028two\nd.jpg,' + "x" * 200_000 + "\n"
    read = read_captions(write(tmp_path, text))
    assert [row.caption for row in read.rows] == ['A 5" pipe.', 'A "big" dog.', "one two"]
    assert [(row.where, row.image) for row in read.bad] == [("line 5", "d.jpg")]
    csv.field_size_limit(before)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is empty"),
        ("picture,caption\na.jpg,x\n", "no columns for images and captions"),
        ("image,words\na.jpg,x\n", "no columns for images and captions"),
        ("a.jpg\tb.jpg#2\t1\t1\t2\n" * 9, "no columns for images and captions"),
        ("x" * 200_000 + ",caption\n", "no columns for images and captions"),
        ('{"a":' * 100_000, "nested too deeply"),
        ('{"images": [', "not whole"),
        ('{"a": 1}', "the keys a"),
    ],
)
def test_a_file_in_no_known_format_is_one_sentence(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(CaptionsError, match=words):
        read_captions(write(tmp_path, text))


def test_a_giant_line_costs_its_row_and_no_time(tmp_path: Path) -> None:
    giant = "x" + " " * 1_000_000 + "y"
    for header in ("image,caption\n", "image_name| comment_number| comment\n", ""):
        separator = "| 0| " if "|" in header else ","
        text = f"{header}a.jpg{separator}A dog.\nb.jpg{separator}Two dogs.\n{giant}\n"
        read = read_captions(write(tmp_path, text))
        assert [row.image for row in read.rows] == ["a.jpg", "b.jpg"]
        assert len(read.bad) == 1 and len(str(read.bad[0])) < 200


def test_absent_folder_and_foreign_encoding(tmp_path: Path) -> None:
    with pytest.raises(CaptionsError, match="is not there"):
        read_captions(tmp_path / "none.txt")
    with pytest.raises(CaptionsError, match="has no captions"):
        read_captions(tmp_path)
    (tmp_path / "photo").write_bytes(bytes(range(256)) * 9)
    with pytest.raises(CaptionsError, match="is not text"):
        read_captions(tmp_path / "photo")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "cp1252"])
def test_other_encodings_are_read_and_named(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "captions.csv").write_bytes("image,caption\na.jpg,a café – outdoors\n".encode(encoding))
    read = read_captions(tmp_path / "captions.csv")
    assert [row.caption for row in read.rows] == ["a café – outdoors"]
    assert any("not UTF-8" in note for note in read.notes) == (encoding != "utf-8-sig")


def test_the_encoding_of_many_lines_is_told_by_how_well_it_fits(tmp_path: Path) -> None:
    for encoding, caption in (("cp1252", "un garçon à la plage, l’été"), ("cp1251", "Собака бежит по траве")):
        path = tmp_path / encoding
        path.write_bytes(("image,caption\n" + f'a.jpg,"{caption}"\n' * 200).encode(encoding))
        assert read_captions(path).rows[0].caption == caption


def test_lone_surrogates_are_replaced_once_at_reading(tmp_path: Path) -> None:
    text = '[{"image": "a.jpg", "caption": "half \\ud83d of a face"}, {"image": "b\\udc80.jpg", "caption": "x"}]'
    first, second = read_captions(write(tmp_path, text)).rows
    assert (first.caption, second.image) == ("half \ufffd of a face", "b\ufffd.jpg")


def test_text_files_beside_photos_or_in_a_folder_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    for name in ("a.jpg", "sub/b.PNG"):
        (tmp_path / name).touch()
        (tmp_path / name).with_suffix(".txt").write_text(f"one of {name}\n\ntwo\n")
    (tmp_path / "README.txt").write_text("no captions")
    read = read_captions(tmp_path)
    assert [(row.image, row.caption) for row in read.rows] == [
        ("a.jpg", "one of a.jpg"), ("a.jpg", "two"), ("sub/b.PNG", "one of sub/b.PNG"), ("sub/b.PNG", "two"),
    ]  # fmt: skip
    (tmp_path / "a.jpg").unlink()
    (tmp_path / "sub" / "b.PNG").unlink()
    assert [row.image for row in read_captions(tmp_path).rows][:2] == ["README", "a"]


def test_a_header_counts_more_than_what_captions_look_like(tmp_path: Path) -> None:
    lines = "".join(f"p{number}.jpg|{number} dogs run\n" for number in range(30))
    read = read_captions(write(tmp_path, "image|caption\n" + lines))
    assert (len(read.rows), read.bad) == (30, ())
    assert read.rows[2].caption == "2 dogs run"


def test_a_split_without_a_header_is_honoured(tmp_path: Path) -> None:
    read = read_captions(write(tmp_path, "a.jpg,a dog runs,train\nb.jpg,two cats sleep,test\n"))
    assert [(row.image, row.caption, row.split) for row in read.rows] == [
        ("a.jpg", "a dog runs", "train"), ("b.jpg", "two cats sleep", "test"),
    ]  # fmt: skip
    assert "splits in 3" in read.notes[-1]


def test_text_files_of_other_systems_and_encodings(tmp_path: Path) -> None:
    (tmp_path / "a.jfif").touch()
    (tmp_path / "a.txt").write_bytes("un café".encode("cp1252"))
    (tmp_path / "__MACOSX").mkdir()
    for name in ("._a.jfif", "._a.txt"):
        (tmp_path / "__MACOSX" / name).write_bytes(b"\0\5\26\7")
    read = read_captions(tmp_path)
    assert [(row.image, row.caption) for row in read.rows] == [("a.jfif", "un café")]
    assert any(note.startswith("a.txt: Decoded as cp1252") for note in read.notes)
    (tmp_path / "b.jpg").touch()
    os.mkfifo(tmp_path / "b.txt")  # read, it would never end
    with pytest.raises(CaptionsError, match=r"b\.txt is not a regular file"):
        read_captions(tmp_path)


FOUR = [
    ("p0.jpg", "a dog runs, fast"), ("p1.jpg", "two people on a street"), ("p2.jpg", "a man climbs a rock"),
    ("p3.jpg", "a child in the water"),
]  # fmt: skip


@pytest.fixture
def cases() -> Path:
    """The folder of captions files that people have; tests that need it skip without it, and say so."""
    place = os.environ.get("CASES_DIR")
    if not place or not (Path(place) / "c01.tsv").is_file():
        pytest.skip("set CASES_DIR to the folder of captions files c01.tsv to c52.csv")
    return Path(place)


@pytest.mark.real
def test_files_that_people_have(cases: Path) -> None:
    def read(name: str) -> tuple[list[tuple[str, str]], list[str], dict[str, str | None]]:
        found = read_captions(cases / name)
        rows = [(row.image, row.caption) for row in found.rows]
        return rows, [bad.where for bad in found.bad], {row.image: row.split for row in found.rows}

    for name in ("c01.tsv", "c02.tsv", "c03.csv", "c29.csv", "c04.csv", "c05.jsonl", "c06.csv", "c31.csv", "c32.tsv"):
        assert read(name)[:2] == (FOUR, []), name
    for name in ("c07.json", "c28.json", "c33.csv"):
        rows, bad, _ = read(name)
        assert (len(rows), bad) == (8, []) and all(sum(image == one for one, _ in rows) == 2 for image, _ in FOUR), name
    rows, bad, splits = read("c39.csv")
    assert (len(rows), bad) == (4, [])
    assert splits == {"p0.jpg": "train", "p1.jpg": "train", "p2.jpg": "val", "p3.jpg": "test"}
    rows, bad, splits = read("c52.csv")
    assert (len(rows), bad, splits["p0.jpg"], splits["p1.jpg"]) == (3, [], "train", "test")
    for name in ("c08.csv", "c36.csv"):
        assert read(name)[:2] == ([("b.jpg", "second"), ("c.jpg", "third")], ["line 2"]), name
