"""Raw text in, translations out."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch

from seq2seq_cli.config import DECODING_HYPOTHESES, DECODING_TOKENS, SCORING_BATCH_SIZE
from seq2seq_cli.data.vocabulary import Vocabulary
from seq2seq_cli.decoding.beam_search import (
    Hypothesis,
    SearchOptions,
    beam_search,
    length_limits,
)
from seq2seq_cli.decoding.ensemble import Ensemble
from seq2seq_cli.decoding.sources import (
    CHARACTERS_PER_TOKEN,
    BatchLimit,
    Sources,
    even_batches,
    pools,
)
from seq2seq_cli.decoding.unknown_words import replace_unknown
from seq2seq_cli.device import autocast
from seq2seq_cli.errors import ModelFileError, UsageError
from seq2seq_cli.model.model_file import TranslatorFile, load_translator
from seq2seq_cli.model.quantized import int8_products
from seq2seq_cli.model.scoring import evaluating
from seq2seq_cli.randomness import generator

logger = logging.getLogger("seq2seq")

_T = TypeVar("_T")


@dataclass(frozen=True)
class TranslationOptions:
    """How to translate; None: as the model's config says."""

    beam_size: int | None = None
    length_penalty: float | None = None
    no_repeat_ngram_size: int | None = None
    max_length: int | None = None
    """Tokens a translation may have, instead of the config's max_length_ratio."""
    n_best: int = 1
    """Translations of each line, at most `beam_size`."""
    temperature: float | None = None
    """Draw `n_best` translations from the model's probabilities ^ (1 / temperature) instead."""
    seed: int = 1
    """Of what is drawn, together with the line's number."""
    with_attention: bool = False
    """Give attention weights."""
    replacements: Mapping[str, str] | None = None
    """Put a word for every <unk>: this dictionary's for the source word that the model looked at,
    or that word itself."""
    batch_size: int | None = None
    """Sentences translated at a time; None: as many as have `DECODING_HYPOTHESES` and no more than
    `DECODING_TOKENS`."""


@dataclass(frozen=True)
class Candidate:
    """One translation of a line."""

    text: str
    tokens: list[str]
    """As the model wrote them, `<unk>` included."""
    score: float
    """Summed log-probability of the tokens and <eos>, in nats; 0 for a blank line."""
    ranking: float
    """score / length ^ length_penalty, <eos> counted."""
    length_capped: bool
    attention: list[list[float]] | None
    """A row for each token, a column for each of the line's `source_tokens`."""


@dataclass(frozen=True)
class Translation:
    """A translated line."""

    source: str
    source_tokens: list[str]
    """What the first model read, from <sos> to <eos>; none for a blank line."""
    candidates: list[Candidate]
    """The best first."""
    flags: list[str]
    """truncated (the source was cut), unknown_words (in the source), length_capped."""

    @property
    def best(self) -> Candidate:
        return self.candidates[0]


@dataclass(frozen=True)
class Score:
    """How probable a model finds a given translation of a line."""

    score: float
    """Summed log-probability of the tokens and <eos>, in nats; -inf where only the source is blank,
    0 where both are."""
    tokens: list[str]
    flags: list[str]
    """truncated, unknown_words (of the source), translation_truncated."""


class Translator:
    """Models with their tokenizers and vocabularies, ready to translate as one.

    Text becomes tokens as each model was taught; it is written, and cut into batches, as the first
    one's config says. In float32 on a CPU, a sentence is translated the same in any batch, but
    for the rounding of its score.
    """

    def __init__(
        self,
        files: Sequence[TranslatorFile],
        device: torch.device,
        precision: torch.dtype = torch.float32,
    ) -> None:
        """precision: that products are computed in; int8 is for search, scores of given texts are
        then computed in the best other type."""
        self.files = list(files)
        self.device = device
        self.precision = precision
        self.ensemble = Ensemble([file.model for file in files])

    @classmethod
    def load(
        cls,
        paths: Sequence[Path],
        device: torch.device,
        precision: torch.dtype = torch.float32,
    ) -> Translator:
        """Several files make an ensemble.

        Raises ModelFileError for a file that cannot be read, and where target vocabularies differ.
        """
        files = [load_translator(path, device) for path in paths]
        for path, file in zip(paths[1:], files[1:], strict=True):
            if reason := _difference(files[0].target.vocabulary, file.target.vocabulary):
                raise ModelFileError(
                    f"{path}: cannot join an ensemble with {paths[0]}: {reason}; an average of "
                    "their probabilities needs one target vocabulary"
                )
        logger.debug("read %s, translating on %s", ", ".join(map(str, paths)), device)
        return cls(files, device, precision)

    @property
    def file(self) -> TranslatorFile:
        """The first model's."""
        return self.files[0]

    @property
    def has_attention(self) -> bool:
        """Whether the first model has it; the others' is not looked at."""
        return self.file.model.decoder.attention is not None

    def translate(
        self, lines: Iterable[str], options: TranslationOptions | None = None
    ) -> Iterator[Translation]:
        """One translation for each line, in their order; a blank line stays blank.

        Raises UsageError where attention is asked for and there is none, and for an n_best beyond
        the beam; ModelFileError for weights that are no numbers.
        """
        options = options or TranslationOptions()
        search = self._search_options(options)
        limit = (
            BatchLimit(options.batch_size)
            if options.batch_size
            else BatchLimit(max(1, DECODING_HYPOTHESES // search.beam_size), DECODING_TOKENS)
        )
        num_done = 0
        for pool in pools(lines, limit):
            yield from self._translate_pool(pool, num_done, limit, search, options)
            num_done += len(pool)

    def score(
        self, pairs: Iterable[tuple[str, str]], batch_size: int | None = None
    ) -> Iterator[Score]:
        """How probable each (source, target) is, in their order.

        batch_size: pairs scored at a time; None: `SCORING_BATCH_SIZE`, those that have no more than
        `DECODING_TOKENS` on either side.
        Raises ModelFileError for weights that are no numbers.
        """
        limit = (
            BatchLimit(batch_size)
            if batch_size
            else BatchLimit(SCORING_BATCH_SIZE, DECODING_TOKENS)
        )
        for pool in pools(pairs, limit):
            yield from self._score_pool(pool, limit)

    @contextmanager
    def computing(self) -> Iterator[None]:
        """Inside the block the models drop nothing out and compute in `precision`."""
        with evaluating(self.ensemble.models), autocast(self.device, self.precision):
            yield

    def _search_options(self, options: TranslationOptions) -> SearchOptions:
        config = self.file.config.decoding
        wants_attention = options.with_attention or options.replacements is not None
        if wants_attention and not self.has_attention:
            raise UsageError(
                "the model has no attention, so nothing says which source word a word comes from; "
                "train one with model.decoder.attention"
            )
        sampling = options.temperature is not None
        beam_size = options.n_best if sampling else _or(options.beam_size, config.beam_size)
        if options.n_best > beam_size:
            raise UsageError(
                f"{options.n_best} translations of each line need a beam as large, and it is "
                f"{beam_size}: --beam-size {options.n_best}"
            )
        return SearchOptions(
            beam_size,
            _or(options.length_penalty, config.length_penalty),
            _or(options.no_repeat_ngram_size, config.no_repeat_ngram_size),
            options.temperature,
            wants_attention,
        )

    def _translate_pool(
        self,
        lines: list[str],
        num_before: int,
        limit: BatchLimit,
        search: SearchOptions,
        options: TranslationOptions,
    ) -> list[Translation]:
        sources = [Sources(file, lines) for file in self.files]
        ratio = self.file.config.decoding.max_length_ratio
        found: dict[int, list[Hypothesis]] = {}
        int8 = int8_products() if self.precision == torch.int8 else nullcontext()
        with self.computing(), int8:
            for chosen in even_batches(sources, limit):
                batches = [source.batch(chosen) for source in sources]
                limits = length_limits(batches[0], ratio, options.max_length)
                # A line's draws are its own, whatever is translated beside it.
                drawing = chosen if search.temperature else []
                draws = [generator(options.seed, "sampling", num_before + i) for i in drawing]
                on_device = [batch.to(self.device) for batch in batches]
                hypotheses = beam_search(self.ensemble, on_device, limits, search, draws)
                found.update(zip(chosen, hypotheses, strict=True))
        return [
            self._finish(sources[0], i, found[i][: options.n_best], search, options)
            if i in found
            else Translation(line, [], [Candidate("", [], 0.0, 0.0, False, None)], [])
            for i, line in enumerate(lines)
        ]

    def _finish(
        self,
        sources: Sources,
        index: int,
        hypotheses: list[Hypothesis],
        search: SearchOptions,
        options: TranslationOptions,
    ) -> Translation:
        if not hypotheses:
            raise self._without_numbers()
        source_tokens = sources.tokens(index)
        candidates = []
        for hypothesis in hypotheses:
            tokens = self.file.target.vocabulary.to_tokens(hypothesis.token_ids)
            weights = sources.in_order(hypothesis.attention, len(source_tokens))
            written = tokens
            if options.replacements is not None and weights is not None:
                of_words = [row[1:-1] for row in weights]
                written = replace_unknown(
                    tokens, of_words, source_tokens[1:-1], options.replacements
                )
            candidates.append(
                Candidate(
                    self.file.target.tokenizer.detokenize(written),
                    tokens,
                    hypothesis.score,
                    hypothesis.ranking(search.length_penalty),
                    hypothesis.length_capped,
                    weights,
                )
            )
        flags = sources.flags(index)
        if candidates[0].length_capped:
            flags.append("length_capped")
        return Translation(sources.lines[index], source_tokens, candidates, flags)

    def _score_pool(self, pairs: list[tuple[str, str]], limit: BatchLimit) -> list[Score]:
        sources = [Sources(file, [source for source, _ in pairs]) for file in self.files]
        targets, is_cut = [], []
        for _, target in pairs:
            # A token takes memory for each word of the vocabulary.
            text = target[: DECODING_TOKENS * CHARACTERS_PER_TOKEN]
            ids = self.file.target.encode_translation(text)
            targets.append(ids[:DECODING_TOKENS])
            is_cut.append(len(text) < len(target) or len(ids) > DECODING_TOKENS)
        scores = [-math.inf if len(target) else 0.0 for target in targets]
        with self.computing(), torch.inference_mode():
            target_lengths = [len(ids) for ids in targets]
            for chosen in even_batches(sources, limit, target_lengths):
                wanted = [targets[i] for i in chosen]
                batches = [source.batch(chosen, wanted).to(self.device) for source in sources]
                log_probs = self.ensemble.token_log_probs(batches)
                lengths = [len(target) + 1 for target in wanted]
                for i, own in zip(chosen, torch.split(log_probs, lengths), strict=True):
                    scores[i] = own.sum().item()
                    if math.isnan(scores[i]):
                        raise self._without_numbers()
        to_tokens = self.file.target.vocabulary.to_tokens
        return [
            Score(
                score,
                to_tokens(target),
                sources[0].flags(i) + ["translation_truncated"] * is_cut[i],
            )
            for i, (score, target) in enumerate(zip(scores, targets, strict=True))
        ]

    def _without_numbers(self) -> ModelFileError:
        names = ", ".join(file.config.name for file in self.files)
        return ModelFileError(
            f"{names}: gives no probabilities: some weights are no numbers, or far too large; "
            "train it again, with a smaller training.optimizer.learning_rate"
        )


def _difference(one: Vocabulary, other: Vocabulary) -> str | None:
    """How two vocabularies differ."""
    if len(one) != len(other):
        return f"it has {len(other):,} target tokens, not {len(one):,}"
    pairs = enumerate(zip(one.tokens, other.tokens, strict=True))
    return next(
        (
            f"its target token {i} is {theirs!r}, not {own!r}"
            for i, (own, theirs) in pairs
            if own != theirs
        ),
        None,
    )


def _or(value: _T | None, default: _T) -> _T:
    return default if value is None else value
