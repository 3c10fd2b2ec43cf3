"""The training loop: steps, epochs, what is written after each, and resume after an interruption."""

import hashlib
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import torch
from timm.utils import ModelEmaV3
from torch import Tensor
from tqdm import tqdm

from crossmodal.data.dataset import Dataset
from crossmodal.dual_encoder import DualEncoder
from crossmodal.encoding.cached_features import kept
from crossmodal.encoding.collection import text_features
from crossmodal.encoding.decoding_ahead import Photos
from crossmodal.encoding.devices import trains_in_bf16
from crossmodal.encoding.embeddings import model_path, save_embeddings
from crossmodal.errors import CheckpointError, CrossmodalError
from crossmodal.evaluation.metrics import metrics_of_split
from crossmodal.progress import silent
from crossmodal.recipe import WHOLE
from crossmodal.runs.folder import add_result, save_state, summary
from crossmodal.towers.freezing import hold_depthwise
from crossmodal.towers.text import PretrainedTextTower
from crossmodal.training.banks import make_banks
from crossmodal.training.batches import Batch, plan_epoch
from crossmodal.training.choice import choose_photos
from crossmodal.training.distributed import any_process, from_first, share_weights
from crossmodal.training.head_start import features_of_views, train_projections
from crossmodal.training.interrupt import StopWish
from crossmodal.training.mining import mine
from crossmodal.training.optimizer import learning_rate, make_optimizer, set_learning_rate
from crossmodal.training.setting import Interrupted, Progress, Setting
from crossmodal.training.shared_encoding import encode_shared
from crossmodal.training.soft_targets import SoftTargets, soft_targets
from crossmodal.training.starting import drawn_to_start
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
        self._freeze(self.recipe.always_frozen("image"), self.recipe.always_frozen("text"))
        self.optimizer = make_optimizer(model, self.recipe)
        self._trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        # Its decay after n steps is (1 + n) / (10 + n) at most, so that the start is soon forgotten.
        self._average = (
            ModelEmaV3(model, self.recipe.ema, use_warmup=True, warmup_gamma=9.0, warmup_power=1.0)
            if self.recipe.ema
            else None
        )
        self.progress = Progress()
        self._pending: tuple[int, Tensor] | None = None  # the last step and its loss, not read yet
        self.bf16 = trains_in_bf16(self.recipe.precision, model.device)
        self._stop = StopWish(self._say)
        self.photos: Photos
        self.soft: SoftTargets | None = None

    def run(self) -> Progress:
        """Train to the end or to the first signal; raises Interrupted after the state is saved."""
        with self._stop:
            with self._stop.granted_at_once():
                self._prepare()
            while self.progress.epoch <= self.recipe.epochs and not self.progress.is_stuck(self.recipe.patience):
                self.train_epoch()
                self._finish_epoch(self.progress.epoch)
                self.progress = self.progress.next_epoch()
                self._save_state()
                self._stop_if_asked()
        return self.progress

    def _prepare(self) -> None:
        """Compute what is read again and again, and write epoch 0 where the run begins with one."""
        if self.recipe.precision == "bf16" and not self.bf16:
            self._say("This CPU has no bf16 arithmetic, so this trains in fp32.")
        self.open_photos()
        share_weights(self.model)
        self._remember_texts()
        self.soft = soft_targets(self.recipe, self.train_set, self.setting, self.model.device)
        if self.progress.epoch == 0:
            if self.recipe.head_start_epochs:
                self._head_start()
            elif self.setting.trained:
                self._finish_epoch(0)
            self.progress.epoch = 1
            self._save_state()

    def open_photos(self) -> None:
        """Choose how photos are read; what the frozen stages give is computed here."""
        at = self.setting
        self.photos = choose_photos(self.model, self.dataset, at.features, at.workers, at.processes, at.bars, self._say)

    def _remember_texts(self) -> None:
        """Encode all captions once with a text tower that is never trained."""
        tower = self.model.text_tower
        if isinstance(tower, PretrainedTextTower) and self.recipe.always_frozen("text") == WHOLE:
            captions = list(dict.fromkeys(self.dataset.captions))
            bars = self.setting.bars
            features = kept(self.setting.features, tower, captions, lambda: text_features(tower, captions, bars))
            for model in (self.model, self._shown):
                model.text_tower.remembered = dict(zip(captions, features, strict=True))

    @property
    def _shown(self) -> DualEncoder:
        """The model that is validated and written: the trained one, or its average."""
        return self._average.module if self._average else self.model

    def _head_start(self) -> None:
        images = features_of_views(self.model, self.photos, self.train_rows, self.setting.bars)
        texts = text_features(self.model.text_tower, self.train_set.captions, self.setting.bars, self.bf16)
        train_projections(self.model, self.train_set, images, texts.clone(), self.soft, self.setting.bars)
        share_weights(self.model)
        if self._average:
            self._average.set(self.model)
        self._finish_epoch(0)

    def train_epoch(self) -> None:
        """Do the steps of the epoch that are left, and show how it goes."""
        recipe, progress, setting = self.recipe, self.progress, self.setting
        stage = recipe.stage(progress.epoch)
        self._freeze(stage.frozen_image, stage.frozen_text)
        batches = self._plan()
        plans = [StepPlan.of(batch, setting.rank, setting.processes) for batch in batches]
        left = [self._rows(plan.own.images) for plan in plans[progress.step :]]
        inputs = iter(self.photos.epoch(left, progress.epoch))
        started = saved = before = time.monotonic()
        waited = 0.0
        total, done = (sum(len(batch.images) for batch in part) for part in (batches, batches[: progress.step]))
        title = f"Epoch {progress.epoch}/{recipe.epochs}"
        with tqdm(total=total, initial=done, desc=title, unit="photo", disable=setting.bars is silent) as bar:
            for step in range(progress.step, len(plans)):
                photos = next(inputs)
                waited += time.monotonic() - before
                self.train_step(plans[step], photos, step, len(plans))
                now = time.monotonic()
                progress.step, progress.seconds, before = step + 1, progress.seconds + now - before, now
                bar.update(len(batches[step].images))
                loss = f"{progress.losses[-1]:.3f}" if progress.losses else "-"
                bar.set_postfix(loss=loss, waiting=f"{waited / (now - started):.0%}")
                self._stop_if_asked()
                if now - saved > STATE_EVERY:
                    self._save_state()
                    saved = time.monotonic()
            self.read_loss()
            progress.seconds += time.monotonic() - before

    def _freeze(self, image: int, text: int) -> None:
        self.model.image_tower.freeze(image)
        self.model.text_tower.freeze(text)
        if not self.recipe.depthwise:
            hold_depthwise(self.model.image_tower)

    def _plan(self) -> list[Batch]:
        """Return the batches of the current epoch; it depends on nothing that a resumed run does not have."""
        recipe, progress, negatives = self.recipe, self.progress, None
        if recipe.hard_negatives and progress.fingerprint:
            negatives = mine(self.setting.folder, progress.epoch - 1, progress.fingerprint, recipe.hard_negatives)
            # The extra images come last, and have no embeddings to mine.
            negatives += [[] for _ in range(len(self.train_set) - len(negatives))]
        return plan_epoch(
            self.train_set, recipe.batch_size, recipe.captions_per_image, recipe.seed, progress.epoch, negatives
        )

    def train_step(self, plan: StepPlan, inputs: Tensor, step: int, steps: int) -> None:
        """Do one step of the current epoch's `steps`.

        `inputs` are the own images of the plan, as the photos give them. The step's loss is read after
        the next step has begun, so that a GPU does not wait for it.
        """
        recipe, epoch = self.recipe, self.progress.epoch
        # The rate in the middle of the step: neither warm-up nor cosine is 0 there.
        set_learning_rate(self.optimizer, learning_rate(recipe, epoch - 1 + (step + 0.5) / steps))
        self.optimizer.zero_grad(set_to_none=True)
        seed = int.from_bytes(hashlib.sha256(f"{recipe.seed} {epoch} {step}".encode()).digest()[:6], "big")
        loss = compute_gradient(
            self.model, plan, inputs, self.photos.hidden, recipe.chunk_size, self.bf16, seed, self.soft
        )
        torch.nn.utils.clip_grad_norm_(self._trained, recipe.clip_norm)
        self.optimizer.step()
        self.model.clamp_logit_scale()
        if self._average:
            self.progress.updates += 1
            self._average.update(self.model, self.progress.updates + 2)
        self.read_loss()
        self._pending = (step, loss)

    def read_loss(self) -> None:
        """Take down the last step's loss; raises CrossmodalError when it is not a number."""
        if self._pending is None:
            return
        (step, loss), self._pending = (self._pending[0], self._pending[1].item()), None
        if not math.isfinite(loss):
            raise self._diverged("The loss is no longer a number", f", step {step + 1}")
        self.progress.losses.append(loss)

    def _diverged(self, what: str, where: str = "") -> CrossmodalError:
        return CrossmodalError(
            f"{what} in epoch {self.progress.epoch}{where}; train again with a smaller --lr. What earlier epochs wrote is untouched."
        )

    def _rows(self, images: Sequence[int]) -> list[int]:
        """Turn positions in the train split into positions in the whole set."""
        return [self.train_rows[index] for index in images]

    # --- the end of an epoch ---

    def _finish_epoch(self, epoch: int) -> None:
        """Validate the weights as they are stored, and write the epoch's files."""
        self._stop_if_asked()
        started, dataset, model = time.monotonic(), Dataset(self.dataset.images[: self.written]), self._shown
        exact = {key: value.clone() for key, value in model.state_dict().items()}
        try:
            # What is measured and encoded is what a reader of the checkpoint will have.
            share = self.recipe.start_share if epoch else 0.0
            weights = drawn_to_start(model.stored_weights(), self.setting.folder, share)
            if not all(bool(value.isfinite().all()) for value in weights.values()):
                raise self._diverged("The weights are no longer numbers")
            model.load_state_dict(weights)
            embeddings = encode_shared(model, self.photos, dataset, self.data, self.setting)
            split = "val" if "val" in embeddings.splits else "train"
            metrics = metrics_of_split(embeddings, split)
            folder, fingerprint = self.setting.folder, ""
            if self.setting.rank == 0:
                banks = make_banks(embeddings, model.temperature)
                fingerprint = model.save(model_path(folder, epoch), epoch, metrics, self.data, banks)
                save_embeddings(folder, epoch, fingerprint, embeddings.with_banks(banks))
            self.progress.fingerprint = from_first(fingerprint)
        finally:
            model.load_state_dict(exact)
        if metrics["rsum"] > self.progress.best_rsum:
            self.progress.best_epoch, self.progress.best_rsum = epoch, metrics["rsum"]
        if self.setting.rank == 0:
            self._record(epoch, split, metrics, time.monotonic() - started)

    def _record(self, epoch: int, split: str, metrics: Mapping[str, float], writing: float) -> None:
        record = self.progress.record(epoch, len(self.train_set), split, metrics) | {
            "recipe": self.recipe.name,
            "temperature": round(self._shown.temperature, 5),
            "seconds_validating_and_writing": round(writing, 1),
        }
        add_result(self.setting.folder, record)
        if self.setting.log:
            self.setting.log({key: value for key, value in record.items() if isinstance(value, (int, float))}, epoch)
        self._say(summary(record))

    # --- state ---

    def _save_state(self) -> None:
        self.read_loss()
        if self.setting.rank:
            return
        save_state(self.setting.folder, {
            "recipe": self.recipe.plain(), "image_tower": self.model.image_tower.plain(),
            "text_tower": self.model.text_tower.plain(), "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(), "data": self.data, "data_hash": self.dataset.digest,
            "average": self._average.module.state_dict() if self._average else None, "progress": asdict(self.progress),
        })  # fmt: skip

    def restore(self, state: Mapping[str, Any]) -> None:
        """Resume from a saved state; raises CheckpointError when the data are not those of the run.

        Orders, views and dropout are drawn from the seed, the epoch and the step, so the state needs
        no random generator's state.
        """
        if state.get("data_hash") != self.dataset.digest:
            raise CheckpointError(
                "The photos, captions or splits are not those that the run was started with; give the same "
                "--captions, --images and --split, or start a run without --resume."
            )
        try:
            self.model.load_state_dict(state["model"])
            self.optimizer.load_state_dict(state["optimizer"])
            if self._average:
                self._average.module.load_state_dict(state["average"])
            self.progress = Progress.from_plain(state["progress"])
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise CheckpointError("The training state is damaged; start a run without --resume.") from error

    def _stop_if_asked(self) -> None:
        """Save the state and raise Interrupted when a signal came, in all processes at the same step."""
        if any_process(self._stop.wished):
            if self.progress.epoch:
                self._save_state()
            raise Interrupted

    def _say(self, text: str) -> None:
        if self.setting.rank == 0:
            tqdm.write(text)
