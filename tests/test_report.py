"""The report: what it finds, by hand; that its file is whole, safe, and needs no network."""

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from crossmodal.cli import main
from crossmodal.data.dataset import read_dataset
from crossmodal.dual_encoder import DualEncoder
from crossmodal.encoding.embeddings import Embeddings, model_path
from crossmodal.evaluation.charts import loss_curve, map_chart, recall_curves
from crossmodal.evaluation.maps import map_coordinates
from crossmodal.evaluation.metrics import ranks_of
from crossmodal.evaluation.report.findings import most_confused, recall_over_k, text_queries, worst
from crossmodal.evaluation.report.photo_strips import Strip, Thumbnails, Tile
from crossmodal.files import append_line

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

HOSTILE = "</script><script>document.title = 'taken over'</script><img src=x onerror=alert(1)>"


def embeddings(images: torch.Tensor, texts: torch.Tensor, owner: list[int]) -> Embeddings:
    names = [f"{number}.jpg" for number in range(len(images))]
    captions = [f"caption {number}" for number in range(len(texts))]
    return Embeddings(images, texts, names, ["val"] * len(images), captions, torch.tensor(owner), {})


def test_recall_over_k_by_hand() -> None:
    assert recall_over_k(torch.tensor([1, 3, 3, 200]), 4) == [25, 25, 75, 75]


def test_the_worst_ranks_come_first_and_rank_1_is_no_failure() -> None:
    assert worst(torch.tensor([1, 9, 4, 9, 1]), 4) == [1, 3, 2]


def test_confused_pairs_by_hand() -> None:
    # Both captions of image 0 and one of image 1 point at image 2; image 2's own points there too.
    images = torch.eye(3)
    texts = torch.eye(3)[[2, 2, 2, 1, 2]]
    pairs = most_confused(embeddings(images, texts, [0, 0, 1, 1, 2]), 5)
    assert [(pair.image, pair.taken_for, pair.times, pair.captions, pair.example) for pair in pairs] == [
        (0, 2, 2, 2, 0),
        (1, 2, 1, 2, 2),
    ]


def test_matches_say_which_are_right() -> None:
    images = F.normalize(torch.tensor([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0]]), dim=1)
    of = embeddings(images, images.clone(), [1, 1, 2])
    ranks = ranks_of(of.images, of.texts, [1, 1, 2])
    (query,) = text_queries(of, ranks, [0])
    assert query.found == (0, 1, 2)
    assert query.right == (False, True, False)
    assert query.rank == 2


def test_maps_keep_pairs_and_rows() -> None:
    vectors = F.normalize(torch.randn(20, 8, generator=torch.Generator().manual_seed(0)), dim=1)
    places = map_coordinates(embeddings(vectors, vectors, list(range(20))))
    assert places is not None
    assert set(places["map"]) == {"t-SNE", "UMAP"}
    assert len(places) == 2 * 2 * 20
    assert places[["x", "y"]].notna().all().all()
    captions = places[(places["kind"] == "caption") & (places["map"] == "UMAP")]
    assert all(caption == f"caption {row}" for caption, row in zip(captions["caption"], captions["row"], strict=True))
    assert map_coordinates(embeddings(vectors[:5], vectors[:5], list(range(5)))) is None


def test_curves_tell_direction_by_colour_k_by_dash_and_mark_the_chosen_epoch() -> None:
    recalls = {f"{direction}_r{k}": 10.0 * k for direction in ("t2i", "i2t") for k in (1, 5, 10)}
    records = [{"epoch": epoch, "loss": epoch or None, **recalls} for epoch in range(4)]
    spec = recall_curves(records, 2).to_dict()
    encoding = spec["layer"][0]["encoding"]
    assert (encoding["color"]["field"], encoding["strokeDash"]["field"]) == ("direction", "K")
    assert "%" in encoding["y"]["axis"]["labelExpr"]
    for chart in (spec, loss_curve(records, 2).to_dict()):
        (rule,) = (layer for layer in chart["layer"] if layer["mark"]["type"] == "rule")
        assert [row["epoch"] for row in chart["datasets"][rule["data"]["name"]]] == [2]
    epochs = [row["epoch"] for row in next(iter(loss_curve(records, None).to_dict()["datasets"].values()))]
    assert epochs == [1, 2, 3]  # the head start has no loss


def test_a_click_on_the_map_selects_a_row() -> None:
    places = pd.DataFrame({"x": [0.0], "y": [0.0], "kind": ["image"], "pair": [0], "row": [3], "caption": ["a"]})
    names = [param["name"] for param in map_chart(places, "t-SNE", "clicked").to_dict()["params"]]
    assert "clicked" in names
    assert "clicked" not in json.dumps(map_chart(places, "t-SNE").to_dict())


def test_a_sheet_frames_the_right_one(tmp_path: Path) -> None:
    Image.new("RGB", (300, 200), "blue").save(tmp_path / "a.png")
    tiles = [
        Tile(tmp_path / "a.png", "one"),
        Tile(tmp_path / "a.png", "two", right=True),
        Tile(tmp_path / "no.png", ""),
    ]
    sheet = Thumbnails().sheet([Strip("a title that is far too long for the sheet " * 9, tiles)])
    colours = {colour for _, colour in sheet.getcolors(1 << 20) or []}
    assert (31, 157, 85) in colours  # the frame
    assert (153, 153, 153) in colours  # the photo that is not there


@pytest.fixture
def run(model: DualEncoder, collection: tuple[Path, Path], tmp_path: Path) -> Path:
    """A run of two epochs over drawings of which one has a hostile caption."""
    captions, images = collection
    rows = [
        {"file_name": image.name, "caption": text}
        for image in read_dataset(captions, images).dataset.images
        for text in image.captions
    ]
    rows[0]["caption"] = HOSTILE
    (tmp_path / "captions.json").write_text(json.dumps(rows))
    data = {"captions": str(tmp_path / "captions.json"), "images": str(images)}
    metrics = {f"{way}_r{k}": 12.5 for way in ("t2i", "i2t") for k in (1, 5, 10)} | {"rsum": 75.0}
    for epoch in (1, 2):
        model.save(model_path(tmp_path / "run", epoch), epoch, metrics, data)
        append_line(tmp_path / "run" / "results.jsonl", {"epoch": epoch, "loss": 1.0, **metrics})
    return tmp_path / "run"


def test_the_file_is_whole_and_holds_all_it_needs(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out" / "report.html"
    assert main(["report", str(run), "--split", "all", "--output", str(output), "--png"]) == 0
    text = output.read_text()
    for part in ("Figures", "Training", "Recall over K", "Similarity", "Maps of both towers", "Text to image",
                 "Worst failures, image to text", "Most confused pairs", "random ranking", "bags of words"):  # fmt: skip
        assert part in text
    assert HOSTILE not in text
    assert not re.findall(
        r"<(?:script|img|link|iframe)[^>]*(?:src|href)=[\"']?(?!data:)[^>\"' ]+",
        text.split('<script type="module">')[0],
    )
    written = capsys.readouterr().out.split("Wrote ")[1:]
    pngs = [Path(line.strip()) for line in written if line.strip().endswith(".png")]
    assert len(pngs) == 9
    for png in pngs:
        with Image.open(png) as photo:
            assert min(photo.size) > 100
            assert len(photo.convert("RGB").getcolors(1 << 22) or []) > 2  # something is drawn


@pytest.mark.real
def test_a_browser_draws_it_alone(run: Path, tmp_path: Path, browser: "Chrome") -> None:
    import time

    from selenium.webdriver.common.by import By

    output = tmp_path / "report.html"
    assert main(["report", str(run), "--split", "all", "--output", str(output)]) == 0
    browser.get(output.as_uri())
    deadline = time.monotonic() + 30
    while len(browser.find_elements(By.CSS_SELECTOR, "[data-chart] canvas, [data-chart] svg")) < 4:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert browser.title == "What the model learned"
    assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []
    requested = re.findall(
        r'"url":"(https?:[^"]+)', "".join(entry["message"] for entry in browser.get_log("performance"))
    )
    assert requested == []
