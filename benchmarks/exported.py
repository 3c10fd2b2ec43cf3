"""Exported towers against each other: size, time and recall.

    python -m crossmodal export model-checkpoints/shipped DIR --to onnx [--int8]        (and the others to compare)
    python -m benchmarks.exported DIR [DIR ...] --captions FILE --images DIR --split-file FILE [--photos 1000]

ONNX folders run in onnxruntime, OpenVINO's in this project's runtime; all on the same photos, in turn.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from crossmodal.data.dataset import read_dataset
from crossmodal.data.decoding import load_photo
from crossmodal.data.preprocessing import Preprocessing
from crossmodal.data.splits import read_names
from crossmodal.encoding.quantizing import OnnxRuntime
from crossmodal.encoding.runtime import Exported, OpenVinoRuntime
from crossmodal.evaluation.metrics import retrieval_metrics
from crossmodal.runs.opening import checkpoint_of, load_model

ROOT = Path(__file__).resolve().parent.parent
AT_ONCE = 32
CALLS = 30  # of which the median is the time of one image, and of one sentence


def main() -> None:
    """Print a line for each folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="+")
    for name in ("--captions", "--images", "--split-file"):
        parser.add_argument(name, type=Path, required=True)
    parser.add_argument("--photos", type=int, default=1000, help=f"at least {CALLS}")
    options = parser.parse_args()
    names = read_names(options.split_file)[: options.photos]
    dataset = read_dataset(options.captions, options.images, names=names, check=False).dataset
    prepare: Preprocessing = load_model(checkpoint_of(ROOT / "model-checkpoints" / "shipped"))[0].preparation
    pixels = np.stack([prepare.array(load_photo(image.path, at_least=prepare.size)) for image in dataset.images])
    captions = dataset.captions
    print(f"{len(pixels):,} photos, {len(captions):,} captions")
    for folder in options.folders:
        size = sum(file.stat().st_size for file in folder.rglob("*") if file.suffix in (".onnx", ".bin"))
        onnx = (folder / "visual").is_dir()
        with OnnxRuntime(folder) if onnx else OpenVinoRuntime(Exported(folder)) as runtime:
            images = in_parts(runtime.encode_pixels, pixels)
            texts = in_parts(lambda some: runtime.encode_sentences(list(some)), np.array(captions, object))
            one_image = median_ms(lambda row: runtime.encode_pixels(pixels[row : row + 1]))
            one_sentence = median_ms(lambda row: runtime.encode_sentences([captions[row]]))
        found = retrieval_metrics(torch.from_numpy(images), torch.from_numpy(texts), dataset.caption_to_image)
        recalls = [" / ".join(f"{found[f'{way}_r{k}']:.1f}" for k in (1, 5, 10)) for way in ("t2i", "i2t")]
        print(
            f"{folder.name}: {size / 1e6:.1f} MB, image {one_image:.1f} ms, sentence {one_sentence:.1f} ms, "
            f"text to image {recalls[0]}, image to text {recalls[1]}, rsum {found['rsum']:.1f}",
            flush=True,
        )


def in_parts(encode: Callable[[np.ndarray], np.ndarray], inputs: np.ndarray) -> np.ndarray:
    """Return the vectors [N, D] of all inputs."""
    return np.concatenate([encode(inputs[start : start + AT_ONCE]) for start in range(0, len(inputs), AT_ONCE)])


def median_ms(call: Callable[[int], object]) -> float:
    """Return the milliseconds of a call."""
    taken = []
    for row in range(CALLS):
        started = time.perf_counter()
        call(row)
        taken.append(time.perf_counter() - started)
    return 1000 * statistics.median(taken)


if __name__ == "__main__":
    main()
