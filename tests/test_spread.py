"""Embedding spread over workers: shards, Parquet, and workers that are killed."""

import io
import os
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import psutil
import pyarrow.parquet as pq
import pytest

from crossmodal.cli import main
from crossmodal.data.prepared import Wanted, prepared
from crossmodal.dual_encoder import DualEncoder
from crossmodal.encoding.embeddings import load_embeddings
from crossmodal.errors import CrossmodalError
from crossmodal.galleries import Place
from crossmodal.photos.gallery import FolderGallery
from crossmodal.photos.index import index_photos
from crossmodal.photos.reading import Read, read_photo
from crossmodal.photos.update import Encoded, encoded
from crossmodal.photos.walk import walk
from crossmodal.runs.opening import checkpoint_of, load_model
from crossmodal.scale.milvus import parquet as written_in_parquet
from crossmodal.scale.milvus.connection import Milvus
from crossmodal.scale.milvus.gallery import MilvusGallery
from crossmodal.scale.milvus.loading import SourceInMemory
from crossmodal.scale.milvus.parquet import source_in_parquet
from crossmodal.scale.milvus.rows import as_row
from crossmodal.scale.ray import parquet
from crossmodal.scale.ray.parquet import SKIPPED, ParquetFolder
from crossmodal.scale.ray.shards import members_of, read_member, shards_in
from crossmodal.search.filters import Filters
from crossmodal.training.banks import make_banks
from tests.test_photo_index import ColourRuntime, save
from tests.test_serving import cache as cache  # a fixture

ROOT = Path(__file__).parent.parent


def shard(path: Path, names: list[str], folder: Path) -> Path:
    with tarfile.open(path, "w") as archive:
        for name in names:
            archive.add(folder / name, name)
            about = tarfile.TarInfo(f"{name}.txt")
            about.size = 3
            archive.addfile(about, io.BytesIO(b"abc"))
    return path


def photos_in(folder: Path, count: int) -> list[str]:
    return [save(folder / f"{n:03d}.png", (n * 7 % 256, 40, 200 - n)).name for n in range(count)]


def batches(root: Path, size: int = 4) -> Iterator[Encoded]:
    runtime = ColourRuntime()
    prepare = partial(prepared, wanted=Wanted(runtime.preprocessing))
    found = list(walk(root, [], lambda folder: None))
    for start in range(0, len(found), size):
        reads = [read_photo(root, one, prepare, ()) for one in found[start : start + size]]
        yield reads, encoded(runtime, reads, views=1)


def test_photos_in_a_shard_are_read_where_they_lie(tmp_path: Path) -> None:
    names = photos_in(tmp_path / "p", 5)
    path = shard(tmp_path / "s-0.tar", names, tmp_path / "p")
    members = list(members_of(path))
    assert [member.found.path for member in members] == [f"s-0.tar/{name}" for name in names]
    assert [read_member(one) for one in members] == [(tmp_path / "p" / name).read_bytes() for name in names]
    assert shards_in(tmp_path) == [path] == shards_in(path)
    with pytest.raises(CrossmodalError, match="There is no shard"):
        shards_in(tmp_path / "p")
    (tmp_path / "s-1.tar").write_bytes(b"no tar at all" * 100)
    with pytest.raises(CrossmodalError, match="no tar file that can be read"):
        list(members_of(tmp_path / "s-1.tar"))


def test_parquet_holds_every_photo_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "ROWS_IN_A_FILE", 8)
    photos_in(tmp_path / "p", 21)
    (tmp_path / "p" / "broken.jpg").write_bytes(b"x")
    folder = ParquetFolder(tmp_path / "q", "f")

    def cut() -> Iterator[Encoded]:
        for number, batch in enumerate(batches(tmp_path / "p")):
            if number == 3:
                raise KeyboardInterrupt
            yield batch

    with pytest.raises(KeyboardInterrupt):
        folder.write(cut())
    again = ParquetFolder(tmp_path / "q", "f")
    known = again.known()
    assert len(known) == 8
    rest = [
        ([read for read in reads if read.found.path not in known],
         vectors if vectors is None else vectors[[read.found.path not in known for read in reads if read.described]])
        for reads, vectors in batches(tmp_path / "p")
    ]  # fmt: skip
    again.write(rest)
    table = pq.read_table(tmp_path / "q").to_pydict()
    assert sorted(table["path"]) == [f"{n:03d}.png" for n in range(21)]
    vectors = dict(zip(table["path"], np.array(table["vector"]), strict=True))
    for reads, expected in batches(tmp_path / "p"):
        for read, vector in zip(
            [read for read in reads if read.described], [] if expected is None else expected, strict=True
        ):
            np.testing.assert_allclose(vectors[read.found.path], vector, atol=1e-6)
    assert "broken.jpg" in (tmp_path / "q" / SKIPPED).read_text()
    assert len(ParquetFolder(tmp_path / "q", "f").known()) == 22
    with pytest.raises(CrossmodalError, match="was written by another model"):
        ParquetFolder(tmp_path / "q", "other")
    (tmp_path / "q" / "part-000001.parquet").write_bytes(b"torn")
    with pytest.raises(CrossmodalError, match="is broken"):
        ParquetFolder(tmp_path / "q", "f")


def test_parquet_is_loaded_as_the_index_of_the_same_photos(
    model: DualEncoder, runs: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    monkeypatch.setattr(parquet, "ROWS_IN_A_FILE", 4)
    monkeypatch.setattr(written_in_parquet, "AT_ONCE", 3)
    checkpoint = checkpoint_of(runs)
    embeddings = load_embeddings(runs, 2, load_model(checkpoint)[1]["fingerprint"], "embed")
    model.save(checkpoint, 2, {}, {}, make_banks(embeddings, model.temperature))
    photos_in(tmp_path / "p" / "ü b", 6)
    photos_in(tmp_path / "p", 5)
    index_photos(tmp_path / "p", checkpoint=checkpoint)
    indexed = FolderGallery(tmp_path / "p" / ".crossmodal")
    folder = ParquetFolder(tmp_path / "q", indexed.about.fingerprint)
    folder.write(
        ([Read(one.found, described=one.described)], indexed.vectors[row : row + 1])
        for row, one in enumerate(indexed.photos)
    )
    assert len(folder.files) == 3
    found, expected = source_in_parquet(tmp_path / "q", checkpoint, tmp_path / "p"), SourceInMemory.of(indexed)
    assert [as_row(one, "") for one in found.photos] == [as_row(one, "") for one in expected.photos]
    assert found.corrected
    assert found.vectors.shape == expected.vectors.shape == (11, 33)
    np.testing.assert_allclose(np.stack(list(found.vectors)), np.stack(list(expected.vectors)), atol=1e-6)
    assert found.facets == expected.facets and sum(found.facets["month"].values()) == 11
    assert found.values.keys() == expected.values.keys()
    assert {name: set(values) for name, values in found.values.items()} == {
        name: set(values) for name, values in expected.values.items()
    }
    assert (found.about.fields, found.about.root) == (expected.about.fields, expected.about.root)
    url, load = str(tmp_path / "x.db"), ["load", str(tmp_path / "x.db"), "--parquet", str(tmp_path / "q")]
    assert main([*load, "--checkpoint", str(runs), "--images", str(tmp_path / "p")]) == 0
    assert "11 photos in" in capsys.readouterr().out
    gallery = MilvusGallery(Milvus(url, Place.collection))
    narrowed = Filters(folder="ü b")
    for corrected in (False, True):
        for filters in (Filters(), narrowed):
            given = indexed.vectors[4], 3, filters, corrected
            assert [one.photo.path for one in gallery.nearest(*given)] == [
                one.photo.path for one in indexed.nearest(*given)
            ]
    gallery.close()


def test_parquet_that_cannot_be_loaded_is_one_sentence(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    load = ["load", str(tmp_path / "x.db"), "--parquet", str(tmp_path / "q"), "--checkpoint", str(runs)]
    assert main(load) == 1
    assert "goes with --images DIR" in capsys.readouterr().err
    load += ["--images", str(tmp_path / "p")]
    assert main(load) == 1
    assert "There are no vectors (part-*.parquet)" in capsys.readouterr().err
    photos_in(tmp_path / "p", 5)
    ParquetFolder(tmp_path / "q", "f" * 64).write(batches(tmp_path / "p"))
    assert main(load) == 1
    assert "written by another model" in capsys.readouterr().err
    (tmp_path / "q" / "part-000000.parquet").write_bytes(b"PAR1 torn")
    assert main(load) == 1
    assert "part-000000.parquet is broken" in capsys.readouterr().err


def test_options_that_do_not_go_together(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for options, words in (
        (["--parquet", "q"], "go with --on"), (["--on", "local", "--shards"], "with --parquet DIR"),
        (["--on", "mars"], "mars cannot be used"), (["--on", "local", "--workers", "0"], "give 1 or more"),
        (["--on", "local", "--parquet", "q", "--rebuild"], "are for an index"),
    ):  # fmt: skip
        assert main(["index", str(tmp_path), *options]) == 1
        assert words in capsys.readouterr().err


@pytest.mark.real
def test_a_killed_worker_costs_its_batch(runs: Path, cache: Path, tmp_path: Path) -> None:
    names = photos_in(tmp_path / "p", 1500)
    (tmp_path / "p" / "broken.jpg").write_bytes(b"x")
    environment = {**os.environ, "XDG_CACHE_HOME": str(cache), "OMP_NUM_THREADS": "1"}

    def index(*options: str) -> subprocess.Popen[str]:
        command = [
            sys.executable,
            "-m",
            "crossmodal",
            "index",
            str(tmp_path / "p"),
            "--checkpoint",
            str(runs),
            *options,
        ]
        return subprocess.Popen(
            command, cwd=ROOT, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )

    run = index("--on", "local", "--workers", "2")
    killed = threading.Event()

    def kill_one() -> None:
        index = tmp_path / "p" / ".crossmodal"
        while run.poll() is None and not killed.is_set():
            workers = [
                one for one in psutil.process_iter(["cmdline"]) if "MapWorker" in " ".join(one.info["cmdline"] or [])
            ]
            if workers and any(file.stat().st_size for file in index.glob("vectors-*.f32")):
                workers[0].kill()
                killed.set()
            time.sleep(0.02)

    killer = threading.Thread(target=kill_one)
    killer.start()
    said, wrong = run.communicate(timeout=400)
    killer.join()
    assert run.returncode == 0, wrong
    assert killed.is_set()
    assert "1,500 photos in the index: 1,500 new" in said
    library = FolderGallery(tmp_path / "p" / ".crossmodal")
    assert [photo.found.path for photo in library.photos] == sorted(names)
    np.testing.assert_allclose(np.linalg.norm(library.vectors, axis=1), 1, atol=1e-3)
    # What workers made is what one process makes.
    alone = index("--index", str(tmp_path / "alone"))
    alone.communicate(timeout=400)
    expected = FolderGallery(tmp_path / "alone")
    np.testing.assert_allclose(library.vectors, expected.vectors, atol=2e-2)
    again = index("--on", "local", "--workers", "2")
    assert "nothing new" in again.communicate(timeout=400)[0]


@pytest.mark.real
def test_shards_become_parquet(runs: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    names = photos_in(tmp_path / "p", 70)
    shard(tmp_path / "s-0.tar", names[:40], tmp_path / "p")
    shard(tmp_path / "s-1.tar", names[40:], tmp_path / "p")
    command = ["index", str(tmp_path), "--shards", "--checkpoint", str(runs), "--on", "local", "--workers", "2",
               "--parquet", str(tmp_path / "q")]  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "crossmodal", *command], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "70 photos written" in done.stdout
    table = pq.read_table(tmp_path / "q")
    assert set(table["path"].to_pylist()) == {f"s-{int(n >= 40)}.tar/{name}" for n, name in enumerate(names)}
    assert main(command) == 0  # nothing is left to do, and so no cluster is started
    assert pq.read_table(tmp_path / "q").num_rows == 70
