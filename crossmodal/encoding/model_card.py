"""The card of an exported model: what it is, how good it was found to be, and the metadata that the Hugging Face hub reads."""

from typing import Any

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from crossmodal.dual_encoder import DualEncoder

WAYS = {"t2i": "text to image", "i2t": "image to text"}
CARD = """---
{data}
---

# {name}

A dual encoder: images and English sentences become unit vectors of {size} dimensions, and a dot product compares them. Image tower
{image}, text tower {text}; images are {pixels} x {pixels} pixels, {resize}.

{figures}

{use}

The weights may be used as far as the photos and captions that they were trained on allow; state their licence here before you
publish them. Written by `python -m crossmodal export --to {kind}`.
"""
USE = {
    "sentence-transformers": """```python
from PIL import Image
from sentence_transformers import SentenceTransformer

model = SentenceTransformer("DIR", trust_remote_code=True)
vectors = model.encode([Image.open("photo.jpg"), "two dogs in the snow"])
print(model.similarity(vectors[0], vectors[1]))
```

It needs `pip install "sentence-transformers[image]>=5.4" timm`. The Python files here (Apache-2.0) rebuild the towers; `trust_remote_code`
allows sentence-transformers to run them.""",
    "onnx": "Run by onnxruntime: `visual/` and `textual/`, the layout of Immich's machine learning.",
    "openvino": "Run by OpenVINO: pixels uint8 [N, S, S, 3], and token ids with their mask.",
    "safetensors": "`config.json` has what rebuilds the model around the weights.",
}


def model_card(model: DualEncoder, content: dict[str, Any], kind: str, loss: str) -> ModelCard:
    """Return the card of a checkpoint in a format; `loss` says what quantising lost, if anything was quantised."""
    recipe, prepare = model.recipe, model.preparation
    results = _results(content["metrics"])
    by_library = kind == "sentence-transformers"
    data = ModelCardData(
        language="en",
        license="other",
        library_name=kind if kind in ("sentence-transformers", "openvino") else "crossmodal",
        pipeline_tag="sentence-similarity" if by_library else "zero-shot-image-classification",
        tags=["image-text-retrieval", "dual-encoder", kind, *(["custom_code"] if by_library else []), *(["int8"] if loss else [])],
        metrics=["recall"] if results else None,
        model_name=recipe.name,
        eval_results=results or None,
    )  # fmt: skip
    text = CARD.format(
        data=data.to_yaml(), name=recipe.name, size=recipe.joint_size, image=recipe.image_tower, text=recipe.text_tower,
        pixels=prepare.size, resize="all of it squashed" if prepare.resize == "squash" else "their middle",
        figures=_figures(results) + (f"\n\nThat is of the weights in fp32. {loss}" if loss else ""), use=USE[kind],
        kind=f"{kind} --int8" if loss else kind,
    )  # fmt: skip
    return ModelCard(text)


def _results(metrics: dict[str, float]) -> list[EvalResult]:
    """Return the recalls that training measured, in per cent; none where they are not all there."""
    names = {f"{way}_r{k}": f"{said} recall@{k}" for way, said in WAYS.items() for k in (1, 5, 10)}
    if not {"images", *names} <= metrics.keys():
        return []
    return [
        EvalResult(
            task_type="image-text-retrieval", dataset_type="validation-images", metric_type="recall", metric_name=name,
            dataset_name=f"{metrics['images']:,} validation images of the training", metric_value=round(metrics[key], 1),
        )
        for key, name in names.items()
    ]  # fmt: skip


def _figures(results: list[EvalResult]) -> str:
    if not results:
        return "It was not measured."
    recalls = [f"{one.metric_value:.1f}" for one in results]
    return (
        f"On {results[0].dataset_name}, recall at 1, 5 and 10 in per cent: text to image {', '.join(recalls[:3])}; "
        f"image to text {', '.join(recalls[3:])}."
    )
