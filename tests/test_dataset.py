"""The check before training, the splits, the drawn sample."""

from pathlib import Path

import pytest
from PIL import Image

from crossmodal.data.dataset import read_dataset, refuse_if_many_bad
from crossmodal.data.everyday import SENTENCES, everyday_scenes
from crossmodal.data.names import KnownNames
from crossmodal.data.preprocessing import Preprocessing
from crossmodal.data.sample import draw_sample
from crossmodal.data.splits import read_names
from crossmodal.encoding.decoding_ahead import DecodedPhotos
from crossmodal.errors import CaptionsError, CrossmodalError, PhotoError
from crossmodal.training.sources import report


def collection(folder: Path, count: int, rows: str = "") -> tuple[Path, Path]:
    images = folder / "images"
    images.mkdir()
    for number in range(count):
        Image.new("RGB", (40, 40), (number, 0, 0)).save(images / f"{number}.jpg")
    captions = folder / "captions.txt"
    captions.write_text(
        "image,caption\n" + rows + "".join(f"{n}.jpg,caption {k} of {n}\n" for n in range(count) for k in range(2))
    )
    return captions, images


def test_bad_photos_are_named_and_counted(tmp_path: Path) -> None:
    captions, images = collection(tmp_path, 3, "gone.jpg,A dog.\nbroken.jpg,A cat.\n../out.jpg,A cow.\n")
    (images / "broken.jpg").write_bytes(b"no photo")
    Image.new("RGB", (9, 9)).save(tmp_path / "out.jpg")
    checked = read_dataset(captions, images)
    assert [row.where for row in checked.bad] == ["line 2", "line 3", "line 4"]
    assert "no such file" in checked.bad[0].reason
    assert "not a photo" in checked.bad[1].reason
    assert "leads out of" in checked.bad[2].reason
    assert (checked.rows, len(checked.dataset)) == (9, 3)


def test_photos_that_are_cut_short_are_used_and_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    captions, images = collection(tmp_path, 3)
    Image.effect_noise((40, 40), 60).save(images / "1.jpg")
    (images / "1.jpg").write_bytes((images / "1.jpg").read_bytes()[:-200])
    checked = read_dataset(captions, images)
    assert len(checked.dataset) == 3
    assert checked.notes[-1] == "Photos that lack their last bytes, used as far as they go: 1.jpg."
    report(checked, captions, tmp_path)
    assert f"{captions}: {checked.notes[-1]}" in capsys.readouterr().out


def test_one_per_cent_is_skipped_and_more_is_an_error(tmp_path: Path) -> None:
    captions, images = collection(tmp_path, 50, "gone.jpg,A dog.\n")
    checked = read_dataset(captions, images)
    refuse_if_many_bad(checked, captions, skip_bad=False)  # 1 of 101
    captions.write_text(captions.read_text() + "gone.jpg,A cat.\n")
    checked = read_dataset(captions, images)
    with pytest.raises(CrossmodalError, match="2 of 102 rows .* --skip-bad"):
        refuse_if_many_bad(checked, captions, skip_bad=False)
    refuse_if_many_bad(checked, captions, skip_bad=True)


def test_nothing_usable_is_one_sentence(tmp_path: Path) -> None:
    captions, images = collection(tmp_path, 0, "gone.jpg,A dog.\n")
    with pytest.raises(CaptionsError, match="No row .* line 2"):
        read_dataset(captions, images)
    with pytest.raises(CaptionsError, match="folder of photos"):
        read_dataset(captions, tmp_path / "none")


def test_a_drawn_split_is_by_image_and_depends_on_names_and_seed_alone(tmp_path: Path) -> None:
    captions, images = collection(tmp_path, 40)
    first = read_dataset(captions, images, (0.5, 0.25, 0.25), seed=1).dataset
    assert [len(first.split(name)) for name in ("train", "val", "test")] == [20, 10, 10]
    rows = captions.read_text().splitlines()
    captions.write_text("\n".join([rows[0], *reversed(rows[1:])]))
    again = read_dataset(captions, images, (0.5, 0.25, 0.25), seed=1).dataset
    assert {i.name: i.split for i in again.images} == {i.name: i.split for i in first.images}
    other = read_dataset(captions, images, (0.5, 0.25, 0.25), seed=2).dataset
    assert {i.name: i.split for i in other.images} != {i.name: i.split for i in first.images}
    with pytest.raises(CrossmodalError, match="add up to 1"):
        read_dataset(captions, images, (0.5, 0.5, 0.5))


def test_official_lists_are_honoured(tmp_path: Path) -> None:
    captions, images = collection(tmp_path, 4)
    (tmp_path / "val.txt").write_text("1.jpg\n")
    splits = {i.name: i.split for i in read_dataset(captions, images).dataset.images}
    assert splits == {"0.jpg": "train", "1.jpg": "val", "2.jpg": "train", "3.jpg": "train"}
    (tmp_path / "train.txt").write_text("0.jpg\n2.jpg\n")
    splits = {i.name: i.split for i in read_dataset(captions, images).dataset.images}
    assert splits == {"0.jpg": "train", "1.jpg": "val", "2.jpg": "train"}
    (tmp_path / "train.txt").write_text("0.jpg\n1.jpg\n")
    with pytest.raises(CrossmodalError, match="both in the train and the val list"):
        read_dataset(captions, images)


def test_names_in_lists_that_mean_no_image_are_said_and_a_list_of_none_is_refused(tmp_path: Path) -> None:
    captions, images = collection(tmp_path, 4)
    (tmp_path / "test.txt").write_text("photos/1.jpg\nD:\\sets\\2.JPG\nnone.jpg\n", encoding="utf-16")
    checked = read_dataset(captions, images)
    splits = {i.name: i.split for i in checked.dataset.images}
    assert splits == {"0.jpg": "train", "1.jpg": "test", "2.jpg": "test", "3.jpg": "train"}
    assert "Names in them that are of no image with captions: none.jpg." in " ".join(checked.notes)
    (tmp_path / "val.txt").write_text("a.jpg\nb.jpg\n")
    with pytest.raises(
        CrossmodalError, match="None of the names in .*val.txt is of an image with captions, such as a.jpg"
    ):
        read_dataset(captions, images)
    (tmp_path / "val.txt").write_bytes(b"\xff\x00\x81" * 3)
    with pytest.raises(CrossmodalError, match="val.txt is not text; save it as UTF-8|None of the names"):
        read_dataset(captions, images)


def test_a_split_column_is_honoured_and_equal_captions_are_kept_for_evaluation(tmp_path: Path) -> None:
    _, images = collection(tmp_path, 3)
    captions = tmp_path / "splits.csv"
    captions.write_text(
        "image,caption,split\n" + "".join(f"{n}.jpg,same,{s}\n" for n, s in enumerate(["train", "test"]) for _ in "ab")
    )
    checked = read_dataset(captions, images)
    assert [(i.split, i.captions) for i in checked.dataset.images] == [("train", ("same",)), ("test", ("same", "same"))]
    assert (checked.bad, checked.rows) == ((), 4)
    assert any("splits are those of the caption file" in note for note in checked.notes)
    assert len(read_dataset(captions, images, names=["0.jpg"]).dataset.captions) == 2
    captions.write_text("image,caption,split\n0.jpg,x,train\n0.jpg,y,test\n")
    with pytest.raises(CaptionsError, match="line 3: 0.jpg is in the split test here and in train above"):
        read_dataset(captions, images)


def test_other_spellings_of_a_name_find_the_one_file_that_fits(tmp_path: Path) -> None:
    images = tmp_path / "images"
    (images / "sub").mkdir(parents=True)
    names = ["caf\u00e9.jpg", "p0.jpg", "p1.JPG", "p2.jpeg", "sub/p3.jpg", "p4.jpg"]
    for name in names:
        Image.new("RGB", (40, 40)).save(images / name)
    written = ["cafe\u0301.jpg", "IMAGES\\P0.jpg", "p1.jpg", "p2", "sub\\p3.jpg", f"{images}/p4.jpg"]
    captions = tmp_path / "captions.txt"
    captions.write_text(
        "image,caption\n"
        + "".join(f"{name},x\n" for name in [*written, "p00.jpg", f"{tmp_path}/p0.jpg", "x" * 5000, "P00.JPEG"])
    )
    checked = read_dataset(captions, images)
    assert [image.name for image in checked.dataset.images] == names
    assert any(note.startswith("Image names matched to files by another spelling: 6,") for note in checked.notes)
    assert "did you mean p0.jpg?" in checked.bad[0].reason
    assert "leads out of" in checked.bad[1].reason
    assert "no such file" in checked.bad[2].reason
    assert "did you mean" in checked.bad[3].reason
    (tmp_path / "val.txt").write_text("p2\nimages/p0.jpg\n")
    splits = {i.name: i.split for i in read_dataset(captions, images).dataset.images}
    assert [name for name, split in splits.items() if split == "val"] == ["p0.jpg", "p2.jpeg"]
    named = read_dataset(captions, images, names=["p2", "sub/p3.jpg"]).dataset
    assert [image.name for image in named.images] == ["p2.jpeg", "sub/p3.jpg"]


def test_a_link_that_leads_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    captions, images = collection(tmp_path, 1, "link.jpg,A dog.\nLINK.jpg,A cat.\n")
    Image.new("RGB", (40, 40)).save(tmp_path / "out.jpg")
    (images / "link.jpg").symlink_to(tmp_path / "out.jpg")
    checked = read_dataset(captions, images)
    assert [image.name for image in checked.dataset.images] == ["0.jpg"]
    assert "leads out of" in checked.bad[0].reason


def test_a_folder_of_text_files_is_a_caption_file(tmp_path: Path) -> None:
    _, images = collection(tmp_path, 2)
    texts = tmp_path / "texts"
    texts.mkdir()
    for number in range(2):
        (texts / f"{number}.txt").write_text(f"first of {number}\nsecond\n")
    dataset = read_dataset(texts, images).dataset
    assert [(image.name, image.captions[0]) for image in dataset.images] == [
        ("0.jpg", "first of 0"),
        ("1.jpg", "first of 1"),
    ]


def test_a_name_that_fits_several_files_fits_none() -> None:
    names = KnownNames(["A.jpg", "a.jpg", "b.jpg", "b.png"])
    assert names.find("a.jpg") == "a.jpg"
    assert names.find("a.JPG") is None
    assert names.find("b") is None
    assert names.nearest("bb.jpg") == "b.jpg"
    assert names.nearest(r"..\other place\b.jpg") == "b.jpg"
    assert names.nearest("D:/other/place/of/photos/b.jpg") == "b.jpg"


def test_a_list_of_names_must_be_there_and_known(tmp_path: Path) -> None:
    captions, images = collection(tmp_path, 3)
    (images / "2.jpg").unlink()
    checked = read_dataset(captions, images, names=["1.jpg"])
    assert [image.name for image in checked.dataset.images] == ["1.jpg"]
    assert not checked.bad  # the photo that is not there belongs to none of the named
    assert checked.rows == len(checked.dataset.captions)
    with pytest.raises(CrossmodalError, match="the first is 7.jpg"):
        read_dataset(captions, images, names=["1.jpg", "7.jpg"])
    assert {row.image for row in read_dataset(captions, images, names=["1.jpg", "2.jpg"]).bad} == {"2.jpg"}
    with pytest.raises(CrossmodalError, match="cannot be read"):
        read_names(tmp_path / "none.txt")


def test_the_sample_is_the_same_for_a_seed_and_kept(tmp_path: Path) -> None:
    captions, images = draw_sample(tmp_path / "a", 12, seed=5)
    again, photos = draw_sample(tmp_path / "b", 12, seed=5)
    assert captions.read_bytes() == again.read_bytes()
    assert all((photos / file.name).read_bytes() == file.read_bytes() for file in images.iterdir())
    before = captions.stat().st_mtime_ns
    draw_sample(tmp_path / "a", 12, seed=5)
    assert captions.stat().st_mtime_ns == before
    dataset = read_dataset(captions, images).dataset
    assert all(len(set(image.captions)) == 5 for image in dataset.images)
    other, _ = draw_sample(tmp_path / "c", 12, seed=6)
    assert other.read_text() != captions.read_text()


def test_a_sample_never_overwrites_other_files(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep me")
    with pytest.raises(CrossmodalError, match="has other files"):
        draw_sample(tmp_path, 3)
    assert (tmp_path / "mine.txt").read_text() == "keep me"


def test_everyday_scenes_are_many_and_different() -> None:
    sentences = everyday_scenes()
    assert len(sentences) == len(set(sentences)) == SENTENCES
    assert sentences == everyday_scenes()


@pytest.mark.parametrize("workers", [0, 1])
def test_a_photo_that_is_gone_when_it_is_trained_on_is_one_sentence(tmp_path: Path, workers: int) -> None:
    captions, images = collection(tmp_path, 3)
    dataset = read_dataset(captions, images).dataset
    (images / "1.jpg").unlink()
    prepare = Preprocessing(8, (0.5,) * 3, (0.5,) * 3, "bilinear", "squash", 1.0)
    batches = DecodedPhotos(dataset, prepare, workers=workers).clean(range(3), 1)
    assert next(batches).shape == (1, 3, 8, 8)
    with pytest.raises(PhotoError, match=r"^[^\n]*1.jpg is not there.$"):
        list(batches)
