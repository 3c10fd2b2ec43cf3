"""Caption files in other orders and with other line ends than usual, and entries that say nothing."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from crossmodal.data.captions import CaptionFile, read_captions
from crossmodal.data.dataset import read_dataset
from crossmodal.errors import CaptionsError
from tests.test_captions import FORMATS, write
from tests.test_photo_index import save

ROWS = [("a.jpg", "a dog runs"), ("b.jpg", "two cats asleep")]


@pytest.mark.parametrize("end", ["", "\r", "\n"])
@pytest.mark.parametrize(
    "text",
    [
        "image,caption\ra.jpg,a dog runs\rb.jpg,two cats asleep", "a.jpg#0\ta dog runs\rb.jpg#0\ttwo cats asleep",
        "image_name| comment_number| comment\ra.jpg| 0| a dog runs\rb.jpg| 0| two cats asleep",
        '{"image": "a.jpg", "text": "a dog runs"}\r{"image": "b.jpg", "text": "two cats asleep"}',
        'image,caption\ra.jpg,"a dog\rruns"\rb.jpg,two cats asleep',
    ],
)  # fmt: skip
def test_lines_that_end_with_a_carriage_return_alone(tmp_path: Path, text: str, end: str) -> None:
    read = read_captions(write(tmp_path, text + end))
    assert [(row.image, row.caption) for row in read.rows] == ROWS and not read.bad


@pytest.mark.parametrize(
    "text",
    [
        "image,caption\na.jpg,a dog runs\rb.jpg,two cats asleep\n", "a.jpg#0\ta dog runs\rb.jpg#0\ttwo cats asleep\n",
        "image_name| comment_number| comment\na.jpg| 0| a dog runs\rb.jpg| 0| two cats asleep\n",
        "image,caption\r\r\na.jpg,a dog runs\r\r\nb.jpg,two cats asleep\r\n",
        'image,caption\r\na.jpg,"a dog\rruns"\nb.jpg,two cats asleep\r\n',
    ],
)  # fmt: skip
def test_lines_that_end_in_several_ways(tmp_path: Path, text: str) -> None:
    read = read_captions(write(tmp_path, text))
    assert [(row.image, row.caption) for row in read.rows] == ROWS and not read.bad


def test_a_carriage_return_within_a_caption_without_quotes_is_said(tmp_path: Path) -> None:
    read = read_captions(write(tmp_path, "image,caption\na.jpg,a dog runs\r in snow\nb.jpg,two cats asleep\n"))
    assert [(row.image, row.caption) for row in read.rows] == ROWS and len(read.bad) == 1


def test_a_text_file_has_a_caption_a_line_however_lines_end(tmp_path: Path) -> None:
    save(tmp_path / "a.jpg")
    (tmp_path / "a.txt").write_bytes(b"a dog\rtwo cats\na bird\r\n")
    assert [row.caption for row in read_captions(tmp_path).rows] == ["a dog", "two cats", "a bird"]


@pytest.mark.parametrize(
    "content",
    [
        {"images": [{"id": 1, "file_name": "a.jpg"}, {"id": 2, "file_name": "b.jpg", "split": "val"}],
         "annotations": [{"image_id": 1, "caption": "a dog", "split": "test"}, {"image_id": 2, "caption": "b"}]},
        {"images": [{"filename": "a.jpg", "sentences": [{"raw": "a dog", "split": "test"}]},
                    {"filename": "b.jpg", "split": "val", "sentences": [{"raw": "b"}]}]},
    ],
)  # fmt: skip
def test_a_split_beside_the_caption_counts(tmp_path: Path, content: object) -> None:
    assert [row.split for row in read_captions(write(tmp_path, json.dumps(content))).rows] == ["test", "val"]


@pytest.mark.parametrize("split", [0, False, 1, "weekly"])
def test_a_split_that_is_none_is_a_bad_row_and_an_empty_one_is_not(tmp_path: Path, split: object) -> None:
    entries = [{"image": "a.jpg", "caption": "a", "split": split}, {"image": "b.jpg", "caption": "b", "split": " "}]
    read = read_captions(write(tmp_path, json.dumps(entries)))
    assert [row.image for row in read.rows] == ["b.jpg"] and "none of train, val and test" in read.bad[0].reason


@pytest.mark.parametrize("cell", ["['a dog''two cats']", "['a dog', 'it''s']", "['a dog' 'two cats']"])
def test_strings_that_python_would_join_are_no_caption(tmp_path: Path, cell: str) -> None:
    read = read_captions(write(tmp_path, f"image,captions\na.jpg,\"{cell}\"\nb.jpg,\"['b', 'it is']\"\n"))
    assert [row.caption for row in read.rows] == ["b", "it is"] and read.bad[0].image == "a.jpg"


@pytest.mark.parametrize("second", ["[" * 100_000, '{"image": ' + "7" * 5000 + "}"])
def test_one_line_of_two_that_is_too_much_costs_that_line(tmp_path: Path, second: str) -> None:
    read = read_captions(write(tmp_path, f'{{"image": "a.jpg", "text": "a dog"}}\n{second}\n'))
    assert [row.image for row in read.rows] == ["a.jpg"] and read.bad[0].where == "line 2"


def test_a_name_of_several_photos_is_said_so(tmp_path: Path) -> None:
    for name in ("x.jpg", "x.png", "y.jpg"):
        save(tmp_path / "images" / name)
    read = read_dataset(write(tmp_path, "image,caption\nx,a dog\ny,b\n"), tmp_path / "images")
    assert read.bad[0].reason == "several files have this name: x.jpg, x.png"


def test_an_entry_of_karpathys_file_without_sentences_is_a_bad_row(tmp_path: Path) -> None:
    content = json.loads(FORMATS["karpathy"])
    content["images"] += [{"filename": "c.jpg", "split": "val", "sentences": []}, {"filename": "d.jpg", "split": "val"}]
    read = read_captions(write(tmp_path, json.dumps(content)))
    assert [str(row) for row in read.bad] == ["image 3 (c.jpg): no caption", "image 4 (d.jpg): no caption"]
    assert len(read.rows) == 2


@pytest.mark.parametrize(
    "text",
    [
        "a dog runs\ta.jpg\ntwo cats asleep\tb.jpg\n", "a dog runs\ta\ntwo cats asleep\tb\n",
        "a dog runs like c.jpg\ta.jpg\ntwo cats asleep by d.jpg\tb.jpg\n", "a dog runs #1\ta.jpg\ntwo cats asleep #2\tb.jpg\n",
        "a dog runs\ta.jpg\ntwo cats asleep #2\tb.jpg\n", "a\ta dog runs\nb\ttwo cats asleep\n",
    ],
)  # fmt: skip
def test_names_in_any_column_are_recognised_by_the_photos(tmp_path: Path, text: str) -> None:
    for name in ("a.jpg", "b.jpg"):
        save(tmp_path / "photos" / name)
    checked = read_dataset(write(tmp_path, text, "captions.tsv"), tmp_path / "photos", ratios=(1, 0, 0))
    assert not checked.bad
    found = {image.name: image.captions for image in checked.dataset.images}
    assert list(found) == ["a.jpg", "b.jpg"]
    assert found["a.jpg"][0].startswith("a dog runs") and found["b.jpg"][0].startswith("two cats asleep")


@pytest.mark.parametrize("columns", ["caption,image,split", "caption,image,id", "title,caption,image,split"])
def test_an_open_quotation_mark_before_the_names_gives_no_caption_to_another_image(
    tmp_path: Path, columns: str
) -> None:
    save(tmp_path / "photos" / "p1.jpg")
    save(tmp_path / "photos" / "p3.jpg")
    more = "x," * (columns.count(",") - 2)
    text = f'{columns}\n{more}"a dog, big,p0.jpg,train\n{more}two people",p1.jpg,train\n{more}a man,p3.jpg,test\n'
    checked = read_dataset(write(tmp_path, text), tmp_path / "photos", ratios=(1, 0, 0))
    assert [image.captions for image in checked.dataset.images if image.name == "p3.jpg"] == [("a man",)]
    assert not any("dog" in caption for caption in checked.dataset.captions)
    assert [row.where for row in checked.bad][:1] == ["line 2"]


@pytest.mark.parametrize(
    "caption", ['he said "hi" there', 'he said "hi", there', '"hi" said the man', 'a sign that says "stop"']
)
def test_quotation_marks_in_a_quoted_caption_that_are_not_doubled_stay(tmp_path: Path, caption: str) -> None:
    read = read_captions(write(tmp_path, f'image,caption\np0.jpg,"{caption}"\np1.jpg,"two, cats"\n'))
    assert [(row.image, row.caption) for row in read.rows] == [("p0.jpg", caption), ("p1.jpg", "two, cats")]


def test_several_captions_beside_a_name_without_a_header(tmp_path: Path) -> None:
    lines = "p0.jpg,a dog runs,a brown dog\np1.jpg,two cats asleep,two cats on a bed\n"
    read = read_captions(write(tmp_path, lines))
    assert [row.caption for row in read.rows] == ["a dog runs", "a brown dog", "two cats asleep", "two cats on a bed"]
    assert "captions in 2 and 3" in read.notes[0]
    read = read_captions(write(tmp_path, "p0.jpg,a dog runs, and it barks\np1.jpg,two cats asleep, on a bed\n"))
    assert [row.caption for row in read.rows] == ["a dog runs, and it barks", "two cats asleep, on a bed"]


def test_the_split_of_an_image_in_cocos_form_is_its_captions(tmp_path: Path) -> None:
    images = [{"id": n, "file_name": f"p{n}.jpg", "split": split} for n, split in enumerate(("train", "val", "test"))]
    content = {"images": images, "annotations": [{"image_id": n, "caption": "a dog"} for n in range(3)]}
    read = read_captions(write(tmp_path, json.dumps(content)))
    assert [(row.image, row.split) for row in read.rows] == [("p0.jpg", "train"), ("p1.jpg", "val"), ("p2.jpg", "test")]


def test_a_number_of_thousands_of_digits_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(CaptionsError, match="number of thousands of digits; take it out.$"):
        read_captions(write(tmp_path, '[{"image": "a.jpg", "caption": "x", "id": ' + "1" * 10_000 + "}]"))


def test_columns_that_nothing_tells_apart_are_one_sentence(tmp_path: Path) -> None:
    save(tmp_path / "photos" / "a.jpg")
    for text in (
        "a dog runs\t1000\ntwo cats asleep\t1001\n",
        "a dog #1\t1000\ntwo cats asleep\t1001\nthree men\t1002\n",
    ):
        with pytest.raises(CaptionsError, match="name them in a first line"):
            read_dataset(write(tmp_path, text, "captions.tsv"), tmp_path / "photos")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.csv", "image,caption\na.jpg#0,a dog runs\nb.jpg#0,two cats asleep\n"),
        ("a.csv", "caption,image\na dog runs,a.jpg#0\ntwo cats asleep,b.jpg#4\n"),
        ("a.tsv", "a dog runs\ta.jpg#0\ntwo cats asleep\tb.jpg#1\n"),
        ("a.json", '[{"image": "a.jpg#0", "text": "a dog runs"}, {"image": "b.jpg#0", "text": "two cats asleep"}]'),
    ],
)  # fmt: skip
def test_the_number_of_a_caption_is_no_part_of_its_images_name(tmp_path: Path, name: str, text: str) -> None:
    read = read_captions(write(tmp_path, text, name))
    assert [(row.image, row.caption) for row in read.rows] == ROWS and not read.bad


def test_names_without_a_suffix_are_not_swallowed_by_an_open_quotation_mark(tmp_path: Path) -> None:
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        save(tmp_path / "photos" / name)
    for text in ('image,caption\na,"one\nb,two"\nc,three\n', 'caption,n,image\n"one,0,a\ntwo",0,b\nthree,0,c\n'):
        checked = read_dataset(write(tmp_path, text, "captions.csv"), tmp_path / "photos", ratios=(1, 0, 0))
        assert [(image.name, image.captions) for image in checked.dataset.images] == [
            ("b.jpg", ('two"',)), ("c.jpg", ("three",)),
        ]  # fmt: skip
        assert [row.where for row in checked.bad] == ["line 2"]


def coco(tmp_path: Path, images: list[tuple[object, str]], annotations: list[tuple[object, str]]) -> CaptionFile:
    content = {
        "images": [{"id": key, "file_name": name} for key, name in images],
        "annotations": [{"image_id": key, "caption": caption} for key, caption in annotations],
    }
    return read_captions(write(tmp_path, json.dumps(content)))


def test_an_id_of_two_images_gives_neither_the_others_caption(tmp_path: Path) -> None:
    images: list[tuple[object, str]] = [(1, "a.jpg"), ("1", "b.jpg"), (2, "c.jpg"), (2, "c.jpg"), (None, "d.jpg")]
    read = coco(tmp_path, images, [(1, "whose?"), (2.0, "two cats"), (None, "nobody's")])
    assert [(row.image, row.caption) for row in read.rows] == [("c.jpg", "two cats")]
    assert [str(row) for row in read.bad] == [
        "annotation 1: several images have the id 1", "annotation 3: no image with the id None",
    ]  # fmt: skip


def test_images_of_coco_without_a_caption_are_counted(tmp_path: Path) -> None:
    read = coco(tmp_path, [(1, "a.jpg"), (2, "b.jpg"), (3, "c.jpg")], [(1, "a dog")])
    assert read.notes == ("Read as COCO captions. Images without a caption: 2, such as b.jpg.",)
    assert coco(tmp_path, [(1, "a.jpg")], [(1, "a dog")]).notes == ("Read as COCO captions.",)


def test_a_name_that_stands_twice_in_an_object_keeps_all_its_captions(tmp_path: Path) -> None:
    read = read_captions(write(tmp_path, '{"a.jpg": ["one"], "b.jpg": "two", "a.jpg": [{"raw": "three"}]}'))
    assert [(row.image, row.caption) for row in read.rows] == [("a.jpg", "one"), ("b.jpg", "two"), ("a.jpg", "three")]


def test_json_lines_with_capital_keys_and_a_broken_first_line(tmp_path: Path) -> None:
    lines = ['{"Image": "x.jpg", "Caption"', *(json.dumps({"Image": name, "Caption": text}) for name, text in ROWS)]
    read = read_captions(write(tmp_path, "\n".join(lines)))
    assert [(row.image, row.caption) for row in read.rows] == ROWS
    assert [str(row) for row in read.bad] == ["line 1: not a JSON object"]


def test_a_few_damaged_bytes_do_not_change_the_encoding_of_all_lines(tmp_path: Path) -> None:
    lines = "".join(f"a.jpg,un café número {number}\n" for number in range(60)).encode()
    (tmp_path / "c.csv").write_bytes(b"image,caption\n" + lines + b"b.jpg,caf\xe9 latin\n" + lines)
    read = read_captions(tmp_path / "c.csv")
    assert [row.caption for row in read.rows if row.image == "b.jpg"] == ["caf\ufffd latin"]
    assert read.rows[0].caption == "un café número 0" and len(read.rows) == 121
    assert read.notes[0] == "Bytes that are not UTF-8 are replaced in the lines 62."


def test_halves_of_characters_as_bytes_are_replaced_and_a_pair_is_joined(tmp_path: Path) -> None:
    text = "image,caption\na.jpg,a \ud83d dog\nb.jpg,a \ud83d\ude00 face\n"
    (tmp_path / "c.csv").write_bytes(text.encode("utf-8", "surrogatepass"))
    assert [row.caption for row in read_captions(tmp_path / "c.csv").rows] == ["a \ufffd dog", "a 😀 face"]


def test_zero_bytes_cost_their_row(tmp_path: Path) -> None:
    read = read_captions(write(tmp_path, "image,caption\na.jpg,a dog\nb.jpg,a c\0at\n" + "\0" * 5000 + "\nc.jpg,two\n"))
    assert [row.image for row in read.rows] == ["a.jpg", "c.jpg"]
    assert [row.where for row in read.bad] == ["line 3", "line 4"] and max(len(str(row)) for row in read.bad) < 500


def test_a_list_in_pythons_way_with_a_backslash_warns_of_nothing(
    tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    read = read_captions(write(tmp_path, "image,captions\na.jpg,\"['a \\dog', 'x']\"\n"))
    assert [row.caption for row in read.rows] == ["a \\dog", "x"] and not list(recwarn)


def test_text_files_find_their_photos_by_other_spellings_and_what_is_without_is_said(tmp_path: Path) -> None:
    for name in ("a.jpg", "B.JPG", "c.jpg", "Cafe\u0301.jpg", "d.jpg", "d.png", "e.jpg", "f.jpg"):
        (tmp_path / name).touch()
    for name in ("a.txt", "b.txt", "c.TXT", "Caf\u00e9.txt", "d.txt", "e.jpg.txt", "README.txt"):
        (tmp_path / name).write_text(name)
    read = read_captions(tmp_path)
    assert {row.image: row.caption for row in read.rows} == {
        "a.jpg": "a.txt", "B.JPG": "b.txt", "c.jpg": "c.TXT", "Cafe\u0301.jpg": "Caf\u00e9.txt", "e.jpg": "e.jpg.txt",
    }  # fmt: skip
    assert [str(row) for row in read.bad] == ["d.txt, line 1 (d): several photos have this name: d.jpg, d.png"]
    assert read.notes == (
        "Read from 6 text files, one caption per line.",
        "Text files without a photo of their name, which are not read: README.txt.",
        "Photos without a text file: f.jpg.",
    )


def test_parquet_as_hugging_face_has_it(tmp_path: Path) -> None:
    photo = {"bytes": b"no photo", "path": "x.jpg"}  # an image in the file is not read, and is no name
    columns = {
        "image": [photo, photo], "filename": ["a.jpg", "b.jpg"], "split": ["train", "dev"], "img_id": ["1", "2"],
        "caption": [["a dog runs", "a dog"], ["two cats asleep"]],
    }  # fmt: skip
    pq.write_table(pa.table(columns), tmp_path / "captions")
    read = read_captions(tmp_path / "captions")
    assert [(row.image, row.caption, row.split) for row in read.rows] == [
        ("a.jpg", "a dog runs", "train"), ("a.jpg", "a dog", "train"), ("b.jpg", "two cats asleep", "val"),
    ]  # fmt: skip
    assert not read.bad
    assert read.notes == ("Read as Parquet, columns filename, caption, split.",)
    pq.write_table(pa.table({"File_Name": ["a.jpg", None], "text": ["a dog runs", "a cat"]}), tmp_path / "captions")
    read = read_captions(tmp_path / "captions")
    assert [(row.image, row.caption) for row in read.rows] == ROWS[:1]
    assert [str(row) for row in read.bad] == ["entry 2: no image name"]
    pq.write_table(
        pa.table({"image": [photo | {"path": "a.jpg"}, None], "text": ["a dog runs", "a cat"]}), tmp_path / "captions"
    )
    read = read_captions(tmp_path / "captions")
    assert [(row.image, row.caption) for row in read.rows] == ROWS[:1]
    assert [str(row) for row in read.bad] == ["entry 2: no image name"]


def test_a_split_of_parquet_is_text_or_categories(tmp_path: Path) -> None:
    columns = {"image": ["a.jpg", "b.jpg"], "caption": ["a", "b"]}
    path = tmp_path / "captions.parquet"
    pq.write_table(pa.table({**columns, "split": pa.array(["test", "train"]).dictionary_encode()}), path)
    assert [row.split for row in read_captions(path).rows] == ["test", "train"]
    pq.write_table(pa.table({**columns, "split": [0, 1]}), path)
    with pytest.raises(CaptionsError, match="whose column split is not text; it should be train, val or test"):
        read_captions(path)


def test_parquet_without_names_or_torn_is_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "captions.parquet"
    pq.write_table(pa.table({"image": [b"x"], "caption": ["a dog"]}), path)
    with pytest.raises(CaptionsError, match="columns of text are caption; name the image's file"):
        read_captions(path)
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(CaptionsError, match="Parquet that is broken"):
        read_captions(path)


@pytest.mark.parametrize("lines", ["image,caption\n{name},{caption}\n", "caption,image\n{caption},{name}\n"])
def test_a_name_with_a_comma_is_the_file_of_that_name_and_no_other(tmp_path: Path, lines: str) -> None:
    for number, name in enumerate(("a.jpg", "b.jpg", "a,b.jpg", "a, b, b.jpg")):
        save(tmp_path / "photos" / name, (number, 9, 9))
    for name in ("a,b.jpg", "a, b, b.jpg"):
        for caption in ("a dog runs", "a dog, running"):
            path = write(tmp_path, lines.format(name=name, caption=caption))
            checked = read_dataset(path, tmp_path / "photos", ratios=(1, 0, 0))
            assert [(image.name, image.captions) for image in checked.dataset.images] == [(name, (caption,))]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('a.jpg,"a dog\nb.jpg,and more"\n', "its quoted text runs over a line that looks like a row of its own"),
        ('a.jpg,"a dog' + "\nruns" * 25 + '"\n', "its quoted text runs over more than 20 lines"),
        ('a.jpg,"a dog\nruns",x\n', "3 columns where there should be 2"),
        (f'a.jpg,"a dog\n{"x" * 140_000}"\n', "its quoted text is too long"),
        ('a.jpg,"a dog\nruns\n', "a quotation mark is opened and not closed"),
    ],
)
def test_a_quoted_caption_over_several_lines_is_refused_for_what_it_is(tmp_path: Path, text: str, reason: str) -> None:
    read = read_captions(write(tmp_path, f"image,caption\n{text}c.jpg,two cats\n"))
    assert read.bad[0].where == "line 2" and read.bad[0].reason.startswith(reason)
    assert ("c.jpg", "two cats") in [(row.image, row.caption) for row in read.rows]


@pytest.mark.parametrize("cell", ["[]", "[ ]", '"[""""]"', "['']", '"[, ]"'])
def test_an_empty_list_in_a_cell_is_no_caption(tmp_path: Path, cell: str) -> None:
    read = read_captions(write(tmp_path, f"image,caption\na.jpg,{cell}\nb.jpg,[a sign]\n"))
    assert [(row.image, row.caption) for row in read.rows] == [("b.jpg", "[a sign]")]
    assert [str(row) for row in read.bad] == ["line 2 (a.jpg): no caption"]
    read = read_captions(write(tmp_path, f"image,caption,caption_2\na.jpg,{cell},two\n"))
    assert [row.caption for row in read.rows] == ["two"] and not read.bad
