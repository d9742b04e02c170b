"""Tokens to ids and back, and a language's tokenizer and vocabulary as one thing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from seq2seq_cli.config.data import TextConfig
from seq2seq_cli.data.subwords import SubwordTokenizer
from seq2seq_cli.data.tokenizers import Tokenizer
from seq2seq_cli.errors import ModelFileError

SPECIAL_TOKENS = ("<pad>", "<unk>", "<sos>", "<eos>")
PAD_ID, UNK_ID, SOS_ID, EOS_ID = range(4)

Ids = npt.NDArray[np.int32]


class Vocabulary:
    """The special tokens, then the words of the training data from frequent to rare."""

    def __init__(self, words: Sequence[str]) -> None:
        """`words` without the special tokens, in the order of their ids."""
        self.tokens: tuple[str, ...] = (*SPECIAL_TOKENS, *words)
        # A text that spells out "<eos>" holds an unknown word, never the end of the sentence.
        self._ids = {word: index for index, word in enumerate(words, start=len(SPECIAL_TOKENS))}

    @classmethod
    def from_counts(cls, counts: Counter[str], min_freq: int, max_size: int | None) -> Vocabulary:
        """The most frequent tokens; among equally frequent ones, in alphabetical order."""
        ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
        words = [word for word, count in ranked if count >= min_freq and word not in SPECIAL_TOKENS]
        return cls(words[:max_size])

    def __len__(self) -> int:
        return len(self.tokens)

    def to_ids(self, tokens: Iterable[str]) -> Ids:
        """Ids, <unk> for tokens that are not in the vocabulary."""
        ids = self._ids
        return np.array([ids.get(token, UNK_ID) for token in tokens], dtype=np.int32)

    def to_tokens(self, ids: Iterable[int]) -> list[str]:
        return [self.tokens[index] for index in ids]

    def to_bytes(self) -> bytes:
        """The words, one a line (no token holds a line feed)."""
        return "\n".join(self.tokens[len(SPECIAL_TOKENS) :]).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> Vocabulary:
        """Raises ModelFileError when the bytes are not a list of distinct words."""
        try:
            words = data.decode().split("\n") if data else []
        except UnicodeDecodeError as error:
            raise ModelFileError("the vocabulary inside is not UTF-8") from error
        if len({*words, *SPECIAL_TOKENS}) != len(words) + len(SPECIAL_TOKENS):
            raise ModelFileError("the vocabulary inside names a word twice")
        if "" in words:
            raise ModelFileError("the vocabulary inside holds an empty word")
        return cls(words)


@dataclass(frozen=True)
class TextCodec:
    """Raw text of one language to ids and back."""

    tokenizer: Tokenizer
    vocabulary: Vocabulary

    @property
    def samples(self) -> bool:
        """Whether training text is cut into subwords at random."""
        return isinstance(self.tokenizer, SubwordTokenizer) and self.tokenizer.dropout > 0.0

    def encode(self, text: str) -> Ids:
        """Ids without <sos> and <eos>; none for a blank text."""
        return self.vocabulary.to_ids(self.tokenizer.tokenize(text))

    def encode_translation(self, text: str) -> Ids:
        """Ids of a translation as `decode` writes it: an `<unk>` in it is one unknown word."""
        unknown = np.array([UNK_ID], dtype=np.int32)
        parts = [self.encode(part) for part in text.split(SPECIAL_TOKENS[UNK_ID])]
        return np.concatenate([parts[0], *(ids for part in parts[1:] for ids in (unknown, part))])

    def encode_sampled(self, texts: Sequence[str], seed: int) -> list[Ids]:
        """Ids of texts for training: subwords partly drawn at random, where the tokenizer has
        dropout. They depend on nothing but the texts, all of them, and the seed."""
        if not isinstance(self.tokenizer, SubwordTokenizer):
            return [self.encode(text) for text in texts]
        return [self.vocabulary.to_ids(tokens) for tokens in self.tokenizer.sample(texts, seed)]

    def decode(self, ids: Iterable[int]) -> str:
        """Text for people, from ids without <sos> and <eos>."""
        return self.tokenizer.detokenize(self.vocabulary.to_tokens(ids))


def make_codecs(
    config: TextConfig,
    tokenizers: tuple[Tokenizer, Tokenizer],
    counts: tuple[Counter[str], Counter[str]],
) -> tuple[TextCodec, TextCodec]:
    """The codecs of source and target, from how often each token is in their training text.

    With a shared vocabulary, both hold the same one. A tokenizer that samples may come up with any
    of its pieces; each counts once more, so that all are in a vocabulary without limits.
    """
    min_freq, sizes = config.vocabulary.min_freq, config.vocabulary.max_size
    if config.vocabulary.shared:
        both = counts[0] + counts[1] + _may_be_drawn(tokenizers[0])
        vocabulary = Vocabulary.from_counts(both, min_freq, sizes.source)
        return TextCodec(tokenizers[0], vocabulary), TextCodec(tokenizers[1], vocabulary)
    source, target = (
        TextCodec(
            tokenizer,
            Vocabulary.from_counts(count + _may_be_drawn(tokenizer), min_freq, size),
        )
        for tokenizer, count, size in zip(
            tokenizers, counts, (sizes.source, sizes.target), strict=True
        )
    )
    return source, target


def _may_be_drawn(tokenizer: Tokenizer) -> Counter[str]:
    """What sampling can yield, once each."""
    if isinstance(tokenizer, SubwordTokenizer) and tokenizer.dropout:
        return Counter(tokenizer.pieces)
    return Counter()
