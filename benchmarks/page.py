"""The page's own work: from process start to the tabs and to the first answer, a query's p50 and p95, and memory.

    python -m benchmarks.page

In a process of its own each, through Streamlit's test driver (the whole script, no browser): on the
drawn sample, whose tensors are there already, and on made-up vectors of Flickr30k's size, 31,783
photos and 158,915 captions. Every query is another sentence. Two sessions ask in turn; memory is
what the process holds at the end. Target: p50 and p95 under 100 ms.
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
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from streamlit.testing.v1 import AppTest

ROOT = Path(__file__).resolve().parent.parent
QUERIES = 60


def main() -> None:
    """Print the figures of both galleries."""
    from benchmarks.validation import CAPTIONS, IMAGES, made_up_embeddings
    from crossmodal.data.sample import draw_sample
    from crossmodal.encoding.embeddings import model_path, save_embeddings
    from crossmodal.progress import silent
    from crossmodal.runs.opening import checkpoint_of, load_model, open_embeddings

    shipped = checkpoint_of(ROOT / "model-checkpoints" / "shipped")
    model, content = load_model(shipped)
    with tempfile.TemporaryDirectory() as folder:
        sample, large, photos = (Path(folder) / name for name in ("sample", "large", "photos"))
        embeddings = open_embeddings(shipped, content["fingerprint"], silent)
        _, drawn = draw_sample(ROOT / "drawn-sample")
        made_up = made_up_embeddings(IMAGES, CAPTIONS, model.recipe.joint_size)
        for run, held, images in ((sample, embeddings, drawn), (large, made_up, photos)):
            run.mkdir()
            fingerprint = model.save(model_path(run, 1), 1, {}, {})
            save_embeddings(run, 1, fingerprint, replace(held, data={"images": str(images)}))
        photos.mkdir()
        drawings = sorted(drawn.iterdir())
        for number in range(IMAGES):
            (photos / f"{number:06d}.jpg").symlink_to(drawings[number % len(drawings)])
        del model, embeddings, made_up, held
        for title, run in (("drawn sample", sample), (f"{IMAGES:,} photos, {CAPTIONS:,} captions", large)):
            command = [sys.executable, "-m", "benchmarks.page", str(run), str(time.time())]
            answer = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
            figures = json.loads(answer.stdout.splitlines()[-1])
            print(f"{title}: " + ", ".join(f"{name} {value}" for name, value in figures.items()), flush=True)


def serve(run: str, started: float) -> None:
    """Open the page on a run in two sessions, ask it sentences and print how long it took, as JSON."""
    import psutil
    from streamlit.testing.v1 import AppTest

    sys.argv = ["app.py", "--checkpoints", run]
    first, second = (AppTest.from_file(str(ROOT / "app.py"), default_timeout=600) for _ in range(2))
    first.query_params["gallery"] = second.query_params["gallery"] = "all"
    first.run()
    assert len(first.tabs) == 2
    tabs = time.time() - started
    ask(first, "a dog on a beach")
    answered = time.time() - started
    second.run()
    ask(second, "a cat on a sofa")
    spent = []
    for number in range(QUERIES):
        page = (first, second)[number % 2]
        before = time.perf_counter()
        ask(page, f"{number + 2} children in the snow near house {number}")
        spent.append(1000 * (time.perf_counter() - before))
    cuts = statistics.quantiles(spent, n=20)
    figures = {
        "start to tabs": f"{tabs:.1f} s",
        "start to first answer": f"{answered:.1f} s",
        "query p50": f"{statistics.median(spent):.0f} ms",
        "p95": f"{cuts[18]:.0f} ms",
        "memory with two sessions": f"{psutil.Process().memory_info().rss / 1e6:.0f} MB",
    }
    print(json.dumps(figures))


def ask(page: "AppTest", sentence: str) -> None:
    """Type a sentence, and run the page until it says how many photos were found."""
    page.text_input(key="asked words").set_value(sentence).run()
    while not any(" of " in said.value or "Nothing" in said.value for said in page.markdown):
        assert not page.error and not page.exception
        time.sleep(0.05)
        page.run()


if __name__ == "__main__":
    if len(sys.argv) > 2:
        os.environ["STREAMLIT_LOGGER_LEVEL"] = "error"
        serve(sys.argv[1], float(sys.argv[2]))
    else:
        main()
