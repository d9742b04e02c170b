"""The training loop: updates, and between them log lines, validations and saves."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch

from seq2seq_cli.console import SHOWN_BY_BAR, SHOWN_BY_COMMAND, progress_bar
from seq2seq_cli.data.batching import Batch
from seq2seq_cli.errors import Interrupted, SaveError, SeqError, TrainingError
from seq2seq_cli.files import patiently, problem
from seq2seq_cli.locate import BEST_MODEL
from seq2seq_cli.model.model_file import TranslatorFile, save_translator
from seq2seq_cli.model.scoring import corpus_losses, perplexity
from seq2seq_cli.training.meter import ADVICE, Meter
from seq2seq_cli.training.metrics_log import Event, MetricsLog
from seq2seq_cli.training.prefetch import prefetched
from seq2seq_cli.training.stopping import StopRequest
from seq2seq_cli.training.trainer import Trainer

logger = logging.getLogger("seq2seq")

OnValidation = Callable[[TranslatorFile, Event], Mapping[str, float]]
"""Given the model and the losses just measured, returns further scores (bleu), or none."""


def train(trainer: Trainer, run_dir: Path, on_validation: OnValidation, stop: StopRequest) -> None:
    """Train until the plan is done, patience ends or `stop` is set, and save on the way and then.

    Raises TrainingError when training has diverged, SaveError when its work cannot be written, and
    Interrupted when `stop` was set: with the save of the step it came in, except for a validation,
    which is given up and comes first when the training goes on.
    """
    loop = _Loop(trainer, run_dir, on_validation, stop)
    try:
        loop.run()
    except SeqError as error:
        logger.error("%s", error, extra=SHOWN_BY_COMMAND)
        raise
    finally:
        loop.close()


class _Loop:
    """What a training has open while it runs."""

    def __init__(
        self, trainer: Trainer, run_dir: Path, on_validation: OnValidation, stop: StopRequest
    ) -> None:
        self.trainer = trainer
        self.config = trainer.config
        self.state = trainer.state
        self.run_dir = run_dir
        self.on_validation = on_validation
        self.stop = stop
        self.metrics = MetricsLog(run_dir / "metrics.jsonl", self.state.metrics_bytes)
        self.bar = progress_bar(trainer.plan.steps, " step", done=self.state.step)
        self.meter = Meter(self.state, self.config.training.max_skipped_steps)
        self.saved: tuple[int, int] | None = None
        if self.state.step:
            self.saved = self.state.step, self.state.validated_step
        self.saved_at = time.monotonic()

    def close(self) -> None:
        self.bar.close()
        self.metrics.close()

    def run(self) -> None:
        state = self.state
        try:
            if self.saved is None:  # so that --resume always has something to go on from
                self._save()
            if self._validation_is_due():  # a stop came before it, or in it
                self._validate()
                self._save()
            while not self.trainer.is_done:
                self._epoch()
                self.stop.raise_if_set()
        except Interrupted:
            if self.saved != (state.step, state.validated_step):
                self._save()
            raise
        if state.best_score is not None:
            metric = self.config.validation.metric
            logger.info("best %s: %.4g, at step %d", metric, state.best_score, state.best_step)
            logger.info("the best model is %s", self.run_dir / BEST_MODEL)

    def _epoch(self) -> None:
        """What is left of an epoch, up to its end or the training's."""
        trainer, epoch = self.trainer, self.state.epoch
        self.bar.set_description(self._epoch_name(epoch))
        batches = trainer.epoch_batches(epoch)
        trainer.num_batches = len(batches)
        with prefetched(trainer.steps_left(batches)) as ahead:
            for of_step in ahead:
                self._step(of_step)
                if trainer.is_done:
                    return

    def _step(self, batches: Sequence[Batch]) -> None:
        """One update, and what is due after it. Raises Interrupted when a signal came."""
        state, training = self.state, self.config.training
        begin = time.perf_counter()
        self.meter.add(self.trainer.train_step(*batches))
        log_is_due = state.step % training.log_every == 0
        if log_is_due:
            self.meter.wait_for_device()
        spent = time.perf_counter() - begin
        state.logged_seconds += spent
        state.seconds += spent
        if state.batch == self.trainer.num_batches:
            state.epoch, state.batch = state.epoch + 1, 0
        self.bar.update()
        if log_is_due or self.trainer.is_done:
            self._log_step()
        self.stop.raise_if_set()
        is_due = self._validation_is_due()
        if is_due:
            self._validate()
        minutes = training.save_every_minutes
        is_late = minutes is not None and time.monotonic() - self.saved_at >= minutes * 60
        if is_due or is_late or state.step % training.save_every == 0:
            self._save()
        self.stop.raise_if_set()

    def _validation_is_due(self) -> bool:
        state, every = self.state, self.config.validation.every
        if state.validated_step == state.step:
            return False
        is_time = state.batch == 0 if every == "epoch" else state.step % every == 0
        return is_time or self.trainer.is_done

    def _validate(self) -> None:
        """Measure, keep the model if it is the best so far, count towards patience.

        Raises Interrupted when a signal comes while it measures: then nothing has changed."""
        self._settle()
        self._check_weights()
        begin = time.perf_counter()
        with self.trainer.average.validating():
            with self.stop.at_once():
                event = self._measured()
            self._take(event)
        self.state.validation_seconds += time.perf_counter() - begin

    def _measured(self) -> Event:
        """What the weights as they are come to."""
        state, trainer = self.state, self.trainer
        tokens = state.train_tokens
        event: Event = {
            "event": "valid",
            "step": state.step,
            "epoch": self._epoch_of_step,
            "seconds": state.seconds,
            "train_loss": state.train_loss_sum / tokens if tokens else math.nan,
        }
        if len(trainer.data.valid.pairs):
            losses = corpus_losses(trainer.model, trainer.valid_batches(), trainer.device)
            event |= {
                "loss": losses.loss,
                "perplexity": perplexity(losses.loss),
                "free_running_loss": losses.free_running_loss,
                "free_running_perplexity": perplexity(losses.free_running_loss),
            }
        return {**event, **self.on_validation(trainer.translator, event)}

    def _take(self, event: Event) -> None:
        """Keep what was measured, and the model if it is the best so far."""
        state, metric = self.state, self.config.validation.metric
        state.validated_step = state.step
        state.train_loss_sum, state.train_tokens = 0.0, 0
        schedule = self.config.training.learning_rate_schedule
        is_best = state.take_score(event[metric], metric, schedule)
        if is_best:
            translator, best = self.trainer.translator, self.run_dir / BEST_MODEL
            self._write(lambda: save_translator(best, translator))
        self._write(lambda: self.metrics.append(event))
        figures = (
            "validation: loss {loss:.3f}, perplexity {perplexity:.2f}, "
            "free-running {free_running_perplexity:.2f}"
            if "loss" in event
            else "training loss {train_loss:.3f}"
        ) + (", BLEU {bleu:.1f}" if "bleu" in event else "")
        logger.info(
            "%s, %s%s",
            self._epoch_name(event["epoch"]),
            figures.format(**event),
            f" (best {metric} so far)" if is_best else "",
        )

    def _save(self) -> None:
        """Write last/."""
        self._settle()
        self._check_weights()
        state = self.state
        state.metrics_bytes = self.metrics.num_bytes
        self._write(self.metrics.sync)
        self._write(lambda: self.trainer.save(self.run_dir))
        self.saved, self.saved_at = (state.step, state.validated_step), time.monotonic()
        logger.debug("saved %s at step %d", self.run_dir / "last", state.step)

    def _write(self, write: Callable[[], None]) -> None:
        try:
            patiently(write)
        except OSError as error:
            raise SaveError(f"{problem(error)}; {self._where_it_goes_on()}") from error

    def _check_weights(self) -> None:
        """Weights that are no numbers never take the place of good ones. Raises TrainingError."""
        finite = [parameter.isfinite().all() for parameter in self.trainer.model.parameters()]
        if not torch.stack(finite).all():
            raise TrainingError(
                f"some weights are no numbers after step {self.state.step}: training has diverged; "
                f"{ADVICE}; {self._where_it_goes_on()}"
            )

    def _where_it_goes_on(self) -> str:
        if self.saved is None:
            return "nothing was saved so far"
        return f"the save of step {self.saved[0]} is whole, and --resume goes on from there"

    def _settle(self) -> None:
        try:
            self.meter.settle()
        except TrainingError as error:
            raise TrainingError(f"{error}; {self._where_it_goes_on()}") from error

    def _log_step(self) -> None:
        self._settle()
        state, last, epoch = self.state, self.meter.last, self._epoch_of_step
        assert last is not None
        # Of steps that were all skipped, there is no loss.
        loss = state.logged_loss_sum / state.logged_tokens if state.logged_tokens else math.nan
        rate = state.logged_tokens / state.logged_seconds
        event: Event = {
            "event": "train",
            "step": state.step,
            "epoch": epoch,
            "seconds": state.seconds,
            "loss": loss,
            "perplexity": perplexity(loss),
            "target_tokens_per_second": rate,
            "learning_rate": last.learning_rate,
            "gradient_norm": last.gradient_norm.item(),
            "teacher_forcing_ratio": last.teacher_forcing_ratio,
        }
        if state.skipped_steps:
            event["skipped_steps"] = state.skipped_steps
        self.meter.clear()
        self._write(lambda: self.metrics.append(event))
        figures = f"loss {loss:.3f}, ppl {event['perplexity']:.1f}, {rate:,.0f} tokens/s"
        self.bar.set_postfix_str(figures)
        logger.info(
            "%s, step %d: loss %.3f, perplexity %.2f, %s tokens/s",
            self._epoch_name(epoch),
            state.step,
            loss,
            event["perplexity"],
            f"{rate:,.0f}",
            extra=SHOWN_BY_BAR,
        )

    @property
    def _epoch_of_step(self) -> int:
        """Of the last step; the state names that of the next one."""
        return self.state.epoch if self.state.batch else self.state.epoch - 1

    def _epoch_name(self, epoch: int) -> str:
        total = self.config.training.epochs
        return f"epoch {epoch}/{math.ceil(total)}" if total else f"epoch {epoch}"
