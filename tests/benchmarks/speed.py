"""Speed of training and translating beside the plain loops that tutorials teach.

    make bench

Both sides run in this process, round after round, on the same random sentences of Multi30k's
lengths; medians and their ratio are printed, with the machine's matrix-product rates beside them.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from seq2seq_cli.config import Config
from seq2seq_cli.config.data import WhitespaceTokenizer
from seq2seq_cli.console import table
from seq2seq_cli.data.batching import (
    Batch,
    FlatIds,
    FlatPairs,
    epoch_batches,
    pairs_batch,
)
from seq2seq_cli.data.preparation import PreparedData, Split
from seq2seq_cli.data.tokenizers import Whitespace
from seq2seq_cli.data.vocabulary import EOS_ID, PAD_ID, SOS_ID, TextCodec, Vocabulary
from seq2seq_cli.decoding.translator import TranslationOptions, Translator
from seq2seq_cli.device import resolve_precision
from seq2seq_cli.model.model_file import TranslatorFile
from seq2seq_cli.model.seq2seq import Seq2Seq, initialise
from seq2seq_cli.training.trainer import Trainer

ROUNDS, BATCHES_PER_ROUND, SENTENCES = 5, 2, 40
VOCABULARY, EMBEDDING, HIDDEN, LAYERS = 5893, 256, 512, 2
CPU = torch.device("cpu")


class TutorialModel(nn.Module):
    """Encoder-decoder as tutorials write it: one decoder call and output layer a step."""

    def __init__(self) -> None:
        super().__init__()
        self.source = nn.Embedding(VOCABULARY, EMBEDDING)
        self.encoder = nn.LSTM(EMBEDDING, HIDDEN, LAYERS, dropout=0.5, batch_first=True)
        self.target = nn.Embedding(VOCABULARY, EMBEDDING)
        self.decoder = nn.LSTM(EMBEDDING, HIDDEN, LAYERS, dropout=0.5, batch_first=True)
        self.output = nn.Linear(HIDDEN, VOCABULARY)
        self.dropout = nn.Dropout(0.5)

    def forward(self, batch: Batch, ratio: float, random: np.random.Generator) -> Tensor:
        """All logits, (batch, trg_len, vocabulary), filled step by step."""
        _, state = self.encoder(self.dropout(self.source(batch.src_ids)))
        logits = torch.zeros(*batch.trg_ids.shape, VOCABULARY)
        fed = batch.trg_ids[:, 0]
        for step in range(1, batch.trg_ids.size(1)):
            outputs, state = self.decoder(self.dropout(self.target(fed.unsqueeze(1))), state)
            logits[:, step] = self.output(outputs[:, 0])
            forced = random.random() < ratio
            fed = batch.trg_ids[:, step] if forced else logits[:, step].argmax(1)
        return logits

    @torch.no_grad()
    def translate(self, src_ids: Tensor, limit: int) -> list[int]:
        """One sentence, one step at a time."""
        _, state = self.encoder(self.source(src_ids))
        words: list[int] = []
        last = SOS_ID
        while last != EOS_ID and len(words) < limit:
            outputs, state = self.decoder(self.target(torch.tensor([[last]])), state)
            last = int(self.output(outputs[0, 0]).argmax())
            words.append(last)
        return words


def sentence_pairs(count: int) -> FlatPairs:
    random = np.random.default_rng(1)
    lengths = np.clip(random.normal(12, 4, (2, count)), 3, 35).astype(int)
    sides = [
        FlatIds.from_sequences(
            [random.integers(4, VOCABULARY, size).astype(np.int32) for size in side]
        )
        for side in lengths
    ]
    return FlatPairs(*sides)


def our_trainer(pairs: FlatPairs, precision: str, ratio: float) -> Trainer:
    config = Config.model_validate(
        {
            "data": {"dataset": "multi30k", "source": "de", "target": "en"},
            "model": {"dropout": 0.5},
            "training": {"teacher_forcing": {"kind": "constant", "ratio": ratio}},
        }
    )
    codec = TextCodec(
        Whitespace(WhitespaceTokenizer()), Vocabulary([f"w{n}" for n in range(VOCABULARY - 4)])
    )
    split = Split(pairs, 0, 0)
    model = Seq2Seq(config.model, VOCABULARY, VOCABULARY)
    initialise(model, config.model.init, 1)
    data = PreparedData(codec, codec, split, split, [], [], config.data.max_length)
    return Trainer(config, data, model, CPU, resolve_precision(precision, CPU))


def alternate(sides: dict[str, Callable[[], float]]) -> dict[str, float]:
    """Median of what each side returns (units a second), over rounds that take turns."""
    for side in sides.values():
        side()
    rates: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(ROUNDS):
        for name, side in sides.items():
            rates[name].append(side())
    return {name: statistics.median(values) for name, values in rates.items()}


def training_sides(pairs: FlatPairs, ratio: float) -> dict[str, Callable[[], float]]:
    trainers = {name: our_trainer(pairs, name, ratio) for name in ("float32", "auto")}
    batches = [
        pairs_batch(pairs, indices, reverse_source=False)
        for indices in epoch_batches(pairs, trainers["auto"].config.training, 1, 1)
    ][:BATCHES_PER_ROUND]
    num_tokens = sum(batch.num_target_tokens for batch in batches)
    tutorial = TutorialModel()
    optimizer = torch.optim.Adam(tutorial.parameters())
    random = np.random.default_rng(1)

    def plain() -> float:
        begin = time.perf_counter()
        for batch in batches:
            optimizer.zero_grad()
            logits = tutorial(batch, ratio, random)[:, 1:].reshape(-1, VOCABULARY)
            targets = batch.trg_ids[:, 1:].reshape(-1)
            loss: Tensor = nn.functional.cross_entropy(logits, targets, ignore_index=PAD_ID)
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(tutorial.parameters(), 1.0)
            optimizer.step()
        return num_tokens / (time.perf_counter() - begin)

    def ours(name: str) -> Callable[[], float]:
        def run() -> float:
            begin = time.perf_counter()
            for batch in batches:
                trainers[name].train_step(batch)
            return num_tokens / (time.perf_counter() - begin)

        return run

    precision = str(trainers["auto"].precision).removeprefix("torch.")
    sides = {"tutorial": plain, "seq2seq, float32": ours("float32")}
    return sides if precision == "float32" else {**sides, f"seq2seq, {precision}": ours("auto")}


def translation_sides(pairs: FlatPairs) -> dict[str, Callable[[], float]]:
    trainer = our_trainer(pairs, "float32", 1.0)
    config = trainer.config.for_translator()
    file = TranslatorFile(config, trainer.data.source, trainer.data.target, trainer.model.eval())
    translator = Translator([file], CPU)
    greedy = TranslationOptions(beam_size=1, max_length=24, batch_size=SENTENCES)
    lines = [file.source.decode(pairs.source[index]) for index in range(SENTENCES)]
    tutorial = TutorialModel().eval()
    batches = [
        pairs_batch(pairs, np.array([index]), reverse_source=False) for index in range(SENTENCES)
    ]

    def plain() -> float:
        begin = time.perf_counter()
        num_tokens = sum(len(tutorial.translate(batch.src_ids, 24)) for batch in batches)
        return num_tokens / (time.perf_counter() - begin)

    def ours() -> float:
        begin = time.perf_counter()
        found = list(translator.translate(lines, greedy))
        return sum(len(t.best.tokens) for t in found) / (time.perf_counter() - begin)

    return {"tutorial": plain, "seq2seq": ours}


def matrix_rate(dtype: torch.dtype) -> float:
    """GFLOP/s of a large matrix product."""
    left, right = torch.randn(2, 2048, 2048).to(dtype)
    times = []
    for _ in range(6):
        begin = time.perf_counter()
        torch.mm(left, right)
        times.append(time.perf_counter() - begin)
    return 2 * 2048**3 / statistics.median(times) / 1e9


def main() -> None:
    torch.manual_seed(1)
    pairs = sentence_pairs(1280)
    rows = [("", "target tokens/s", "ratio")]
    for title, sides in [
        ("training, teacher forcing 1.0", training_sides(pairs, 1.0)),
        ("training, teacher forcing 0.5", training_sides(pairs, 0.5)),
        ("translating", translation_sides(pairs)),
    ]:
        rows.append((title, "", ""))
        rates = alternate(sides)
        for name, rate in rates.items():
            rows.append((f"  {name}", f"{rate:,.0f}", f"{rate / rates['tutorial']:.2f}"))
    print(table(rows))
    print(
        f"matrix product: {matrix_rate(torch.float32):,.0f} GFLOP/s in float32, "
        f"{matrix_rate(torch.bfloat16):,.0f} in bfloat16, {torch.get_num_threads()} threads"
    )


if __name__ == "__main__":
    main()
