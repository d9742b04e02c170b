"""One update of a model, and the plan that updates follow."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator

import numpy as np
import torch

from seq2seq_cli.config import Config
from seq2seq_cli.data.batching import (
    Batch,
    FlatPairs,
    Indices,
    epoch_batches,
    ordered_batches,
    pairs_batch,
)
from seq2seq_cli.data.preparation import PreparedData
from seq2seq_cli.device import autocast
from seq2seq_cli.model.model_file import TranslatorFile
from seq2seq_cli.model.seq2seq import Seq2Seq
from seq2seq_cli.randomness import derived_seed
from seq2seq_cli.training.averaging import WeightAverage
from seq2seq_cli.training.checkpoint import TrainingState
from seq2seq_cli.training.meter import StepResult
from seq2seq_cli.training.optimizer import clip_gradients, make_optimizer
from seq2seq_cli.training.schedules import (
    Plan,
    forcing_coins,
    learning_rate_factor,
    teacher_forcing_ratio,
)

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
        self.state = state or TrainingState()
        self.optimizer = make_optimizer(config.training.optimizer, model)
        self.average = WeightAverage(config.training.averaging, self.model)
        self.translator = TranslatorFile(config.for_translator(), data.source, data.target, model)
        self.plan = self._make_plan()
        self.num_batches = len(self.epoch_batches(self.state.epoch))
        """Of the current epoch; batches of tokens are not as many in each."""

    def train_step(self, batch: Batch) -> StepResult:
        """One update: forward, backward, clip, step."""
        training, state = self.config.training, self.state
        position = state.epoch, state.batch
        forcing = training.teacher_forcing
        ratio = teacher_forcing_ratio(forcing, state.step, self.plan.steps)
        rate = training.optimizer.learning_rate * learning_rate_factor(
            training.learning_rate_schedule,
            state.step,
            self.plan.steps,
            epochs=state.epoch - 1 + state.batch / self.num_batches,
            num_drops=state.num_rate_drops,
        )
        for group in self.optimizer.param_groups:
            group["lr"] = rate

        num_rows = len(batch.trg_ids) if forcing.per == "token" else 1
        num_free = max(0, batch.trg_ids.size(1) - 2)  # <sos> is always fed
        forced = forcing_coins(ratio, (num_rows, num_free), self.config.seed, *position)
        torch.manual_seed(derived_seed(self.config.seed, "dropout", *position))
        self.model.train()
        with autocast(self.device, self.precision):
            loss_sum, num_tokens = self.model(
                batch.to(self.device), forced, training.label_smoothing, training.r_drop
            )
        mean_over = num_tokens if training.loss_per == "token" else len(batch.trg_ids)
        (loss_sum / mean_over).backward()
        norm = clip_gradients(self.model, training.gradient_clip_norm or math.inf)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.average.after_step(state.step + 1)

        state.step += 1
        state.batch += 1
        return StepResult(loss_sum.detach(), num_tokens, norm, rate, ratio)

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
        if training.epochs:
            plans.append(math.ceil(training.epochs * num_batches * _ALMOST))
        return Plan(training, min(plans, default=None), num_batches)

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

    def batches_left(self, batches: list[Indices]) -> Iterator[Batch]:
        """What is left of the current epoch, whose `batches` these are."""
        epoch, left = self.state.epoch, range(self.state.batch, len(batches))
        return (self.train_batch(batches[number], epoch, number) for number in left)

    def valid_batches(self) -> Iterator[Batch]:
        """The validation pairs."""
        pairs, training = self.data.valid.pairs, self.config.training
        indices = ordered_batches(pairs, training.batch_size, training.batch_unit)
        return (self._batch(pairs, chosen) for chosen in indices)

    def _batch(self, pairs: FlatPairs, indices: Indices) -> Batch:
        return pairs_batch(pairs, indices, reverse_source=self.config.data.reverse_source)
