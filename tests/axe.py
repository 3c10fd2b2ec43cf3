"""axe-core, which finds what a page keeps from some of its users; its script comes from npm, once for each user."""

import subprocess
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

VERSION = "4.14.1"
PLACE = Path.home() / ".cache" / "crossmodal-tests"
RUN = """
const done = arguments[arguments.length - 1];
axe.run(document, {resultTypes: ["violations"]}).then(found => done(found.violations), error => done(String(error)));
"""


def script() -> str:
    """Return axe-core's source; skips the test where it is not at hand and npm cannot get it."""
    archive = PLACE / f"axe-core-{VERSION}.tgz"
    if not archive.is_file():
        PLACE.mkdir(parents=True, exist_ok=True)
        try:
            subprocess.run(
                ["npm", "pack", "--silent", f"axe-core@{VERSION}"],
                cwd=PLACE,
                check=True,
                capture_output=True,
                timeout=120,
            )
        except (OSError, subprocess.SubprocessError):
            pytest.skip("axe-core cannot be had from npm")
    with tarfile.open(archive) as held:
        file = held.extractfile("package/axe.min.js")
        assert file is not None
        return file.read().decode()


def violations(page: "Chrome", script: str) -> list[str]:
    """Return the serious and critical violations of the page as it stands, each with the first element that has it."""
    page.execute_script(script)
    page.set_script_timeout(60)
    found: Any = page.execute_async_script(RUN)
    assert isinstance(found, list), found
    return [
        f"{one['id']} ({one['impact']}): {one['nodes'][0]['html'][:200]}"
        for one in found
        if one["impact"] in ("serious", "critical")
    ]
