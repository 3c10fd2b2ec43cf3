"""The hub path with the real client libraries, against a local server that speaks the hub's protocol."""

import hashlib
import http.server
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tiny import TINY_IMAGE, TINY_TEXT

ROOT = Path(__file__).resolve().parent.parent
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def hub(repos: dict[str, Path]) -> type[http.server.BaseHTTPRequestHandler]:
    """A handler that serves folders as the hub serves models."""

    class Hub(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.answer(body=False)

        def do_GET(self) -> None:
            self.answer(body=True)

        def answer(self, body: bool) -> None:
            path = self.path.split("?")[0]
            for name, folder in repos.items():
                files = sorted(str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file())
                if path.startswith(f"/api/models/{name}/tree/"):
                    entries = [
                        {"type": "file", "path": file, "size": (folder / file).stat().st_size, "oid": "0" * 40}
                        for file in files
                    ]
                    return self.send(json.dumps(entries).encode(), body, "application/json")
                if path.startswith(f"/api/models/{name}"):
                    about = {
                        "id": name,
                        "modelId": name,
                        "sha": COMMIT,
                        "private": False,
                        "tags": [],
                        "downloads": 0,
                        "likes": 0,
                        "siblings": [{"rfilename": file} for file in files],
                    }
                    return self.send(json.dumps(about).encode(), body, "application/json")
                if path.startswith(f"/{name}/resolve/") and (folder / path.split("/", 5)[5]).is_file():
                    return self.send((folder / path.split("/", 5)[5]).read_bytes(), body, "application/octet-stream")
            self.send_response(404)
            self.send_header("X-Error-Code", "RepoNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return None

        def send(self, content: bytes, body: bool, kind: str) -> None:
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.send_header("ETag", f'"{hashlib.sha1(content).hexdigest()}"')
            self.send_header("X-Repo-Commit", COMMIT)
            self.end_headers()
            if body:
                self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            pass

    return Hub


@pytest.fixture
def endpoint(weights: Path, tmp_path: Path) -> Iterator[str]:
    image = tmp_path / "image-repo"
    image.mkdir()
    (image / "model.safetensors").write_bytes((weights / f"{TINY_IMAGE}.safetensors").read_bytes())
    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), hub({TINY_TEXT: weights / "tiny-bert", f"timm/{TINY_IMAGE}": image})
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


CODE = """
import sys
from pathlib import Path
import torch
from crossmodal.dual_encoder import DualEncoder
from crossmodal.recipe import Recipe, Stage
recipe = Recipe("tiny", sys.argv[1], sys.argv[2], (Stage(1, 1e-3),), joint_size=8)
model = DualEncoder.from_recipe(recipe, Path(sys.argv[3]) if len(sys.argv) > 3 else None)
print(model.text_tower.net.embeddings.word_embeddings.weight.sum().item(), model.image_tower.net.conv_stem.weight.sum().item())
"""


def built(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
    return subprocess.run(
        [sys.executable, "-c", CODE, TINY_IMAGE, TINY_TEXT, *arguments],
        env={**clean, "PYTHONPATH": str(ROOT), **environment},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_both_towers_come_from_the_hub_then_from_its_cache(endpoint: str, weights: Path, tmp_path: Path) -> None:
    cache = {"HF_HOME": str(tmp_path / "cache"), "HF_HUB_DISABLE_XET": "1"}
    from_hub = built(HF_ENDPOINT=endpoint, **cache)
    assert from_hub.returncode == 0, from_hub.stderr
    assert from_hub.stdout == built(str(weights), HF_HUB_OFFLINE="1", HF_HOME=str(tmp_path / "empty")).stdout
    from_cache = built(HF_ENDPOINT="http://127.0.0.1:9", **cache)
    assert from_cache.stdout == from_hub.stdout, from_cache.stderr


def test_without_hub_and_cache_the_error_names_what_was_tried(tmp_path: Path) -> None:
    failed = built(HF_ENDPOINT="http://127.0.0.1:9", HF_HOME=str(tmp_path / "empty"))
    assert failed.returncode != 0
    assert "WeightsError" in failed.stderr
    assert "--recipe compact" in failed.stderr
