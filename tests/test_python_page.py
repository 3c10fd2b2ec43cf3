"""docs/python.md, run as it stands, with tiny towers in the place of the recipe's."""

import re
import shutil
from pathlib import Path

import pytest

from crossmodal.dual_encoder import DualEncoder
from crossmodal.recipe import Recipe

PAGE = Path(__file__).resolve().parent.parent / "docs" / "python.md"


def test_the_page_runs(
    tmp_path: Path,
    collection: tuple[Path, Path],
    recipe: Recipe,
    weights: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    shutil.copy(collection[0], tmp_path / "captions.txt")
    shutil.copytree(collection[1], tmp_path / "photos")
    monkeypatch.chdir(tmp_path)
    tiny = DualEncoder.from_recipe(recipe, weights)
    monkeypatch.setattr(DualEncoder, "from_recipe", lambda _: tiny)
    known: dict[str, object] = {}
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 5
    for block in blocks:
        assert len(block.splitlines()) <= 11
        exec(compile(block, str(PAGE), "exec"), known)
    found = known["found"]
    assert isinstance(found, list | tuple) and len(found) == 5
    assert "cosine" in capsys.readouterr().out
    assert (tmp_path / "photos" / ".crossmodal" / "words.json").is_file()
