"""Everything that the API says of itself, asked in every way that Schemathesis knows."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.test_serving import calibrated as calibrated  # a fixture
from tests.test_serving import runs as runs  # a fixture

ROOT = Path(__file__).resolve().parent.parent
pytestmark = pytest.mark.real  # some thousand requests


@pytest.fixture
def url(runs: Path, tmp_path: Path) -> Iterator[str]:
    """A server whose rate lets all of them in."""
    command = [sys.executable, "-m", "crossmodal", "serve", "--port", "0", "--rate", "1000000/minute"]
    process = subprocess.Popen(
        [*command, "--checkpoint", str(runs)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        env={**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")},
    )  # fmt: skip
    assert process.stdout is not None
    yield process.stdout.readline().split()[1]
    process.kill()
    process.wait()


def test_all_checks(url: str, tmp_path: Path) -> None:
    tool = Path(sys.executable).with_name("schemathesis")
    done = subprocess.run(
        [str(tool), "run", f"{url}/openapi.json", "--checks", "all", "--max-examples", "30", "--seed", "1"],
        capture_output=True, text=True, check=False, cwd=tmp_path,
        env={**os.environ, "SCHEMATHESIS_HOOKS": "tests.schemathesis_hooks", "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-6000:]
