"""Captions of a user's own: written, changed and taken away, by several sessions, and read as training reads them."""

import threading
from collections import Counter
from pathlib import Path

import pytest

from crossmodal.data.captions import read_captions
from crossmodal.errors import CrossmodalError
from crossmodal.photos.own_captions import LONGEST_CAPTION, NEEDED, Counted, Edit, OwnCaptions, split_of


@pytest.fixture
def file(tmp_path: Path) -> OwnCaptions:
    return OwnCaptions(tmp_path / "captions.csv")


def test_captions_are_written_changed_and_taken_away(file: OwnCaptions) -> None:
    assert file.captions() == {}
    file.edit([Edit("a.jpg", "", ' Rex, "asleep"\n on the sofa '), Edit("trip/b.jpg", "", "A boat.")])
    file.edit([Edit("a.jpg", "", "A dog."), Edit("a.jpg", "", "A dog.")])
    assert file.captions() == {"a.jpg": ['Rex, "asleep" on the sofa', "A dog."], "trip/b.jpg": ["A boat."]}
    file.edit([Edit("a.jpg", "A dog.", "A brown dog."), Edit("trip/b.jpg", "A boat.", "")])
    assert file.captions() == {"a.jpg": ['Rex, "asleep" on the sofa', "A brown dog."]}
    file.edit([Edit("a.jpg", "A brown dog.", 'Rex, "asleep" on the sofa')])  # no caption twice
    assert file.captions() == {"a.jpg": ['Rex, "asleep" on the sofa']}
    file.edit([Edit("a.jpg", 'Rex, "asleep" on the sofa', "")])
    assert file.captions() == {} and file.path.read_text() == "image,caption,split\n"


def test_what_another_session_has_taken_away_is_not_missed(file: OwnCaptions) -> None:
    file.edit([Edit("a.jpg", "", "A dog.")])
    file.edit([Edit("a.jpg", "A dog.", "")])
    file.edit([Edit("a.jpg", "A dog.", "")])
    file.edit([Edit("a.jpg", "A dog.", "A cat.")])
    assert file.captions() == {"a.jpg": ["A cat."]}


def test_sessions_that_write_at_once_lose_nothing(file: OwnCaptions) -> None:
    def session(name: str) -> None:
        for number in range(4):
            OwnCaptions(file.path).edit([Edit(f"{name}.jpg", "", f"caption {number}")])

    threads = [threading.Thread(target=session, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    expected = [f"caption {number}" for number in range(4)]
    assert file.captions() == dict.fromkeys("a.jpg b.jpg c.jpg d.jpg".split(), expected)


def test_training_reads_them_with_their_splits(file: OwnCaptions) -> None:
    file.edit([Edit(f"{number}.jpg", "", f"Photo {number}, with a comma") for number in range(40)])
    rows = read_captions(file.path, lambda name: name).rows
    assert [(row.image, row.caption) for row in rows] == [
        (f"{number}.jpg", f"Photo {number}, with a comma") for number in range(40)
    ]
    assert {row.split for row in rows} == {"train", "val", "test"}
    before = {row.image: row.split for row in rows}
    file.edit([Edit(f"more {number}.jpg", "", "More.") for number in range(40)])
    after = {row.image: row.split for row in read_captions(file.path, lambda name: name).rows}
    assert before.items() <= after.items()  # what was held out stays held out


@pytest.mark.parametrize(
    ("photo", "caption", "words"),
    [
        ("a.jpg", "x" * (LONGEST_CAPTION + 1), f"at most {LONGEST_CAPTION} printable characters"),
        ("a.jpg", "a\x07bell", "printable characters"),
        ("a\udcff.jpg", "A dog.", "cannot stand in a caption file"),
        (" a.jpg", "A dog.", "cannot stand in a caption file"),
    ],
)
def test_what_no_caption_file_can_hold(photo: str, caption: str, words: str, file: OwnCaptions) -> None:
    with pytest.raises(CrossmodalError, match=words):
        file.edit([Edit("b.jpg", "", "A cat."), Edit(photo, "", caption)])
    assert not file.path.exists()


@pytest.mark.parametrize(
    "content",
    [
        b"photo,words\na.jpg,A dog.\n",
        b"image,caption\na.jpg\n",
        b"image,caption\n../a.jpg,A dog.\n",
        b"image,caption\n/a.jpg,A dog.\n",
        b'image,caption\na.jpg,"A dog.\n',
        b"image,caption\na.jpg, \n",
        b"\xff\xfe",
    ],
)
def test_a_broken_file_is_refused_and_not_written_over(content: bytes, file: OwnCaptions) -> None:
    file.path.write_bytes(content)
    for act in (file.captions, lambda: file.edit([Edit("a.jpg", "", "A dog.")])):
        with pytest.raises(CrossmodalError, match=r"captions\.csv is broken .*mend it, or delete it"):
            act()
    assert file.path.read_bytes() == content


def test_a_photo_that_vanished_keeps_its_captions_and_does_not_count(file: OwnCaptions, tmp_path: Path) -> None:
    root = tmp_path / "photos"
    root.mkdir()
    (root / "a.jpg").write_bytes(b"")
    (tmp_path / "elsewhere.jpg").write_bytes(b"")
    (root / "link.jpg").symlink_to(tmp_path / "elsewhere.jpg")
    file.edit([Edit(name, "", text) for name in ("a.jpg", "gone.jpg", "link.jpg") for text in ("One.", "Two.")])
    assert file.counted(root) == Counted(2, Counter([split_of("a.jpg")]), 4)
    (root / "gone.jpg").write_bytes(b"")  # its disk is back
    assert file.counted(root).captions == 4


def test_how_many_are_wanting() -> None:
    assert Counted(3, Counter(train=3), 0).wanting.startswith(f"3 of {NEEDED} photos")
    assert Counted(NEEDED, Counter(train=NEEDED - 4, val=3, test=1), 0).wanting.startswith("Too few of these photos")
    assert not Counted(NEEDED, Counter(train=NEEDED - 13, val=3, test=10), 0).wanting


def test_a_photo_whose_name_no_folder_can_hold_is_gone(file: OwnCaptions) -> None:
    file.path.write_text(f"image,caption,split\n{'a' * 300}.jpg,A dog.,train\n", encoding="utf-8")
    assert file.counted(file.path.parent).gone == 1
