"""Downloads from a local server that cuts connections, sends wrong content and refuses; archives; a full disk."""

import csv
import hashlib
import http.server
import io
import json
import shutil
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest
from PIL import Image

from crossmodal.data import download as module
from crossmodal.data.dataset import read_dataset
from crossmodal.data.download import Source, download, fetch
from crossmodal.errors import CrossmodalError

CONTENT = bytes(range(256)) * 4000


class Server(http.server.BaseHTTPRequestHandler):
    """Serves /whole, /cut (a part of what is asked for at a time), /stubborn (ignores ranges), /etag; else 404."""

    asked: ClassVar[list[str | None]] = []
    cut_after = 300_000

    def do_GET(self) -> None:
        asked = self.headers.get("Range")
        self.asked.append(asked)
        if self.path.lstrip("/") not in ("whole", "cut", "stubborn", "etag"):
            self.send_error(404)
            return
        start = int(asked.split("=")[1].rstrip("-")) if asked and self.path != "/stubborn" else 0
        if start >= len(CONTENT):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(CONTENT) - start))
        if self.path == "/etag":
            self.send_header("X-Linked-ETag", f'"{hashlib.sha256(b"other").hexdigest()}"')
        self.end_headers()
        self.wfile.write(
            CONTENT[start : start + self.cut_after] if self.path in ("/cut", "/stubborn") else CONTENT[start:]
        )

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def url(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr(module.time, "sleep", lambda seconds: None)
    Server.asked.clear()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_a_whole_file_and_its_checksum(url: str, tmp_path: Path) -> None:
    path = fetch(Source(f"{url}/whole", hashlib.sha256(CONTENT).hexdigest()), tmp_path)
    assert path.read_bytes() == CONTENT
    assert fetch(Source(f"{url}/whole"), tmp_path) == path
    assert len(Server.asked) == 1  # what is there is not fetched again


def test_a_cut_connection_is_resumed(url: str, tmp_path: Path) -> None:
    assert fetch(Source(f"{url}/cut"), tmp_path).read_bytes() == CONTENT
    assert Server.asked == [None, "bytes=300000-", "bytes=600000-", "bytes=900000-"]


def test_an_incomplete_download_is_given_up_and_kept(url: str, tmp_path: Path) -> None:
    with pytest.raises(CrossmodalError, match=r"cut after .* which resumes the download"):
        fetch(Source(f"{url}/stubborn"), tmp_path)
    assert len(Server.asked) == module.TRIES
    assert (tmp_path / "stubborn.part").stat().st_size == Server.cut_after


@pytest.mark.parametrize("source", [("whole", "0" * 64), ("etag", None)])
def test_a_wrong_checksum_removes_the_file(url: str, tmp_path: Path, source: tuple[str, str | None]) -> None:
    with pytest.raises(CrossmodalError, match="wrong checksum"):
        fetch(Source(f"{url}/{source[0]}", source[1]), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_refusals_say_what_to_do(url: str, tmp_path: Path) -> None:
    with pytest.raises(CrossmodalError, match=r"404 .*--archive"):
        fetch(Source(f"{url}/none"), tmp_path)
    with pytest.raises(CrossmodalError, match=r"cannot be fetched .*--archive"):
        fetch(Source("http://127.0.0.1:9/none"), tmp_path)


def test_a_full_disk_is_one_sentence(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(module.shutil, "disk_usage", lambda path: usage._replace(free=10))
        with pytest.raises(CrossmodalError, match="too little space"):
            fetch(Source(f"{url}/whole"), tmp_path)
    with monkeypatch.context() as patch:
        # The device that is always full stands in for a disk that fills up while writing.
        (tmp_path / "whole.part").symlink_to("/dev/full")
        with pytest.raises(CrossmodalError, match="No space left"):
            fetch(Source(f"{url}/whole"), tmp_path)


def photo() -> bytes:
    file = io.BytesIO()
    Image.effect_noise((40, 30), 40).convert("RGB").save(file, "JPEG")
    return file.getvalue()


def test_flickr8k_as_published(tmp_path: Path) -> None:
    names = ["a.jpg", "b.jpg", "c.jpg"]
    with zipfile.ZipFile(tmp_path / "text.zip", "w") as file:
        file.writestr(
            "Flickr8k.token.txt", "".join(f"{name}#{k}\tcaption {k}, {name}\n" for name in names for k in range(2))
        )
        for split, name in (("train", "a.jpg"), ("dev", "b.jpg"), ("test", "c.jpg")):
            file.writestr(f"Flickr_8k.{split}Images.txt", name + "\n")
        file.writestr("Flickr8k.lemma.token.txt", "".join(f"{name}#{k}\tlemma\n" for name in names for k in range(3)))
        file.writestr("CrowdFlowerAnnotations.txt", "a.jpg\tb.jpg#1\t0.3\t1\t2\n" * 50)
        file.writestr("__MACOSX/._Flickr8k.token.txt", "x")
        file.writestr("readme.txt", "Some words.")
    with zipfile.ZipFile(tmp_path / "images.zip", "w") as file:
        for name in names:
            file.writestr(f"Flicker8k_Dataset/{name}", photo())
        file.writestr("../../evil.jpg", photo())
    target = tmp_path / "to"
    captions, images = download("flickr8k", target, [tmp_path / "text.zip", tmp_path / "images.zip"])
    dataset = read_dataset(captions, images).dataset
    assert {image.name: image.split for image in dataset.images} == {"a.jpg": "train", "b.jpg": "val", "c.jpg": "test"}
    assert dataset.images[0].captions == ("caption 0, a.jpg", "caption 1, a.jpg")
    assert (images / "evil.jpg").exists()  # by its base name, inside the folder
    assert not (tmp_path / "evil.jpg").exists()
    with pytest.raises(CrossmodalError, match="exists already"):
        download("flickr8k", target, [tmp_path / "text.zip"])


def test_flickr30k_from_the_hub_table_and_a_tar(tmp_path: Path) -> None:
    with (tmp_path / "flickr_annotations_30k.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("raw", "sentids", "split", "filename", "img_id"))
        writer.writerow((json.dumps(["One.", "Two."]), "[0, 1]", "train", "a.jpg", 0))
        writer.writerow((json.dumps(["Three."]), "[2]", "test", "b.jpg", 1))
    with tarfile.open(tmp_path / "images.tar.gz", "w:gz") as archive:
        for name in ("a.jpg", "b.jpg"):
            info = tarfile.TarInfo(f"flickr30k-images/{name}")
            info.size = len(content := photo())
            archive.addfile(info, io.BytesIO(content))
    captions, images = download(
        "flickr30k", tmp_path / "to", [tmp_path / "flickr_annotations_30k.csv", tmp_path / "images.tar.gz"]
    )
    dataset = read_dataset(captions, images).dataset
    assert [(image.name, image.captions, image.split) for image in dataset.images] == [
        ("a.jpg", ("One.", "Two."), "train"),
        ("b.jpg", ("Three.",), "test"),
    ]


def test_bad_archives_are_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "broken.zip").write_bytes(b"PK no")
    with pytest.raises(CrossmodalError, match="not a complete zip or tar"):
        download("flickr8k", tmp_path / "to", [tmp_path / "broken.zip"])
    with zipfile.ZipFile(tmp_path / "images.zip", "w") as file:
        file.writestr("a.jpg", photo())
    with pytest.raises(CrossmodalError, match="no caption file"):
        download("flickr8k", tmp_path / "to", [tmp_path / "images.zip"])
    assert not (tmp_path / "to" / "captions.txt").exists()
    with pytest.raises(CrossmodalError, match="is not there"):
        download("flickr8k", tmp_path / "to", [tmp_path / "none.zip"])
