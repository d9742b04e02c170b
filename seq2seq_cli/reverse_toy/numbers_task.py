"""The toy as first published: two LSTMs over one float a step.

Where a translation model has words, this one has bare numbers: nothing is embedded, and the output
is not a probability but a number, learned by its squared error. What is left is the mechanics: the
encoder's last state is the decoder's first, and the decoder is fed the number before.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from seq2seq_cli.config.reverse_toy import NumbersConfig
from seq2seq_cli.config.training import CosineRate
from seq2seq_cli.console import progress_bar
from seq2seq_cli.errors import TrainingError
from seq2seq_cli.model.lstm import LSTMState
from seq2seq_cli.model.scoring import Losses
from seq2seq_cli.randomness import derived_seed, generator
from seq2seq_cli.reverse_toy.sequences import Digits, Sequences
from seq2seq_cli.reverse_toy.task import DIVERGED, NUM_REPORTS, WARMUP_STEPS, Progress
from seq2seq_cli.training.schedules import (
    forcing_coins,
    learning_rate_factor,
    teacher_forcing_ratio,
)


class NumberReverser(nn.Module):
    """Encoder and decoder LSTM, and a linear layer from the decoder's output to one number."""

    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        self.encoder = nn.LSTM(1, hidden_size, batch_first=True)
        self.decoder = nn.LSTM(1, hidden_size, batch_first=True)
        self.output = nn.Linear(hidden_size, 1)

    def encode(self, source: Tensor) -> LSTMState:
        """What the decoder is told of source (batch, time, 1)."""
        return LSTMState(*self.encoder(source)[1])

    def forward(self, source: Tensor, target: Tensor, forced: Tensor | None = None) -> Tensor:
        """Predictions for target, both (batch, time, 1).

        At its first step the decoder is fed 0.0. forced: whether each later step is fed the true
        number before it (teacher forcing) or the decoder's own prediction: booleans, (batch or 1,
        time - 1). None: always the true one. Gradients flow through what is fed back.
        """
        state = self.encode(source)
        fed = torch.zeros_like(target[:, :1])
        if forced is None:
            shifted = torch.cat([fed, target[:, :-1]], dim=1)
            outputs: Tensor = self.output(self.decoder(shifted, state)[0])
            return outputs
        predictions: list[Tensor] = []
        for step in range(target.size(1)):
            if step:
                is_forced = forced[:, step - 1, None, None]
                fed = torch.where(is_forced, target[:, step - 1 : step], predictions[-1])
            output, state = self.decoder(fed, state)
            predictions.append(self.output(output))
        return torch.cat(predictions, dim=1)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Products this small gain nothing from threads, which wait for each other at every one: on a
    machine with other work the whole training takes five times as long."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class NumbersTask:
    """A model of numbers, its training and what it says."""

    unit = "mean squared error"

    def __init__(self, config: NumbersConfig, data: Sequences, device: torch.device) -> None:
        self.config = config
        self.data = data
        self.device = device
        torch.manual_seed(derived_seed(config.seed, "initialisation"))
        self.model = NumberReverser(config.hidden_size).to(device)

    def handover(self, sequence: Sequence[int]) -> dict[str, tuple[int, ...]]:
        """Shapes of what the encoder hands to the decoder for one sequence."""
        with torch.inference_mode():
            state = self.model.encode(self._tensor([sequence]))
        return {name: tuple(values.shape) for name, values in state._asdict().items()}

    def train(self, on_progress: Callable[[Progress], None]) -> None:
        """Train to the end of the config's steps. Raises TrainingError when the error is none."""
        config, model = self.config, self.model
        train = {length: self._tensor(rows) for length, rows in self.data.train.items()}
        optimizer = torch.optim.Adam(model.parameters(), lr=config.learning_rate, fused=True)
        schedule = CosineRate(warmup_steps=WARMUP_STEPS)
        report_every = max(1, config.steps // NUM_REPORTS)
        with _one_thread(), progress_bar(config.steps, " step", "training") as bar:
            for step in range(config.steps):
                draw = generator(config.seed, "batch", step)
                source = train[int(draw.choice(list(train)))]
                rows = draw.integers(len(source), size=config.batch_size)
                source = source[torch.from_numpy(rows).to(self.device)]
                target = source.flip(1)
                factor = learning_rate_factor(schedule, step, config.steps, epochs=0.0, num_drops=0)
                for group in optimizer.param_groups:
                    group["lr"] = config.learning_rate * factor

                prediction = model(source, target, self._forced(step, target))
                torch.autograd.backward(nn.functional.mse_loss(prediction, target))
                if config.gradient_clip_norm:
                    nn.utils.clip_grad_norm_(model.parameters(), config.gradient_clip_norm)
                optimizer.step()
                optimizer.zero_grad()

                bar.update()
                if (step + 1) % report_every == 0 or step + 1 == config.steps:
                    on_progress(self._progress(step + 1))

    def _forced(self, step: int, target: Tensor) -> Tensor | None:
        """The coins of teacher forcing for one training step."""
        forcing = self.config.teacher_forcing
        ratio = teacher_forcing_ratio(forcing, step, self.config.steps)
        shape = len(target) if forcing.per == "token" else 1, target.size(1) - 1
        forced = forcing_coins(ratio, shape, self.config.seed, 1, step)
        return None if forced is None else forced.to(self.device)

    def _progress(self, step: int) -> Progress:
        losses = self.losses(self.data.held_out)
        if not all(map(math.isfinite, losses)):
            raise TrainingError(f"by step {step} {DIVERGED}")
        return Progress(step, losses)

    @torch.inference_mode()
    def losses(self, blocks: Mapping[int, Digits]) -> Losses:
        """Mean squared errors over all numbers of sequences by their length."""
        sums, count = [0.0, 0.0], 0
        for rows in blocks.values():
            source = self._tensor(rows)
            target = source.flip(1)
            for kind, forced in enumerate([None, self._never_forced(target)]):
                errors = self.model(source, target, forced) - target
                sums[kind] += float(errors.square().sum())
            count += target.numel()
        return Losses(*(total / count for total in sums))

    @torch.inference_mode()
    def outputs(self, rows: Digits | Sequence[Sequence[int]]) -> list[list[float]]:
        """What the model writes, fed its own numbers, for rows of one length. When to stop is not
        learned here: it writes as many numbers as it read."""
        source = self._tensor(rows)
        written = self.model(source, source.flip(1), self._never_forced(source))
        numbers: list[list[float]] = written.squeeze(2).tolist()
        return numbers

    def answer(self, output: Sequence[float]) -> list[int]:
        """The whole numbers nearest to an output."""
        return [round(number) for number in output]

    def _never_forced(self, target: Tensor) -> Tensor:
        return torch.zeros(1, target.size(1) - 1, dtype=torch.bool, device=self.device)

    def _tensor(self, rows: Digits | Sequence[Sequence[int]]) -> Tensor:
        """(batch, time, 1)"""
        return torch.from_numpy(np.asarray(rows, dtype=np.float32)).unsqueeze(2).to(self.device)
