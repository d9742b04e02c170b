"""Digits as sentences: what the translation model is trained with, and what it says."""

from __future__ import annotations

import logging
import math
import os
import signal
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from seq2seq_cli.config.model import AdditiveAttention, DotAttention, GeneralAttention
from seq2seq_cli.config.reverse_toy import Lengths, SymbolsConfig
from seq2seq_cli.config.training import ConstantForcing, LinearForcing
from seq2seq_cli.config_file import changed_keys
from seq2seq_cli.data.batching import Batch, FlatIds, FlatPairs
from seq2seq_cli.data.vocabulary import EOS_ID, SPECIAL_TOKENS, UNK_ID, TextCodec
from seq2seq_cli.errors import Interrupted, TrainingError
from seq2seq_cli.model.scoring import Losses
from seq2seq_cli.model.seq2seq import Seq2Seq
from seq2seq_cli.reverse_toy.sequences import Digits, draw_sequences
from seq2seq_cli.reverse_toy.symbols_task import SymbolsTask
from seq2seq_cli.reverse_toy.task import Progress

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder for temporary files, and one stands in a folder of one's own."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return folder


def tiny_config(**changes: Any) -> SymbolsConfig:
    given = {
        "hidden_size": 8,
        "embedding_dim": 6,
        "length": Lengths(2, 3),
        "digits": 6,
        "pairs": 200,
        "batch_size": 20,
        "steps": 30,
        "learning_rate": 0.1,
    }
    return SymbolsConfig.model_validate(given | changes)


def tiny_task(**changes: Any) -> SymbolsTask:
    config = tiny_config(**changes)
    return SymbolsTask(config, draw_sequences(config), CPU)


def trained(**changes: Any) -> tuple[SymbolsTask, list[Progress]]:
    task = tiny_task(**changes)
    reports: list[Progress] = []
    task.train(reports.append)
    return task, reports


def weights(task: SymbolsTask) -> Tensor:
    model = task.translator.file.model
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


@torch.no_grad()
def enlarge_weights(task: SymbolsTask) -> None:
    """Weights with which what is read matters for what is written, and no end is written."""
    random = torch.Generator().manual_seed(1)
    model = task.translator.file.model
    for parameter in model.parameters():
        nn.init.uniform_(parameter, -2.0, 2.0, generator=random)
    assert isinstance(model.decoder.output, nn.Linear)
    model.decoder.output.bias[EOS_ID] = -100.0


def rows_of(blocks: Mapping[int, Digits]) -> list[tuple[int, ...]]:
    return [tuple(row) for rows in blocks.values() for row in rows.tolist()]


def digits_of(ids: FlatIds, codec: TextCodec) -> list[tuple[int, ...]]:
    return [tuple(map(int, codec.vocabulary.to_tokens(ids[i]))) for i in range(len(ids))]


# ---------------------------------------------------------------- what it trains with


def attending(kind: str, place: str, *, word_vectors: bool = False) -> dict[str, Any]:
    keys = {"kind": kind, "place": place, "word_vectors": word_vectors}
    return {f"model.decoder.attention.{key}": value for key, value in keys.items()}


@pytest.mark.parametrize(
    ("key", "value", "changed"),
    [
        (
            "hidden_size",
            5,
            {"model.encoder.hidden_size": 5, "model.decoder.hidden_size": 5},
        ),
        (
            "embedding_dim",
            5,
            {"model.encoder.embedding_dim": 5, "model.decoder.embedding_dim": 5},
        ),
        ("num_layers", 3, {"model.encoder.num_layers": 3, "model.decoder.num_layers": 3}),
        ("bidirectional", True, {"model.encoder.bidirectional": True}),
        (
            "attention",
            GeneralAttention(place="before"),
            attending("general", "before"),
        ),
        (
            "attention",
            AdditiveAttention(),
            attending("additive", "deep"),
        ),
        (
            "attention",
            DotAttention(place="input_feeding", word_vectors=True),
            attending("dot", "input_feeding", word_vectors=True),
        ),
        ("reverse_source", True, {"data.reverse_source": True}),
        (
            "steps",
            45,
            {"training.max_steps": 45, "training.save_every": 45, "validation.every": 4},
        ),
        (
            "steps",
            7,
            {"training.max_steps": 7, "training.save_every": 7, "validation.every": 1},
        ),
        ("batch_size", 7, {"training.batch_size": 7}),
        ("learning_rate", 0.25, {"training.optimizer.learning_rate": 0.25}),
        ("gradient_clip_norm", 3.0, {"training.gradient_clip_norm": 3.0}),
        ("gradient_clip_norm", None, {"training.gradient_clip_norm": None}),
        (
            "teacher_forcing",
            ConstantForcing(ratio=0.5, per="token"),
            {"training.teacher_forcing.ratio": 0.5, "training.teacher_forcing.per": "token"},
        ),
        (
            "teacher_forcing",
            LinearForcing(start=0.75, end=0.25),
            {
                "training.teacher_forcing.kind": "linear",
                "training.teacher_forcing.ratio": None,
                "training.teacher_forcing.start": 0.75,
                "training.teacher_forcing.end": 0.25,
            },
        ),
        ("seed", 9, {"seed": 9}),
        ("length", Lengths(1, 5), {"data.max_length": 5}),
        ("test_length", Lengths(1, 2), {}),
        ("test_length", Lengths(1, 9), {"data.max_length": 9}),
        ("pairs", 100, {}),
        ("digits", 5, {}),
    ],
)
def test_each_key_is_that_of_the_training_and_changes_nothing_else(
    key: str, value: object, changed: dict[str, object]
) -> None:
    config = tiny_task().trainer.config
    other = tiny_task(**{key: value}).trainer.config
    changes = {name: new for name, (_, new) in changed_keys(config, other).items()}
    elsewhere = {
        f"data.{split}.{side}" for split in ("train", "valid") for side in ("source", "target")
    }
    assert {name: new for name, new in changes.items() if name not in elsewhere} == changed


def test_what_every_training_has_in_common() -> None:
    config = tiny_task().trainer.config
    assert config.data.tokenizer.kind == "whitespace"
    assert config.model.init.kind == "xavier"
    assert config.training.epochs is None
    assert config.training.optimizer.kind == "adam"
    assert config.training.averaging.kind == "none"
    assert config.training.label_smoothing == 0.0
    assert not any(rate for _, rate in config.model.dropout)
    assert config.validation.patience is None
    schedule = config.training.learning_rate_schedule
    assert schedule.kind == "cosine"
    assert schedule.warmup_steps == 100


def test_the_model_is_as_large_as_the_config_says() -> None:
    model = tiny_task(hidden_size=7, embedding_dim=4, num_layers=2).translator.file.model
    shapes = {name: tuple(values.shape) for name, values in model.named_parameters()}
    num_words = 6 + len(SPECIAL_TOKENS)
    for side in ("encoder", "decoder"):
        assert shapes[f"{side}.embedding.weight"] == (num_words, 4)
    of_lstm = [shape for name, shape in shapes.items() if "weight_hh" in name]
    assert of_lstm == [(4 * 7, 7)] * 4
    assert shapes["decoder.output.weight"] == (num_words, 7)


# ---------------------------------------------------------------- what it learns from


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"reverse_source": True},
        {"length": Lengths(1, 4)},
        {"test_length": Lengths(3, 5)},
    ],
)
def test_it_learns_from_the_sequences_drawn_and_is_watched_on_those_held_out(
    changes: dict[str, Any],
) -> None:
    config = tiny_config(**changes)
    data = draw_sequences(config)
    prepared = SymbolsTask(config, data, CPU).trainer.data
    for pairs, blocks in [
        (prepared.train.pairs, data.train),
        (prepared.valid.pairs, data.held_out),
    ]:
        sources = digits_of(pairs.source, prepared.source)
        assert sorted(sources) == sorted(rows_of(blocks))
        targets = digits_of(pairs.target, prepared.target)
        assert targets == [row[::-1] for row in sources]


def first_batch(task: SymbolsTask) -> tuple[FlatPairs, Batch]:
    """Its pairs as they were written, and as the model is given them."""
    trainer = task.trainer
    indices = trainer.epoch_batches(1)[0]
    pairs = trainer.data.train.pairs
    chosen = FlatPairs(
        FlatIds.from_sequences([pairs.source[i] for i in indices]),
        FlatIds.from_sequences([pairs.target[i] for i in indices]),
    )
    return chosen, trainer.train_batch(indices, 1, 0)


@pytest.mark.parametrize("reverse_source", [False, True])
def test_with_the_source_reversed_it_is_copying(reverse_source: bool) -> None:
    pairs, batch = first_batch(tiny_task(reverse_source=reverse_source))
    assert len(batch.src_ids) == 20
    for row, (src_ids, src_len, trg_ids) in enumerate(
        zip(batch.src_ids, batch.src_lens.tolist(), batch.trg_ids, strict=True)
    ):
        source, target = src_ids[1 : src_len - 1].tolist(), trg_ids[1 : src_len - 1].tolist()
        assert target == pairs.target[row].tolist() == pairs.source[row].tolist()[::-1]
        assert source == (target if reverse_source else target[::-1])


@pytest.mark.parametrize("attention", ["none", "general"])
def test_it_reads_backwards_when_it_writes_too(attention: str) -> None:
    plain = tiny_task(attention=attention)
    reversed_ = tiny_task(attention=attention, reverse_source=True)
    for task in (plain, reversed_):
        enlarge_weights(task)
    rows = np.array([[0, 1, 2], [5, 5, 3], [4, 2, 0], [1, 3, 4]])
    outputs = reversed_.outputs(rows)
    assert outputs == plain.outputs(rows[:, ::-1])
    assert outputs != plain.outputs(rows)


# ---------------------------------------------------------------- what it says


@pytest.mark.parametrize("length", [1, 3])
@pytest.mark.parametrize(
    ("changes", "layers", "memory_size"),
    [
        ({}, 1, None),
        ({"num_layers": 2}, 2, None),
        ({"bidirectional": True}, 1, None),
        ({"bidirectional": True, "num_layers": 3}, 3, None),
        ({"attention": "dot"}, 1, 8),
        ({"attention": "general", "num_layers": 2}, 2, 8),
        ({"attention": "additive", "bidirectional": True}, 1, 16),
        ({"attention": {"kind": "general", "place": "input_feeding"}}, 1, 8),
        ({"attention": {"kind": "dot", "word_vectors": True}, "embedding_dim": 5}, 1, 8 + 5),
    ],
)
def test_shapes_that_are_handed_over(
    changes: dict[str, Any], layers: int, memory_size: int | None, length: int
) -> None:
    handed = tiny_task(**changes).handover([2] * length)
    expected: dict[str, tuple[int, ...]] = {"hidden": (layers, 1, 8), "cell": (layers, 1, 8)}
    if memory_size:
        expected["memory"] = (1, length + 2, memory_size)  # <sos> and <eos> too
    assert handed == expected


def test_outputs_are_whole_numbers() -> None:
    task = tiny_task()
    enlarge_weights(task)
    rows = [[0, 1, 2], [5, 4, 3], [2, 2, 2]]
    outputs = task.outputs(rows)
    assert outputs == task.outputs(np.array(rows))
    assert [task.outputs([row]) for row in rows] == [[output] for output in outputs]
    written = [token for output in outputs for token in output if token != "<unk>"]
    assert written
    assert all(type(token) is int and 0 <= token < 6 for token in written)


def test_digits_beyond_nine_are_one_symbol() -> None:
    task = tiny_task(digits=120, length=Lengths(1, 2), pairs=20_000)
    assert len(task.translator.file.target.vocabulary) == 120 + len(SPECIAL_TOKENS)
    assert task.handover([110, 7]) == task.handover([1, 1])
    enlarge_weights(task)
    outputs = task.outputs([[number, 119] for number in range(120)])
    assert max(token for output in outputs for token in output if isinstance(token, int)) > 99


def test_symbols_seen_once_are_known_and_all_others_are_not() -> None:
    task = tiny_task(digits=200, length=Lengths(1, 1), pairs=50)
    source = task.translator.file.source
    assert len(source.vocabulary) == 50 + len(SPECIAL_TOKENS)
    ids = [int(source.encode(f"{symbol}")[0]) for symbol in range(200)]
    assert ids.count(UNK_ID) == 150


@torch.no_grad()
def test_an_unknown_symbol_stays_a_word() -> None:
    task = tiny_task()
    output = task.translator.file.model.decoder.output
    assert isinstance(output, nn.Linear)
    output.bias[UNK_ID] = 100.0
    ((first, *others),) = task.outputs([[1, 2]])
    assert first == "<unk>"
    assert set(others) <= {"<unk>"}
    assert task.answer([3, "<unk>", 1]) == [3, "<unk>", 1]


def test_sequences_longer_than_those_trained_on_are_not_cut() -> None:
    task = tiny_task(test_length=Lengths(5, 7))
    (translation,) = task.translator.translate(["1 2 3 4 5 0 1"])
    assert "truncated" not in translation.flags
    enlarge_weights(task)
    rows = np.array([[0, 1, 2, 3, 4, 5, last] for last in range(6)])
    assert len(set(map(tuple, task.outputs(rows)))) > 1
    assert len({task.losses({7: rows[i : i + 1]}) for i in range(6)}) == 6


def test_an_example_longer_than_all_others_is_not_cut() -> None:
    config = tiny_config()
    task = SymbolsTask(config, draw_sequences(config, [0, 1, 2, 3, 4, 5, 0]), CPU)
    (translation,) = task.translator.translate(["0 1 2 3 4 5 0"])
    assert "truncated" not in translation.flags


@pytest.mark.parametrize("reverse_source", [False, True])
def test_losses_are_means_over_all_symbols_and_ends(reverse_source: bool) -> None:
    task = tiny_task(reverse_source=reverse_source)
    enlarge_weights(task)
    blocks = {2: np.array([[1, 2], [0, 5], [3, 3]]), 3: np.array([[1, 2, 4]])}
    pairs = [
        (" ".join(map(str, row)), " ".join(map(str, row[::-1])))
        for rows in blocks.values()
        for row in rows.tolist()
    ]
    scores = [found.score for found in task.translator.score(pairs)]
    losses = task.losses(blocks)
    assert losses.loss == pytest.approx(-sum(scores) / (3 * 3 + 4), rel=1e-5)
    assert losses.free_running_loss != losses.loss
    one_block = task.losses({3: blocks[3]})
    assert one_block.loss == pytest.approx(-scores[3] / 4, rel=1e-5)


# ---------------------------------------------------------------- training


@pytest.mark.parametrize("changes", [{}, {"attention": "general"}])
def test_training_lowers_the_losses(changes: dict[str, Any]) -> None:
    task = tiny_task(**changes)
    data = draw_sequences(tiny_config(**changes))
    before = task.losses(data.held_out)
    task.train(lambda progress: None)
    after = task.losses(data.held_out)
    assert after.loss < 0.9 * before.loss
    assert after.free_running_loss < 0.95 * before.free_running_loss


@pytest.mark.parametrize(
    ("steps", "reported"),
    [(1, [1]), (10, list(range(1, 11))), (43, [*range(4, 41, 4), 43])],
)
def test_reports_come_at_equal_distances_and_at_the_end(steps: int, reported: list[int]) -> None:
    _, reports = trained(steps=steps, batch_size=4)
    assert [report.step for report in reports] == reported
    assert all(map(math.isfinite, reports[-1].losses))


def test_reports_are_of_the_weights_at_that_step_on_what_is_held_out() -> None:
    data = draw_sequences(tiny_config())
    task = tiny_task()
    reports: list[Progress] = []

    def compare(progress: Progress) -> None:
        assert progress.losses == pytest.approx(task.losses(data.held_out), rel=1e-4)
        reports.append(progress)

    task.train(compare)
    assert len({report.losses for report in reports}) == len(reports) == 10


def test_the_last_weights_are_the_model_not_the_best(monkeypatch: pytest.MonkeyPatch) -> None:
    task, _ = trained()
    assert task.trainer.state.step == 30
    worse = iter(range(100))

    def rising(*_: object) -> Losses:
        number = next(worse)
        return Losses(float(number), float(number))

    monkeypatch.setattr("seq2seq_cli.training.loop.corpus_losses", rising)
    other, reports = trained()
    assert [report.losses.loss for report in reports] == list(range(10))
    assert torch.equal(weights(task), weights(other))


def test_the_seed_decides_everything() -> None:
    config = tiny_config(teacher_forcing=0.5)
    data = draw_sequences(config)
    found: list[tuple[Tensor, Tensor]] = []
    for seed in (1, 1, 2):
        torch.manual_seed(len(found))
        task = SymbolsTask(config.model_copy(update={"seed": seed}), data, CPU)
        before = weights(task)
        task.train(lambda progress: None)
        found.append((before, weights(task)))
    (before, after), (same_before, same_after), (other_before, _) = found
    assert torch.equal(before, same_before)
    assert torch.equal(after, same_after)
    assert not torch.equal(before, other_before)
    assert not torch.equal(before, after)


def test_what_the_decoder_is_fed_is_the_configs_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    fed: list[Tensor | None] = []
    forward = Seq2Seq.forward

    def noting(model: Seq2Seq, batch: Batch, forced: Tensor | None, *others: Any) -> Any:
        if model.training:
            fed.append(forced)
        return forward(model, batch, forced, *others)

    monkeypatch.setattr(Seq2Seq, "forward", noting)
    trained(steps=3)
    assert fed == [None] * 3
    fed.clear()
    trained(steps=3, teacher_forcing=0)
    assert [forced is not None and not forced.any() for forced in fed] == [True] * 3


# ---------------------------------------------------------------- what is left behind


def test_no_files_are_left_behind(temporary: Path) -> None:
    seen: list[int] = []

    def look(progress: Progress) -> None:
        seen.append(len(list(temporary.iterdir())))

    task = tiny_task()
    assert list(temporary.iterdir()) == []
    task.train(look)
    assert set(seen) == {1}  # it did write there
    assert list(temporary.iterdir()) == []
    assert list(Path().iterdir()) == []
    task.outputs([[1, 2]])  # and what was there is not missed


def test_no_files_are_left_behind_by_a_training_that_fails(temporary: Path) -> None:
    task = tiny_task(learning_rate=1e38)
    with pytest.raises(
        TrainingError,
        match=r"^by step \d+ .* is no number: lower learning_rate or set gradient_clip_norm$",
    ):
        task.train(lambda progress: None)
    assert list(temporary.iterdir()) == []

    def refuse(progress: Progress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tiny_task().train(refuse)
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_training_between_two_steps(
    temporary: Path, number: signal.Signals, capfd: pytest.CaptureFixture[str]
) -> None:
    task = tiny_task()
    reports: list[Progress] = []

    def report(progress: Progress) -> None:
        reports.append(progress)
        os.kill(os.getpid(), number)

    with pytest.raises(Interrupted, match=r"^interrupted$") as caught:
        task.train(report)
    assert caught.value.exit_code == 128 + number
    assert len(reports) == 1
    assert f"{number.name}: finishing the step;" in capfd.readouterr().err
    assert list(temporary.iterdir()) == []


def test_nothing_is_logged(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    logger = logging.getLogger("seq2seq")
    with caplog.at_level(logging.DEBUG, logger="seq2seq"):
        task, _ = trained()
        task.outputs([[1, 2]])
        assert logger.level == logging.DEBUG  # as it was
        assert caplog.messages == []
        logger.info("something else")
    assert caplog.messages == ["something else"]
    assert capfd.readouterr() == ("", "")
