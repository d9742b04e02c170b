"""The encoder-decoder as tutorials write it, a program of its own that `make bench` compares to.

Two LSTM layers of 512 on each side, in float32; a call of the decoder and of the output layer for
each target step, one tensor of all logits; translation one sentence and one step at a time.

    python -m tests.benchmarks.tutorial DEVICE train TEXTS RUN_DIR STEPS BATCH_SIZE FORCING
    python -m tests.benchmarks.tutorial DEVICE translate TEXTS RUN_DIR SOURCE OUTPUT MAX_LENGTH
"""

from __future__ import annotations

import random
import sys
from pathlib import Path

import torch
from torch import Tensor, nn

PAD, SOS, EOS, UNK = range(4)
EMBEDDING, HIDDEN, LAYERS = 256, 512, 2
POOL_BATCHES = 20


class TutorialModel(nn.Module):
    def __init__(self, source_size: int, target_size: int) -> None:
        super().__init__()
        self.source = nn.Embedding(source_size, EMBEDDING)
        self.encoder = nn.LSTM(EMBEDDING, HIDDEN, LAYERS, dropout=0.5, batch_first=True)
        self.target = nn.Embedding(target_size, EMBEDDING)
        self.decoder = nn.LSTM(EMBEDDING, HIDDEN, LAYERS, dropout=0.5, batch_first=True)
        self.output = nn.Linear(HIDDEN, target_size)
        self.dropout = nn.Dropout(0.5)

    def forward(self, src: Tensor, trg: Tensor, forcing: float) -> Tensor:
        """All logits, (batch, trg_len, vocabulary), filled step by step."""
        _, state = self.encoder(self.dropout(self.source(src)))
        logits = torch.zeros(*trg.shape, self.output.out_features, device=src.device)
        fed = trg[:, 0]
        for step in range(1, trg.size(1)):
            outputs, state = self.decoder(self.dropout(self.target(fed.unsqueeze(1))), state)
            logits[:, step] = self.output(outputs[:, 0])
            fed = trg[:, step] if random.random() < forcing else logits[:, step].argmax(1)
        return logits

    @torch.no_grad()
    def translate(self, src: Tensor, max_length: int) -> list[int]:
        _, state = self.encoder(self.source(src))
        words: list[int] = []
        last = SOS
        while last != EOS and len(words) < max_length:
            fed = torch.tensor([[last]], device=src.device)
            outputs, state = self.decoder(self.target(fed), state)
            last = int(self.output(outputs[0, 0]).argmax())
            words.append(last)
        return words


class Words:
    """The vocabulary of a language."""

    def __init__(self, texts: Path, language: str) -> None:
        words = (texts / f"vocabulary.{language}").read_text(encoding="utf-8").split("\n")[:-1]
        self.words = ["<pad>", "<sos>", "<eos>", "<unk>", *words]
        self._ids = {word: index for index, word in enumerate(self.words)}

    def ids(self, line: str) -> list[int]:
        return [SOS, *(self._ids.get(word, UNK) for word in line.split()), EOS]


def lines_of(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").removesuffix("\n").split("\n")


def padded(sentences: list[list[int]], device: torch.device) -> Tensor:
    rows = [torch.tensor(ids) for ids in sentences]
    return nn.utils.rnn.pad_sequence(rows, batch_first=True).to(device)


def train(
    texts: Path, run_dir: Path, steps: int, batch_size: int, forcing: float, device: torch.device
) -> None:
    random.seed(1)
    source, target = Words(texts, "de"), Words(texts, "en")
    lines = zip(lines_of(texts / "train.de"), lines_of(texts / "train.en"), strict=True)
    pairs = [(source.ids(src), target.ids(trg)) for src, trg in lines]
    model = TutorialModel(len(source.words), len(target.words)).to(device)
    optimizer = torch.optim.Adam(model.parameters())
    num_tokens = 0
    batches: list[list[tuple[list[int], list[int]]]] = []
    for _ in range(steps):
        if not batches:  # sentences of similar lengths together, as the tutorials' iterator does
            pool = sorted(random.sample(pairs, POOL_BATCHES * batch_size), key=lambda p: len(p[0]))
            batches = [
                pool[start : start + batch_size] for start in range(0, len(pool), batch_size)
            ]
            random.shuffle(batches)
        batch = batches.pop()
        src, trg = (padded([pair[side] for pair in batch], device) for side in (0, 1))
        optimizer.zero_grad()
        logits = model(src, trg, forcing)[:, 1:]
        loss: Tensor = nn.functional.cross_entropy(
            logits.reshape(-1, logits.size(2)), trg[:, 1:].reshape(-1), ignore_index=PAD
        )
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        num_tokens += int((trg[:, 1:] != PAD).sum())
    torch.save(model.state_dict(), run_dir / "model.pt")
    (run_dir / "tokens").write_text(str(num_tokens), encoding="utf-8")


def translate(
    texts: Path, run_dir: Path, input_path: Path, output: Path, limit: int, device: torch.device
) -> None:
    source, target = Words(texts, "de"), Words(texts, "en")
    model = TutorialModel(len(source.words), len(target.words)).to(device).eval()
    model.load_state_dict(torch.load(run_dir / "model.pt", weights_only=True))
    with output.open("w", encoding="utf-8") as file:
        for line in lines_of(input_path):
            ids = model.translate(padded([source.ids(line)], device), limit)
            file.write(" ".join(target.words[index] for index in ids if index != EOS) + "\n")


if __name__ == "__main__":
    name, verb, *arguments = sys.argv[1:]
    folder, run = map(Path, arguments[:2])
    if verb == "train":
        count, size, ratio = arguments[2:]
        train(folder, run, int(count), int(size), float(ratio), torch.device(name))
    else:
        read, written, longest = arguments[2:]
        translate(folder, run, Path(read), Path(written), int(longest), torch.device(name))
