"""Words for the <unk> of a translation, from where the model looked in the source.

Luong et al. (2015), "Addressing the rare word problem in neural machine translation"; by attention
as in Jean et al. (2015), "On using very large target vocabulary for neural machine translation".
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Mapping, Sequence
from operator import itemgetter
from pathlib import Path

from seq2seq_cli.data.corpus import read_lines
from seq2seq_cli.data.vocabulary import SPECIAL_TOKENS, UNK_ID
from seq2seq_cli.errors import DataError

_UNKNOWN = SPECIAL_TOKENS[UNK_ID]


def read_dictionary(path: Path, *, lowercase: bool = False) -> dict[str, str]:
    """Translations of words, the words (not what they translate to) in NFC.

    A line is a word, a tab and its translation, perhaps with another tab and a probability (or its
    logarithm); in a line without tabs, the translation is what follows the first white space. Of
    several translations of a word, the most probable one counts, those without a number last, and
    of equals the first. Blank lines are skipped. lowercase: for a model that knows no case.

    Raises DataError, with the line, for one that is no entry; further as `read_lines` does.
    """
    found: dict[str, tuple[float, str]] = {}
    for number, line in enumerate(read_lines(path), 1):
        if not line.strip():
            continue
        try:
            word, translation, probability = _parse(line.lower() if lowercase else line)
        except DataError as error:
            raise DataError(f"{path}:{number}: {error}") from None
        if word not in found or probability > found[word][0]:
            found[word] = probability, translation
    return {word: translation for word, (_, translation) in found.items()}


def _parse(line: str) -> tuple[str, str, float]:
    """Word, translation and probability; -inf where none is given."""
    cells = line.split("\t", 2) if "\t" in line else [*line.split(maxsplit=1), ""][:2]
    word, translation, *more = [cell.strip() for cell in cells]
    if not word or not translation:
        missing = f"no translation of {word[:60]!r}" if word else "no word before the tab"
        raise DataError(f"{missing}; write a word, a tab and its translation")
    probability = -math.inf
    if more:
        try:
            probability = float(more[0])
        except ValueError:
            probability = math.nan
        if not math.isfinite(probability):
            raise DataError(
                f"{more[0][:60]!r} after the translation is no number; write a word, a tab and its "
                "translation, then nothing or a tab and a probability"
            )
    return unicodedata.normalize("NFC", word), translation, probability


def replace_unknown(
    tokens: Sequence[str],
    attention: Sequence[Sequence[float]],
    source_words: Sequence[str],
    dictionary: Mapping[str, str],
) -> list[str]:
    """The tokens, each <unk> being replaced for the source word with the most attention: by its
    translation, or that of the word in lower case, or else by the word itself.

    attention: (tokens, source words), without <sos> and <eos>; of equal weights, the first counts.
    A translation of several words stays one token. Without source words, nothing is replaced.
    dictionary: its words in NFC, as `read_dictionary` gives them.
    """
    if not source_words:
        return list(tokens)
    return [
        _translation(max(zip(row, source_words, strict=True), key=itemgetter(0))[1], dictionary)
        if token == _UNKNOWN
        else token
        for token, row in zip(tokens, attention, strict=True)
    ]


def _translation(word: str, dictionary: Mapping[str, str]) -> str:
    for spelling in (word, word.lower()):
        if found := dictionary.get(unicodedata.normalize("NFC", spelling)):
            return found
    return word
