"""One update of a model, and the plan that updates follow."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from seq2seq_cli.config import Config
from seq2seq_cli.data.batching import (
    Batch,
    FlatPairs,
    Indices,
    epoch_batches,
    in_parts,
    ordered_batches,
    pairs_batch,
)
from seq2seq_cli.data.preparation import PreparedData
from seq2seq_cli.device import autocast
from seq2seq_cli.model.model_file import TranslatorFile
from seq2seq_cli.model.seq2seq import Seq2Seq
from seq2seq_cli.randomness import derived_seed
from seq2seq_cli.training.averaging import WeightAverage
from seq2seq_cli.training.checkpoint import save_checkpoint
from seq2seq_cli.training.meter import StepResult
from seq2seq_cli.training.optimizer import clip_gradients, make_optimizer, step_if
from seq2seq_cli.training.schedules import (
    Plan,
    forcing_coins,
    learning_rate_factor,
    teacher_forcing_ratio,
)
from seq2seq_cli.training.state import TrainingState

logger = logging.getLogger("seq2seq")

_ALMOST = 1.0 - 1e-9  # 1.1 epochs of 10 batches come out as 11.000000000000002 of these


class Trainer:
    """A model, its data and all that an update takes, as the config says."""

    def __init__(
        self,
        config: Config,
        data: PreparedData,
        model: Seq2Seq,
        device: torch.device,
        precision: torch.dtype,
        state: TrainingState | None = None,
    ) -> None:
        """state: where to go on from; the model must be the one saved with it."""
        self.config = config
        self.data = data
        self.model = model.to(device)
        self.device = device
        self.precision = precision
        self.state = state or TrainingState(data_digests=data.digests())
        self.state.config = config.model_dump(mode="json")
        self._log_and_note_machine()
        self.optimizer = make_optimizer(config.training.optimizer, model)
        self.average = WeightAverage(config.training.averaging, self.model)
        self.translator = TranslatorFile(config.for_translator(), data.source, data.target, model)
        self.plan = self._make_plan()
        self.num_batches = len(self.epoch_batches(self.state.epoch))
        """Of the current epoch; batches of tokens are not as many in each."""
        self._room = math.inf
        """Ids that the GPU's memory has room for at a time, as far as is known."""

    def train_step(self, *batches: Batch) -> StepResult:
        """One update: forward and backward for each of the epoch's next batches, clip, step."""
        training, state = self.config.training, self.state
        ratio = teacher_forcing_ratio(training.teacher_forcing, state.step, self.plan.steps)
        rate = training.optimizer.learning_rate * learning_rate_factor(
            training.learning_rate_schedule,
            state.step,
            self.plan.steps,
            epochs=state.epoch - 1 + state.batch / self.num_batches,
            num_drops=state.num_rate_drops,
        )
        for group in self.optimizer.param_groups:
            group["lr"] = rate

        num_tokens = sum(batch.num_target_tokens for batch in batches)
        num_pairs = sum(len(batch.trg_ids) for batch in batches)
        loss_sum = self._backward(
            batches, num_tokens if training.loss_per == "token" else num_pairs, ratio
        )
        norm = clip_gradients(self.model, training.gradient_clip_norm or math.inf)
        step_if(loss_sum.isfinite() & norm.isfinite(), self.optimizer)
        self.optimizer.zero_grad()
        self.average.after_step(state.step + 1)

        state.step += 1
        state.batch += len(batches)
        return StepResult(loss_sum, num_tokens, norm, rate, ratio)

    def _backward(self, batches: Sequence[Batch], mean_over: int, ratio: float) -> Tensor:
        """The gradient of the loss over `mean_over`; returns the loss, summed over tokens.

        Batches that the GPU's memory has no room for are read in parts."""
        while True:
            try:
                losses = [
                    self._backward_in_parts(batch, self.state.batch + index, mean_over, ratio)
                    for index, batch in enumerate(batches)
                ]
                return torch.stack(losses).sum()
            except torch.OutOfMemoryError:
                most = max(batch.num_cells for batch in batches)
                if self._room < most / max(len(batch.trg_ids) for batch in batches):
                    raise  # single pairs are too long
                if self._room == math.inf:
                    logger.warning(
                        "%s has no memory for a whole batch: from now on those too large for it "
                        "are read in parts, which takes longer",
                        self.device,
                    )
                self._room = min(self._room, most) / 2
            # Only now, with the exception gone, is what was computed before it gone too.
            self.optimizer.zero_grad()
            torch.cuda.empty_cache()

    def _backward_in_parts(self, batch: Batch, number: int, mean_over: int, ratio: float) -> Tensor:
        """The same for the epoch's batch `number`, in as many parts as there is need of."""
        training, position = self.config.training, (self.state.epoch, number)
        num_rows = len(batch.trg_ids) if training.teacher_forcing.per == "token" else 1
        num_free = max(0, batch.trg_ids.size(1) - 2)  # <sos> is always fed
        forced = forcing_coins(ratio, (num_rows, num_free), self.config.seed, *position)
        torch.manual_seed(derived_seed(self.config.seed, "dropout", *position))
        self.model.train()
        losses = []
        for part, coins in in_parts(batch, forced, self._room):
            with autocast(self.device, self.precision):
                loss_sum, _ = self.model(
                    part.to(self.device), coins, training.label_smoothing, training.r_drop
                )
            (loss_sum / mean_over).backward()
            losses.append(loss_sum.detach())
        return torch.stack(losses).sum()

    def _log_and_note_machine(self) -> None:
        """What the last bits of the weights depend on, beside config and data."""
        now: dict[str, str | int] = {
            "device": self.device.type,
            "precision": str(self.precision).removeprefix("torch."),
            "torch": torch.__version__,
            "threads": torch.get_num_threads(),
        }
        for name, value in now.items():
            before = self.state.machine.get(name, value)
            if before != value:
                logger.info(
                    "%s: %s now, %s before: the weights will not be those of a training never "
                    "stopped to the last bit",
                    *(name, value, before),
                )
        self.state.machine = now

    def log_start(self) -> None:
        """Say what is about to be trained, and from where."""
        data, state = self.data, self.state
        num_parameters = sum(parameter.numel() for parameter in self.model.parameters())
        logger.info(
            "%s training pairs, %s validation pairs, vocabularies of %s and %s",
            *(f"{n:,}" for n in (len(data.train.pairs), len(data.valid.pairs))),
            *(f"{len(codec.vocabulary):,}" for codec in (data.source, data.target)),
        )
        logger.info(
            "%s parameters, on %s in %s",
            f"{num_parameters:,}",
            self.device,
            str(self.precision).removeprefix("torch."),
        )
        if state.step:
            logger.info("going on from step %d of epoch %d", state.step, state.epoch)
        if (ended_by := self._ended_by()) and state.validated_step == state.step:
            logger.info("this training is finished; %s has ended it", ended_by)

    def save(self, run_dir: Path) -> None:
        """Write last/. Raises OSError."""
        averages = self.average.tensors()
        save_checkpoint(run_dir, self.translator, self.optimizer, averages, self.state)

    @property
    def is_done(self) -> bool:
        return self._ended_by() is not None

    def _ended_by(self) -> str | None:
        """The config key that ends the training here; None when it goes on."""
        training, state = self.config.training, self.state
        spent = state.seconds + state.validation_seconds
        epochs = state.epoch - 1 + state.batch / self.num_batches
        limits: dict[str, tuple[float, float | None]] = {
            "training.epochs": (epochs, training.epochs and training.epochs * _ALMOST),
            "training.max_steps": (state.step, training.max_steps),
            "training.max_minutes": (spent / 60, training.max_minutes),
            "validation.patience": (state.num_without_best, self.config.validation.patience),
        }
        return next(
            (key for key, (now, limit) in limits.items() if limit is not None and now >= limit),
            None,
        )

    def _make_plan(self) -> Plan:
        # The first epoch's batches stand for all: a resumed training makes the same plan.
        training, num_batches = self.config.training, len(self.epoch_batches(1))
        plans = [training.max_steps] if training.max_steps else []
        steps_per_epoch = math.ceil(num_batches / training.accumulate)
        if training.epochs:
            whole, part = divmod(training.epochs * _ALMOST, 1)
            last = math.ceil(part * num_batches / training.accumulate)
            plans.append(int(whole) * steps_per_epoch + last)
        return Plan(training, min(plans, default=None), steps_per_epoch)

    def epoch_batches(self, epoch: int) -> list[Indices]:
        """Which pairs go into each batch of an epoch."""
        return epoch_batches(self.data.train.pairs, self.config.training, self.config.seed, epoch)

    def train_batch(self, indices: Indices, epoch: int, number: int) -> Batch:
        """These training pairs, their subwords sampled where the config says so, as batch `number`
        of an epoch."""
        if not self.data.train_texts:
            return self._batch(self.data.train.pairs, indices)
        seed = derived_seed(self.config.seed, "subwords", epoch, number)
        pairs = self.data.sampled_train_pairs(indices, seed)
        return self._batch(pairs, np.arange(len(pairs)))

    def steps_left(self, batches: list[Indices]) -> Iterator[list[Batch]]:
        """The batches of each step that is left of the current epoch, whose `batches` these are;
        the last step may have fewer than training.accumulate."""
        epoch, size = self.state.epoch, self.config.training.accumulate
        for start in range(self.state.batch, len(batches), size):
            numbers = range(start, min(start + size, len(batches)))
            yield [self.train_batch(batches[number], epoch, number) for number in numbers]

    def valid_batches(self) -> Iterator[Batch]:
        """The validation pairs."""
        pairs, training = self.data.valid.pairs, self.config.training
        indices = ordered_batches(pairs, training.batch_size, training.batch_unit)
        return (self._batch(pairs, chosen) for chosen in indices)

    def _batch(self, pairs: FlatPairs, indices: Indices) -> Batch:
        return pairs_batch(pairs, indices, reverse_source=self.config.data.reverse_source)
