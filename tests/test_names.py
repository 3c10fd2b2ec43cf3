"""Names that others gave: safe in archives and downloads, found in other spellings, and never a way out of a folder."""

import io
import os
import unicodedata
import zipfile
from pathlib import Path

import pytest

from crossmodal.data.names import KnownNames, safe_name, safe_names
from crossmodal.errors import CrossmodalError, UnknownPhotoError
from crossmodal.page import options as page_options
from crossmodal.page.downloads import zipped
from crossmodal.page.options import Options, options
from crossmodal.search.filters import Filters
from crossmodal.search.folders import as_spelled
from crossmodal.search.hit import Hit
from crossmodal.search.record import Found, Photo
from crossmodal.search.search import Search
from tests.test_photo_index import ColourRuntime, opened, run, save


def test_names_in_an_archive_are_safe_on_every_system(tmp_path: Path) -> None:
    assert [safe_name(name) for name in ("a/b.jpg", "c:\\x.jpg", "CON.jpg", "a/nul", "dots. ./x?.jpg", "../../x", "/etc/y")] == [
        "a/b.jpg", "c__x.jpg", "_CON.jpg", "a/_nul", "dots/x_.jpg", "_/_/x", "etc/y"
    ]  # fmt: skip
    assert safe_names(["A.jpg", "a.jpg", "a?.jpg", "a*.jpg", "é.jpg", "e\u0301.jpg"]) == [
        "A.jpg", "a (2).jpg", "a_.jpg", "a_ (2).jpg", "é.jpg", "e\u0301 (2).jpg"
    ]  # fmt: skip
    names = ["x.jpg", "X.jpg", "aux.jpg"]
    for name in names:
        (tmp_path / name).write_bytes(name.encode())
    hits = [Hit(name, 0.5, Photo(Found(name, 1, 0)), tmp_path / name) for name in names]
    with zipfile.ZipFile(io.BytesIO(zipped(hits))) as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == {
            "x.jpg": b"x.jpg", "X (2).jpg": b"X.jpg", "_aux.jpg": b"aux.jpg"
        }  # fmt: skip


def test_a_link_out_of_the_folder_leads_to_photos_alone(tmp_path: Path) -> None:
    root = tmp_path / "photos"
    (tmp_path / "id_rsa").write_text("secret")
    linked = save(tmp_path / "elsewhere" / "linked.png", (9, 200, 9))
    blob = save(tmp_path / "elsewhere" / "d.png", (9, 99, 200)).rename(tmp_path / "elsewhere" / "0a1b2c")
    for name, colour in (("a.png", (200, 9, 9)), ("b.png", (9, 9, 200))):
        save(root / name, colour)
    (root / "c.png").symlink_to(linked)
    (root / "d.png").symlink_to(blob)
    run(root)
    (root / "b.png").unlink()
    (root / "b.png").symlink_to(tmp_path / "id_rsa")
    search = Search(opened(root), ColourRuntime())
    assert sorted(hit.name for hit in search.newest(9)) == ["a.png", "c.png", "d.png"]
    found = search.photos(search.query(image=search.encode_photo(root / "a.png")), 9, cut_off=False).hits
    assert sorted(hit.name for hit in found) == ["a.png", "c.png", "d.png"]
    (root / "id_rsa").write_text("secret")  # as embeddings of somebody else's may name it
    for path in ("b.png", "id_rsa", "../id_rsa", "../elsewhere/linked.png", os.fspath(linked)):
        with pytest.raises(UnknownPhotoError):
            search.path(Photo(Found(path, 1, 0)))


def test_a_photo_and_a_folder_are_found_in_other_spellings(tmp_path: Path) -> None:
    root = tmp_path / "photos"
    save(root / "Café" / "Dog.png", (200, 9, 9))
    save(root / "Café" / "cat.png", (9, 9, 200))
    run(root)
    gallery = opened(root)
    exact = gallery.id_at("Café/Dog.png")
    for spelling in (
        unicodedata.normalize("NFD", "Café/Dog.png"),
        "café/dog.PNG",
        "Café/Dog",
        "Café\\Dog.png",
        "photos/Café/Dog.png",
    ):
        assert gallery.id_at(spelling) == exact, spelling
    with pytest.raises(UnknownPhotoError, match="did you mean Café/Dog.png"):
        gallery.id_at("Café/Dogg.png")
    for spelling in ("Café", "café/", unicodedata.normalize("NFD", "Café"), "photos/Café"):
        assert gallery.count(as_spelled(Filters(folder=spelling), gallery)) == 2, spelling
    assert as_spelled(Filters(folder="elsewhere"), gallery).folder == ("elsewhere",)
    with pytest.raises(CrossmodalError, match="no photo in the folder Cafés; did you mean Café?"):
        as_spelled(Filters(folder="Cafés"), gallery)


# --- which folders the page shows ---


@pytest.mark.parametrize(
    ("address", "arguments", "allowed"),
    [
        ("127.0.0.1", [], {"a", "a/b", "c"}),
        ("localhost", [], {"a", "a/b", "c"}),
        ("127.0.0.1", ["--below", "{}/a"], {"a", "a/b"}),
        ("0.0.0.0", ["--below", "{}/a"], {"a", "a/b"}),
        ("0.0.0.0", ["--photos", "{}/a"], {"a", "a/b"}),
        ("0.0.0.0", [], set()),
        (None, [], set()),
    ],
)
def test_a_page_that_others_reach_shows_folders_below_one_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str | None, arguments: list[str], allowed: set[str]
) -> None:
    monkeypatch.setattr(page_options.config, "get_option", lambda name: address)
    for name in ("a/b", "c"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "a" / "out").symlink_to(tmp_path / "c")
    settings = options([argument.format(tmp_path) for argument in arguments])
    shown, said = set(), []
    for name in ("a", "a/b", "c", "a/../c", "a/out"):
        try:
            settings.allowed(tmp_path / name)
            shown.add(name)
        except CrossmodalError as error:
            said.append(str(error))
    assert all("is not shown: this page shows folders" in sentence for sentence in said)
    assert shown == allowed or (shown == allowed | {"a/../c", "a/out"} and "c" in allowed)


def test_the_page_listens_on_this_machine_alone_by_default() -> None:
    import tomllib

    file = Path(__file__).parent.parent / ".streamlit" / "config.toml"
    assert tomllib.loads(file.read_text())["server"]["address"] == "127.0.0.1"
    assert Options().below is None


def test_a_name_without_its_suffix_means_the_photo() -> None:
    assert KnownNames(["p0.jpg", "p0.txt"]).find("p0") == "p0.jpg"
    assert KnownNames(["p0.jpg", "p0.png"]).find("p0") is None
