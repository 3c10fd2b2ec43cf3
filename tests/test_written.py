"""What is written in photos: read from their files, indexed, and searched beside the vectors."""

import contextlib
import io
import sqlite3
import time
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, TiffImagePlugin

from crossmodal.data.limits import WRITTEN
from crossmodal.data.prepared import Prepared, Wanted, prepared
from crossmodal.errors import CrossmodalError
from crossmodal.photos.database import DATABASE
from crossmodal.photos.gallery import FolderGallery
from crossmodal.photos.store import Store
from crossmodal.search.filters import Filters
from crossmodal.search.gallery import Match, Written
from crossmodal.search.record import Found, Photo
from crossmodal.search.search import Search
from crossmodal.search.wording import fused
from tests.test_photo_index import META, ColourRuntime, opened, run, save

XMP = """<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:photoshop="http://ns.adobe.com/photoshop/1.0/"
 photoshop:City="Porto" photoshop:Country="Portugal">
<dc:subject><rdf:Bag>{}</rdf:Bag></dc:subject>
<dc:title><rdf:Alt><rdf:li xml:lang="x-default">Our holiday</rdf:li></rdf:Alt></dc:title>
<dc:description><rdf:Alt><rdf:li xml:lang="x-default">By the river</rdf:li></rdf:Alt></dc:description>
</rdf:Description></rdf:RDF></x:xmpmeta>"""
PARIS = {1: "N", 2: (48.0, 51.0, 24.0), 3: "E", 4: (2.0, 21.0, 8.0)}
LISBON = {1: "N", 2: (38.0, 43.0, 20.0), 3: "W", 4: (9.0, 8.0, 24.0)}


def xmp(*keywords: str) -> bytes:
    """Return a block of XMP with these keywords."""
    return XMP.format("".join(f"<rdf:li>{one}</rdf:li>" for one in keywords)).encode()


def iptc(*records: tuple[int, bytes]) -> bytes:
    """Return a JPEG's segment with data sets of IPTC's record 2."""
    data = b"".join(b"\x1c\x02" + bytes([number]) + len(text).to_bytes(2, "big") + text for number, text in records)
    block = b"8BIM\x04\x04\0\0" + len(data).to_bytes(4, "big") + data + b"\0" * (len(data) % 2)
    content = b"Photoshop 3.0\0" + block
    return b"\xff\xed" + (len(content) + 2).to_bytes(2, "big") + content


def exif_of(gps: dict[int, Any] | None = None, **tags: Any) -> Image.Exif:
    exif = Image.Exif()
    for tag, value in tags.items():
        exif[int(tag.lstrip("t"), 16)] = value
    if gps:
        exif.get_ifd(0x8825).update(gps)
    return exif


def read(path: Path) -> Prepared:
    return prepared(path, Wanted(jpeg=8, written=True))


@pytest.mark.parametrize("ending", ["jpg", "png", "webp", "tif", "avif"])
def test_xmp_is_read_from_every_format_that_has_it(tmp_path: Path, ending: str) -> None:
    path, block = tmp_path / f"a.{ending}", xmp("beach", "Summer 2019", "beach")
    options: dict[str, Any] = {"xmp": block}
    if ending == "png":
        from PIL.PngImagePlugin import PngInfo

        options = {"pnginfo": (info := PngInfo())}
        info.add_itxt("XML:com.adobe.xmp", block.decode())
    if ending == "tif":
        options = {"tiffinfo": (tags := TiffImagePlugin.ImageFileDirectory_v2())}
        tags[700] = block
    Image.new("RGB", (20, 20)).save(path, **options)
    assert read(path).written == {
        "title": "Our holiday", "keywords": "beach; Summer 2019", "description": "By the river", "place": "Porto, Portugal",
    }  # fmt: skip


def test_iptc_and_exif_are_read_and_join(tmp_path: Path) -> None:
    exif = exif_of(
        t010E="OLYMPUS DIGITAL CAMERA", t9C9E="dog;Beach\0".encode("utf-16-le"), t9C9B="A title".encode("utf-16-le")
    )
    file = io.BytesIO()
    Image.new("RGB", (20, 20)).save(file, "JPEG", exif=exif, xmp=xmp("beach"))
    segment = iptc((25, "Großmutter".encode()), (25, b"caf\xe9"), (120, b"A day out"), (90, b"Porto"))
    content = file.getvalue()
    (path := tmp_path / "a.jpg").write_bytes(content[:2] + segment + content[2:])
    written = read(path).written
    assert written["keywords"] == "beach; Großmutter; café; dog"
    assert (written["title"], written["description"]) == ("Our holiday", "By the river A day out")
    assert written["place"] == "Porto, Portugal"


def test_what_is_written_may_be_malformed_and_is_bounded(tmp_path: Path) -> None:
    bomb = b'<!DOCTYPE a [<!ENTITY b "c"><!ENTITY d "&b;&b;">]><a>&d;</a>'
    for number, block in enumerate(
        (bomb, b"<a>", b"\0\xff", b"<a>" * 20_000, xmp("x" * 9000), xmp(*map(str, range(9000)))[:60_000])
    ):
        save(tmp_path / f"{number}.jpg", xmp=block)
    save(tmp_path / "long.jpg", xmp=xmp(*(f"word\n{number}" for number in range(2000))))
    save(
        tmp_path / "gps.jpg",
        exif=exif_of(gps={1: "N", 2: (99.0, 0.0, 0.0), 3: "E", 4: (0.0, 0.0, 0.0)}, t010E="\0\x1b[2J" * 9000),
    )
    assert run(tmp_path).new == 8
    for photo in opened(tmp_path).photos:
        for name, most in WRITTEN.items():
            text = getattr(photo.described, name)
            assert len(text) <= most and text.isprintable()
    (long,) = (photo.described for photo in opened(tmp_path).photos if photo.path == "long.jpg")
    assert long.keywords.startswith("word 0; word 1; ") and len(long.keywords) > 1900


@pytest.mark.parametrize(
    "odd", ["latitude = 90.5", "longitude = -181.0", "latitude = 'x'", "latitude = NULL", "longitude = 1e999"]
)
def test_a_position_that_is_nowhere_is_damage(tmp_path: Path, odd: str) -> None:
    save(tmp_path / "a.jpg", exif=exif_of(gps=LISBON))
    run(tmp_path)
    with contextlib.closing(sqlite3.connect(tmp_path / ".crossmodal" / DATABASE)) as db, db:
        db.execute(f"UPDATE photos SET {odd}")
    with pytest.raises(CrossmodalError, match="its record of .* is damaged"):
        opened(tmp_path)


def test_an_index_knows_what_is_written_and_the_place(tmp_path: Path) -> None:
    save(tmp_path / "a.jpg", xmp=xmp("dog", "beach"), exif=exif_of(gps=LISBON))
    save(tmp_path / "b.jpg", exif=exif_of(gps={1: "N", 2: (30.0, 0.0, 0.0), 3: "W", 4: (40.0, 0.0, 0.0)}))  # at sea
    run(tmp_path)
    gallery = opened(tmp_path)
    first, second = (photo.described for photo in gallery.photos)
    assert {"Porto", "Lisbon", "Portugal"} <= set(first.place.split(", "))
    assert (first.keywords, first.title, second.place) == ("dog; beach", "Our holiday", "")
    assert list(gallery.values("keywords")) == ["beach", "dog"]


def found(root: Path, words: str) -> Sequence[str]:
    with sqlite3.connect(root / ".crossmodal" / DATABASE) as db:
        rows = db.execute(
            "SELECT photos.path FROM written JOIN photos ON photos.id = written.rowid WHERE written MATCH ?", (words,)
        )
        return sorted(path.decode() for (path,) in rows)


def test_what_is_found_follows_files_that_move_change_and_go(tmp_path: Path) -> None:
    path = save(tmp_path / "summer" / "IMG_1.jpg", xmp=xmp("dogs"))
    save(tmp_path / "b.jpg", (1, 2, 3))
    run(tmp_path)
    assert found(tmp_path, "dog") == found(tmp_path, "SUMMER") == found(tmp_path, "img") == ["summer/IMG_1.jpg"]
    moved = path.rename(tmp_path / "winter.jpg")
    run(tmp_path)
    assert (found(tmp_path, "dog"), found(tmp_path, "summer")) == (["winter.jpg"], [])
    save(moved, xmp=xmp("cat"))
    run(tmp_path)
    assert (found(tmp_path, "dog"), found(tmp_path, "cat")) == ([], ["winter.jpg"])
    moved.unlink()
    run(tmp_path)
    assert found(tmp_path, "cat OR winter") == []
    with sqlite3.connect(tmp_path / ".crossmodal" / DATABASE) as db:  # it holds what the records say, and nothing else
        db.execute("INSERT INTO written (written, rank) VALUES ('integrity-check', 1)")


# --- damage ---

LEAVES = "id > 137438953472"  # in FTS5's table of blocks, after its averages and its structure


@pytest.mark.parametrize(
    "damage",
    [
        "update written_data set block = x'00' where id > 1",
        "delete from written_config",
        "update written_config set v = 99",
        "delete from written_data",
        f"delete from written_data where {LEAVES}",
        f"update written_data set block = x'00' where {LEAVES}",
        "delete from written_docsize",
        "insert into written (written) values ('delete-all')",
        "update photos set names = 'other'",
    ],
)
def test_words_that_are_lost_are_told_and_the_next_indexing_mends_them(tmp_path: Path, damage: str) -> None:
    for name in ("1", "2", "日本"):
        save(tmp_path / f"{name}.jpg", xmp=xmp("Rex"))
    run(tmp_path)
    names = [(photo.path, photo.described.keywords) for photo in opened(tmp_path).photos]
    with contextlib.closing(sqlite3.connect(tmp_path / ".crossmodal" / DATABASE)) as db, db:
        db.execute(damage)
    with pytest.raises(
        CrossmodalError, match="has lost what is written .* index them again to mend it, or .* with --rebuild"
    ):
        opened(tmp_path)
    changes = run(tmp_path)
    assert changes.unchanged == 3 and "has been entered again" in changes.remarks()[0]
    assert run(tmp_path).remarks() == []
    assert [(photo.path, photo.described.keywords) for photo in opened(tmp_path).photos] == names
    assert found(tmp_path, "rex") == ["1.jpg", "2.jpg", "日本.jpg"]


def test_names_of_any_characters_are_no_damage(tmp_path: Path) -> None:
    names = ['a "quoted" one', "☃", "日本", "_.", "e\u0301te\u0301", "-", "NOT x OR (y*)", "a" * 200]
    for name in names:
        save(tmp_path / f"{name}.png")
    run(tmp_path)
    assert len(opened(tmp_path).photos) == len(names)
    with Store(tmp_path / ".crossmodal", writable=True) as store:
        assert not store.mended


def test_names_without_end_are_not_looked_for(tmp_path: Path) -> None:
    save(tmp_path / "a.jpg")
    run(tmp_path)
    with contextlib.closing(sqlite3.connect(tmp_path / ".crossmodal" / DATABASE)) as db, db:
        db.execute("update photos set names = ?", ("a " * 32_000,))
        db.execute("insert into written (written) values ('rebuild')")
    begun = time.monotonic()
    assert len(opened(tmp_path).photos) == 1
    assert time.monotonic() - begun < 5


def test_words_are_sound_for_readers_while_an_indexing_goes_on(tmp_path: Path) -> None:
    save(tmp_path / "a.png")
    run(tmp_path)
    with Store(tmp_path / ".crossmodal", writable=True) as store, store.change():
        store.forget(["a.png"])
        assert len(opened(tmp_path).photos) == 1


# --- searching ---


class WordyRuntime(ColourRuntime):
    """A sentence's vector is that of the colours it names, else of grey."""

    def encode_sentences(self, sentences: Sequence[str]) -> np.ndarray:
        named = [[colour in text.split() for colour in ("red", "green", "blue")] for text in sentences]
        vectors = np.array([np.array(one) if any(one) else np.ones(3) for one in named], dtype=np.float32)
        return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


CUTOFF = {
    "kinds": {kind: {"nothing_below": [[1, 0.9]], "left_out_below": 0.9} for kind in ("words", "sentence")},
    "calibrated_on": "a test",
}


@pytest.fixture
def search(tmp_path: Path) -> Search:
    """Three photos in colours; something is written in two of them."""
    save(tmp_path / "1.png", (250, 5, 5))
    save(tmp_path / "2.jpg", (5, 250, 5), xmp=xmp("Rex", "dogs"), exif=exif_of(gps=LISBON))
    save(tmp_path / "3.jpg", (5, 5, 250), xmp=xmp("Rex", "people"))
    Store.create(tmp_path / ".crossmodal", {**META, "cutoff": CUTOFF})
    run(tmp_path)
    return Search(FolderGallery(tmp_path / ".crossmodal"), WordyRuntime())


def hits(search: Search, text: str, **options: Any) -> list[str]:
    return [hit.name[0] for hit in search.photos(search.query(text), **options).hits]


def test_a_photo_whose_words_match_is_shown_whatever_it_looks_like(search: Search) -> None:
    assert hits(search, "red") == ["1"]  # nothing is written of it, and it is ranked as it was
    (first,) = search.photos(search.query("a red dog in Lisbon"), cut_off=True).hits[:1]
    assert first.name == "1.png" and first.words == ()
    answer = search.photos(search.query("a photo of the dog"))
    (found,) = answer.hits
    assert (found.name, found.words, answer.alike) == ("2.jpg", ("dogs",), 1)
    assert found.score == pytest.approx(0.6, abs=0.05)  # the plain cosine
    assert found.plain()["words"] == ["dogs"] and found.plain()["keywords"] == ["Rex", "dogs"]
    assert hits(search, "rex + LISBON")[0] == "2"
    assert hits(search, "Rex", filters=Filters(after=date(2100, 1, 1))) == []


def test_both_rankings_count(search: Search) -> None:
    assert hits(search, "2:Rex - people", cut_off=False)[0] == "2"
    assert hits(search, "Rex", cut_off=False)[2] == "1"
    assert hits(search, "blue Rex", cut_off=False)[0] == "3"


def test_a_search_goes_on_where_the_index_is_gone(search: Search) -> None:
    (search.gallery.about.root / ".crossmodal" / DATABASE).unlink()
    assert hits(search, "red") == ["1"] and hits(search, "dog") == []


@pytest.mark.parametrize("blocks", ["id = 1", LEAVES])
def test_damage_that_a_search_meets_is_told(search: Search, blocks: str) -> None:
    folder = search.gallery.about.root / ".crossmodal"
    with sqlite3.connect(folder / DATABASE) as db:
        db.execute(f"update written_data set block = x'00' where {blocks}")
    with pytest.raises(CrossmodalError, match="has lost what is written in its photos .*malformed"):
        hits(search, "dog")
    with Store(folder, writable=True) as store:
        assert store.mended
    assert hits(search, "dog") == ["2"]


@pytest.mark.parametrize("text", ['"', "a AND", "NOT", "x* OR NEAR(", "ü^é", "_", "title:dog", "日本 ☃", "\0 dog'--"])
def test_any_words_are_looked_for_as_words(search: Search, text: str) -> None:
    search.photos(search.query(text))


def test_two_rankings_made_one_by_hand() -> None:
    one, two, three = (Match(Photo(Found(name, 1, 1)), 0.0, 0.0) for name in "abc")
    assert fused([one, two], 2, []) == [one, two] and fused([one, two], 1, []) == [one]
    assert fused([one, two], 2, [Written(two, ("x",), True)]) == [two, one]
    assert fused([one, two], 1, [Written(three, ("x",), True)]) == [three, one]  # 1 / 261 + 1 / 61 against 1 / 61
    assert fused([one, two], 2, [Written(three, ("x",), False)]) == [one, two, three]
