"""Scores of translations against references, by sacreBLEU."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF
from sacrebleu.metrics.ter import TER


@dataclass(frozen=True)
class Score:
    """A sacreBLEU score and the signature without which it means little."""

    score: float
    signature: str


def bleu(
    hypotheses: Sequence[str],
    references: Sequence[Sequence[str]],
    tokenize: str | None = None,
    lowercase: bool = False,
) -> Score:
    """Corpus BLEU (Papineni et al. 2002; Post 2018), 0 to 100.

    references: one list of lines for each reference translation of the whole corpus.
    tokenize: one of sacreBLEU's tokenizers; None: its default, 13a.
    """
    found = _score(BLEU(lowercase=lowercase, tokenize=tokenize), hypotheses, references)
    # A power of e, and so a rounding error above 100 where all is right.
    return replace(found, score=min(found.score, 100.0))


def chrf(
    hypotheses: Sequence[str], references: Sequence[Sequence[str]], lowercase: bool = False
) -> Score:
    """chrF2 (Popović 2015), 0 to 100."""
    return _score(CHRF(lowercase=lowercase), hypotheses, references)


def ter(hypotheses: Sequence[str], references: Sequence[Sequence[str]]) -> Score:
    """Translation edit rate in percent, lower is better; it never looks at case (Snover 2006)."""
    return _score(TER(), hypotheses, references)


def _score(
    metric: BLEU | CHRF | TER, hypotheses: Sequence[str], references: Sequence[Sequence[str]]
) -> Score:
    result = metric.corpus_score(list(hypotheses), [list(lines) for lines in references])
    return Score(float(result.score), str(metric.get_signature()))
