"""Lines as models read them, sorted into batches of similar lengths."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

from seq2seq_cli.data.batching import Batch, make_batch
from seq2seq_cli.data.tokenizers import Tokenizer
from seq2seq_cli.data.vocabulary import EOS_ID, SOS_ID, SPECIAL_TOKENS, UNK_ID, Ids
from seq2seq_cli.model.model_file import TranslatorFile

_TextT = TypeVar("_TextT", str, tuple[str, str])

# Lines are read, sorted by length and decoded this many batches at a time: memory stays bounded and
# batches stay even.
POOL_BATCHES = 10
POOL_CHARACTERS = 1 << 24
"""And no more than this of them, for the sake of lines that are whole books."""
CHARACTERS_PER_TOKEN = 50
"""More than words of any language have."""


def first_tokens(tokenizer: Tokenizer, text: str, limit: int) -> tuple[list[str], bool]:
    """The first `limit` tokens of a line, and whether it has more.

    Of a text that is much longer, only as much is cut into tokens as gives these: a book on one
    line takes no longer than a page.
    """
    length = CHARACTERS_PER_TOKEN * limit
    while length < len(text):
        # Between words, where there are any: half a word's tokens may be others than a whole one's.
        space = text.rfind(" ", length // 2, length)
        tokens = tokenizer.tokenize(text[: length if space < 0 else space])
        if len(tokens) > limit:
            return tokens[:limit], True
        length *= 4
    tokens = tokenizer.tokenize(text)
    return tokens[:limit], len(tokens) > limit


class Sources:
    """Lines as one model reads them."""

    def __init__(self, file: TranslatorFile, lines: list[str]) -> None:
        self.lines = lines
        self._data = file.config.data
        read = [first_tokens(file.source.tokenizer, line, self._data.max_length) for line in lines]
        self._words = [words for words, _ in read]
        self._is_truncated = [is_truncated for _, is_truncated in read]
        self.ids: list[Ids] = [file.source.vocabulary.to_ids(words) for words in self._words]

    def batch(self, chosen: Sequence[int], targets: Sequence[Ids] | None = None) -> Batch:
        """Some of the lines, on the CPU, perhaps with their translations."""
        ids = [self.ids[i] for i in chosen]
        return make_batch(ids, targets, reverse_source=self._data.reverse_source)

    def tokens(self, index: int) -> list[str]:
        """What the model read, unknown words as they are written, between <sos> and <eos>."""
        return [SPECIAL_TOKENS[SOS_ID], *self._words[index], SPECIAL_TOKENS[EOS_ID]]

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
            "truncated": self._is_truncated[index],
            "unknown_words": bool((self.ids[index] == UNK_ID).any()),
        }
        return [name for name, is_set in flags.items() if is_set]


class BatchLimit(NamedTuple):
    """How much is decoded at a time."""

    sentences: int
    tokens: int | None = None
    """Of the first model's source, or of a longer target that is given, padding counted; a sentence
    that has more goes alone."""


def pools(texts: Iterable[_TextT], limit: BatchLimit) -> Iterator[list[_TextT]]:
    """What is sorted by length and cut into batches at a time: lines, or pairs of them."""
    pool: list[_TextT] = []
    num_characters = 0
    for text in texts:
        pool.append(text)
        num_characters += len(text) if isinstance(text, str) else sum(map(len, text))
        if len(pool) == limit.sentences * POOL_BATCHES or num_characters >= POOL_CHARACTERS:
            yield pool
            pool, num_characters = [], 0
    if pool:
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
    start = longest = 0
    for stop, index in enumerate(order):
        own = max(lengths[index][0], target_lengths[index] if target_lengths else 0)
        longest = max(longest, own)
        fits = limit.tokens is None or (stop + 1 - start) * longest <= limit.tokens
        if stop > start and (stop - start == limit.sentences or not fits):
            yield order[start:stop]
            start, longest = stop, own
    if order[start:]:
        yield order[start:]
