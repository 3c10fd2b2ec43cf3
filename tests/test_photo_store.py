"""The index on disk: what its readers keep, what is closed, what is missing, and what is not believed."""

import contextlib
import io
import json
import os
import random
import shutil
import socket
import sqlite3
import subprocess
import sys
import threading
import tracemalloc
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import filelock
import numpy as np
import psutil
import pytest
from PIL import Image, PngImagePlugin

from crossmodal.data.prepared import Wanted, prepared
from crossmodal.errors import CrossmodalError
from crossmodal.photos import database, index, reading, store
from crossmodal.photos.gallery import FolderGallery
from crossmodal.photos.meta import CAMERA, LONGEST_ENTRY, SOUND
from crossmodal.photos.store import DATABASE, Store
from crossmodal.photos.update import locked
from crossmodal.photos.walk import walk
from crossmodal.runs.models import Maker
from crossmodal.search.half_index import HalfIndex
from crossmodal.search.record import LARGEST
from crossmodal.search.search import Search
from crossmodal.search.vector_index import PlainIndex
from tests.test_photo_index import META, ColourRuntime, opened, run, save, set_meta, vectors_of, whole

INDEX = ".crossmodal"
NOT_OURS = "its tables are not those that this program makes.; make it again with --rebuild"


def some(root: Path, count: int, folder: str = "") -> None:
    for number in range(count):
        save(root / folder / f"{number:03}.png", (number % 256, 90, 255 - number % 256), (9, 9))


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


MAPPED = """
import sys
from pathlib import Path
from crossmodal.photos.store import Store
with Store(Path(sys.argv[1]), writable=False) as store:
    vectors, photos = store.vectors(), list(store.photos())
print("mapped", flush=True)
sys.stdin.readline()
print(vectors.sum(), len(photos), flush=True)
"""


def test_a_rebuilt_index_leaves_readers_their_vectors(tmp_path: Path) -> None:
    some(tmp_path, 40)
    run(tmp_path)
    sum_before, name = opened(tmp_path).vectors.sum(), vectors_of(tmp_path / INDEX).name
    reader = subprocess.Popen(
        [sys.executable, "-c", MAPPED, str(tmp_path / INDEX)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert reader.stdout is not None and reader.stdout.readline() == "mapped\n"
    Store.create(tmp_path / INDEX, META)
    assert vectors_of(tmp_path / INDEX).name != name  # and the old one is removed
    said, _ = reader.communicate("go on\n", timeout=60)
    assert reader.returncode == 0  # not -SIGBUS
    assert float(said.split()[0]) == pytest.approx(sum_before, rel=1e-4) and said.split()[1] == "40"
    assert run(tmp_path).new == 40


def test_a_rebuild_that_is_killed_leaves_the_old_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    some(tmp_path, 3)
    run(tmp_path)
    monkeypatch.setattr(database, "SCHEMA", f"{database.SCHEMA};SELECT * FROM nothing")
    monkeypatch.setattr(database, "is_refusal", lambda error: True)
    with pytest.raises(CrossmodalError):
        Store.create(tmp_path / INDEX, META)
    monkeypatch.undo()
    assert run(tmp_path).unchanged == 3
    assert len(whole(tmp_path)) == 3
    assert len(list((tmp_path / INDEX).glob("vectors*"))) == 1  # the one meant for the new index is removed


def test_a_broken_index_and_a_stranger_under_its_name(tmp_path: Path) -> None:
    some(tmp_path, 3)
    run(tmp_path)
    (tmp_path / INDEX / DATABASE).write_bytes(b"SQLite no more" * 99)
    Store.create(tmp_path / INDEX, META)
    assert run(tmp_path).new == 3
    with contextlib.closing(sqlite3.connect(tmp_path / DATABASE)) as db:
        db.execute("CREATE TABLE albums (id)")
    with pytest.raises(CrossmodalError, match="belongs to another program; name another folder"):
        Store.create(tmp_path, META)
    with contextlib.closing(sqlite3.connect(tmp_path / DATABASE)) as db:
        assert db.execute("SELECT count(*) FROM albums").fetchone() == (0,)


def test_stores_are_closed(tmp_path: Path) -> None:
    save(tmp_path / "a.jpg")
    run(tmp_path)
    broken = tmp_path / "broken"
    shutil.copytree(tmp_path / INDEX, broken)
    set_meta(broken, "size", '"three"')
    before = descriptors()
    for _ in range(10):
        for writable in (True, False):
            with Store(tmp_path / INDEX, writable) as opened_store:
                assert len(list(opened_store.photos())) == 1
            with pytest.raises(CrossmodalError):
                Store(broken, writable)
        run(tmp_path)
    assert descriptors() == before


def test_an_open_reader_keeps_its_vectors(tmp_path: Path) -> None:
    some(tmp_path, 30)
    run(tmp_path)
    with Store(tmp_path / INDEX, writable=False) as reader:
        photos, vectors = list(reader.photos()), reader.vectors()
        before = {photo.found.path: vectors[photo.slot].copy() for photo in photos}
        for number in range(0, 30, 2):
            (tmp_path / f"{number:03}.png").unlink()
        run(tmp_path)
        for number in range(15):
            save(tmp_path / f"new {number}.png", (250, 0, 9))
        run(tmp_path)
        for photo in photos:
            np.testing.assert_array_equal(vectors[photo.slot], before[photo.found.path])
        # One that reads its records only now gets the vectors that belong to them.
        now = {photo.found.path: photo.slot for photo in reader.photos()}
        assert now == whole(tmp_path)
        assert len(reader.vectors()) > max(now.values())


def test_free_slots_are_given_up_in_a_new_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "FREE_SLOTS", 10)
    some(tmp_path, 60)
    run(tmp_path)
    shutil.copy(tmp_path / "001.png", tmp_path / "copy.png")
    with (
        Store(tmp_path / INDEX, writable=False) as reader,
        Store(tmp_path / INDEX, writable=False) as late,
    ):
        photos, vectors, name = list(reader.photos()), reader.vectors(), vectors_of(tmp_path / INDEX).name
        expected = [vectors[photo.slot].copy() for photo in photos]
        for number in range(20, 55):
            (tmp_path / f"{number:03}.png").unlink()
        assert run(tmp_path).forgotten == 35
        assert vectors_of(tmp_path / INDEX).name != name
        np.testing.assert_array_equal([vectors[photo.slot] for photo in photos], expected)
        assert len(list(late.photos())) == 60  # as of its opening, with the vectors of then
        np.testing.assert_array_equal([late.vectors()[photo.slot] for photo in photos], expected)
        slots = whole(tmp_path)
        assert slots.pop("copy.png") == slots["001.png"]
        assert list(slots.values()) == list(range(25)) and len(opened(tmp_path).vectors) == 26
        assert len(list(reader.photos())) == 26 and len(reader.vectors()) == 25
    assert run(tmp_path).unchanged == 26


def test_compacting_on_a_full_disk_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "FREE_SLOTS", 5)
    some(tmp_path, 20)
    run(tmp_path)
    name = vectors_of(tmp_path / INDEX).name
    for number in range(5, 20):
        (tmp_path / f"{number:03}.png").unlink()
    fsync = os.fsync

    def full(file: int) -> None:
        if "vectors-" in os.readlink(f"/proc/self/fd/{file}"):
            raise OSError(28, "No space left on device")
        fsync(file)

    monkeypatch.setattr(os, "fsync", full)
    run(tmp_path)
    assert vectors_of(tmp_path / INDEX).name == name
    assert len(whole(tmp_path)) == 5


def test_moved_photos_keep_their_slots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    some(tmp_path, 300, "a")
    run(tmp_path)
    before = {path.removeprefix("a/"): slot for path, slot in whole(tmp_path).items()}
    (tmp_path / "a").rename(tmp_path / "b")
    fsync, synced = os.fsync, []

    def counted(file: int) -> None:
        synced.append(file)
        fsync(file)

    monkeypatch.setattr(os, "fsync", counted)
    runtime = ColourRuntime()
    changes = run(tmp_path, runtime)
    assert (changes.moved, changes.forgotten, changes.missing, runtime.encoded) == (300, 0, {}, 0)
    assert len(synced) <= 300 / 32 + 1
    assert {path.removeprefix("b/"): slot for path, slot in whole(tmp_path).items()} == before
    for name in ("x.png", "y.png", "z.png"):
        shutil.copy(tmp_path / "b" / "000.png", tmp_path / "b" / name)
    assert run(tmp_path).copies == 3
    (tmp_path / "b").rename(tmp_path / "c")  # copies of one photo move as well
    changes = run(tmp_path)
    assert (changes.moved, changes.copies, changes.missing) == (303, 0, {})


def test_the_lock_is_free_after_its_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    locks = []  # a lock that is collected lets go by itself

    def made(*arguments: Any, **options: Any) -> filelock.FileLock:
        locks.append(filelock.FileLock(*arguments, **options))
        return locks[-1]

    monkeypatch.setattr("crossmodal.photos.update.filelock", SimpleNamespace(FileLock=made, Timeout=filelock.Timeout))
    for _ in range(2):
        with contextlib.suppress(ZeroDivisionError), locked(tmp_path):
            assert locks[-1].is_locked
            _ = 1 / 0
        assert not locks[-1].is_locked


def test_leftovers_are_removed_and_files_of_others_stay(tmp_path: Path) -> None:
    save(tmp_path / "a.jpg")
    run(tmp_path)
    ours = {"vectors-0123abcd.f32", f".{DATABASE}.0123456789ab.part"}
    others = {"vectors.f32", "vectors-mine.f32", "notes.part"}
    for name in ours | others:
        (tmp_path / INDEX / name).write_bytes(b"x" * 99)
    run(tmp_path)
    left = {path.name for path in (tmp_path / INDEX).iterdir()}
    assert others <= left and not ours & left
    assert len(whole(tmp_path)) == 1


def test_a_disk_that_is_away_is_not_forgotten(tmp_path: Path) -> None:
    root = tmp_path / "photos"
    some(root, 5, "nas/2020")
    some(root, 3, "nas/2021")
    some(root, 4, "here")
    save(root / "single" / "a.jpg", (1, 2, 3))
    run(root)
    (root / "nas").rename(tmp_path / "away")
    for mounted in (False, True):
        if mounted:
            (root / "nas").mkdir()  # the empty folder that it was mounted on
        changes = run(root)
        assert (changes.missing, changes.forgotten) == ({"nas": 8}, 0)
        (remark,) = changes.remarks()
        assert "8 photos are missing" in remark and "nas" in remark and "--forget-missing" in remark
    (root / "nas").rmdir()
    (tmp_path / "away").rename(root / "nas")
    assert (run(root).unchanged, run(root).missing) == (13, {})
    # A photo is forgotten at once where others of its folder are found; a folder without any may be a disk that is away.
    (root / "here" / "000.png").unlink()
    (root / "single" / "a.jpg").unlink()
    (root / "nas" / "2021" / "notes.txt").write_text("they went to the archive")
    for path in (root / "nas" / "2021").glob("*.png"):
        path.unlink()
    changes = run(root)
    assert (changes.forgotten, changes.missing) == (1, {"single": 1, "nas/2021": 3})
    shutil.rmtree(root / "nas")
    assert run(root).missing == {"nas": 8, "single": 1}
    assert run(root, forget_missing=True).forgotten == 9
    for path in root.glob("*/*.png"):
        path.unlink()
    assert run(root).missing == {"": 3}
    assert "the whole folder" in run(root).remarks()[0]
    assert run(root, excluded=["here"]).forgotten == 3  # what the user leaves out is not missing


def test_what_systems_keep_beside_photos_is_left_out(tmp_path: Path) -> None:
    names = ["@eaDir/a.jpg", "b/@eaDir/c.jpg", "#recycle/a.jpg", "$Recycle.Bin/a.jpg", "System Volume Information/a.jpg",
             "node_modules/a.png", "__MACOSX/a.jpg", "lost+found/a.jpg", ".Trash-1000/a.jpg", "b/._d.jpg"]  # fmt: skip
    for name in names:
        save(tmp_path / name)
    save(tmp_path / "b" / "d.jpg")
    save(tmp_path / "b" / "#recycled.jpg")
    changes = run(tmp_path)
    assert sorted(whole(tmp_path)) == ["b/#recycled.jpg", "b/d.jpg"]
    assert changes.system["@eaDir"] == 2 and len(changes.system) == 9
    (remark,) = changes.remarks()
    assert "@eaDir" in remark and "--include" in remark
    assert run(tmp_path, included=["@eaDir", ".Trash*"]).system.keys() == changes.system.keys() - {"@eaDir", ".Trash*"}
    assert len(whole(tmp_path)) == 5
    assert ".Trash-1000/a.jpg" in whole(tmp_path)
    assert run(tmp_path, included=["@eaDir"], excluded=["b/@eaDir"]).forgotten == 2


def test_a_change_that_keeps_size_and_time_is_noticed(tmp_path: Path) -> None:
    def bitmap(colour: tuple[int, int, int]) -> bytes:
        Image.new("RGB", (20, 20), colour).save(tmp_path / "a.bmp")
        return (tmp_path / "a.bmp").read_bytes()

    bitmap((255, 0, 0))
    save(tmp_path / "b.png")
    os.utime(tmp_path / "a.bmp", (9, 9))
    run(tmp_path)
    bitmap((0, 0, 255))
    os.utime(tmp_path / "a.bmp", (9, 9))
    assert run(tmp_path).changed == 1
    assert "a.bmp" in whole(tmp_path)
    (tmp_path / "copied").mkdir()  # other inodes and times, as after a copy to another disk
    for name in ("a.bmp", "b.png"):
        shutil.copy(tmp_path / name, tmp_path / "copied" / name)
        os.replace(tmp_path / "copied" / name, tmp_path / name)
    shutil.copy(tmp_path / "a.bmp", tmp_path / "copy.bmp")
    run(tmp_path)
    for name in ("a.bmp", "copy.bmp"):
        os.utime(tmp_path / name, (9, 10))
    runtime = ColourRuntime()
    changes = run(tmp_path, runtime)
    assert (changes.unchanged, changes.copies, runtime.encoded) == (3, 0, 0)


def test_records_that_leave_the_folder_are_dropped(tmp_path: Path) -> None:
    root = tmp_path / "photos"
    save(tmp_path / "secret" / "a.jpg")
    save(root / "b.jpg")
    save(root / "linked.jpg", (0, 0, 99))
    (root / "mine").symlink_to(tmp_path / "secret")  # the user made it: walked, and kept
    run(root)
    outside = [b"../secret/a.jpg", b"/etc/a.jpg", b"x/../../secret/a.jpg", b"id_rsa", b"a\0.jpg", b""]
    with contextlib.closing(sqlite3.connect(root / INDEX / DATABASE)) as db, db:
        columns = ", ".join(COLUMNS[1:])
        for path in outside:
            db.execute(
                f"INSERT INTO photos (path, {columns}) SELECT ?, {columns} FROM photos WHERE path = ?", (path, b"b.jpg")
            )
        db.execute("INSERT INTO written (written) VALUES ('rebuild')")
    expected = ["b.jpg", "linked.jpg", "mine/a.jpg"]
    assert [photo.found.path for photo in opened(root).photos] == expected
    assert run(root).forgotten == len(outside)
    assert [photo.found.path for photo in opened(root).photos] == expected


def damaged(rng: random.Random) -> str | bytes | int:
    """Return what may stand where an entry of `meta` is expected."""
    odd: list[Any] = [
        None, True, -1, 0, 1.5, 10**30, float("nan"), "", "x", "../x", "/", "\0", "\ud800", "a" * 9999, [], [1], [None],
        ["\0"], {}, {"nothing_below": []}, {"nothing_below": [[0, 1]], "left_out_below": 1, "calibrated_on": ""},
        {"nothing_below": 5}, [[]], "vectors.f32", "../vectors-01234567.f32", "0" * 31,
    ]  # fmt: skip
    raw: list[str | bytes | int] = ["", "{", "[" * 9999, "1" * 5000, b"\xff\xfe", 7, "nul", '"half']
    return rng.choice(raw) if rng.random() < 0.25 else json.dumps(rng.choice(odd))


COLUMNS = ("path", "size", "changed", "inode", "status_changed", "slot", "digest", "width", "height", "taken", "camera",
           "look", "title", "keywords", "description", "place", "latitude", "longitude", "text", "names")  # fmt: skip


@pytest.mark.parametrize("seed", range(60))
def test_a_damaged_index_is_one_sentence(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    save(tmp_path / "a.png")
    run(tmp_path)
    folder = tmp_path / INDEX
    key = rng.choice([*SOUND, "format", "version"])
    if seed % 3 < 2:
        set_meta(folder, key, damaged(rng))
    else:
        value = rng.choice([b"\xff" * 9, "text", -1, 2**62, 1.5, float("inf"), b"", "\0", "x" * 999])
        with contextlib.closing(sqlite3.connect(folder / DATABASE)) as db, db:
            db.execute(f"UPDATE photos SET {rng.choice(COLUMNS)} = ?", (value,))
    try:
        search = Search(FolderGallery(folder), ColourRuntime())
        search.photos(search.query("red"), 10)
        with Store(folder, writable=False) as opened_store:
            assert opened_store.root
        run(tmp_path)
    except CrossmodalError as error:
        message = str(error)
        assert str(folder) in message and "--rebuild" in message and "\n" not in message and len(message) < 900
    Store.create(folder, META)
    assert run(tmp_path).new == 1


@pytest.mark.parametrize(
    ("table", "made"), [("meta", "select 'format', 'null'"), ("photos", "select photos2.* from photos2")]
)
def test_views_without_end_are_refused_before_they_are_read(tmp_path: Path, table: str, made: str) -> None:
    Store.create(tmp_path, META)
    endless = "with recursive c(x) as (select 1 union all select x + 1 from c)"
    with contextlib.closing(sqlite3.connect(tmp_path / DATABASE)) as db, db:
        db.execute("drop table written")
        db.execute(f"alter table {table} rename to {table}2")
        db.execute(f"create view {table} as {endless} {made}, c")
    with pytest.raises(CrossmodalError, match=NOT_OURS):
        Store(tmp_path, writable=False)


@pytest.mark.parametrize(
    "odd",
    [
        "alter table photos add column g generated always as (hex(zeroblob(400000000))) virtual",
        "alter table meta add column g generated always as (hex(zeroblob(400000000))) virtual",
        "alter table skipped add column g check (hex(zeroblob(400000000)) != path)",
        "create index odd on photos (hex(size))",
        "create index odd on photos (size) where length(hex(zeroblob(size))) > 1",
        "create trigger odd after delete on photos begin delete from meta; end",
        "drop index photos_digest",
        "delete from sqlite_master where name = 'written_docsize'",
    ],
)
def test_tables_of_others_are_refused_before_they_are_computed(tmp_path: Path, odd: str) -> None:
    save(tmp_path / "a.png")
    run(tmp_path)
    with contextlib.closing(sqlite3.connect(tmp_path / INDEX / DATABASE)) as db, db:
        db.execute("PRAGMA writable_schema = ON")
        db.execute(odd)
    for writable in (True, False):
        with pytest.raises(CrossmodalError, match=NOT_OURS):
            Store(tmp_path / INDEX, writable)
    timed(20, lambda: Store.create(tmp_path / INDEX, META))
    assert run(tmp_path).new == 1


def test_statistics_of_sqlite_are_no_damage(tmp_path: Path) -> None:
    save(tmp_path / "a.png")
    run(tmp_path)
    with contextlib.closing(sqlite3.connect(tmp_path / INDEX / DATABASE)) as db, db:
        db.execute("analyze")
    assert len(opened(tmp_path).photos) == 1 and run(tmp_path).unchanged == 1


def test_tables_of_another_version_are_no_damage(tmp_path: Path) -> None:
    Store.create(tmp_path, META)
    set_meta(tmp_path, "version", "8")
    with contextlib.closing(sqlite3.connect(tmp_path / DATABASE)) as db, db:
        db.execute("alter table photos add column mood text")
    with pytest.raises(CrossmodalError, match="has the format .* 8, .* update the program"):
        Store(tmp_path, writable=False)


def test_an_entry_of_meta_is_read_no_further_than_it_can_be(tmp_path: Path) -> None:
    Store.create(tmp_path, META)
    set_meta(tmp_path, "excluded", f"[{'1,' * 3 * 10**6}1]")
    set_meta(tmp_path, "mine", "[" * 10**7)  # a key that is never read
    tracemalloc.start()
    with pytest.raises(CrossmodalError, match="broken .its excluded is longer than 4,194,304 characters"):
        Store(tmp_path, writable=False)
    assert tracemalloc.get_traced_memory()[1] < 5 * LONGEST_ENTRY
    tracemalloc.stop()


@pytest.mark.parametrize("patterns", [["a" * 5000], ["a" * 4000] * 1100])
def test_patterns_that_could_not_be_read_again_are_not_kept(tmp_path: Path, patterns: list[str]) -> None:
    Store.create(tmp_path, META)
    with Store(tmp_path, writable=True) as writer:
        with pytest.raises(CrossmodalError, match="cannot keep .* as excluded"):
            writer.set_meta("excluded", patterns)
        writer.set_meta("excluded", ["a" * 4000] * 1000)
    with Store(tmp_path, writable=False) as reader:
        assert len(reader.meta["excluded"]) == 1000


def test_only_copies_share_a_vector(tmp_path: Path) -> None:
    some(tmp_path, 3)
    run(tmp_path)
    shutil.copy(tmp_path / "001.png", tmp_path / "copy.png")
    assert run(tmp_path).copies == 1 and len(opened(tmp_path).photos) == 4
    with contextlib.closing(sqlite3.connect(tmp_path / INDEX / DATABASE)) as db, db:
        db.execute("UPDATE photos SET slot = 2")
    for use in (opened, run):
        with pytest.raises(CrossmodalError, match="different photos share its vector 2.; .* --rebuild"):
            use(tmp_path)


def test_vectors_far_beyond_the_photos_cost_no_memory(tmp_path: Path) -> None:
    save(tmp_path / "a.png")
    run(tmp_path)
    (path,) = (tmp_path / INDEX).glob("vectors-*.f32")
    os.truncate(path, 10**11)
    before = psutil.Process().memory_info().rss
    search = Search(FolderGallery(tmp_path / INDEX), ColourRuntime())
    assert len(search.photos(search.query("red"), 10).hits) == 1
    assert psutil.Process().memory_info().rss - before < 100_000_000


@pytest.mark.parametrize("key", ["cutoff", "weights", "bank"])
def test_an_entry_that_is_no_json_is_broken_and_not_nothing(tmp_path: Path, key: str) -> None:
    Store.create(tmp_path, META)
    for value in ("[[[", b"null"):
        with contextlib.closing(sqlite3.connect(tmp_path / DATABASE)) as db, db:
            db.execute("UPDATE meta SET value = ? WHERE key = ?", (value, key))
        with pytest.raises(CrossmodalError, match=f"is broken .its {key} is "):
            Store(tmp_path, writable=False)


def test_every_entry_of_meta_is_checked(tmp_path: Path) -> None:
    Store.create(tmp_path, META)
    for key in SOUND:
        with contextlib.closing(sqlite3.connect(tmp_path / DATABASE)) as db, db:
            (value,) = db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
            db.execute("DELETE FROM meta WHERE key = ?", (key,))
        with pytest.raises(CrossmodalError, match=f"is broken .its {key} is None.; make it again with --rebuild"):
            Store(tmp_path, writable=False)
        set_meta(tmp_path, key, value)
    Store(tmp_path, writable=False).close()


def timed(seconds: float, call: Callable[[], Any]) -> Any:
    done: list[Any] = []
    thread = threading.Thread(target=lambda: done.append(call()), daemon=True)
    thread.start()
    thread.join(seconds)
    assert done, "it did not end"
    return done[0]


def test_files_that_never_end_are_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (tmp_path / "sparse.jpg").open("wb") as file:
        file.truncate(40 * 10**9)
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "kernel.jpg").symlink_to("/proc/kmsg")
    (tmp_path / "zero.jpg").symlink_to("/dev/zero")
    save(tmp_path / "growing.png")
    save(tmp_path / "late pipe.png")
    save(tmp_path / "fine.png")
    scan = {found.path: found for found in walk(tmp_path, [], lambda folder: None)}
    with (tmp_path / "growing.png").open("ab") as file:
        file.write(b"more")
    (tmp_path / "late pipe.png").unlink()
    os.mkfifo(tmp_path / "late pipe.png")

    def read(path: str) -> str:
        prepare = partial(prepared, wanted=Wanted(ColourRuntime.preprocessing))
        return timed(60, lambda: reading.read_photo(tmp_path, scan[path], prepare, ())).reason

    assert "no ordinary file" in read("pipe.jpg") and "no ordinary file" in read("zero.jpg")
    assert "more than the 2 GB" in read("sparse.jpg")
    assert read("kernel.jpg") == "it is empty" or "cannot be read" in read("kernel.jpg")
    assert "it changed while it was read" in read("growing.png")
    assert "no ordinary file" in read("late pipe.png")
    assert read("fine.png") == ""
    assert timed(60, lambda: run(tmp_path)).new == 2


def test_files_that_are_no_files_are_named_with_a_reason(tmp_path: Path) -> None:
    photos, away = tmp_path / "photos", tmp_path / "away.png"
    photos.mkdir()
    save(photos / "fine.png")
    os.mkfifo(photos / "pipe.jpg")
    (photos / "loop.jpg").symlink_to("loop.jpg")
    (photos / "nowhere.jpg").symlink_to(away)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(photos / "socket.png"))
        changes = run(photos)
    assert changes.new == 1
    assert "no ordinary file" in changes.skipped["pipe.jpg"] and "no ordinary file" in changes.skipped["socket.png"]
    assert "symbolic links" in changes.skipped["loop.jpg"]
    assert changes.skipped["nowhere.jpg"] == "it is a link to a file that is not there"
    assert run(photos).skipped == {}  # they were said
    save(away, (9, 99, 9))
    assert run(photos).changed == 1
    away.unlink()
    again = run(photos)  # its photo is gone, which is not said as a fault
    assert again.skipped == {} and again.forgotten == 1


def test_what_a_photo_says_of_itself_is_bounded(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x010F], exif[0x0110] = "A" * 9_000_000, "line\nbreak " * 100
    Image.new("RGB", (60, 40)).save(tmp_path / "a.png", exif=exif)
    (tmp_path / "c.jpg").write_bytes(with_exif(Image.new("RGB", (60, 40), (99, 9, 9)), exif.tobytes()))
    text = PngImagePlugin.PngInfo()
    Image.new("RGB", (60, 40), (9, 9, 9)).save(tmp_path / "b.png", pnginfo=text)
    os.utime(tmp_path / "b.png", ns=(0, 2**63 + 10**9))  # after 2262
    run(tmp_path)
    first, second, third = opened(tmp_path).photos
    for photo in (first, third):
        assert photo.described.camera == "A" * CAMERA
    if (tmp_path / "b.png").stat().st_mtime_ns > LARGEST:  # where the file system holds it
        assert second.found.changed == LARGEST
    assert run(tmp_path).unchanged == 3


def with_exif(photo: Image.Image, exif: bytes) -> bytes:
    """Return a JPEG with a block of any length, in as many segments as it takes."""
    file = io.BytesIO()
    photo.save(file, "JPEG")
    parts = [b"Exif\0\0" + exif[start : start + 60_000] for start in range(6, len(exif), 60_000)]
    segments = [b"\xff\xe1" + (len(part) + 2).to_bytes(2, "big") + part for part in parts]
    return file.getvalue()[:2] + b"".join(segments) + file.getvalue()[2:]


def test_patterns_are_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        index, "_create", lambda folder, photos, checkpoint, quality, weights: Store.create(folder, META)
    )
    for part in ("runtime", "text_alone"):
        monkeypatch.setattr(Maker, part, lambda maker, to_stay=False: ColourRuntime())
    for name in ("@eaDir/a.png", "private/b.png", "c.png"):
        save(tmp_path / name)
    index.index_photos(tmp_path, included=["@eaDir"], excluded=["private"])
    for _ in range(2):
        assert sorted(whole(tmp_path)) == ["@eaDir/a.png", "c.png"]
        index.index_photos(tmp_path)
    index.index_photos(tmp_path, included=[], excluded=[])
    assert sorted(whole(tmp_path)) == ["c.png", "private/b.png"]
    for name in ("@eaDir/a.png", "c.png", "private/b.png"):
        (tmp_path / name).unlink()
    assert index.index_photos(tmp_path).missing == {"": 2}
    assert index.index_photos(tmp_path, forget_missing=True).forgotten == 2


def test_vectors_are_not_written_through_a_link(tmp_path: Path) -> None:
    some(tmp_path, 2)
    run(tmp_path)
    victim = tmp_path / "victim"
    victim.write_text("mine")
    vectors = vectors_of(tmp_path / INDEX)
    vectors.unlink()
    vectors.symlink_to(victim)
    with pytest.raises(CrossmodalError, match="cannot be used"):
        run(tmp_path)
    assert victim.read_text() == "mine"


@pytest.mark.parametrize("root", ["/etc", "../..", "."])
def test_an_index_in_a_folder_is_of_that_folder_alone(root: str, tmp_path: Path) -> None:
    save(tmp_path / "a.png")
    run(tmp_path)
    set_meta(tmp_path / ".crossmodal", "root", json.dumps(root))
    with pytest.raises(CrossmodalError, match="not beside it"):
        opened(tmp_path)


def test_an_index_elsewhere_has_another_name(tmp_path: Path) -> None:
    save(tmp_path / "photos" / "a.png")
    with pytest.raises(CrossmodalError, match="give --index another name"):
        index.index_photos(tmp_path / "photos", tmp_path / ".crossmodal")
    assert not (tmp_path / ".crossmodal").exists()


def test_vectors_of_another_size_are_one_sentence(tmp_path: Path) -> None:
    some(tmp_path, 3)
    run(tmp_path)
    folder = tmp_path / INDEX
    with Store(folder, writable=False) as opened_store:
        size = opened_store.size
    set_meta(folder, "size", json.dumps(size - 1))
    with pytest.raises(CrossmodalError, match="not of unit length.* --rebuild"):
        FolderGallery(folder)
    for one in (PlainIndex, HalfIndex):
        with pytest.raises(CrossmodalError, match="have 2 numbers each, and their model gives 3.* --rebuild"):
            one(np.eye(2, dtype=np.float32)).search(np.ones(3, np.float32), 1)
    save(tmp_path / "new.png")
    with pytest.raises(CrossmodalError, match=f"its vectors have {size - 1} numbers each"):
        run(tmp_path)


def test_vectors_that_are_no_numbers_are_one_sentence(tmp_path: Path) -> None:
    some(tmp_path, 3)
    run(tmp_path)
    file = vectors_of(tmp_path / INDEX)
    content, gallery = file.read_bytes(), FolderGallery(tmp_path / INDEX)
    for vectors in (b"\0\0\xc0\x7f" + content[4:], (2 * np.frombuffer(content, np.float32)).tobytes()):
        file.write_bytes(vectors)
        with pytest.raises(CrossmodalError, match="are not numbers, or not of unit length"):
            FolderGallery(tmp_path / INDEX)
    file.write_bytes(b"\0\0\xc0\x7f" + content[4:])  # while it is open
    for one in (gallery.index, HalfIndex(gallery.vectors)):
        gallery.index = one
        search = Search(gallery, ColourRuntime())
        with pytest.raises(CrossmodalError, match="are not numbers"):
            search.photos(search.query("red"), 10)
