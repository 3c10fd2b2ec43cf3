"""The walls of the house: which rooms may import which, by the syntax trees, and what importing the recipes costs."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "crossmodal"
GROUND = {
    "errors",
    "files",
    "progress",
    "places",
    "batched",
    "recipe",
    "recipe_checks",
    "projection",
    "encoder",
    "dual_encoder",
    "rebuilding",
    "text_side",
    "unit_vectors",
    "checkpoint_format",
    "hubs",
}
# Each room with those below it; what is not named may not be imported, inside functions neither.
BELOW: dict[str, set[str]] = {
    "data": set(),
    "towers": {"data"},
    "encoding": {"data", "towers"},
    "runs": {"data", "towers", "encoding"},
    "evaluation": {"data", "towers", "encoding", "runs"},
    "training": {"data", "towers", "encoding", "runs", "evaluation"},
    "search": {"data", "towers", "encoding", "runs"},
    "photos": {"data", "towers", "encoding", "runs", "search"},
    "scale": {"data", "towers", "encoding", "runs", "search", "photos"},
    "galleries": {"data", "encoding", "runs", "search", "photos", "scale"},
    "page": {"data", "encoding", "runs", "search", "photos", "galleries", "evaluation"},
    "serving": {"data", "encoding", "runs", "search", "galleries"},
    "commands": {
        "data", "encoding", "runs", "search", "photos", "scale", "galleries", "evaluation", "page", "serving"
    },
    "cli": {"commands"},
}  # fmt: skip


def imports_of(file: Path) -> Iterator[str]:
    """Yield the modules that a file imports, wherever the import stands."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert not node.level, f"{file} imports relatively"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def room_of(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else ""


@pytest.mark.parametrize("room", sorted({*BELOW, *GROUND}))
def test_a_room_imports_only_what_is_below_it(room: str) -> None:
    files = sorted((PACKAGE / room).rglob("*.py")) or [PACKAGE / f"{room}.py"]
    allowed = {room, "", *GROUND, *BELOW.get(room, ())}
    if room in ("dual_encoder", "text_side"):  # the towers put together, and one of them
        allowed |= {"data", "towers"}
    wrong = [
        f"{file.relative_to(ROOT)} imports {module}"
        for file in files
        for module in imports_of(file)
        if module.split(".")[0] == "crossmodal" and room_of(module) not in allowed
    ]
    assert not wrong


def test_every_room_has_walls() -> None:
    rooms = {path.stem for path in PACKAGE.iterdir() if path.is_dir() or path.suffix == ".py"}
    assert rooms - {"__pycache__", "__init__", "__main__"} == {*BELOW, *GROUND} & rooms
    assert not any(
        module.split(".")[0] in ("app", "model", "training_script")
        for file in PACKAGE.rglob("*.py")
        for module in imports_of(file)
    )


def test_streamlit_is_of_the_page_alone() -> None:
    files = [file for file in PACKAGE.rglob("*.py") if "page" not in file.relative_to(PACKAGE).parts[:1]]
    assert not [str(file) for file in files for module in imports_of(file) if module.split(".")[0] == "streamlit"]


def imported_by(statement: str) -> set[str]:
    """Return the modules that a fresh interpreter has after a statement."""
    code = f"{statement}; import sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True)
    return set(done.stdout.split())


@pytest.mark.parametrize(
    ("statement", "without"),
    [
        ("import model", {"torch", "PIL", "numpy"}),
        ("import crossmodal.galleries, crossmodal.photos.gallery", {"torch", "transformers", "streamlit", "timm"}),
        ("import crossmodal.cli", {"torch", "PIL", "streamlit", "fastapi"}),
    ],
)
def test_what_is_imported_only_when_it_is_used(statement: str, without: set[str]) -> None:
    assert not imported_by(statement) & without
