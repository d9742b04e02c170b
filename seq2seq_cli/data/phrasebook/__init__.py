"""Phrasebook: a bilingual English-German grammar that generates sentence pairs from a seed.

No sentence of either language has more than one counterpart in the other, so that a corpus score
against the single reference says how much of the grammar a model has learned.
"""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from seq2seq_cli.data.phrasebook.clauses import Sentence, verb_objects
from seq2seq_cli.data.phrasebook.counting import min_num_sentences, num_lexemes
from seq2seq_cli.data.phrasebook.grammar import realise
from seq2seq_cli.data.phrasebook.sentences import Sampler

__all__ = [
    "LANGUAGES",
    "MAX_WORDS",
    "MIN_WORDS",
    "SEED",
    "SPLITS",
    "Pair",
    "generate",
    "is_novel",
    "is_reserved",
    "load",
    "min_num_sentences",
    "num_lexemes",
]

SPLITS: dict[str, int] = {"train": 60_000, "valid": 1_000, "test": 1_000, "test_novel": 1_000}
LANGUAGES = ("de", "en")
MIN_WORDS = 4
MAX_WORDS = 15
SEED = 20_140_910
_RESERVED_ONE_IN = 20


@dataclass(frozen=True, slots=True)
class Pair:
    """A sentence in both languages, with the structure that both were made from."""

    german: str
    english: str
    structure: Sentence


def is_reserved(verb: str, noun: str) -> bool:
    """Whether a German verb and object noun may be combined in `test_novel` only."""
    return zlib.crc32(f"{verb} {noun}".encode()) % _RESERVED_ONE_IN == 0


def is_novel(structure: Sentence) -> bool:
    """Whether the sentence holds a reserved combination of verb and object noun."""
    return any(is_reserved(verb, noun) for verb, noun in verb_objects(structure))


def generate(num_pairs: int, seed: int) -> Iterator[Pair]:
    """Yield random pairs, no sentence twice on either side; the first n do not depend on n."""
    sampler = Sampler(seed)
    seen_german: set[str] = set()
    seen_english: set[str] = set()
    while num_pairs > len(seen_german):
        structure = sampler.sentence()
        german, english = realise(structure)
        if german in seen_german or english in seen_english:
            continue
        lengths = german.count(" ") + 1, english.count(" ") + 1
        if min(lengths) < MIN_WORDS or max(lengths) > MAX_WORDS:
            continue
        seen_german.add(german)
        seen_english.add(english)
        yield Pair(german, english, structure)


def load(split: str, source: str, target: str) -> list[tuple[str, str]]:
    """Return the (source, target) sentences of a split, the same on every machine."""
    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r}: use one of {', '.join(SPLITS)}")
    if sorted((source, target)) != sorted(LANGUAGES):
        raise ValueError(f"phrasebook translates between de and en, not {source!r} to {target!r}")
    pairs = _splits(split)
    if source == "de":
        return [(pair.german, pair.english) for pair in pairs]
    return [(pair.english, pair.german) for pair in pairs]


def _splits(split: str) -> list[Pair]:
    """Deal one stream of pairs out: test, then valid, then train; reserved ones to test_novel."""
    order = ("test", "valid", "train")
    dealt: dict[str, list[Pair]] = {name: [] for name in SPLITS}
    for pair in generate(10 * sum(SPLITS.values()), SEED):
        if is_novel(pair.structure):
            name = "test_novel"
        else:
            name = next((name for name in order if len(dealt[name]) < SPLITS[name]), "train")
        if len(dealt[name]) < SPLITS[name]:
            dealt[name].append(pair)
        if len(dealt[split]) == SPLITS[split]:
            break
    return dealt[split]
