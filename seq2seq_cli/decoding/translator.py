"""Raw text in, translations out."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import torch

from seq2seq_cli.config import DECODING_BATCH_SIZE
from seq2seq_cli.data.batching import make_batch
from seq2seq_cli.data.vocabulary import UNK_ID, Ids
from seq2seq_cli.decoding.greedy import Hypothesis, greedy_search, length_limits
from seq2seq_cli.model.model_file import TranslatorFile, load_translator

logger = logging.getLogger("seq2seq")

# Lines are read, sorted by length and translated this many batches at a time: memory stays bounded
# and batches stay even.
POOL_BATCHES = 20


@dataclass(frozen=True)
class Translation:
    """A translated line."""

    source: str
    text: str
    tokens: list[str]
    score: float
    """Summed log-probability of the tokens and <eos>, in nats; 0 for a blank line."""
    flags: list[str]
    """truncated (the source was cut), unknown_words (in the source), length_capped."""


class Translator:
    """A model with its tokenizers and vocabularies, ready to translate.

    On CPU it computes in float32, one sentence being translated the same in any batch.
    """

    def __init__(self, file: TranslatorFile, device: torch.device) -> None:
        self.file = file
        self.device = device

    @classmethod
    def load(cls, path: Path, device: torch.device) -> Translator:
        """Raises ModelFileError."""
        translator = cls(load_translator(path, device), device)
        logger.debug("read %s, translating on %s", path, device)
        return translator

    def translate(
        self,
        lines: Iterable[str],
        batch_size: int = DECODING_BATCH_SIZE,
        max_length: int | None = None,
    ) -> Iterator[Translation]:
        """One translation for each line, in their order; a blank line stays blank.

        max_length: tokens a translation may have, instead of the config's max_length_ratio.
        """
        lines = iter(lines)
        while pool := list(islice(lines, batch_size * POOL_BATCHES)):
            yield from self._translate_pool(pool, batch_size, max_length)

    def _translate_pool(
        self, lines: list[str], batch_size: int, max_length: int | None
    ) -> list[Translation]:
        data = self.file.config.data
        encoded = [self.file.source.encode(line) for line in lines]
        ids = [sentence[: data.max_length] for sentence in encoded]
        order = sorted((i for i in range(len(lines)) if len(ids[i])), key=lambda i: len(ids[i]))
        found: dict[int, Hypothesis] = {}
        was_training = self.file.model.training
        self.file.model.eval()
        for start in range(0, len(order), batch_size):
            chosen = order[start : start + batch_size]
            batch = make_batch([ids[i] for i in chosen], reverse_source=data.reverse_source)
            limits = length_limits(batch, self.file.config.decoding.max_length_ratio, max_length)
            hypotheses = greedy_search(self.file.model, batch.to(self.device), limits)
            found.update(zip(chosen, hypotheses, strict=True))
        self.file.model.train(was_training)
        return [
            self._finish(line, encoded[i], len(ids[i]) < len(encoded[i]), found.get(i))
            for i, line in enumerate(lines)
        ]

    def _finish(
        self, line: str, encoded: Ids, truncated: bool, hypothesis: Hypothesis | None
    ) -> Translation:
        if hypothesis is None:
            return Translation(line, "", [], 0.0, [])
        flags = {
            "truncated": truncated,
            "unknown_words": bool((encoded == UNK_ID).any()),
            "length_capped": hypothesis.length_capped,
        }
        target = self.file.target
        return Translation(
            line,
            target.decode(hypothesis.token_ids),
            target.vocabulary.to_tokens(hypothesis.token_ids),
            hypothesis.score,
            [name for name, is_set in flags.items() if is_set],
        )
