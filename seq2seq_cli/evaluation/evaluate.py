"""Translate a test set and score it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sacrebleu.metrics.bleu import BLEU

from seq2seq_cli.config import SCORING_BATCH_SIZE
from seq2seq_cli.console import progress_bar
from seq2seq_cli.data.batching import FlatIds, FlatPairs, ordered_batches, pairs_batch
from seq2seq_cli.data.vocabulary import Ids, TextCodec
from seq2seq_cli.decoding.sources import first_tokens
from seq2seq_cli.decoding.translator import TranslationOptions, Translator
from seq2seq_cli.errors import DataError, UsageError
from seq2seq_cli.evaluation import metrics
from seq2seq_cli.model.scoring import Losses, perplexity


@dataclass(frozen=True)
class Evaluation:
    """What came out of a test set."""

    hypotheses: list[str]
    """One for each source; empty when nothing asked for them."""
    num_truncated: int
    results: dict[str, Any]
    """pairs, the metrics asked for (bleu {score, signature} ... loss, perplexity,
    free_running_loss, free_running_perplexity), seconds: as `evaluate --json` prints them."""


def evaluate(
    translator: Translator,
    sources: Sequence[str],
    references: Sequence[Sequence[str]],
    wanted: Sequence[str],
    *,
    bleu_tokenize: str | None = None,
    lowercase: bool = False,
    keep_hypotheses: bool = True,
    options: TranslationOptions | None = None,
) -> Evaluation:
    """Score a translator on `sources`.

    references: one list of lines, as long as `sources`, for each reference translation; the losses
    use the first. wanted: among bleu, chrf, ter, loss. keep_hypotheses: whether translations are
    wanted even where no score needs them.

    Raises DataError for an empty set or, with "loss" wanted, one where no pair has text on both
    sides.
    """
    if not sources:
        raise DataError("the test set has no lines")
    begin = time.perf_counter()
    results: dict[str, Any] = {"pairs": len(sources)}
    translations = []
    to_translate = sources if keep_hypotheses or {*wanted} - {"loss"} else []
    with progress_bar(len(to_translate), " lines", "translating") as bar:
        for translation in translator.translate(to_translate, options):
            translations.append(translation)
            bar.update()
    hypotheses = [translation.best.text for translation in translations]
    scores: dict[str, Callable[[], metrics.Score]] = {
        "bleu": lambda: metrics.bleu(hypotheses, references, bleu_tokenize, lowercase),
        "chrf": lambda: metrics.chrf(hypotheses, references, lowercase),
        "ter": lambda: metrics.ter(hypotheses, references),
    }
    for name, compute in scores.items():
        if name in wanted:
            score = compute()
            results[name] = {"score": score.score, "signature": score.signature}
    if "loss" in wanted:
        pairs = list(zip(sources, references[0], strict=True))
        losses = text_losses(translator, pairs)
        results |= {
            "loss": losses.loss,
            "perplexity": perplexity(losses.loss),
            "free_running_loss": losses.free_running_loss,
            "free_running_perplexity": perplexity(losses.free_running_loss),
        }
    results["seconds"] = time.perf_counter() - begin
    num_truncated = sum("truncated" in translation.flags for translation in translations)
    return Evaluation(hypotheses, num_truncated, results)


def text_losses(translator: Translator, texts: Sequence[tuple[str, str]]) -> Losses:
    """Losses of text pairs; a pair with an empty side does not count, a long side is cut.

    Raises DataError when no pair has text on both sides.
    """
    corpora = _corpora(translator, texts)
    if not len(corpora[0]):
        raise DataError("no pair of the test set has text on both sides")
    batches = (
        [
            pairs_batch(pairs, indices, reverse_source=file.config.data.reverse_source)
            for file, pairs in zip(translator.files, corpora, strict=True)
        ]
        for indices in ordered_batches(corpora[0], SCORING_BATCH_SIZE, "sentences")
    )
    with translator.computing():
        return translator.ensemble.losses(batches, translator.device)


def _corpora(translator: Translator, texts: Sequence[tuple[str, str]]) -> list[FlatPairs]:
    """The pairs with text on both sides, as each model reads the source and the first one writes
    the target."""
    first = translator.file
    targets = _encoded(first.target, [target for _, target in texts], first.config.data.max_length)
    sources = [
        _encoded(file.source, [source for source, _ in texts], file.config.data.max_length)
        for file in translator.files
    ]
    usable = [
        i for i, ids in enumerate(targets) if len(ids) and all(len(side[i]) for side in sources)
    ]
    wanted = FlatIds.from_sequences([targets[i] for i in usable])
    return [
        FlatPairs(FlatIds.from_sequences([side[i] for i in usable]), wanted) for side in sources
    ]


def _encoded(codec: TextCodec, texts: Iterable[str], max_length: int) -> list[Ids]:
    return [
        codec.vocabulary.to_ids(first_tokens(codec.tokenizer, text, max_length)[0])
        for text in texts
    ]


def check_tokenizer(name: str | None) -> None:
    """Raises UsageError when sacreBLEU has no tokenizer of that name, or lacks what it needs."""
    if name is not None and name not in BLEU.TOKENIZERS:
        raise UsageError(
            f"--bleu-tokenize {name}: sacreBLEU has {', '.join(sorted(BLEU.TOKENIZERS))}"
        )
    try:
        BLEU(tokenize=name)
    except (RuntimeError, ImportError, OSError) as error:
        reason = " ".join(str(error).split())
        raise UsageError(f"--bleu-tokenize {name}: cannot be used: {reason}") from error


def results_table(results: dict[str, Any]) -> str:
    """The results, with the model's and the split's names, for people."""
    where = f"{results['split']} split" if results["split"] else "files"
    lines = [f"{results['model']}, {where}, {results['pairs']:,} pairs"]
    names = {"bleu": "BLEU", "chrf": "chrF2", "ter": "TER"}
    scores = [
        (name, f"{results[key]['score']:.2f}", results[key]["signature"])
        for key, name in names.items()
        if key in results
    ]
    lines += [f"{name:<24}{score:>8}  {signature}" for name, score, signature in scores]
    for key in ("loss", "perplexity", "free_running_loss", "free_running_perplexity"):
        if key in results:
            name = key.replace("_", " ").replace("free running", "free-running")
            lines.append(f"{name:<24}{results[key]:>8.3f}")
    return "\n".join(lines)
