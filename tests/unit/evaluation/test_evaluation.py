"""Scores against sacreBLEU's own numbers and definitions, losses against the trainer's."""

from pathlib import Path

import pytest
import sacrebleu
import torch

from seq2seq_cli.config.training import TrainingConfig
from seq2seq_cli.decoding.translator import Translator
from seq2seq_cli.errors import DataError, UsageError
from seq2seq_cli.evaluation import metrics
from seq2seq_cli.evaluation.evaluate import check_tokenizer, evaluate, text_losses
from seq2seq_cli.evaluation.plots import draw_curves
from seq2seq_cli.evaluation.validation import Validator
from seq2seq_cli.model.scoring import perplexity
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
    translator = Translator(trainer.translator, CPU)
    sources, targets = map(list, zip(*trainer.data.valid_texts, strict=True))

    evaluation = evaluate(
        translator, sources, [targets], ["bleu", "chrf", "ter", "loss"], batch_size=4
    )

    assert evaluation.hypotheses == [t.text for t in translator.translate(sources)]
    assert evaluation.results["pairs"] == len(sources)
    assert evaluation.results["bleu"] == vars(metrics.bleu(evaluation.hypotheses, [targets]))
    loss = evaluation.results["loss"]
    assert loss == pytest.approx(
        text_losses(trainer.translator, trainer.data.valid_texts, CPU, 32).loss, rel=1e-5
    )
    assert evaluation.results["perplexity"] == perplexity(loss)
    only = evaluate(translator, sources, [targets], ["ter"]).results
    assert set(only) == {"pairs", "ter", "seconds"}
    unread = evaluate(translator, sources, [targets], ["loss"], keep_hypotheses=False)
    assert unread.hypotheses == []
    assert unread.results["loss"] == pytest.approx(loss, rel=1e-5)


def test_losses_pass_over_empty_sides_and_refuse_only_such(tmp_path: Path) -> None:
    trainer = tiny_trainer(tmp_path)
    texts = trainer.data.valid_texts

    with_blanks = [("", "x"), *texts, ("ich", " ")]
    assert text_losses(trainer.translator, with_blanks, CPU, 8) == pytest.approx(
        text_losses(trainer.translator, texts, CPU, 8), rel=1e-5
    )
    with pytest.raises(DataError, match="no pair of the test set"):
        text_losses(trainer.translator, [("", "x")], CPU, 8)
    with pytest.raises(DataError, match="the test set has no lines"):
        evaluate(Translator(trainer.translator, CPU), [], [[]], ["bleu"])


def test_unknown_bleu_tokenizer_is_refused_with_those_there_are() -> None:
    check_tokenizer("13a")
    check_tokenizer(None)
    with pytest.raises(UsageError, match=r"--bleu-tokenize 13b: sacreBLEU has .*13a.*intl"):
        check_tokenizer("13b")


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
    hypotheses = [t.text for t in Translator(trainer.translator, CPU).translate(sources)]
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
    log.append({"step": 1, "loss": 1 / 3})
    kept = log.num_bytes
    log.append({"step": 2})
    log.close()

    log = MetricsLog(path, kept)
    log.append({"step": 3})
    log.close()

    assert read_metrics(path) == [{"step": 1, "loss": 0.3333333}, {"step": 3}]
    assert read_metrics(tmp_path / "none.jsonl") == []
