"""The training loop: what a step does, when it validates, saves, stops and goes on."""

import math
import shutil
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from seq2seq_cli.config_file import dump_config
from seq2seq_cli.data import batching
from seq2seq_cli.data.batching import Batch, pairs_batch
from seq2seq_cli.errors import (
    ConfigError,
    DataError,
    Interrupted,
    RunDirectoryError,
    TrainingError,
)
from seq2seq_cli.model.model_file import TranslatorFile, load_translator
from seq2seq_cli.training import runs
from seq2seq_cli.training.checkpoint import load_checkpoint
from seq2seq_cli.training.dry_run import dry_run
from seq2seq_cli.training.loop import train
from seq2seq_cli.training.metrics_log import Event, read_metrics
from seq2seq_cli.training.stopping import StopRequest, stop_on_signals
from seq2seq_cli.training.trainer import Trainer
from tests.unit.training.support import (
    CPU,
    Scores,
    assert_same_weights,
    run,
    run_until,
    sum_up,
    tiny_config,
    tiny_trainer,
    weights,
    write_corpus,
)

TINY = {"embedding_dim": 4, "hidden_size": 5, "num_layers": 2}
INPUT_FEEDING = {
    "embedding_dim": 8,
    "hidden_size": 12,
    "num_layers": 2,
    "attention": {"kind": "general", "place": "input_feeding"},
}


def first_batch(trainer: Trainer) -> Batch:
    return pairs_batch(trainer.data.train.pairs, trainer.epoch_batches(1)[0], reverse_source=False)


def test_the_model_learns_a_small_corpus(tmp_path: Path) -> None:
    trainer = tiny_trainer(
        tmp_path,
        epochs=40,
        optimizer={"kind": "adam", "learning_rate": 0.02},
        model={
            "encoder": {"embedding_dim": 16, "hidden_size": 32, "num_layers": 1},
            "decoder": {"embedding_dim": 16, "hidden_size": 32, "num_layers": 1},
            "dropout": 0.0,
            "init": {"kind": "uniform", "scale": 0.3},
        },
        validation={"every": 400},
    )
    run_dir = run(trainer, tmp_path)

    losses = [e["loss"] for e in read_metrics(run_dir / "metrics.jsonl") if e["event"] == "train"]
    assert losses[0] > 2.5
    assert losses[-1] < 0.1


def test_same_seed_same_weights_and_another_seed_others(tmp_path: Path) -> None:
    write_corpus(tmp_path)
    results = []
    for seed in (1, 1, 2):
        config = tiny_config(tmp_path, epochs=1).model_copy(update={"seed": seed})
        trainer = runs.new_trainer(config, CPU, torch.float32)
        run(trainer, tmp_path)
        results.append(weights(trainer))

    assert_same_weights(results[0], results[1])
    assert not torch.equal(results[0]["decoder.output.weight"], results[2]["decoder.output.weight"])


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"teacher_forcing": {"kind": "linear", "start": 1.0, "end": 0.2}},
        {"optimizer": {"kind": "adamw"}, "learning_rate_schedule": {"kind": "cosine"}},
        {"optimizer": {"kind": "sgd", "momentum": 0.9, "learning_rate": 0.5}},
        {"batch_unit": "tokens", "batch_size": 60},
        {"teacher_forcing": {"kind": "exponential", "k": 0.9, "per": "token"}},
        {"learning_rate_schedule": {"kind": "halving", "after_epochs": 0.5, "every_epochs": 0.25}},
        {"data": {"tokenizer": {"kind": "bpe", "size": 60, "dropout": 0.3}}},
        {"validation": {"metric": "train_loss"}, "log_every": 3},
        {"batch_unit": "tokens", "batch_size": 23, "teacher_forcing": {"kind": "linear"}},
        {"data": {"valid": "none"}, "validation": {"metric": "train_loss"}},
        {"epochs": 1.5, "teacher_forcing": {"kind": "linear"}, "loss_per": "sentence"},
        {"epochs": 1.3, "batch_unit": "tokens", "batch_size": 60},
        {"r_drop": 2.0, "teacher_forcing": {"kind": "linear", "per": "token"}},
        {"model": {"decoder": INPUT_FEEDING, "dropout": {"variational": True, "word": 0.1}}},
    ],
)
@pytest.mark.parametrize("stop_at", [1, 8, 11])
def test_resumed_equals_never_stopped(
    options: dict[str, Any], stop_at: int, tmp_path: Path
) -> None:
    straight = tiny_trainer(tmp_path, save_every=3, **options)
    events = read_metrics(run(straight, tmp_path) / "metrics.jsonl")
    straight_losses = [event["train_loss"] for event in events if event["event"] == "valid"]

    stopped = tiny_trainer(tmp_path, save_every=3, **options)
    run_dir = run_until(stopped, tmp_path, stop_at)

    # What was logged after the last save belongs to a past that did not happen.
    with (run_dir / "metrics.jsonl").open("a") as file:
        file.write('{"event": "train", "step": 999}\n')
    resumed = runs.resumed_trainer(run_dir, stopped.config, CPU, torch.float32)
    assert resumed.state.step == stop_at
    train(resumed, run_dir, Scores(), StopRequest())

    assert_same_weights(weights(straight), weights(resumed))
    events = read_metrics(run_dir / "metrics.jsonl")
    steps = [event["step"] for event in events if event["event"] == "train"]
    every = straight.config.training.log_every
    last = straight.state.step
    assert steps == [step for step in range(1, last + 1) if step % every == 0 or step == last]
    valid = [event for event in events if event["event"] == "valid"]
    assert [event["epoch"] for event in valid] == [1, 2]
    assert [event["train_loss"] for event in valid] == pytest.approx(straight_losses, rel=1e-6)


def test_a_stop_in_the_last_step_still_gets_its_validation(tmp_path: Path) -> None:
    trainer = tiny_trainer(tmp_path, max_steps=3)
    run_dir = tmp_path / "run"
    runs.begin_run(run_dir, trainer.config)
    stop = StopRequest()
    stop.signal = signal.SIGINT
    for number, indices in enumerate(trainer.epoch_batches(1)[:3]):
        result = trainer.train_step(trainer.train_batch(indices, 1, number))
        trainer.state.train_loss_sum += result.loss_sum.item()
        trainer.state.train_tokens += result.num_tokens
    with pytest.raises(Interrupted):
        train(trainer, run_dir, Scores(), stop)

    resumed = runs.resumed_trainer(run_dir, trainer.config, CPU, torch.float32)
    scores = Scores()
    train(resumed, run_dir, scores, StopRequest())

    assert scores.steps == [3]
    assert (run_dir / "best.safetensors").exists()


@pytest.mark.parametrize("clip", [0.01, None])
@pytest.mark.parametrize("loss_per", ["token", "sentence"])
def test_a_step_follows_the_clipped_gradient_of_the_mean_loss(
    loss_per: str, clip: float | None, tmp_path: Path
) -> None:
    """Per token, or per sentence: the 2014 paper's s = ||g||, g divided by 128 (section 3.4)."""
    trainer = tiny_trainer(
        tmp_path,
        optimizer={"kind": "sgd", "learning_rate": 0.5},
        gradient_clip_norm=clip,
        loss_per=loss_per,
        model={"dropout": 0.0},
    )
    batch = first_batch(trainer)
    loss_sum, num_tokens = trainer.model(batch)
    (loss_sum / {"token": num_tokens, "sentence": 16}[loss_per]).backward()
    gradients = [p.grad.clone() for p in trainer.model.parameters() if p.grad is not None]
    norm = torch.stack([gradient.norm() for gradient in gradients]).norm()
    before = [p.detach().clone() for p in trainer.model.parameters()]
    trainer.model.zero_grad()

    result = trainer.train_step(batch)

    assert result.gradient_norm.item() == pytest.approx(norm.item(), rel=1e-4)
    assert norm > 0.01
    shrunk = 0.5 * (clip / norm if clip else 1.0)
    for old, gradient, parameter in zip(before, gradients, trainer.model.parameters(), strict=True):
        torch.testing.assert_close(parameter, old - shrunk * gradient)


def test_the_loss_is_told_per_token_whatever_the_gradient_is_a_mean_of(tmp_path: Path) -> None:
    events = {}
    for loss_per in ("token", "sentence"):
        trainer = tiny_trainer(tmp_path, epochs=None, max_steps=1, loss_per=loss_per)
        events[loss_per] = read_metrics(run(trainer, tmp_path) / "metrics.jsonl")
    (train, valid), (train_sentence, valid_sentence) = events["token"], events["sentence"]
    for key in ("loss", "perplexity"):
        assert train_sentence[key] == train[key]
    assert valid_sentence["train_loss"] == valid["train_loss"] == train["loss"]
    size = len(trainer.data.target.vocabulary)
    assert train["loss"] == pytest.approx(math.log(size), rel=0.1)
    batch = first_batch(trainer)
    longer = batch.num_target_tokens / len(batch.trg_ids)
    assert train_sentence["gradient_norm"] == pytest.approx(
        longer * train["gradient_norm"], rel=1e-4
    )


def test_label_smoothing_is_in_the_training_loss_only(tmp_path: Path) -> None:
    """Log-probabilities of a model whose output bias alone speaks are known beforehand."""
    trainer = tiny_trainer(tmp_path, label_smoothing=0.3, max_steps=1, model={"dropout": 0.0})
    size = len(trainer.data.target.vocabulary)
    bias = torch.linspace(-2.0, 2.0, size)
    output = trainer.model.decoder.output
    assert isinstance(output, nn.Linear)
    with torch.no_grad():
        output.weight.zero_()
        output.bias.copy_(bias)
    log_probs = bias.log_softmax(dim=0)
    batch = first_batch(trainer)
    targets = batch.trg_ids[:, 1:]
    targets = targets[targets != 0]
    plain = -log_probs[targets].mean().item()

    scored, num_tokens = trainer.model(batch)
    result = trainer.train_step(batch)

    assert scored.item() / num_tokens == pytest.approx(plain, rel=1e-5)
    assert result.loss_sum.item() / num_tokens == pytest.approx(
        0.7 * plain - 0.3 * log_probs.mean().item(), rel=1e-5
    )


def test_r_drop_adds_its_weight_of_the_divergence_and_counts_a_sentence_once(
    tmp_path: Path,
) -> None:
    results = {}
    model = {"dropout": 0.5, "init": {"kind": "uniform", "scale": 1.0}}
    for r_drop in (0.0, 1.0, 2.0, 3.0):
        trainer = tiny_trainer(tmp_path, r_drop=r_drop, max_steps=1, model=model)
        batch = first_batch(trainer)
        results[r_drop] = trainer.train_step(batch)
        assert results[r_drop].num_tokens == batch.num_target_tokens
    one, two, three = (results[r_drop].loss_sum.item() for r_drop in (1.0, 2.0, 3.0))
    assert one < two < three
    assert three - two == pytest.approx(two - one, rel=1e-2)
    # What is left without the divergence is the loss of another reading of the same sentences.
    assert one - (two - one) == pytest.approx(results[0.0].loss_sum.item(), rel=0.05)


def test_metrics_have_the_keys_people_rely_on(tmp_path: Path) -> None:
    run_dir = run(tiny_trainer(tmp_path, epochs=1), tmp_path, Scores(12.5))
    events = read_metrics(run_dir / "metrics.jsonl")

    train, valid = events[0], events[-1]
    assert set(train) == {
        "event",
        "step",
        "epoch",
        "seconds",
        "loss",
        "perplexity",
        "target_tokens_per_second",
        "learning_rate",
        "gradient_norm",
        "teacher_forcing_ratio",
    }
    assert train["perplexity"] == pytest.approx(math.exp(train["loss"]), rel=1e-4)
    assert (valid["event"], valid["step"], valid["epoch"], valid["bleu"]) == ("valid", 8, 1, 12.5)
    assert valid["free_running_perplexity"] == pytest.approx(
        math.exp(valid["free_running_loss"]), rel=1e-4
    )


def test_the_training_loss_is_the_mean_since_the_last_validation(tmp_path: Path) -> None:
    trainer = tiny_trainer(tmp_path, validation={"every": 3, "metric": "train_loss"})
    taken: list[tuple[float, int]] = []
    take_step = trainer.train_step

    def remember(batch: Any) -> Any:
        result = take_step(batch)
        taken.append((result.loss_sum.item(), result.num_tokens))
        return result

    trainer.train_step = remember  # type: ignore[assignment, method-assign]
    run_dir = run(trainer, tmp_path)

    valid = [e for e in read_metrics(run_dir / "metrics.jsonl") if e["event"] == "valid"]
    begins = [0, *(event["step"] for event in valid)]
    for event, begin in zip(valid, begins, strict=False):
        losses, tokens = zip(*taken[begin : event["step"]], strict=True)
        assert event["train_loss"] == pytest.approx(sum(losses) / sum(tokens), rel=1e-5)
    best = min(valid, key=lambda event: float(event["train_loss"]))
    assert trainer.state.best_step == best["step"]


def test_without_validation_data_the_training_loss_decides(tmp_path: Path) -> None:
    trainer = tiny_trainer(
        tmp_path, data={"valid": "none"}, validation={"metric": "train_loss"}, epochs=3
    )
    scores = Scores()
    run_dir = run(trainer, tmp_path, scores)

    assert scores.steps == [8, 16, 24]
    last = read_metrics(run_dir / "metrics.jsonl")[-1]
    assert set(last) == {"event", "step", "epoch", "seconds", "train_loss", "bleu"}
    assert (run_dir / "best.safetensors").exists()


def test_the_plan_of_a_resumed_training_is_that_of_its_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Batches of tokens are not as many in each epoch; the first epoch's count."""
    trainer = tiny_trainer(tmp_path, epochs=4, batch_unit="tokens", batch_size=23)
    counts = {len(trainer.epoch_batches(epoch)) for epoch in range(1, 5)}
    monkeypatch.setattr(batching, "POOL_BATCHES", 1)
    counts |= {len(trainer.epoch_batches(epoch)) for epoch in range(1, 5)}
    assert len(counts) > 1
    run_dir = tmp_path / "run"
    first = tiny_trainer(tmp_path, epochs=4, batch_unit="tokens", batch_size=23)
    run_until(first, tmp_path, sum(len(first.epoch_batches(epoch)) for epoch in (1, 2)) + 1)
    assert first.state.epoch == 3
    resumed = runs.resumed_trainer(run_dir, first.config, CPU, torch.float32)
    assert resumed.plan == first.plan


def test_what_is_left_of_a_log_window_is_logged_before_the_last_validation(tmp_path: Path) -> None:
    trainer = tiny_trainer(tmp_path, epochs=None, max_steps=6, log_every=4, validation={"every": 3})
    events = read_metrics(run(trainer, tmp_path) / "metrics.jsonl")
    assert [(event["event"], event["step"]) for event in events] == [
        ("valid", 3),
        ("train", 4),
        ("train", 6),
        ("valid", 6),
    ]


def test_subwords_are_sampled_anew_in_each_epoch(tmp_path: Path) -> None:
    trainer = tiny_trainer(
        tmp_path, data={"tokenizer": {"kind": "bpe", "size": 60, "dropout": 0.5}}
    )
    indices = trainer.epoch_batches(1)[0]
    first, again, later, other = (
        trainer.train_batch(indices, *place) for place in [(1, 0), (1, 0), (2, 0), (1, 1)]
    )

    assert torch.equal(first.src_ids, again.src_ids)
    assert first.src_ids.tolist() != later.src_ids.tolist()
    assert first.src_ids.tolist() != other.src_ids.tolist()
    source = trainer.data.source
    for batch in (first, later):
        texts = [
            source.decode(row[1 : length - 1].tolist())
            for row, length in zip(batch.src_ids, batch.src_lens.tolist(), strict=True)
        ]
        assert sorted(texts) == sorted(trainer.data.train_texts[index][0] for index in indices)


@pytest.mark.parametrize(
    ("training", "validation", "expected_steps"),
    [
        ({"epochs": 3}, {}, [8, 16, 24]),
        ({"epochs": 1}, {"every": 3}, [3, 6, 8]),
        ({"epochs": 2}, {"every": 8}, [8, 16]),
        ({"epochs": 2.5}, {}, [8, 16, 20]),
        ({"epochs": 1.5}, {"every": 4}, [4, 8, 12]),
        ({"epochs": 1.5}, {"every": 5}, [5, 10, 12]),
        ({"epochs": 0.5}, {}, [4]),
        ({"epochs": 1e-9}, {}, [1]),
        ({"epochs": 1.99}, {}, [8, 16]),
        ({"epochs": None, "max_steps": 11}, {}, [8, 11]),
        ({"epochs": 5, "max_steps": 5}, {"every": 5}, [5]),
        ({"epochs": 5, "max_minutes": 1e-9}, {}, [1]),
    ],
)
def test_when_it_validates_and_ends(
    training: dict[str, Any],
    validation: dict[str, Any],
    expected_steps: list[int],
    tmp_path: Path,
) -> None:
    scores = Scores()
    trainer = tiny_trainer(tmp_path, validation=validation, **training)

    # The clock has run for no time before the first step: at least one is always taken.
    trainer.state.seconds = 0.0
    run(trainer, tmp_path, scores)

    assert scores.steps == expected_steps


@pytest.mark.parametrize(
    ("epochs", "num_batches", "expected"),
    [
        (7.5, 8, 60),
        (0.5, 8, 4),
        (0.5, 15, 8),  # the batch that the half falls into is trained
        (1e-6, 8, 1),
        (1.1, 10, 11),  # 1.1 * 10 is a hair more than 11
        (2.47, 100, 247),  # 2 + 47 / 100 is a hair less than 2.47
        (1 / 3, 30, 10),
    ],
)
def test_a_part_of_an_epoch_is_a_part_of_its_batches(
    epochs: float, num_batches: int, expected: int, tmp_path: Path
) -> None:
    """What is planned is what is done, and the schedules end there."""
    scores = Scores()
    trainer = tiny_trainer(
        tmp_path,
        epochs=epochs,
        batch_size=1,
        data={"limit": num_batches},
        model={"encoder": TINY, "decoder": TINY, "dropout": 0.0},
        learning_rate_schedule={"kind": "cosine", "warmup_steps": 0, "final_ratio": 0.25},
        teacher_forcing={"kind": "linear", "start": 1.0, "end": 0.5},
        log_every=1000,
        validation={"every": 1000},
    )
    assert trainer.num_batches == trainer.plan.steps_per_epoch == num_batches
    assert trainer.plan.steps == expected
    run_dir = run(trainer, tmp_path, scores)

    assert trainer.state.step == expected
    assert scores.steps == [expected]
    if expected > 1:
        *_, last, _ = read_metrics(run_dir / "metrics.jsonl")
        assert last["teacher_forcing_ratio"] == 0.5
        assert last["learning_rate"] == pytest.approx(0.25e-3)


def test_half_an_epoch_of_tokens_ends_where_half_of_its_batches_are_done(tmp_path: Path) -> None:
    trainer = tiny_trainer(tmp_path, epochs=1.5, batch_unit="tokens", batch_size=40)
    first, second = (len(trainer.epoch_batches(epoch)) for epoch in (1, 2))
    assert trainer.plan.steps == math.ceil(1.5 * first)
    scores = Scores()
    run(trainer, tmp_path, scores)
    assert scores.steps == [first, first + math.ceil(second / 2)]
    assert (trainer.state.epoch, trainer.state.batch) == (2, math.ceil(second / 2))


def test_a_training_goes_on_from_the_middle_of_an_epoch_with_more_of_them(tmp_path: Path) -> None:
    whole = tiny_trainer(tmp_path, epochs=2)
    run(whole, tmp_path)
    run_dir = run(tiny_trainer(tmp_path, epochs=0.5), tmp_path)

    more = runs.resumed_trainer(run_dir, whole.config, CPU, torch.float32)
    scores = Scores()
    train(more, run_dir, scores, StopRequest())

    assert scores.steps == [8, 16]
    assert_same_weights(weights(whole), weights(more))


def test_a_finished_part_of_an_epoch_is_finished(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run_dir = run(tiny_trainer(tmp_path, epochs=1.1, batch_size=12), tmp_path)
    again = runs.resumed_trainer(
        run_dir, tiny_config(tmp_path, epochs=1.1, batch_size=12), CPU, torch.float32
    )
    with caplog.at_level("INFO", logger="seq2seq"):
        again.log_start()
    assert "this training is finished; training.epochs has ended it" in caplog.messages
    scores = Scores()
    train(again, run_dir, scores, StopRequest())
    assert (again.state.step, scores.steps) == (11, [])


def test_patience_ends_training_and_the_best_model_is_kept(tmp_path: Path) -> None:
    trainer = tiny_trainer(tmp_path, epochs=20, validation={"metric": "bleu", "patience": 2})
    kept: list[dict[str, Tensor]] = []

    class Remember(Scores):
        def __call__(self, translator: TranslatorFile, event: Event) -> dict[str, float]:
            kept.append(weights(trainer))
            return super().__call__(translator, event)

    run_dir = run(trainer, tmp_path, Remember(10.0, 30.0, 20.0, 29.0, 99.0))

    assert len(kept) == 4  # two validations without a new best
    best = load_translator(run_dir / "best.safetensors", CPU)
    assert_same_weights(kept[1], best.model.state_dict())
    last = load_translator(run_dir / "last" / "model.safetensors", CPU)
    assert_same_weights(kept[3], last.model.state_dict())


def test_a_plateau_lowers_the_learning_rate(tmp_path: Path) -> None:
    trainer = tiny_trainer(
        tmp_path,
        epochs=6,
        learning_rate_schedule={"kind": "plateau", "factor": 0.1, "patience": 1},
        validation={"metric": "bleu"},
    )
    run_dir = run(trainer, tmp_path, Scores(5.0, 4.0, 4.0, 6.0, 5.0, 5.0))

    rates = {
        event["epoch"]: event["learning_rate"]
        for event in read_metrics(run_dir / "metrics.jsonl")
        if event["event"] == "train"
    }
    assert rates == pytest.approx({1: 1e-3, 2: 1e-3, 3: 1e-3, 4: 1e-4, 5: 1e-4, 6: 1e-4})


@pytest.mark.parametrize("log_every", [1, 1000])
def test_weights_that_are_no_numbers_never_replace_good_ones(
    log_every: int, tmp_path: Path
) -> None:
    trainer = tiny_trainer(tmp_path, log_every=log_every, save_every=2)
    take_step = trainer.train_step
    output = trainer.model.decoder.output
    assert isinstance(output, nn.Linear)

    def spoil_step_five(batch: Any) -> Any:
        if trainer.state.step == 4:
            with torch.no_grad():
                output.bias.fill_(math.nan)
        return take_step(batch)

    trainer.train_step = spoil_step_five  # type: ignore[assignment, method-assign]
    with pytest.raises(TrainingError, match=r"are no numbers after step 6: .*learning_rate"):
        run(trainer, tmp_path)

    assert not (tmp_path / "run" / "best.safetensors").exists()
    resumed = runs.resumed_trainer(tmp_path / "run", trainer.config, CPU, torch.float32)
    assert resumed.state.step == 4
    assert all(bool(tensor.isfinite().all()) for tensor in weights(resumed).values())


def test_what_cannot_change_on_resume_is_refused_with_both_values(tmp_path: Path) -> None:
    trainer = tiny_trainer(tmp_path, epochs=1)
    run_dir = run(trainer, tmp_path)
    changed = tiny_config(tmp_path, epochs=5, batch_size=8, model={"dropout": 0.0})

    with pytest.raises(ConfigError) as caught:
        runs.resumed_trainer(run_dir, changed, CPU, torch.float32)

    assert str(caught.value).splitlines() == [
        "model.dropout.embedding: cannot change from 0.2 to 0.0 on --resume",
        "model.dropout.hidden: cannot change from 0.2 to 0.0 on --resume",
        "training.batch_size: cannot change from 16 to 8 on --resume",
    ]


def test_a_directory_without_a_save_cannot_be_resumed(tmp_path: Path) -> None:
    write_corpus(tmp_path)
    config = tiny_config(tmp_path)
    with pytest.raises(RunDirectoryError, match="no run to go on with"):
        runs.resumed_trainer(tmp_path / "nothing", config, CPU, torch.float32)
    run_dir = run(tiny_trainer(tmp_path, epochs=1), tmp_path)
    for name in ("last", "last.previous"):
        shutil.rmtree(run_dir / name)
    with pytest.raises(RunDirectoryError, match="no save to go on from"):
        runs.resumed_trainer(run_dir, config, CPU, torch.float32)


def test_a_run_that_ended_before_its_first_save_begins_anew(tmp_path: Path) -> None:
    straight = tiny_trainer(tmp_path, epochs=1)
    run(straight, tmp_path)
    runs.begin_run(tmp_path / "begun", straight.config)
    (tmp_path / "begun" / "last.new").mkdir()
    resumed = runs.resumed_trainer(tmp_path / "begun", straight.config, CPU, torch.float32)
    train(resumed, tmp_path / "begun", Scores(), StopRequest())
    assert_same_weights(weights(straight), weights(resumed))


def test_an_interrupted_swap_of_saves_is_survived(tmp_path: Path) -> None:
    run_dir = run(tiny_trainer(tmp_path, epochs=1), tmp_path)
    shutil.rmtree(run_dir / "last.previous")
    (run_dir / "last").rename(run_dir / "last.previous")
    (run_dir / "last.new").mkdir()

    trainer = runs.resumed_trainer(run_dir, tiny_config(tmp_path), CPU, torch.float32)

    assert trainer.state.step == 8
    train(trainer, run_dir, Scores(), StopRequest())
    assert sorted(path.name for path in run_dir.glob("last*")) == ["last", "last.previous"]


# ---------------------------------------------------------------- what may not be a number


def test_a_step_without_numbers_changes_nothing_and_is_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    trainer = tiny_trainer(tmp_path, epochs=1)
    seen: list[dict[str, Tensor]] = []
    take_step = trainer.train_step
    spoilt = {3, 4, 6}

    def spoil(batch: Any) -> Any:
        number = trainer.state.step + 1
        handle = None
        if number in spoilt:
            bias = trainer.model.decoder.output.bias
            handle = bias.register_hook(lambda gradient: gradient * math.inf)  # type: ignore[no-untyped-call]
        result = take_step(batch)
        if handle is not None:
            handle.remove()
        seen.append(weights(trainer))
        return result

    trainer.train_step = spoil  # type: ignore[assignment, method-assign]
    with caplog.at_level("WARNING", logger="seq2seq"):
        run_dir = run(trainer, tmp_path)
    for number in range(2, 9):
        same = all(torch.equal(seen[number - 2][name], seen[number - 1][name]) for name in seen[0])
        assert same is (number in spoilt), number
    assert trainer.state.step == 8
    assert (trainer.state.skipped_steps, trainer.state.skipped_in_a_row) == (3, 0)
    assert [line for line in caplog.messages if "skipped" in line] == [
        f"step {step}: the loss or its gradient is no number: skipped, the weights are as they "
        f"were ({count} so far)"
        for count, step in enumerate(sorted(spoilt), 1)
    ]
    events = read_metrics(run_dir / "metrics.jsonl")
    counts = [event.get("skipped_steps", 0) for event in events if event["event"] == "train"]
    assert counts == [0, 0, 1, 2, 2, 3, 3, 3]
    assert [event["loss"] is None for event in events[:8]] == [
        number in spoilt for number in range(1, 9)
    ]
    assert math.isfinite(events[-1]["train_loss"])


@pytest.mark.parametrize("log_every", [1, 1000])
def test_too_many_steps_without_numbers_end_the_training(log_every: int, tmp_path: Path) -> None:
    trainer = tiny_trainer(tmp_path, log_every=log_every, save_every=2, max_skipped_steps=3)
    take_step = trainer.train_step

    def spoil_from_four_on(batch: Any) -> Any:
        if trainer.state.step == 3:
            trainer.model.decoder.output.bias.register_hook(lambda gradient: gradient * math.nan)  # type: ignore[no-untyped-call]
        return take_step(batch)

    trainer.train_step = spoil_from_four_on  # type: ignore[assignment, method-assign]
    with pytest.raises(TrainingError, match=r"in 3 steps in a row, up to step 6: .*learning_rate"):
        run(trainer, tmp_path)
    resumed = runs.resumed_trainer(tmp_path / "run", trainer.config, CPU, torch.float32)
    assert resumed.state.step == 4
    assert resumed.state.skipped_in_a_row == 1


def test_a_gpu_leaves_out_the_step_by_itself() -> None:
    """There, the optimizer is told by a tensor; on the CPU it takes it just so."""
    parameter = nn.Parameter(torch.ones(3))
    optimizer = torch.optim.Adam([parameter], fused=True)
    for is_finite in (False, True):
        before = parameter.detach().clone()
        parameter.grad = torch.full((3,), 1.0 if is_finite else math.nan)
        optimizer.found_inf = (~torch.tensor(is_finite)).float()  # type: ignore[attr-defined]
        optimizer.step()
        assert torch.equal(before, parameter.detach()) is not is_finite
    assert optimizer.state[parameter]["step"] == 1


# ---------------------------------------------------------------- batches in parts and together


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"loss_per": "sentence"},
        {"teacher_forcing": {"ratio": 0.5, "per": "token"}},
        {"teacher_forcing": {"ratio": 0.5}, "r_drop": 2.0, "model": {"dropout": 0.01}},
    ],
)
def test_a_batch_without_room_is_read_in_parts(
    options: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    options = {"model": {"dropout": 0.0}, "epochs": 1, **options}
    whole, parts = tiny_trainer(tmp_path, **options), tiny_trainer(tmp_path, **options)
    forward, sizes = type(parts.model).forward, []

    def with_little_room(self: Any, batch: Batch, *arguments: Any, **more: Any) -> Any:
        if self is parts.model:
            sizes.append(len(batch.trg_ids))
            if len(batch.trg_ids) > 5:
                raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(self, batch, *arguments, **more)

    monkeypatch.setattr(type(parts.model), "forward", with_little_room)
    with caplog.at_level("WARNING", logger="seq2seq"):
        for number, indices in enumerate(parts.epoch_batches(1)[:3]):
            results = [
                one.train_step(one.train_batch(indices, 1, number)) for one in (whole, parts)
            ]
            if not options.get("r_drop"):  # which draws other masks for other rows
                torch.testing.assert_close(results[0].loss_sum, results[1].loss_sum)
                torch.testing.assert_close(results[0].gradient_norm, results[1].gradient_norm)
            assert results[0].num_tokens == results[1].num_tokens
    assert sizes[:3] == [16, 8, 4]
    assert max(sizes[3:]) <= 5  # what has no room is not tried again
    assert [line for line in caplog.messages if "no memory for a whole batch" in line] == [
        caplog.messages[0]
    ]


def test_single_pairs_without_room_are_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = tiny_trainer(tmp_path)

    def no_room(*arguments: Any, **options: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(type(trainer.model), "forward", no_room)
    with pytest.raises(torch.OutOfMemoryError):
        trainer.train_step(first_batch(trainer))


def test_accumulated_batches_make_the_step_of_one_large_batch(tmp_path: Path) -> None:
    options: dict[str, Any] = {"model": {"dropout": 0.0}, "batch_size": 8, "accumulate": 2}
    trainer = tiny_trainer(tmp_path, **options)
    large = tiny_trainer(tmp_path, **{**options, "batch_size": 16, "accumulate": 1})
    pairs = trainer.epoch_batches(1)[:2]
    results = [
        trainer.train_step(*(trainer.train_batch(one, 1, n) for n, one in enumerate(pairs))),
        large.train_step(large.train_batch(np.concatenate(pairs), 1, 0)),
    ]
    torch.testing.assert_close(results[0].loss_sum, results[1].loss_sum)
    torch.testing.assert_close(results[0].gradient_norm, results[1].gradient_norm)
    assert (trainer.state.step, trainer.state.batch) == (1, 2)


@pytest.mark.parametrize("accumulate", [1, 4])
def test_a_dry_run_estimates_every_token_once_an_epoch(accumulate: int, tmp_path: Path) -> None:
    trainer = tiny_trainer(tmp_path, epochs=3, accumulate=accumulate)
    num_tokens = 3 * trainer.data.train.pairs.num_target_tokens
    report = dry_run(trainer)
    estimated = report.estimated_seconds * report.target_tokens_per_second
    assert estimated == pytest.approx(num_tokens)


def test_the_last_step_of_an_epoch_takes_the_batches_that_are_left(tmp_path: Path) -> None:
    trainer = tiny_trainer(tmp_path, batch_size=16, accumulate=3, epochs=2)  # of 8 batches
    assert trainer.plan.steps == 6
    events = read_metrics(run(trainer, tmp_path) / "metrics.jsonl")
    assert [event["step"] for event in events if event["event"] == "valid"] == [3, 6]
    assert trainer.state.step == 6
    tokens = trainer.data.train.pairs.num_target_tokens
    sizes = [
        [sum(batch.num_target_tokens for batch in step) for step in trainer.steps_left(batches)]
        for batches in [trainer.epoch_batches(3)]
    ]
    assert len(sizes[0]) == 3
    assert sum(sizes[0]) == tokens


# ---------------------------------------------------------------- going on


def test_resumed_twice_over_with_everything_on_equals_never_stopped(tmp_path: Path) -> None:
    options: dict[str, Any] = {
        "epochs": 4,
        "accumulate": 3,
        "batch_size": 7,
        "save_every": 2,
        "log_every": 4,
        "averaging": {"kind": "last", "checkpoints": 3},
        "teacher_forcing": {"kind": "linear", "end": 0.3, "per": "token"},
        "learning_rate_schedule": {"kind": "plateau", "patience": 0},
        "r_drop": 1.0,
        "label_smoothing": 0.1,
        "data": {"tokenizer": {"kind": "bpe", "size": 60, "dropout": 0.3}},
        "model": {
            "decoder": INPUT_FEEDING,
            "dropout": {"variational": True, "word": 0.1, "output": 0.1},
        },
        "validation": {"every": 5, "metric": "bleu"},
    }
    straight = tiny_trainer(tmp_path, **options)
    run_dir = run(straight, tmp_path).rename(tmp_path / "straight")
    assert straight.state.num_rate_drops > 0
    trainer = tiny_trainer(tmp_path, **options)
    for number, step in enumerate([3, 4, 5, 9, 10, 16, 17, 23]):
        resumed_dir = run_until(trainer, tmp_path, step, resumed=number > 0)
        trainer = runs.resumed_trainer(resumed_dir, trainer.config, CPU, torch.float32)
        assert trainer.state.step == step
    train(trainer, resumed_dir, Scores(), StopRequest())
    for name in ("model", "optimizer", "averages"):
        path = f"last/{name}.safetensors"
        assert (run_dir / path).read_bytes() == (resumed_dir / path).read_bytes(), name
    assert (run_dir / "best.safetensors").read_bytes() == (
        resumed_dir / "best.safetensors"
    ).read_bytes()
    found = [
        [
            {key: value for key, value in event.items() if "second" not in key}
            for event in read_metrics(folder / "metrics.jsonl")
        ]
        for folder in (run_dir, resumed_dir)
    ]
    assert found[0] == found[1]


@pytest.mark.parametrize("averaging", [{"kind": "none"}, {"kind": "ema"}, {"kind": "last"}])
def test_a_stop_in_a_validation_gives_it_up_and_makes_it_again(
    averaging: dict[str, Any], tmp_path: Path
) -> None:
    options: dict[str, Any] = {"epochs": 3, "averaging": averaging}
    straight = tiny_trainer(tmp_path, **options)
    expected = run(straight, tmp_path).rename(tmp_path / "straight")
    trainer = tiny_trainer(tmp_path, **options)
    run_dir = tmp_path / "run"
    runs.begin_run(run_dir, trainer.config)

    class Stop(Scores):
        def __call__(self, translator: TranslatorFile, event: Event) -> dict[str, float]:
            if event["step"] == 16:
                signal.raise_signal(signal.SIGTERM)
            return super().__call__(translator, event)

    scores = Stop()
    with pytest.raises(Interrupted) as caught, stop_on_signals() as stop:
        train(trainer, run_dir, scores, stop)
    assert caught.value.exit_code == 143
    assert scores.steps == [8]
    resumed = runs.resumed_trainer(run_dir, trainer.config, CPU, torch.float32)
    assert (resumed.state.step, resumed.state.validated_step) == (16, 8)
    again = Scores()
    train(resumed, run_dir, again, StopRequest())
    assert again.steps == [16, 24]
    for name in ("last/model.safetensors", "best.safetensors"):
        assert (expected / name).read_bytes() == (run_dir / name).read_bytes()
    assert_same_weights(straight.average.tensors(), resumed.average.tensors())


def test_what_config_yaml_says_by_now_is_no_way_around_what_cannot_change(tmp_path: Path) -> None:
    """It is in people's hands; the save knows what it was trained with."""
    run_dir = run(tiny_trainer(tmp_path, epochs=1), tmp_path)
    edited = tiny_config(tmp_path, epochs=2, batch_size=64)
    (run_dir / "config.yaml").write_text(dump_config(edited))
    with pytest.raises(ConfigError, match=r"batch_size: cannot change from 16 to 64"):
        runs.resumed_trainer(run_dir, edited, CPU, torch.float32)


def test_data_may_move_but_not_change(tmp_path: Path) -> None:
    run_dir = run(tiny_trainer(tmp_path, epochs=1), tmp_path)
    moved = tmp_path / "moved"
    moved.mkdir()
    for name in ("train.tsv", "valid.tsv"):
        shutil.copy(tmp_path / name, moved / name)
    config = tiny_config(moved, epochs=2)
    runs.resumed_trainer(run_dir, config, CPU, torch.float32)
    (moved / "train.tsv").write_text("de\ten\na\tb\n")
    with pytest.raises(DataError) as caught:
        runs.resumed_trainer(run_dir, config, CPU, torch.float32)
    assert (
        f"the training data is not what it was when the run began (data.train was "
        f"{tmp_path / 'train.tsv'}, is {moved / 'train.tsv'}), and"
    ) in str(caught.value)


def test_data_that_has_changed_is_refused(tmp_path: Path) -> None:
    run_dir = run(tiny_trainer(tmp_path, epochs=1), tmp_path)
    config = tiny_config(tmp_path, epochs=2)
    for name, word in (("train", "training"), ("valid", "validation")):
        path = tmp_path / f"{name}.tsv"
        before = path.read_text(encoding="utf-8")
        path.write_text(before.replace("bread", "toast", 1), encoding="utf-8")
        with pytest.raises(DataError, match=rf"run: the {word} data is not what it was"):
            runs.resumed_trainer(run_dir, config, CPU, torch.float32)
        path.write_text(before, encoding="utf-8")
    runs.resumed_trainer(run_dir, config, CPU, torch.float32)


@pytest.mark.parametrize("is_lost", [True, False])
def test_a_best_model_that_is_lost_is_made_good(
    is_lost: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    options: dict[str, Any] = {"epochs": 2, "averaging": {"kind": "ema"}}
    run_dir = run(tiny_trainer(tmp_path, epochs=1, averaging={"kind": "ema"}), tmp_path)
    best = run_dir / "best.safetensors"
    best.unlink() if is_lost else best.write_bytes(best.read_bytes()[:-9])
    with caplog.at_level("WARNING", logger="seq2seq"):
        config = tiny_config(tmp_path, **options)
        trainer = runs.resumed_trainer(run_dir, config, CPU, torch.float32)
    (line,) = caplog.messages
    assert "best.safetensors" in line
    assert "the model of the save, at step 8, takes its place" in line
    with trainer.average.applied():
        assert_same_weights(load_translator(best, CPU).model.state_dict(), weights(trainer))
    train(trainer, run_dir, Scores(), StopRequest())
    assert trainer.state.best_step == 16


def test_another_machine_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    run_dir = run(tiny_trainer(tmp_path, epochs=1), tmp_path)
    path = run_dir / "last" / "state.json"
    path.write_text(path.read_text().replace('"threads": 1', '"threads": 64'))
    sum_up(run_dir / "last")
    with caplog.at_level("INFO", logger="seq2seq"):
        config = tiny_config(tmp_path, epochs=1)
        runs.resumed_trainer(run_dir, config, CPU, torch.float32)
    assert [line for line in caplog.messages if "threads: 1 now, 64 before" in line]


def test_saves_by_the_clock(tmp_path: Path) -> None:
    trainer = tiny_trainer(tmp_path, epochs=1, save_every=1000, save_every_minutes=1e-9)
    take_step, saved = trainer.train_step, []

    def look(batch: Any) -> Any:
        saved.append(load_checkpoint(tmp_path / "run", CPU).state.step)
        return take_step(batch)

    trainer.train_step = look  # type: ignore[assignment, method-assign]
    run(trainer, tmp_path)
    assert saved == list(range(8))


def test_bfloat16_trains_close_to_float32(tmp_path: Path) -> None:
    write_corpus(tmp_path)
    losses = []
    for precision in (torch.float32, torch.bfloat16):
        config = tiny_config(tmp_path, epochs=3, teacher_forcing={"ratio": 0.5})
        trainer = runs.new_trainer(config, CPU, precision)
        events = read_metrics(run(trainer, tmp_path) / "metrics.jsonl")
        losses.append(events[-1]["loss"])
        assert all(parameter.dtype == torch.float32 for parameter in trainer.model.parameters())

    assert losses[0] != losses[1]
    assert losses[0] == pytest.approx(losses[1], rel=0.02)
