"""Lines as models read them, sorted into batches of similar lengths."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

from seq2seq_cli.data.batching import Batch, make_batch
from seq2seq_cli.data.vocabulary import EOS_ID, SOS_ID, SPECIAL_TOKENS, UNK_ID, Ids
from seq2seq_cli.model.model_file import TranslatorFile

_T = TypeVar("_T")

# Lines are read, sorted by length and decoded this many batches at a time: memory stays bounded and
# batches stay even.
POOL_BATCHES = 10


class Sources:
    """Lines as one model reads them."""

    def __init__(self, file: TranslatorFile, lines: list[str]) -> None:
        self.lines = lines
        self._data = file.config.data
        self._words = [file.source.tokenizer.tokenize(line) for line in lines]
        cut = [words[: self._data.max_length] for words in self._words]
        self.ids: list[Ids] = [file.source.vocabulary.to_ids(words) for words in cut]

    def batch(self, chosen: Sequence[int], targets: Sequence[Ids] | None = None) -> Batch:
        """Some of the lines, on the CPU, perhaps with their translations."""
        ids = [self.ids[i] for i in chosen]
        return make_batch(ids, targets, reverse_source=self._data.reverse_source)

    def tokens(self, index: int) -> list[str]:
        """What the model read, unknown words as they are written, between <sos> and <eos>."""
        words = self._words[index][: len(self.ids[index])]
        return [SPECIAL_TOKENS[SOS_ID], *words, SPECIAL_TOKENS[EOS_ID]]

    def in_order(self, attention: Tensor | None, num_tokens: int) -> list[list[float]] | None:
        """Weights over a batch's columns as weights over `tokens`."""
        if attention is None:
            return None
        attention = attention[:, :num_tokens]
        if self._data.reverse_source:
            words = attention[:, 1:-1].flip(1)
            attention = torch.cat([attention[:, :1], words, attention[:, -1:]], dim=1)
        return attention.tolist()

    def flags(self, index: int) -> list[str]:
        """What is to be said about a line."""
        flags = {
            "truncated": len(self.ids[index]) < len(self._words[index]),
            "unknown_words": bool((self.ids[index] == UNK_ID).any()),
        }
        return [name for name, is_set in flags.items() if is_set]


class BatchLimit(NamedTuple):
    """How much is decoded at a time."""

    sentences: int
    tokens: int | None = None
    """Of the first model's source, padding counted; a sentence that has more goes alone."""


def pools(items: Iterable[_T], limit: BatchLimit) -> Iterator[list[_T]]:
    """What is sorted by length and cut into batches at a time."""
    items = iter(items)
    while pool := list(islice(items, limit.sentences * POOL_BATCHES)):
        yield pool


def even_batches(
    sources: Sequence[Sources], limit: BatchLimit, target_lengths: Sequence[int] = ()
) -> Iterator[list[int]]:
    """Numbers of the lines that have tokens, in batches of similar lengths."""
    lengths = list(zip(*([len(ids) for ids in source.ids] for source in sources), strict=True))
    order = sorted(
        (i for i, each in enumerate(lengths) if all(each)),
        key=lambda i: (lengths[i], target_lengths[i] if target_lengths else 0),
    )
    start = 0
    for stop, index in enumerate(order):
        fits = limit.tokens is None or (stop + 1 - start) * lengths[index][0] <= limit.tokens
        if stop > start and (stop - start == limit.sentences or not fits):
            yield order[start:stop]
            start = stop
    if order[start:]:
        yield order[start:]
