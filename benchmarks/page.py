"""The page's own work: from process start to the first answer, and a query's p50 and p95.

    python -m benchmarks.page

In a process of its own each, through Streamlit's test driver (the whole script, no browser): on the
drawn sample, whose tensors are there already, and on made-up vectors of Flickr30k's size, 31,783
photos and 158,915 captions. Every query is another sentence. Target: p50 and p95 under 100 ms.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
QUERIES = 60


def main() -> None:
    """Print the figures of both galleries."""
    from benchmarks.validation import CAPTIONS, IMAGES, made_up_embeddings
    from crossmodal.data.sample import draw_sample
    from crossmodal.encoding.embeddings import model_path, save_embeddings
    from crossmodal.progress import terminal
    from crossmodal.runs.opening import checkpoint_of, load_model, open_embeddings

    shipped = checkpoint_of(ROOT / "model-checkpoints" / "shipped")
    model, content = load_model(shipped)
    with tempfile.TemporaryDirectory() as folder:
        sample, large, photos = (Path(folder) / name for name in ("sample", "large", "photos"))
        embeddings = open_embeddings(shipped, content["fingerprint"], model, ROOT / "drawn-sample", terminal)
        _, drawn = draw_sample(ROOT / "drawn-sample")
        for run, held in (
            (sample, replace(embeddings, data={"images": str(drawn)})),
            (
                large,
                replace(made_up_embeddings(IMAGES, CAPTIONS, model.recipe.joint_size), data={"images": str(photos)}),
            ),
        ):
            run.mkdir()
            fingerprint = model.save(model_path(run, 1), 1, {}, {})
            save_embeddings(run, 1, fingerprint, held)
        photos.mkdir()
        drawings = sorted(drawn.iterdir())
        for number in range(IMAGES):
            (photos / f"{number:06d}.jpg").symlink_to(drawings[number % len(drawings)])
        del model, embeddings, held
        for title, run in (("drawn sample", sample), (f"{IMAGES:,} photos, {CAPTIONS:,} captions", large)):
            command = [sys.executable, "-m", "benchmarks.page", str(run), str(time.time())]
            answer = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
            figures = json.loads(answer.stdout.splitlines()[-1])
            print(f"{title}: " + ", ".join(f"{name} {value}" for name, value in figures.items()), flush=True)


def serve(run: str, started: float) -> None:
    """Open the page on a run, ask it sentences and print how long it took, as JSON."""
    from streamlit.testing.v1 import AppTest

    sys.argv = ["app.py", "--checkpoints", run]
    page = AppTest.from_file(str(ROOT / "app.py"), default_timeout=600).run()
    page.selectbox[1].set_value("all").run()
    page.text_input[0].set_value("a dog on a beach").run()
    first = time.time() - started
    assert not page.error and not page.exception and any("<figure" in part.value for part in page.markdown)
    spent = []
    for number in range(QUERIES):
        page.text_input[0].set_value(f"{number + 2} children in the snow near house {number}")
        before = time.perf_counter()
        page.run()
        spent.append(1000 * (time.perf_counter() - before))
    cuts = statistics.quantiles(spent, n=20)
    figures = {"start to first answer": f"{first:.1f} s", "query p50": f"{statistics.median(spent):.0f} ms"}
    print(json.dumps(figures | {"p95": f"{cuts[18]:.0f} ms"}))


if __name__ == "__main__":
    if len(sys.argv) > 2:
        os.environ["STREAMLIT_LOGGER_LEVEL"] = "error"
        serve(sys.argv[1], float(sys.argv[2]))
    else:
        main()
