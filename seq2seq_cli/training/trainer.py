"""The training loop."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Never

import numpy as np
import torch
from tqdm import tqdm

from seq2seq_cli.config import Config
from seq2seq_cli.console import SHOWN_BY_BAR, SHOWN_BY_COMMAND, progress_bar
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
from seq2seq_cli.errors import SeqError, TrainingError
from seq2seq_cli.locate import BEST_MODEL
from seq2seq_cli.model.model_file import TranslatorFile, save_translator
from seq2seq_cli.model.scoring import corpus_losses, perplexity
from seq2seq_cli.model.seq2seq import Seq2Seq
from seq2seq_cli.randomness import derived_seed
from seq2seq_cli.training.averaging import WeightAverage
from seq2seq_cli.training.checkpoint import TrainingState, save_checkpoint
from seq2seq_cli.training.meter import Meter, StepResult
from seq2seq_cli.training.metrics_log import Event, MetricsLog
from seq2seq_cli.training.optimizer import clip_gradients, make_optimizer
from seq2seq_cli.training.prefetch import prefetched
from seq2seq_cli.training.schedules import (
    Plan,
    forcing_coins,
    learning_rate_factor,
    teacher_forcing_ratio,
)
from seq2seq_cli.training.stopping import StopRequest

logger = logging.getLogger("seq2seq")

_ALMOST = 1.0 - 1e-9  # 1.1 epochs of 10 batches come out as 11.000000000000002 of these

OnValidation = Callable[[TranslatorFile, Event], Mapping[str, float]]
"""Given the model and the losses just measured, returns further scores (bleu), or none."""


class Trainer:
    """Trains a model on prepared data, as the config says."""

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

    def run(self, run_dir: Path, on_validation: OnValidation, stop: StopRequest) -> None:
        """Train until the plan is done, patience ends or `stop` is set; always ends with a save.

        Raises TrainingError when the loss stops being a number, Interrupted when `stop` was set.
        """
        training, state, every = self.config.training, self.state, self.config.validation.every
        metrics = MetricsLog(run_dir / "metrics.jsonl", state.metrics_bytes)
        bar = progress_bar(self.plan.steps, " step", done=state.step)
        meter = Meter()

        try:
            # A stop may have come between the last step and its validation: that is made up for.
            while not self._is_done() or state.validated_step != state.step:
                epoch = state.epoch
                bar.set_description(self._epoch_name(epoch))
                batches = self.epoch_batches(epoch)
                self.num_batches = len(batches)
                with prefetched(self._batches(epoch, batches)) as ahead:
                    while state.batch < len(batches) and not self._is_done() and not stop.is_set:
                        begin = time.perf_counter()
                        meter.add(self.train_step(next(ahead)))
                        log_is_due = state.step % training.log_every == 0 or self._is_done()
                        if log_is_due:
                            meter.wait_for_device()
                        meter.seconds += time.perf_counter() - begin
                        state.seconds += time.perf_counter() - begin
                        bar.update()
                        if log_is_due:
                            self._log_step(epoch, meter, metrics, bar)
                        if isinstance(every, int) and state.step % every == 0:
                            self._validate(epoch, run_dir, on_validation, metrics, meter)
                            self._save(run_dir, metrics, meter)
                        elif state.step % training.save_every == 0:
                            self._save(run_dir, metrics, meter)
                if not stop.is_set:
                    epoch_is_over = state.batch == len(batches)
                    if epoch_is_over:
                        state.epoch, state.batch = epoch + 1, 0
                    due = self._is_done() or (epoch_is_over and every == "epoch")
                    if self._is_done() and meter.num_tokens:
                        self._log_step(epoch, meter, metrics, bar)
                    if due and state.validated_step != state.step:
                        self._validate(epoch, run_dir, on_validation, metrics, meter)
                self._save(run_dir, metrics, meter)
                stop.raise_if_set()
            if state.best_score is not None:
                metric = self.config.validation.metric
                logger.info("best %s: %.4g, at step %d", metric, state.best_score, state.best_step)
                logger.info("the best model is %s", run_dir / BEST_MODEL)
        except SeqError as error:
            logger.error("%s", error, extra=SHOWN_BY_COMMAND)
            raise
        finally:
            bar.close()
            metrics.close()

    def _validate(
        self,
        epoch: int,
        run_dir: Path,
        on_validation: OnValidation,
        metrics: MetricsLog,
        meter: Meter,
    ) -> None:
        """Measure, keep the model if it is the best so far, count towards patience."""
        self._settle(meter)
        self.average.before_validation()
        with self.average.applied():
            self._validate_weights(epoch, run_dir, on_validation, metrics)

    def _validate_weights(
        self, epoch: int, run_dir: Path, on_validation: OnValidation, metrics: MetricsLog
    ) -> None:
        begin = time.perf_counter()
        state, config, training = self.state, self.config.validation, self.config.training
        state.validated_step = state.step
        event: Event = {
            "event": "valid",
            "step": state.step,
            "epoch": epoch,
            "seconds": state.seconds,
            "train_loss": state.train_loss_sum / state.train_tokens,
        }
        state.train_loss_sum, state.train_tokens = 0.0, 0
        valid = self.data.valid.pairs
        if len(valid):
            indices = ordered_batches(valid, training.batch_size, training.batch_unit)
            batches = (self._batch(valid, chosen) for chosen in indices)
            losses = corpus_losses(self.model, batches, self.device)
            event |= {
                "loss": losses.loss,
                "perplexity": perplexity(losses.loss),
                "free_running_loss": losses.free_running_loss,
                "free_running_perplexity": perplexity(losses.free_running_loss),
            }
        event |= on_validation(self.translator, event)
        value = event[config.metric]
        is_best = math.isfinite(value) and (
            state.best_score is None
            or (value > state.best_score if config.metric == "bleu" else value < state.best_score)
        )
        if is_best:
            state.best_score, state.best_step = value, state.step
            state.num_without_best = state.num_without_drop = 0
            save_translator(run_dir / BEST_MODEL, self.translator)
        else:
            state.num_without_best += 1
            state.num_without_drop += 1
            schedule = training.learning_rate_schedule
            if schedule.kind == "plateau" and state.num_without_drop > schedule.patience:
                state.num_rate_drops += 1
                state.num_without_drop = 0
        metrics.append(event)
        state.validation_seconds += time.perf_counter() - begin
        figures = (
            "validation: loss {loss:.3f}, perplexity {perplexity:.2f}, "
            "free-running {free_running_perplexity:.2f}"
            if len(valid)
            else "training loss {train_loss:.3f}"
        ) + (", BLEU {bleu:.1f}" if "bleu" in event else "")
        logger.info(
            "%s, %s%s",
            self._epoch_name(epoch),
            figures.format(**event),
            f" (best {config.metric} so far)" if is_best else "",
        )

    def _save(self, run_dir: Path, metrics: MetricsLog, meter: Meter) -> None:
        """Write last/; weights that are no numbers never take the place of good ones."""
        self._settle(meter)
        self.state.metrics_bytes = metrics.num_bytes
        save_checkpoint(
            run_dir, self.translator, self.optimizer, self.average.tensors(), self.state
        )
        logger.debug("saved %s at step %d", run_dir / "last", self.state.step)

    def _settle(self, meter: Meter) -> None:
        """Count the loss of the steps since the last call.

        Raises TrainingError when one had no finite loss or gradient (which spoils the weights in
        that very step)."""
        loss_sum, num_tokens, is_finite = meter.settle()
        self.state.train_loss_sum += loss_sum
        self.state.train_tokens += num_tokens
        if not is_finite:
            raise TrainingError(
                f"the loss or its gradient is no number by step {self.state.step}: training has "
                "diverged; lower training.optimizer.learning_rate or set "
                "training.gradient_clip_norm"
            )

    def _log_step(self, epoch: int, meter: Meter, metrics: MetricsLog, bar: tqdm[Never]) -> None:
        self._settle(meter)
        last = meter.last
        assert last is not None
        loss = meter.loss_sum / meter.num_tokens
        event: Event = {
            "event": "train",
            "step": self.state.step,
            "epoch": epoch,
            "seconds": self.state.seconds,
            "loss": loss,
            "perplexity": perplexity(loss),
            "target_tokens_per_second": meter.num_tokens / meter.seconds,
            "learning_rate": last.learning_rate,
            "gradient_norm": last.gradient_norm.item(),
            "teacher_forcing_ratio": last.teacher_forcing_ratio,
        }
        meter.clear()
        metrics.append(event)
        bar.set_postfix_str(
            f"loss {loss:.3f}, ppl {event['perplexity']:.1f}, "
            f"{event['target_tokens_per_second']:,.0f} tokens/s"
        )
        logger.info(
            "%s, step %d: loss %.3f, perplexity %.2f, %s tokens/s",
            self._epoch_name(epoch),
            self.state.step,
            loss,
            event["perplexity"],
            f"{event['target_tokens_per_second']:,.0f}",
            extra=SHOWN_BY_BAR,
        )

    def _is_done(self) -> bool:
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

    def _batches(self, epoch: int, batches: list[Indices]) -> Iterator[Batch]:
        """What is left of an epoch."""
        left = range(self.state.batch, len(batches))
        return (self.train_batch(batches[number], epoch, number) for number in left)

    def _batch(self, pairs: FlatPairs, indices: Indices) -> Batch:
        return pairs_batch(pairs, indices, reverse_source=self.config.data.reverse_source)

    def _epoch_name(self, epoch: int) -> str:
        total = self.config.training.epochs
        return f"epoch {epoch}/{math.ceil(total)}" if total else f"epoch {epoch}"
