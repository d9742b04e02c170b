"""Speed and memory of training and translating beside the loop that tutorials teach and beside
other tools (`peers.py` says what is compared, and how fairly).

    make bench
    python -m tests.benchmarks.speed [--device cuda] [--environments DIR]

All sides of a table take turns, round after round, in this one run; figures are medians. On a GPU
the peers, installed for the CPU, are left out, and the model of the 2014 paper is measured too.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from seq2seq_cli.config import Config
from seq2seq_cli.config.data import WhitespaceTokenizer
from seq2seq_cli.config_file import load_config, parse_override
from seq2seq_cli.console import size, table
from seq2seq_cli.data.batching import FlatIds, FlatPairs, epoch_batches
from seq2seq_cli.data.preparation import PreparedData, Split
from seq2seq_cli.data.tokenizers import Whitespace
from seq2seq_cli.data.vocabulary import TextCodec, Vocabulary
from seq2seq_cli.device import peak_memory_bytes, resolve_precision
from seq2seq_cli.errors import DeviceError, SeqError
from seq2seq_cli.model.seq2seq import Seq2Seq, initialise
from seq2seq_cli.training.trainer import Trainer
from tests.benchmarks.peers import (
    TUTORIAL_MODEL,
    JoeyNMT,
    OpenNMT,
    Ours,
    PeerError,
    Side,
    Texts,
    Training,
    Tutorial,
    attention_model,
    install,
    training_speed,
    write_texts,
)

Row = tuple[str, ...]
ROUNDS = 3
SHORT, LONG, LONG_OURS = 2, 8, 16
"""Steps of a training; ours are several times as fast."""


def train_in_turns(
    sides: Sequence[Side], rounds: int = ROUNDS
) -> tuple[dict[str, float], dict[str, int]]:
    """Target tokens a second of each side, and its peak memory in as many steps."""
    # The first run of each finds files in no cache, so it counts for its memory only.
    first = {side.name: side.train(LONG) for side in sides}
    short = {side.name: side.train(SHORT) for side in sides}
    long: dict[str, list[Training]] = {side.name: [] for side in sides}
    for _ in range(rounds):
        for side in sides:
            long[side.name].append(side.train(LONG_OURS if isinstance(side, Ours) else LONG))
    return (
        {
            name: statistics.median(training_speed(short[name], each) for each in runs)
            for name, runs in long.items()
        },
        {name: training.peak_bytes for name, training in first.items()},
    )


def tutorial_rows(texts: Texts, folder: Path, device: str, rate: float) -> list[Row]:
    """The tutorial's model; rate: of this machine's products in bfloat16, in FLOP a second."""
    rows: list[Row] = []
    for forcing in (1.0, 0.5):
        plain = Tutorial(texts, folder / f"tutorial-{forcing}", device=device, forcing=forcing)
        sides: list[Side] = [plain]
        for precision in precisions(device):
            place = folder / f"ours-{precision}-{forcing}"
            sides.append(
                Ours(
                    f"seq2seq, {precision}",
                    texts,
                    place,
                    TUTORIAL_MODEL,
                    precision=precision,
                    device=device,
                    forcing=forcing,
                )
            )
        speeds, peaks = train_in_turns(sides)
        rows.append((f"tutorial model, teacher forcing {forcing}", "", "", "", ""))
        for name, speed in speeds.items():
            rows.append(
                (
                    f"  {name}",
                    f"{speed:,.0f}",
                    f"{speed / speeds[plain.name]:.2f}x",
                    f"{useful_flops(texts) * speed / rate:.0%}",
                    f"{size(peaks[name])}, {peaks[name] / peaks[plain.name]:.2f}x",
                )
            )
    return rows


def useful_flops(texts: Texts) -> float:
    """Of a target token in training the tutorial model: 6 for each parameter that a real token
    meets in the LSTMs and the output layer, its share of source tokens counted."""
    counts = {
        language: sum(
            len(line.split()) + ends
            for line in texts.path("train", language).read_text(encoding="utf-8").splitlines()
        )
        for language, ends in (("de", 2), ("en", 1))
    }
    words = {language: _num_words(texts, language) for language in counts}
    config = Config.model_validate(
        {"data": {"dataset": "multi30k", "source": "de", "target": "en"}, "model": TUTORIAL_MODEL}
    )
    with torch.device("meta"):
        parts = Seq2Seq(config.model, words["de"], words["en"]).parts()
    sources = parts["encoder LSTM"] * counts["de"] / counts["en"]
    return 6 * (sources + parts["decoder LSTM"] + parts["output layer"])


def _num_words(texts: Texts, language: str) -> int:
    lines = texts.path("vocabulary", language).read_text(encoding="utf-8").split("\n")
    return len(lines) - 1 + 4


def attention_rows(ours: Sequence[Side], others: Sequence[Side]) -> list[Row]:
    """Training with attention: what we have against what the others have."""
    speeds, _ = train_in_turns([*ours, *others], rounds=2)
    rows: list[Row] = [("training with attention", "", *("over " + o.name for o in others))]
    for name, speed in speeds.items():
        over = (f"{speed / speeds[other.name]:.2f}x" for other in others)
        rows.append((f"  {name}", f"{speed:,.0f}", *over))
    return rows


def translation_rows(sides: Sequence[Side], beam_size: int) -> list[Row]:
    """Translating the test set, each side once."""
    found = {side.name: side.translate(beam_size) for side in sides}
    first = found[sides[0].name]
    title = "greedy" if beam_size == 1 else f"beam {beam_size}"
    rows: list[Row] = [(f"translating, {title}", "", "", "", "")]
    for name, translation in found.items():
        rows.append(
            (
                f"  {name}",
                f"{translation.tokens_per_second:,.0f}",
                f"{translation.tokens_per_second / first.tokens_per_second:.1f}x",
                f"{translation.sentences_per_second:,.1f}",
                f"{translation.mean_length:.1f}",
            )
        )
    return rows


def start_rows(model: Path, side: Ours) -> list[Row]:
    """From the command to its answer, in seconds; model: a run directory."""
    ours = [sys.executable, "-m", "seq2seq_cli"]
    commands = {
        'python -c "import torch"': [sys.executable, "-c", "import torch"],
        'seq2seq translate "text"': [*ours, "translate", "--model", str(model), "ein mann ."],
    }
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    for number in range(8):
        for name, command in commands.items():
            begin = time.perf_counter()
            subprocess.run(command, check=True, capture_output=True)
            if number:  # the first one finds the files in no cache
                seconds[name].append(time.perf_counter() - begin)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    medians["seq2seq train, one step of the tutorial model"] = statistics.median(
        side.train(1).seconds for _ in range(3)
    )
    first = next(iter(medians.values()))
    return [
        (name, f"{value:.2f} s", f"{value / first:.2f}x", f"{value - first:+.2f} s")
        for name, value in medians.items()
    ]


def matrix_rate(dtype: torch.dtype, device: torch.device) -> float:
    """FLOP a second of a large matrix product."""
    width = 2048 if device.type == "cpu" else 8192
    left, right = torch.randn(2, width, width, device=device).to(dtype)
    times = []
    for _ in range(8):
        begin = time.perf_counter()
        product = left @ right
        product[0, 0].item()  # waits for a GPU
        times.append(time.perf_counter() - begin)
    return 2 * width**3 / statistics.median(times)


def paper_rows(
    device: torch.device,
    rate: float,
    vocabularies: tuple[int, int] = (160_000, 80_000),
    settings: Sequence[str] = (),
) -> list[Row]:
    """Training the model of Sutskever et al. 2014, 4 layers of 1,000 cells, on made-up sentences
    of about 30 words, in this process; settings: KEY=VALUE, for smaller ones."""
    config = load_config("sutskever2014", [parse_override(text) for text in settings])
    random = np.random.default_rng(1)
    lengths = np.clip(random.normal(30, 8, (2, 128 * 30)), 5, 60).astype(int)
    pairs = FlatPairs(
        *(
            FlatIds.from_sequences(
                [random.integers(4, vocabulary, count).astype(np.int32) for count in side]
            )
            for vocabulary, side in zip(vocabularies, lengths, strict=True)
        )
    )
    source, target = (
        TextCodec(
            Whitespace(WhitespaceTokenizer()),
            Vocabulary([f"w{number}" for number in range(vocabulary - 4)]),
        )
        for vocabulary in vocabularies
    )
    split = Split(pairs, 0, 0)
    model = Seq2Seq(config.model, *vocabularies)
    initialise(model, config.model.init, 1)
    data = PreparedData(source, target, split, split, [], [], config.data.max_length)
    precision = resolve_precision(precisions(str(device))[-1], device)
    trainer = Trainer(config, data, model, device, precision)
    chosen = epoch_batches(pairs, config.training, 1, 1)
    batches = [trainer.train_batch(indices, 1, number) for number, indices in enumerate(chosen)]
    for batch in batches[:5]:
        trainer.train_step(batch).loss_sum.item()
    begin = time.perf_counter()
    for batch in batches[5:]:
        result = trainer.train_step(batch)
    result.loss_sum.item()
    seconds = time.perf_counter() - begin
    sources = sum(int(batch.src_lens.sum()) for batch in batches[5:])
    targets = sum(batch.num_target_tokens for batch in batches[5:])
    parts = model.parts()
    used = parts["encoder LSTM"] * sources
    used += (parts["decoder LSTM"] + parts["output layer"]) * targets
    return [
        ("the 2014 paper's model", str(precision).removeprefix("torch.")),
        ("  source + target tokens/s", f"{(sources + targets) / seconds:,.0f}"),
        ("  share of the bfloat16 rate", f"{6 * used / seconds / rate:.0%}"),
        ("  peak memory", size(peak_memory_bytes(device) or 0)),
    ]


def precisions(device: str) -> list[str]:
    """float32, and bfloat16 where the device is faster in it."""
    on = torch.device(device)
    try:
        fast = resolve_precision("auto" if on.type == "cpu" else "bfloat16", on)
    except DeviceError:
        fast = torch.float32
    return ["float32"] if fast == torch.float32 else ["float32", "bfloat16"]


def translation_precisions(device: str) -> list[str]:
    """Those of training, and int8 where it is not refused."""
    try:
        resolve_precision("int8", torch.device(device))
    except DeviceError:
        return precisions(device)
    return [*precisions(device), "int8"]


def main(device: str, environments: Path) -> None:
    """Measure all, and print tables as they are done."""
    on = torch.device(device)
    fast = precisions(device)[-1]
    with tempfile.TemporaryDirectory() as name:
        write_texts(Path(name))  # what cannot be done is said before the work
    rates = {dtype: matrix_rate(dtype, on) for dtype in (torch.float32, torch.bfloat16)}
    print(
        f"matrix product: {rates[torch.float32] / 1e9:,.0f} GFLOP/s in float32, "
        f"{rates[torch.bfloat16] / 1e9:,.0f} in bfloat16, on {device}"
        + (f" with {torch.get_num_threads()} threads" if device == "cpu" else "")
    )
    if device == "cpu":
        install(environments)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        texts = write_texts(folder / "texts")

        def ours(label: str, model: dict[str, object]) -> Ours:
            place = folder / label.replace(" ", "-")
            name = f"seq2seq, {label}"
            return Ours(name, texts, place, model, precision=fast, device=device)

        head: Row = ("", "target tokens/s", "", "useful of bf16 rate", "peak memory")
        _show([head, *tutorial_rows(texts, folder, device, rates[torch.bfloat16])])
        deep = ours("deep", attention_model("deep"))
        feeding = ours("input feeding", attention_model("input_feeding"))
        others: list[Side] = []
        if device == "cpu":
            joey = JoeyNMT(texts, folder / "joey", environments / "joey")
            onmt = environments / "onmt"
            others = [
                joey,
                OpenNMT(texts, folder / "onmt", onmt, input_feeding=False),
                OpenNMT(texts, folder / "onmt-feeding", onmt, input_feeding=True),
            ]
        _show(attention_rows([deep, feeding], others))

        plain = Tutorial(texts, folder / "tutorial", device=device)
        learning: list[Side] = [plain, deep, *others[:1]]
        for side in learning:
            side.learn()
        # What it has learned is translated with in every precision.
        translators: list[Side] = [
            Ours(
                f"seq2seq, deep, {precision}",
                texts,
                deep.folder,
                attention_model("deep"),
                precision=precision,
                device=device,
            )
            for precision in translation_precisions(device)
        ]
        head = ("", "tokens/s", "", "sentences/s", "mean length")
        rows = translation_rows([plain, *translators], 1)
        if others:
            rows += translation_rows([others[0], *translators], 5)
        _show([head, *rows])
        _show(start_rows(deep.folder / "learn", ours("start", TUTORIAL_MODEL)))
    if device != "cpu":
        _show(paper_rows(on, rates[torch.bfloat16]))


def _show(rows: Sequence[Row]) -> None:
    width = max(map(len, rows))
    print("\n" + table([(*row, *[""] * (width - len(row))) for row in rows]), flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--environments", type=Path, default=Path(".venv/peers"))
    arguments = parser.parse_args()
    try:
        main(arguments.device, arguments.environments)
    except (PeerError, SeqError) as error:
        sys.exit(str(error))
