"""Folder to index against the encoder alone and against a plain torch loop, in one run.

    python -m benchmarks.indexing --images DIR [--photos 2000]

Each in a process of its own, which also tells its memory. The encoder alone reads decoded tensors from
memory; the plain loop is the model in eager torch behind a DataLoader (as many workers as cores), with
the same batches of 32. Targets: 90 % of the encoder alone, 2.5 times the plain loop.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
BATCH = 32
TIMES = 3  # alternating; the median of each
WAYS = ("encoder", "folder", "loop")


def main() -> None:
    """Print photos a second, memory and ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--photos", type=int, default=2000)
    parser.add_argument("--only", choices=WAYS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    files = sorted(options.images.iterdir())[: options.photos]
    if options.only:
        print(json.dumps({"rate": {"encoder": encoder, "folder": folder, "loop": loop}[options.only](files),
                          "megabytes": _megabytes()}))  # fmt: skip
        return
    from crossmodal.encoding.openvino_export import fastest_runtime  # exported once, before anything is timed
    from crossmodal.runs.opening import checkpoint_of, load_model

    model, content = load_model(checkpoint_of(ROOT / "model-checkpoints" / "shipped"))
    print(
        f"{len(files):,} photos, runtime {fastest_runtime(model, content['fingerprint']).name}, {os.cpu_count()} cores"
    )
    measured: dict[str, list[float]] = {way: [] for way in WAYS}
    for way in WAYS * TIMES:
        command = [sys.executable, "-m", "benchmarks.indexing", "--images", str(options.images), "--photos",
                   str(options.photos), "--only", way]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
        said: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        measured[way].append(said["rate"])
        print(f"{way:8} {said['rate']:7.1f} photos a second, {said['megabytes']:,.0f} MB at the most")
    rates = {way: statistics.median(found) for way, found in measured.items()}
    print(f"medians: folder to index {rates['folder'] / rates['encoder']:.0%} of the encoder alone, "
          f"{rates['folder'] / rates['loop']:.2f} times the plain loop")  # fmt: skip


def encoder(files: list[Path]) -> float:
    """Return photos a second of the runtime on decoded tensors."""
    import numpy as np

    from crossmodal.data.decoding import load_photo
    from crossmodal.encoding.runtime import Runtime

    runtime: Runtime = _runtime()
    size = runtime.preprocessing.size
    pixels = np.stack([runtime.preprocessing.array(load_photo(file, at_least=size)) for file in files])
    runtime.encode_pixels(pixels[:BATCH])
    return _rate(
        len(pixels),
        lambda: [runtime.encode_pixels(pixels[start : start + BATCH]) for start in range(0, len(pixels), BATCH)],
    )


def folder(files: list[Path]) -> float:
    """Return photos a second of indexing, from the walk to the last commit, with the runtime opened."""
    from crossmodal.photos.store import Store
    from crossmodal.photos.update import here, update

    runtime = _runtime()
    with tempfile.TemporaryDirectory() as place:
        photos, index = Path(place) / "photos", Path(place) / "index"
        photos.mkdir()
        for file in files:
            (photos / file.name).symlink_to(file.resolve())
        import numpy as np

        size = runtime.preprocessing.size
        width = runtime.encode_pixels(np.zeros((BATCH, size, size, 3), dtype=np.uint8)).shape[1]
        Store.create(index, {
            "fingerprint": "0" * 32, "checkpoint": "", "recipe": "", "size": width, "runtime": "torch", "root": str(photos),
            "excluded": [], "included": [], "ocr": False, "cutoff": None, "bank": None, "quality": "normal", "views": 1, "weights": None,
        })  # fmt: skip
        with Store(index, writable=True) as store:
            return _rate(len(files), lambda: update(store, photos, [], here(lambda: runtime)))


def loop(files: list[Path]) -> float:
    """Return photos a second of what one writes first: a DataLoader and the model in eager torch."""
    import torch
    from torch.utils.data import DataLoader

    from crossmodal.data.dataset import CaptionedImage
    from crossmodal.encoding.decoding_ahead import _Decoded
    from crossmodal.runs.opening import checkpoint_of, load_model

    model, _ = load_model(checkpoint_of(ROOT / "model-checkpoints" / "shipped"))
    model.image_tower.to(memory_format=torch.contiguous_format)
    images = [CaptionedImage(file.name, file, ()) for file in files]
    decoded = _Decoded(images, [[row] for row in range(len(images))], model.preparation, None, "")

    @torch.inference_mode()
    def run() -> None:
        for batch in DataLoader(decoded, batch_size=BATCH, num_workers=os.cpu_count() or 1):
            model.encode_image(batch[:, 0])

    return _rate(len(files), run)


def _runtime() -> Any:
    from crossmodal.encoding.openvino_export import fastest_runtime
    from crossmodal.encoding.runtime import Exported, OpenVinoRuntime
    from crossmodal.runs.opening import checkpoint_of, load_model

    checkpoint = checkpoint_of(ROOT / "model-checkpoints" / "shipped")
    model, content = load_model(checkpoint)
    exported = Exported.of(content["fingerprint"])
    return OpenVinoRuntime(exported) if exported else fastest_runtime(model, content["fingerprint"])


def _megabytes() -> float:
    """Return the most memory that this process had; getrusage would tell that of its parent too."""
    peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(peak.split()[1]) / 1024


def _rate(count: int, run: Callable[[], object]) -> float:
    started = time.perf_counter()
    run()
    return count / (time.perf_counter() - started)


if __name__ == "__main__":
    main()
