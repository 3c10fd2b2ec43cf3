"""The installed package: what the wheel holds, and the command in a folder that is not the checkout."""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
import zipfile
from pathlib import Path

import pytest

from crossmodal import cli, places
from crossmodal.commands import scripts
from crossmodal.data.sample import draw_sample

ROOT = Path(__file__).resolve().parent.parent
WHEEL_PARTS = (
    "pyproject.toml",
    "setup.py",
    "README.md",
    "LICENSE",
    "requirements.txt",
    "app.py",
    "model.py",
    "training_script.py",
)
MOST_BYTES = 95_000_000


def test_in_a_checkout_all_lies_in_one_folder() -> None:
    assert not places.INSTALLED
    assert ROOT == places.SCRIPTS == places.WORKPLACE
    assert (places.SHIPPED_RUN / "cutoff.json").is_file()


def test_the_options_of_streamlit_and_of_the_page_are_told_apart() -> None:
    arguments = "--photos ./a.b --server.port 80 --below c --browser.gatherUsageStats=false".split()
    assert scripts.divided(arguments) == (
        ["--server.port", "80", "--browser.gatherUsageStats=false"], ["--photos", "./a.b", "--below", "c"]
    )  # fmt: skip
    assert scripts.divided([]) == ([], [])


@pytest.mark.parametrize(
    ("arguments", "run"),
    [
        (["train", "--recipe", "compact", "-h"], ["training_script.py", "--recipe", "compact", "-h"]),
        (["train"], ["training_script.py"]),
        (["app", "--photos", "x", "--server.port", "80"], ["-m", "streamlit", "run", "app.py", "--server.port", "80", "--", "--photos", "x"]),
    ],
)  # fmt: skip
def test_the_scripts_are_given_all_that_was_typed(
    monkeypatch: pytest.MonkeyPatch, arguments: list[str], run: list[str]
) -> None:
    started: list[list[str]] = []
    monkeypatch.setattr(os, "execv", lambda program, command: started.append(command))
    assert cli.main(arguments) == 0
    ((_, *rest),) = started
    assert [part.replace(f"{ROOT}/", "") for part in rest] == run


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy, since setuptools writes into the folder that it builds."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in WHEEL_PARTS:
        shutil.copy(ROOT / name, source / name)
    for name in ("crossmodal", ".streamlit", "model-checkpoints/shipped"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__", "training_state.pt"))
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--no-deps",
        "--no-build-isolation",
        "-q",
        "-w",
        str(out),
        str(source),
    ]
    subprocess.run(command, check=True, timeout=600)
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def site(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that the wheel alone is installed into; what it requires is that of the tests."""
    folder = tmp_path_factory.mktemp("site")
    command = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--no-deps",
        "--no-index",
        "-q",
        "--target",
        str(folder),
        str(wheel),
    ]
    subprocess.run(command, check=True, timeout=600)
    return folder


@pytest.mark.real
def test_the_wheel_holds_what_is_needed_and_no_more(wheel: Path) -> None:
    assert wheel.stat().st_size < MOST_BYTES
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    shipped = {f"crossmodal/shipped/{path.name}" for path in (ROOT / "model-checkpoints" / "shipped").iterdir()}
    scripts_ = {
        f"crossmodal/scripts/{name}" for name in ("app.py", "model.py", "training_script.py", ".streamlit/config.toml")
    }
    own = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "crossmodal").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert names == own | scripts_ | shipped - {"crossmodal/shipped/training_state.pt"}


@pytest.mark.real
def test_the_command_works_from_any_folder(site: Path, tmp_path: Path) -> None:
    _, images = draw_sample(tmp_path / "drawn", scenes=12)
    work = tmp_path / "work"
    work.mkdir()
    environment = {**os.environ, "PYTHONPATH": str(site), "XDG_CACHE_HOME": str(tmp_path / "cache")}

    def said(*arguments: str) -> str:
        command = [sys.executable, str(site / "bin" / "crossmodal"), *arguments]
        done = subprocess.run(
            command, cwd=work, env=environment, capture_output=True, text=True, timeout=300, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "teach" in said("--help")
    assert "12 photos" in said("index", str(images))
    assert "scene_" in said("search", "a red car", "--photos", str(images), "--no-cut-off")
    assert "efficientnet-minilm" in said("train", "--help")
    assert not list(work.iterdir())


@pytest.mark.real
def test_the_page_opens_from_any_folder_for_this_machine_alone(site: Path, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {**os.environ, "PYTHONPATH": str(site), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    command = [
        sys.executable,
        str(site / "bin" / "crossmodal"),
        "app",
        "--server.port",
        str(port),
        "--server.headless",
        "true",
    ]
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as page:
        try:
            answer = b""
            for _ in range(120):
                time.sleep(0.5)
                try:
                    answer = urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health", timeout=2).read()
                    break
                except OSError:
                    continue
            assert answer == b"ok"
        finally:
            page.terminate()
            out, _ = page.communicate(timeout=30)
    assert b"127.0.0.1" in out and b"0.0.0.0" not in out  # .streamlit/config.toml came along


def test_app_says_what_it_knows_before_it_starts_anything(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["app", "--help"]) == 0
    assert "--photos DIR" in capsys.readouterr().out
    assert cli.main(["app", "--nonsense"]) == 1
    assert "does not know --nonsense" in capsys.readouterr().err
    assert cli.main(["app", "--server.port", "80", "--photos"]) == 1
    assert "expected one argument" in capsys.readouterr().err
