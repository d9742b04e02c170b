"""Scores against sacreBLEU's own numbers and definitions, losses against the trainer's."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sacrebleu
import torch
from sacrebleu.metrics.bleu import BLEU

from seq2seq_cli.config.training import TrainingConfig
from seq2seq_cli.data.batching import pairs_batch
from seq2seq_cli.decoding.translator import Translation, TranslationOptions, Translator
from seq2seq_cli.errors import DataError, UsageError
from seq2seq_cli.evaluation import metrics
from seq2seq_cli.evaluation.evaluate import check_tokenizer, evaluate, text_losses
from seq2seq_cli.evaluation.plots import draw_curves
from seq2seq_cli.evaluation.validation import Validator
from seq2seq_cli.model.model_file import TranslatorFile
from seq2seq_cli.model.scoring import Losses, corpus_losses, perplexity
from seq2seq_cli.training.metrics_log import MetricsLog, read_metrics
from seq2seq_cli.training.schedules import Plan
from tests.unit.training.support import CPU, tiny_trainer

HYPOTHESES = ["The cat sat on the mat.", "Dogs bark", ""]
REFERENCES = [
    ["The cat sat on a mat.", "Dogs bark loudly", "nothing"],
    ["A cat sat on the mat.", "The dogs bark", "none"],
]


@pytest.mark.parametrize("references", [REFERENCES, REFERENCES[:1]])
def test_scores_are_sacrebleus(references: list[list[str]]) -> None:
    bleu = metrics.bleu(HYPOTHESES, references)
    chrf = metrics.chrf(HYPOTHESES, references)
    ter = metrics.ter(HYPOTHESES, references)

    assert bleu.score == sacrebleu.corpus_bleu(HYPOTHESES, references).score
    assert chrf.score == sacrebleu.corpus_chrf(HYPOTHESES, references).score
    assert ter.score == sacrebleu.corpus_ter(HYPOTHESES, references).score
    assert f"nrefs:{len(references)}|case:mixed|eff:no|tok:13a|smooth:exp" in bleu.signature
    assert chrf.signature.startswith(f"nrefs:{len(references)}|case:mixed|eff:yes|nc:6|nw:0")
    assert "version:" in ter.signature


def test_what_is_all_right_has_100_bleu(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = ["The cat sat on a mat.", "Dogs bark loudly today."]
    assert metrics.bleu(lines, [lines]).score == pytest.approx(100)

    score = BLEU.corpus_score

    def a_rounding_error_more(*given: Any) -> Any:
        result = score(*given)
        result.score = 100.00000000000004
        return result

    monkeypatch.setattr(BLEU, "corpus_score", a_rounding_error_more)
    assert metrics.bleu(lines, [lines]).score == 100


def test_lowercase_and_tokenizer_reach_the_score_and_its_signature() -> None:
    upper = ["THE CAT SAT ON A MAT ."]
    lower = [["the cat sat on a mat ."]]

    assert metrics.bleu(upper, lower).score < 50
    score = metrics.bleu(upper, lower, tokenize="none", lowercase=True)
    assert score.score == pytest.approx(100.0)
    assert "case:lc" in score.signature
    assert "tok:none" in score.signature
    assert metrics.chrf(upper, lower, lowercase=True).score == pytest.approx(100.0)


def test_evaluation_scores_the_trained_model(tmp_path: Path) -> None:
    trainer = tiny_trainer(tmp_path, epochs=1)
    translator = Translator([trainer.translator], CPU)
    sources, targets = map(list, zip(*trainer.data.valid_texts, strict=True))

    evaluation = evaluate(
        translator,
        sources,
        [targets],
        ["bleu", "chrf", "ter", "loss"],
        options=TranslationOptions(batch_size=4),
    )

    assert evaluation.hypotheses == best_texts(translator, sources)
    assert evaluation.results["pairs"] == len(sources)
    assert evaluation.results["bleu"] == vars(metrics.bleu(evaluation.hypotheses, [targets]))
    loss = evaluation.results["loss"]
    assert loss == pytest.approx(text_losses(translator, trainer.data.valid_texts).loss, rel=1e-5)
    assert evaluation.results["perplexity"] == perplexity(loss)
    only = evaluate(translator, sources, [targets], ["ter"]).results
    assert set(only) == {"pairs", "ter", "seconds"}
    unread = evaluate(translator, sources, [targets], ["loss"], keep_hypotheses=False)
    assert unread.hypotheses == []
    assert unread.results["loss"] == pytest.approx(loss, rel=1e-5)


def test_losses_pass_over_empty_sides_and_refuse_only_such(tmp_path: Path) -> None:
    trainer = tiny_trainer(tmp_path)
    translator = Translator([trainer.translator], CPU)
    texts = trainer.data.valid_texts

    with_blanks = [("", "x"), *texts, ("ich", " ")]
    assert text_losses(translator, with_blanks) == pytest.approx(
        text_losses(translator, texts), rel=1e-5
    )
    with pytest.raises(DataError, match="no pair of the test set"):
        text_losses(translator, [("", "x")])
    with pytest.raises(DataError, match="the test set has no lines"):
        evaluate(translator, [], [[]], ["bleu"])


@pytest.mark.parametrize("n", [1, 2, 3])
def test_the_losses_of_a_model_several_times_over_are_its_own(n: int, tmp_path: Path) -> None:
    trainer = tiny_trainer(tmp_path, model={"init": {"scale": 0.5}})
    trainer.model.eval()
    valid = trainer.data.valid.pairs
    batches = [pairs_batch(valid, np.arange(len(valid)), reverse_source=False)]

    found = text_losses(Translator([trainer.translator] * n, CPU), trainer.data.valid_texts)
    assert found == pytest.approx(corpus_losses(trainer.model, batches, CPU), rel=1e-5)


def test_an_ensemble_writes_and_cuts_targets_as_its_first_model_does(tmp_path: Path) -> None:
    long, short = (
        tiny_trainer(tmp_path, data=data, model={"init": {"scale": 0.5}}).translator
        for data in ({}, {"max_length": 6, "reverse_source": True})
    )
    for file in (long, short):
        file.model.eval()
    assert short.target.vocabulary.tokens == long.target.vocabulary.tokens
    source = "ich mag Brot ."
    whole = [("ich sehe", "i sees"), (source, "i likes bread . he likes milk .")]
    cut = [("ich sehe", "i sees"), (source, "i likes bread . he likes")]

    def losses(texts: list[tuple[str, str]], *files: TranslatorFile) -> Losses:
        return text_losses(Translator(files, CPU), texts)

    assert losses(whole, short, long) == losses(cut, short, long)
    assert losses(whole, long, short) != losses(cut, long, short)
    assert losses(cut, long, short) == pytest.approx(losses(cut, short, long), rel=1e-5)


def test_unknown_bleu_tokenizer_is_refused_with_those_there_are() -> None:
    check_tokenizer("13a")
    check_tokenizer(None)
    with pytest.raises(UsageError, match=r"--bleu-tokenize 13b: sacreBLEU has .*13a.*intl"):
        check_tokenizer("13b")


def best_texts(
    translator: Translator, sources: list[str], options: TranslationOptions | None = None
) -> list[str]:
    return [translation.best.text for translation in translator.translate(sources, options)]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[TranslationOptions | None]:
    """The options of each call of Translator.translate from now on."""
    calls: list[TranslationOptions | None] = []
    translate = Translator.translate

    def listen(
        self: Translator, lines: Iterable[str], options: TranslationOptions | None = None
    ) -> Iterator[Translation]:
        calls.append(options)
        return translate(self, lines, options)

    monkeypatch.setattr(Translator, "translate", listen)
    return calls


def test_validation_is_greedy_and_evaluation_does_as_it_is_told(
    asked: list[TranslationOptions | None], tmp_path: Path
) -> None:
    trainer = tiny_trainer(tmp_path)
    Validator(trainer.data.valid_texts, tmp_path, CPU, trainer.plan)(
        trainer.translator, {"event": "valid", "step": 3}
    )
    assert asked == [TranslationOptions(beam_size=1)]
    options = TranslationOptions(beam_size=3, length_penalty=0.5)
    translator = Translator([trainer.translator], CPU)
    for given in (options, None):
        evaluate(translator, ["ich mag Brot ."], [["i likes bread ."]], ["ter"], options=given)
    assert asked[1:] == [options, None]


def test_validation_translates_logs_samples_and_draws(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    trainer = tiny_trainer(tmp_path)
    texts = trainer.data.valid_texts
    validator = Validator(texts, tmp_path, torch.device("cpu"), trainer.plan)
    event = {"event": "valid", "step": 3, "epoch": 1, "perplexity": 9.0}

    with caplog.at_level("INFO", logger="seq2seq"):
        scores = validator(trainer.translator, event)

    sources = [source for source, _ in texts]
    translator = Translator([trainer.translator], CPU)
    hypotheses = best_texts(translator, sources, TranslationOptions(beam_size=1))
    expected = metrics.bleu(hypotheses, [[target for _, target in texts]]).score
    assert scores == {"bleu": expected}
    assert sum("source " in message for message in caplog.messages) == 3
    assert f"  source      {sources[0]}" in caplog.messages
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_without_validation_data_only_curves_are_drawn(tmp_path: Path) -> None:
    trainer = tiny_trainer(tmp_path, data={"valid": "none"}, validation={"metric": "train_loss"})
    validator = Validator(trainer.data.valid_texts, tmp_path, CPU, trainer.plan)

    assert validator(trainer.translator, {"event": "valid", "step": 3, "train_loss": 2.0}) == {}
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("num_events", [0, 1, 5])
@pytest.mark.parametrize("steps", [None, 1, 1000])
@pytest.mark.parametrize("schedule", [{"kind": "plateau"}, {"kind": "halving"}])
def test_curves_are_drawn_from_any_number_of_events(
    num_events: int, steps: int | None, schedule: dict[str, str], tmp_path: Path
) -> None:
    events = [{"event": "valid", "step": i, "perplexity": 5.0 + i} for i in range(num_events)]
    training = TrainingConfig.model_validate({"learning_rate_schedule": schedule})

    draw_curves(tmp_path / "c.png", events, "title", Plan(training, steps, 100))

    assert (tmp_path / "c.png").stat().st_size > 1000


def test_metrics_log_is_cut_back_and_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    log = MetricsLog(path)
    log.append({"event": "train", "step": 1, "loss": 1 / 3})
    kept = log.num_bytes
    log.append({"event": "train", "step": 2})
    log.close()

    log = MetricsLog(path, kept)
    log.append({"event": "train", "step": 3})
    log.close()

    assert read_metrics(path) == [
        {"event": "train", "step": 1, "loss": 0.3333333},
        {"event": "train", "step": 3},
    ]
    assert read_metrics(tmp_path / "none.jsonl") == []
