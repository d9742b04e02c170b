"""The toy with embeddings and a softmax: a translation model on a language of digits.

Nothing here is made for the toy but its sentences. They go through files, tokens, the trainer and
the search as people's own sentences do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from seq2seq_cli.config import Config
from seq2seq_cli.config.reverse_toy import SymbolsConfig
from seq2seq_cli.console import hushed
from seq2seq_cli.data.batching import make_batch
from seq2seq_cli.decoding.translator import TranslationOptions, Translator
from seq2seq_cli.errors import Interrupted, TrainingError
from seq2seq_cli.evaluation.evaluate import text_losses
from seq2seq_cli.model.model_file import TranslatorFile
from seq2seq_cli.model.scoring import Losses
from seq2seq_cli.reverse_toy.sequences import Digits, Sequences
from seq2seq_cli.reverse_toy.task import DIVERGED, NUM_REPORTS, WARMUP_STEPS, Progress
from seq2seq_cli.training.loop import train
from seq2seq_cli.training.metrics_log import Event
from seq2seq_cli.training.runs import begin_run, new_trainer
from seq2seq_cli.training.stopping import stop_on_signals

_GREEDY = TranslationOptions(beam_size=1, batch_size=100)


class SymbolsTask:
    """A translation model that learns to reverse, and what it says."""

    unit = "nats a symbol"

    def __init__(self, config: SymbolsConfig, data: Sequences, device: torch.device) -> None:
        with TemporaryDirectory(prefix="seq2seq-") as folder, hushed():
            run_config = _run_config(config, data, Path(folder))
            self.trainer = new_trainer(run_config, device, torch.float32)
        self.translator = Translator([self.trainer.translator], device)

    def handover(self, sequence: Sequence[int]) -> dict[str, tuple[int, ...]]:
        """Shapes of all that the decoder is given of one sequence; attention's has a vector for
        each symbol, <sos> and <eos>."""
        file, device = self.translator.file, self.translator.device
        ids = file.source.encode(_text(sequence))
        batch = make_batch([ids], reverse_source=file.config.data.reverse_source)
        with torch.inference_mode():
            memories, _, state = file.model.encode(batch.to(device))
        handed = {**state.lstm._asdict(), **({"memory": memories[0].values} if memories else {})}
        return {name: tuple(values.shape) for name, values in handed.items()}

    def train(self, on_progress: Callable[[Progress], None]) -> None:
        """Train to the end of the config's steps: the last weights are the model, none are chosen
        by the sequences that they are tested on. Raises TrainingError, Interrupted."""

        def on_validation(translator: TranslatorFile, event: Event) -> dict[str, float]:
            on_progress(Progress(event["step"], Losses(event["loss"], event["free_running_loss"])))
            return {}

        with (
            TemporaryDirectory(prefix="seq2seq-") as folder,
            hushed(),
            stop_on_signals("finishing the step") as stop,
        ):
            begin_run(Path(folder), self.trainer.config)
            try:
                train(self.trainer, Path(folder), on_validation, stop)
            except Interrupted as error:
                raise Interrupted(error.exit_code - 128, "interrupted") from error
            except TrainingError as error:  # names the keys of a training's config
                raise TrainingError(f"by step {self.trainer.state.step} {DIVERGED}") from error

    def losses(self, blocks: Mapping[int, Digits]) -> Losses:
        """Per symbol and end of sentence of sequences by their length."""
        return text_losses(self.translator, _pairs(blocks))

    def outputs(self, rows: Digits | Sequence[Sequence[int]]) -> list[list[int | str]]:
        """What greedy search writes for each row; `<unk>` stays a word."""
        lines = [_text(row) for row in rows]
        return [
            [int(token) if token.isdigit() else token for token in translation.best.tokens]
            for translation in self.translator.translate(lines, _GREEDY)
        ]

    def answer(self, output: Sequence[int | str]) -> list[int | str]:
        """The output itself."""
        return list(output)


def _text(row: Iterable[int]) -> str:
    return " ".join(map(str, row))


def _pairs(blocks: Mapping[int, Digits]) -> list[tuple[str, str]]:
    return [(_text(row), _text(row[::-1])) for rows in blocks.values() for row in rows.tolist()]


def _run_config(config: SymbolsConfig, data: Sequences, folder: Path) -> Config:
    """The training as `seq2seq train` would read it, with its files in `folder`."""
    files: dict[str, dict[str, Path]] = {}
    for name, blocks in [("train", data.train), ("valid", data.held_out)]:
        files[name] = {side: folder / f"{name}.{side}" for side in ("source", "target")}
        for path, lines in zip(
            files[name].values(), zip(*_pairs(blocks), strict=True), strict=True
        ):
            path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    sizes = {
        "embedding_dim": config.embedding_dim,
        "hidden_size": config.hidden_size,
        "num_layers": config.num_layers,
    }
    return Config.model_validate(
        {
            "name": "reverse-toy",
            "seed": config.seed,
            "data": {
                **files,
                "test": "none",
                "tokenizer": {"kind": "whitespace"},
                "vocabulary": {"min_freq": 1},
                "max_length": max(*data.train, *data.test, len(data.example)),
                "reverse_source": config.reverse_source,
            },
            "model": {
                "encoder": {**sizes, "bidirectional": config.bidirectional},
                "decoder": {**sizes, "attention": config.attention},
                "dropout": 0.0,
                "init": {"kind": "xavier"},
            },
            "training": {
                "epochs": None,
                "max_steps": config.steps,
                "batch_size": config.batch_size,
                "optimizer": {"kind": "adam", "learning_rate": config.learning_rate},
                "learning_rate_schedule": {"kind": "cosine", "warmup_steps": WARMUP_STEPS},
                "teacher_forcing": config.teacher_forcing,
                "gradient_clip_norm": config.gradient_clip_norm,
                "save_every": config.steps,
            },
            "validation": {"every": max(1, config.steps // NUM_REPORTS)},
        }
    )
