"""The training loop: updates, and between them log lines, validations and saves."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from seq2seq_cli.console import SHOWN_BY_BAR, SHOWN_BY_COMMAND, progress_bar
from seq2seq_cli.data.batching import Batch
from seq2seq_cli.errors import SeqError, TrainingError
from seq2seq_cli.locate import BEST_MODEL
from seq2seq_cli.model.model_file import TranslatorFile, save_translator
from seq2seq_cli.model.scoring import corpus_losses, perplexity
from seq2seq_cli.training.checkpoint import save_checkpoint
from seq2seq_cli.training.meter import Meter
from seq2seq_cli.training.metrics_log import Event, MetricsLog
from seq2seq_cli.training.prefetch import prefetched
from seq2seq_cli.training.stopping import StopRequest
from seq2seq_cli.training.trainer import Trainer

logger = logging.getLogger("seq2seq")

OnValidation = Callable[[TranslatorFile, Event], Mapping[str, float]]
"""Given the model and the losses just measured, returns further scores (bleu), or none."""


def train(trainer: Trainer, run_dir: Path, on_validation: OnValidation, stop: StopRequest) -> None:
    """Train until the plan is done, patience ends or `stop` is set; always ends with a save.

    Raises TrainingError when the loss stops being a number, Interrupted when `stop` was set.
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
        self.meter = Meter()

    def close(self) -> None:
        self.bar.close()
        self.metrics.close()

    def run(self) -> None:
        state, trainer = self.state, self.trainer
        # A stop may have come between the last step and its validation: that is made up for.
        while not trainer.is_done or state.validated_step != state.step:
            self._epoch()
            self._save()
            self.stop.raise_if_set()
        if state.best_score is not None:
            metric = self.config.validation.metric
            logger.info("best %s: %.4g, at step %d", metric, state.best_score, state.best_step)
            logger.info("the best model is %s", self.run_dir / BEST_MODEL)

    def _epoch(self) -> None:
        """What is left of an epoch, up to its end, the training's or a stop."""
        state, trainer = self.state, self.trainer
        epoch = state.epoch
        self.bar.set_description(self._epoch_name(epoch))
        batches = trainer.epoch_batches(epoch)
        trainer.num_batches = len(batches)
        with prefetched(trainer.batches_left(batches)) as ahead:
            while state.batch < len(batches) and not trainer.is_done and not self.stop.is_set:
                self._step(next(ahead), epoch)
        if self.stop.is_set:
            return
        is_over = state.batch == len(batches)
        if is_over:
            state.epoch, state.batch = epoch + 1, 0
        if trainer.is_done and self.meter.num_tokens:
            self._log_step(epoch)
        is_due = trainer.is_done or (is_over and self.config.validation.every == "epoch")
        if is_due and state.validated_step != state.step:
            self._validate(epoch)

    def _step(self, batch: Batch, epoch: int) -> None:
        """One update, and what is due after it."""
        state, training, every = self.state, self.config.training, self.config.validation.every
        begin = time.perf_counter()
        self.meter.add(self.trainer.train_step(batch))
        log_is_due = state.step % training.log_every == 0 or self.trainer.is_done
        if log_is_due:
            self.meter.wait_for_device()
        spent = time.perf_counter() - begin
        self.meter.seconds += spent
        state.seconds += spent
        self.bar.update()
        if log_is_due:
            self._log_step(epoch)
        if isinstance(every, int) and state.step % every == 0:
            self._validate(epoch)
            self._save()
        elif state.step % training.save_every == 0:
            self._save()

    def _validate(self, epoch: int) -> None:
        """Measure, keep the model if it is the best so far, count towards patience."""
        self._settle()
        self.trainer.average.before_validation()
        with self.trainer.average.applied():
            begin = time.perf_counter()
            self._take(self._measured(epoch))
            self.state.validation_seconds += time.perf_counter() - begin

    def _measured(self, epoch: int) -> Event:
        """What the weights as they are come to."""
        state, trainer = self.state, self.trainer
        event: Event = {
            "event": "valid",
            "step": state.step,
            "epoch": epoch,
            "seconds": state.seconds,
            "train_loss": state.train_loss_sum / state.train_tokens,
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
            save_translator(self.run_dir / BEST_MODEL, self.trainer.translator)
        self.metrics.append(event)
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
        """Write last/; weights that are no numbers never take the place of good ones."""
        self._settle()
        trainer, state = self.trainer, self.state
        state.metrics_bytes = self.metrics.num_bytes
        averages = trainer.average.tensors()
        save_checkpoint(self.run_dir, trainer.translator, trainer.optimizer, averages, state)
        logger.debug("saved %s at step %d", self.run_dir / "last", state.step)

    def _settle(self) -> None:
        """Count the loss of the steps since the last call.

        Raises TrainingError when one had no finite loss or gradient (which spoils the weights in
        that very step)."""
        loss_sum, num_tokens, is_finite = self.meter.settle()
        self.state.train_loss_sum += loss_sum
        self.state.train_tokens += num_tokens
        if not is_finite:
            raise TrainingError(
                f"the loss or its gradient is no number by step {self.state.step}: training has "
                "diverged; lower training.optimizer.learning_rate or set "
                "training.gradient_clip_norm"
            )

    def _log_step(self, epoch: int) -> None:
        self._settle()
        meter, last = self.meter, self.meter.last
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
        self.metrics.append(event)
        self.bar.set_postfix_str(
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

    def _epoch_name(self, epoch: int) -> str:
        total = self.config.training.epochs
        return f"epoch {epoch}/{math.ceil(total)}" if total else f"epoch {epoch}"
