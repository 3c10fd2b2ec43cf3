"""The training loop: steps, epochs, what is written after each, and going on after an interruption."""

import hashlib
import json
import math
import time
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from crossmodal.data.dataset import Dataset
from crossmodal.dual_encoder import DualEncoder
from crossmodal.encoding.cached_features import kept
from crossmodal.encoding.collection import image_features, text_features
from crossmodal.encoding.decoding_ahead import Photos
from crossmodal.encoding.embeddings import model_path, save_embeddings
from crossmodal.errors import CheckpointError, CrossmodalError
from crossmodal.evaluation.metrics import metrics_of_split
from crossmodal.progress import silent
from crossmodal.runs.folder import add_result, save_state, summary
from crossmodal.towers.text import PretrainedTextTower
from crossmodal.training.average import WeightAverage
from crossmodal.training.batches import Batch, plan_epoch
from crossmodal.training.choice import choose_photos
from crossmodal.training.distributed import any_process, from_first
from crossmodal.training.head_start import train_projections
from crossmodal.training.interrupt import StopWish
from crossmodal.training.mining import mine
from crossmodal.training.optimizer import freeze_towers, learning_rate, make_optimizer, set_learning_rate
from crossmodal.training.setting import Interrupted, Progress, Setting
from crossmodal.training.shared_encoding import encode_shared
from crossmodal.training.soft_targets import SoftTargets, soft_targets
from crossmodal.training.step import StepPlan, compute_gradient

STATE_EVERY = 600.0  # seconds between states within an epoch, so that a kill costs at most that


class Trainer:
    """Trains a model on a data set by its recipe, and writes an epoch's files after each epoch."""

    def __init__(
        self, model: DualEncoder, dataset: Dataset, extra: Dataset, data: Mapping[str, Any], setting: Setting
    ) -> None:
        """`extra` is trained on beside the train split, and neither validated nor written."""
        self.model, self.setting, self.data, self.recipe = model, setting, dict(data), model.recipe
        self.written = len(dataset)
        self.dataset = Dataset((*dataset.images, *extra.images))
        self.train_rows = [index for index, image in enumerate(self.dataset.images) if image.split == "train"]
        self.train_set = self.dataset.split("train")
        self.optimizer = make_optimizer(model, self.recipe)
        self._trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self._average = WeightAverage(self._trained, self.recipe.ema)
        self.progress = Progress()
        self.bf16 = model.device.type == "cuda"
        self._stop = StopWish(self._say)
        self.photos: Photos
        self.soft: SoftTargets | None = None

    # --- the run ---

    def run(self) -> Progress:
        """Train to the end or to the first signal; raises Interrupted after the state is saved."""
        with self._stop:
            self.open_photos()
            self._remember_texts()
            self.soft = soft_targets(self.recipe, self.train_set, self.setting, self.model.device)
            if self.progress.epoch == 0:
                if self.recipe.head_start_epochs and self.progress.step == 0:
                    self._head_start()
                self.progress.epoch = 1
                self._save_state()
            while self.progress.epoch <= self.recipe.epochs and not self._out_of_patience():
                self.train_epoch()
                self._finish_epoch(self.progress.epoch)
                self.progress = self.progress.next_epoch()
                self._save_state()
                self._stop_if_asked()
        return self.progress

    def _out_of_patience(self) -> bool:
        best = self.progress.best_epoch
        return best >= 0 and self.progress.epoch - 1 - best >= self.recipe.patience

    def open_photos(self) -> None:
        """Choose how photos are read; what the frozen stages give is computed here."""
        setting = self.setting
        self.photos = choose_photos(
            self.model,
            self.dataset,
            setting.features,
            setting.workers,
            setting.processes,
            setting.bars,
            self._say,
        )

    def _remember_texts(self) -> None:
        """Read all captions once with a text tower that is never trained."""
        tower = self.model.text_tower
        if isinstance(tower, PretrainedTextTower) and self.recipe.always_frozen("text"):
            captions = list(dict.fromkeys(self.dataset.captions))
            bars = self.setting.bars
            features = kept(self.setting.features, tower, captions, lambda: text_features(tower, captions, bars))
            tower.remembered = dict(zip(captions, features, strict=True))

    def _head_start(self) -> None:
        images = image_features(self.model, self.photos, self.train_rows, self.setting.bars, "Features of photos")
        texts = text_features(self.model.text_tower, self.train_set.captions, self.setting.bars)
        images, texts = images.clone(), texts.clone()  # inference tensors cannot be trained on
        train_projections(
            self.model,
            self.train_set,
            images,
            texts,
            self.recipe.head_start_epochs,
            self.recipe.seed,
            self.setting.bars,
        )
        self._average = WeightAverage(self._trained, self.recipe.ema)  # of what was trained just now
        self._finish_epoch(0)

    def train_epoch(self) -> None:
        """Do the steps of the epoch that are left, and show how it goes."""
        recipe, progress, setting = self.recipe, self.progress, self.setting
        freeze_towers(self.model, recipe, progress.epoch)
        batches = self._plan()
        plans = [StepPlan.of(batch, setting.rank, setting.processes) for batch in batches]
        left = [self._rows(plan.own.images) for plan in plans[progress.step :]]
        inputs = iter(self.photos.epoch(left, progress.epoch))
        started = saved = time.monotonic()
        waited = 0.0
        total = sum(len(batch.images) for batch in batches)
        done = sum(len(batch.images) for batch in batches[: progress.step])
        title = f"Epoch {progress.epoch}/{recipe.epochs}"
        with tqdm(total=total, initial=done, desc=title, unit="photo", disable=setting.bars is silent) as bar:
            for step in range(progress.step, len(plans)):
                before = time.monotonic()
                photos = next(inputs)
                waited += time.monotonic() - before
                loss = self.train_step(plans[step], photos, step, len(plans))
                progress.losses.append(loss)
                progress.step = step + 1
                bar.update(len(batches[step].images))
                now = time.monotonic()
                bar.set_postfix(loss=f"{loss:.3f}", waiting=f"{waited / (now - started):.0%}")
                self._stop_if_asked()
                if now - saved > STATE_EVERY:
                    self._save_state()
                    saved = time.monotonic()
        progress.seconds += time.monotonic() - started

    def _plan(self) -> list[Batch]:
        """Return the batches of the current epoch; it depends on nothing that a resumed run does not have."""
        recipe, progress, rivals = self.recipe, self.progress, None
        if recipe.hard_negatives and progress.fingerprint:
            rivals = mine(self.setting.folder, progress.epoch - 1, progress.fingerprint, recipe.hard_negatives)
        return plan_epoch(
            self.train_set, recipe.batch_size, recipe.captions_per_image, recipe.seed, progress.epoch, rivals
        )

    def train_step(self, plan: StepPlan, inputs: Tensor, step: int, steps: int) -> float:
        """Do one step of the current epoch's `steps`; return the loss.

        `inputs` are the own images of the plan, as the photos give them.
        """
        recipe, epoch = self.recipe, self.progress.epoch
        set_learning_rate(self.optimizer, learning_rate(recipe, epoch - 1 + (step + 1) / steps))
        self.optimizer.zero_grad(set_to_none=True)
        seed = int.from_bytes(hashlib.sha256(f"{recipe.seed} {epoch} {step}".encode()).digest()[:6], "big")
        loss = compute_gradient(
            self.model, plan, inputs, self.photos.hidden, recipe.chunk_size, self.bf16, seed, self.soft
        )
        if not math.isfinite(loss):
            raise CrossmodalError(
                f"The loss is no longer a number in epoch {epoch}, step {step + 1}; train again with a smaller --lr. "
                "What earlier epochs wrote is untouched."
            )
        torch.nn.utils.clip_grad_norm_(self._trained, recipe.clip_norm)
        self.optimizer.step()
        self.model.clamp_logit_scale()
        self._average.follow()
        return loss

    def _rows(self, images: Sequence[int]) -> list[int]:
        """Turn positions in the train split into positions in the whole set."""
        return [self.train_rows[index] for index in images]

    # --- the end of an epoch ---

    def _finish_epoch(self, epoch: int) -> None:
        """Validate the weights as they are stored, and write the epoch's files."""
        self._stop_if_asked()
        with self._average.in_place():
            self._validate_and_write(epoch)

    def _validate_and_write(self, epoch: int) -> None:
        started, shown = time.monotonic(), Dataset(self.dataset.images[: self.written])
        trained = {key: value.clone() for key, value in self.model.state_dict().items()}
        try:
            # What is measured and encoded is what a reader of the checkpoint will have.
            self.model.load_state_dict(self.model.stored_weights())
            embeddings = encode_shared(self.model, self.photos, shown, self.data, self.setting)
            split = "val" if "val" in embeddings.splits else "train"
            metrics = metrics_of_split(embeddings, split)
            folder, fingerprint = self.setting.folder, ""
            if self.setting.rank == 0:
                fingerprint = self.model.save(model_path(folder, epoch), epoch, metrics, self.data)
                save_embeddings(folder, epoch, fingerprint, embeddings)
            self.progress.fingerprint = from_first(fingerprint)
        finally:
            self.model.load_state_dict(trained)
        if metrics["rsum"] > self.progress.best_rsum:
            self.progress.best_epoch, self.progress.best_rsum = epoch, metrics["rsum"]
        if self.setting.rank == 0:
            self._record(epoch, split, metrics, time.monotonic() - started)

    def _record(self, epoch: int, split: str, metrics: Mapping[str, float], writing: float) -> None:
        losses, photos = self.progress.losses, len(self.train_set)
        record = {
            "epoch": epoch,
            "recipe": self.recipe.name,
            "loss": sum(losses) / len(losses) if losses else None,
            "split": split,
            **{key: round(value, 4) for key, value in metrics.items()},
            "temperature": round(1 / self.model.logit_scale.exp().item(), 5),
            "seconds": round(self.progress.seconds, 1),
            "seconds_validating_and_writing": round(writing, 1),
            "photos_per_second": round(photos / self.progress.seconds, 1) if self.progress.seconds else None,
        }
        add_result(self.setting.folder, record)
        if self.setting.log:
            self.setting.log({key: value for key, value in record.items() if isinstance(value, (int, float))}, epoch)
        self._say(summary(record))

    # --- state ---

    def _save_state(self) -> None:
        if self.setting.rank:
            return
        progress = self.progress
        save_state(self.setting.folder, {
            "recipe": self.recipe.plain(), "image_tower": self.model.image_tower.plain(),
            "text_tower": self.model.text_tower.plain(), "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(), "average": self._average.state(), "data": self.data, "data_hash": data_hash(self.dataset),
            "epoch": progress.epoch, "step": progress.step, "losses": progress.losses, "seconds": progress.seconds,
            "best_epoch": progress.best_epoch, "best_rsum": progress.best_rsum, "fingerprint": progress.fingerprint,
        })  # fmt: skip

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a saved state; raises CheckpointError when the data are not those of the run.

        Orders, views and dropout are drawn from the seed, the epoch and the step, so the state needs
        no random generator's state.
        """
        if state["data_hash"] != data_hash(self.dataset):
            raise CheckpointError(
                "The photos, captions or splits are not those that the run was started with; give the same "
                "--captions, --images and --split, or start a run without --resume."
            )
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self._average.restore(state["average"])
        known = ("epoch", "step", "best_epoch", "best_rsum", "losses", "seconds", "fingerprint")
        self.progress = Progress(**{key: state[key] for key in known})

    def _stop_if_asked(self) -> None:
        """Save the state and raise Interrupted when a signal came, in all processes at the same step."""
        if any_process(self._stop.wished, self.model.device):
            if self.progress.epoch:
                self._save_state()
            raise Interrupted

    def _say(self, text: str) -> None:
        if self.setting.rank == 0:
            tqdm.write(text)


def data_hash(dataset: Dataset) -> str:
    """Return a hash of names, captions and splits, by which a resumed run knows its data."""
    plain = [(image.name, image.captions, image.split) for image in dataset.images]
    return hashlib.sha256(json.dumps(plain).encode()).hexdigest()[:16]
