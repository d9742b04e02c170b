"""What a training of the toy says, and what comes out: by a model whose answers are given."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from seq2seq_cli.config.reverse_toy import (
    MAX_LENGTH,
    Lengths,
    NumbersConfig,
    ReverseToyConfig,
    SymbolsConfig,
)
from seq2seq_cli.decoding.translator import Translation, Translator
from seq2seq_cli.errors import DeviceError, UsageError
from seq2seq_cli.model.scoring import Losses
from seq2seq_cli.reverse_toy import lesson as lesson_module
from seq2seq_cli.reverse_toy.lesson import Lesson, give_lesson, parse_sequence
from seq2seq_cli.reverse_toy.sequences import Digits, Sequences, draw_sequences
from seq2seq_cli.reverse_toy.task import Answer, Progress, Scores

HISTORY = [Progress(1500, Losses(2.5, 3.5)), Progress(3000, Losses(0.25, 0.75))]
IsRight = Callable[[list[int]], bool]


class FakeTask:
    """Before its training all that it writes is wrong, after it what is_right does not name."""

    unit = "apples"

    def __init__(self, is_right: IsRight) -> None:
        self.is_right = is_right
        self.is_trained = False
        self.data: Sequences | None = None

    def handover(self, sequence: Sequence[int]) -> dict[str, tuple[int, ...]]:
        return {"hidden": (2, 1, 5), "cell": (2, 1, 5)}

    def train(self, on_progress: Callable[[Progress], None]) -> None:
        for progress in HISTORY:
            on_progress(progress)
        self.is_trained = True

    def losses(self, blocks: Mapping[int, Digits]) -> Losses:
        assert self.data
        assert blocks is self.data.test
        return Losses(0.125, 0.5)

    def outputs(self, rows: Digits | Sequence[Sequence[int]]) -> list[list[Any]]:
        return [self.output([int(digit) for digit in row]) for row in rows]

    def output(self, row: list[int]) -> list[int]:
        is_right = self.is_trained and self.is_right(row)
        return [digit + (not is_right) for digit in row[::-1]]

    def answer(self, output: Sequence[Any]) -> list[Any]:
        return list(output)


def lesson_of(
    config: ReverseToyConfig, is_right: IsRight, sequence: Sequence[int] | None = None
) -> tuple[Lesson, list[str]]:
    """A lesson by a fake task, and the lines that it said."""
    task, said = FakeTask(is_right), list[str]()

    def make(given: ReverseToyConfig, data: Sequences, device: torch.device) -> FakeTask:
        assert given is config
        task.data = data
        return task

    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(lesson_module, "make_task", make)
        return give_lesson(config, sequence, said.append), "\n".join(said).split("\n")


def part(lines: list[str], number: int) -> list[str]:
    """The lines below a heading."""
    starts = [index for index, line in enumerate(lines) if re.match(r"\d\. ", line)]
    assert [lines[start][0] for start in starts] == ["1", "2", "3", "4", "5"]
    end = [*starts[1:], len(lines)][number - 1]
    return [line for line in lines[starts[number - 1] + 1 : end] if line]


def text(lines: list[str]) -> str:
    """A paragraph as one line."""
    return " ".join(" ".join(lines).split())


# ---------------------------------------------------------------- what is said


def test_five_parts_in_order() -> None:
    lesson, lines = lesson_of(NumbersConfig(), lambda row: True)

    assert not lines[0].startswith("\n")
    assert [line for line in lines if line and not line.startswith(" ")] == [
        "1. Before training",
        "2. What the encoder hands over",
        "3. Training",
        "4. After training",
        "5. On sequences that it was never trained on",
    ]
    assert part(lines, 1)[-1] == "   [3, 1, 4] -> [5.0, 2.0, 4.0], rounded [5, 2, 4]"
    assert part(lines, 4) == ["   [3, 1, 4] -> [4.0, 1.0, 3.0], rounded [4, 1, 3]"]
    assert [line.split() for line in part(lines, 3)[-3:]] == [
        ["step", "teacher-forced", "free-running"],
        ["1,500", "2.5000", "3.5000"],
        ["3,000", "0.2500", "0.7500"],
    ]
    assert part(lines, 5) == ["   100.0 % of 200 sequences are exact, free-running."]
    assert lesson.history == HISTORY
    assert lesson.seconds > 0.0


def test_columns_of_the_training_end_where_their_names_end() -> None:
    header, *rows = part(lesson_of(NumbersConfig(), lambda row: True)[1], 3)[-3:]
    ends = [found.end() for found in re.finditer(r"\S+", header)]
    for row in rows:
        assert [found.end() for found in re.finditer(r"\S+", row)] == ends


def test_the_training_tells_what_it_is_fed_and_measured_in() -> None:
    plan = text(part(lesson_of(NumbersConfig(batch_size=7), lambda row: True)[1], 3))
    assert plan.startswith("6,000 steps of 7 sequences each, of 800 different ones of length 3.")
    assert "reads the true number, whatever it wrote itself (teacher forcing)" in plan
    assert "in apples, are those of 200 sequences held out" in plan
    symbols = SymbolsConfig.model_validate({"teacher_forcing": 0.25})
    plan = text(part(lesson_of(symbols, lambda row: True)[1], 3))
    assert "the true symbol or, by a coin, its own (teacher forcing: 0.25)" in plan
    falling = NumbersConfig.model_validate({"teacher_forcing": {"kind": "linear"}})
    plan = text(part(lesson_of(falling, lambda row: True)[1], 3))
    assert "(teacher forcing: linear)" in plan


def test_no_line_of_text_is_wider_than_a_terminal() -> None:
    for config in (NumbersConfig(hidden_size=4), SymbolsConfig(reverse_source=True)):
        assert max(map(len, lesson_of(config, lambda row: False, [1, 2])[1])) <= 80


def test_the_context_vector_is_counted() -> None:
    assert "its context vector: 20 numbers" in text(
        part(lesson_of(NumbersConfig(), lambda row: True)[1], 2)
    )


SYMBOLS = {"task": "symbols", "hidden_size": 6, "embedding_dim": 4, "length": "1-2", "digits": 3}
TINY: dict[str, dict[str, Any]] = {
    "numbers": {"task": "numbers", "hidden_size": 5, "length": 2},
    "symbols": SYMBOLS,
    "layers": {**SYMBOLS, "num_layers": 2, "length": 2},
    "attention": {**SYMBOLS, "attention": "dot"},
    "both directions": {**SYMBOLS, "attention": "general", "bidirectional": True},
    "backwards": {**SYMBOLS, "attention": "additive", "reverse_source": True},
}


@pytest.mark.parametrize("values", TINY.values(), ids=TINY.keys())
def test_shapes_are_those_of_the_models_own_layers(
    values: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The state is what the decoder's first LSTM call is given, before and after training."""
    schema = NumbersConfig if values["task"] == "numbers" else SymbolsConfig
    config = schema.model_validate({**values, "steps": 3, "pairs": 20, "batch_size": 4})
    said: list[str] = []

    lesson = give_lesson(config, [2, 1, 0], said.append)

    lines = "\n".join(said).split("\n")
    shapes = {
        name: tuple(map(int, numbers.split(", ")))
        for line in part(lines, 2)
        for name, numbers in re.findall(r"^   (\w+) +\(([\d, ]+)\)", line)
    }
    state = (values.get("num_layers", 1), 1, values["hidden_size"])
    expected: dict[str, tuple[int, ...]] = {"hidden": state, "cell": state}
    if "attention" in values:
        # [2, 1, 0] between <sos> and <eos>
        size = values["hidden_size"] * (2 if values.get("bidirectional") else 1)
        expected["memory"] = (1, 5, size)
    assert shapes == expected
    context = f"its context vector: {2 * state[0] * state[2]} numbers, however long the source is."
    meaning = text(part(lines, 2))
    assert (context in meaning) == ("attention" not in values)
    assert ("looks back at the memory too" in meaning) == ("attention" in values)
    assert [progress.step for progress in lesson.history] == [1, 2, 3]
    assert lesson.loss_unit == (
        "mean squared error" if values["task"] == "numbers" else "nats a symbol"
    )
    backwards = "from its end: [0, 1, 2], which makes it copying"
    assert (backwards in text(part(lines, 1))) == bool(values.get("reverse_source"))


def test_a_longer_sequence_than_those_trained_on_is_read_to_its_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found: list[Translation] = []
    translate = Translator.translate

    def translate_and_keep(*arguments: Any) -> Iterator[Translation]:
        for translation in translate(*arguments):
            found.append(translation)
            yield translation

    monkeypatch.setattr(Translator, "translate", translate_and_keep)
    config = SymbolsConfig.model_validate({**SYMBOLS, "steps": 1, "pairs": 20})

    give_lesson(config, [0, 1, 2, 2, 1], lambda line: None)

    shown = [translation for translation in found if translation.source == "0 1 2 2 1"]
    assert len(shown) == 2
    assert not any("truncated" in translation.flags for translation in shown)


def test_symbols_are_shown_as_they_are() -> None:
    lines = lesson_of(SymbolsConfig(digits=50), lambda row: True, [3, 49, 0])[1]
    assert part(lines, 1)[-1] == "   [3, 49, 0] -> [1, 50, 4]"
    assert part(lines, 4) == ["   [3, 49, 0] -> [0, 49, 3]"]


def test_the_sequence_asked_for_is_shown_and_never_trained_on() -> None:
    task = FakeTask(lambda row: True)
    sequence = draw_sequences(NumbersConfig()).train[3][0].tolist()

    def make(config: ReverseToyConfig, data: Sequences, device: torch.device) -> FakeTask:
        task.data = data
        return task

    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(lesson_module, "make_task", make)
        lesson = give_lesson(NumbersConfig(), sequence, lambda line: None)

    assert task.data
    assert not (task.data.train[3] == sequence).all(axis=1).any()
    assert lesson.examples[0].source == sequence


def test_a_device_that_is_not_there_ends_it_before_a_word() -> None:
    said: list[str] = []
    with pytest.raises(DeviceError, match="cuda:99"):
        give_lesson(NumbersConfig(device="cuda:99"), None, said.append)
    assert said == []


# ---------------------------------------------------------------- shares


@settings(deadline=None, max_examples=40)
@given(
    schema=st.sampled_from([NumbersConfig, SymbolsConfig]),
    ends=st.tuples(*[st.integers(1, 5)] * 4),
    digits=st.integers(2, 5),
    seed=st.integers(0, 2**63 - 1),
    modulus=st.integers(1, 4),
)
def test_shares_are_counted_over_the_sequences_tested(
    schema: type[NumbersConfig | SymbolsConfig],
    ends: tuple[int, ...],
    digits: int,
    seed: int,
    modulus: int,
) -> None:
    trained, tested = (Lengths(min(pair), max(pair)) for pair in (ends[:2], ends[2:]))
    config = schema(length=trained, test_length=tested, digits=digits, seed=seed, pairs=30)

    def is_right(row: list[int]) -> bool:
        return int(np.dot(row, range(1, len(row) + 1))) % modulus == 0

    lesson, lines = lesson_of(config, is_right)

    rights = {
        length: [is_right(row) for row in rows.tolist()]
        for length, rows in draw_sequences(config).test.items()
    }
    assert list(rights) == list(range(tested.shortest, tested.longest + 1))
    every = [right for found in rights.values() for right in found]
    assert lesson.scores.exact_match == sum(every) / len(every)
    assert lesson.scores.by_length() == {
        length: (len(found), sum(found) / len(found)) for length, found in rights.items()
    }
    assert lesson.as_json()["by_length"] == [
        {
            "length": length,
            "sequences": len(found),
            "exact_match": sum(found) / len(found),
        }
        for length, found in rights.items()
    ]
    said = part(lines, 5)
    groups = {
        which: [
            right
            for length, found in rights.items()
            if (length in trained.as_range()) == (which == "trained on")
            for right in found
        ]
        for which in ("trained on", "not trained on")
    }
    assert [line for line in said if "are exact, free-running." in line] == [
        f"   {100 * sum(group) / len(group):.1f} % of {len(group)} sequences"
        f"{f' of lengths {which}' if groups['not trained on'] else ''} are exact, free-running."
        for which, group in groups.items()
        if group
    ]
    rows = [re.split(r"  +", line.strip()) for line in said[: len(rights) + 1]]
    if len(rights) > 1:
        assert rows == [
            ["length", "sequences", "exact"],
            *(
                [
                    f"{length}" if (length in trained.as_range()) else f"{length}, not trained on",
                    f"{len(found)}",
                    f"{100 * sum(found) / len(found):.1f} %",
                ]
                for length, found in rights.items()
            ),
        ]


# ---------------------------------------------------------------- --json

KEYS = [
    *("task", "exact_match", "teacher_forced_loss", "free_running_loss", "by_length"),
    *("seconds", "history", "examples"),
]


@pytest.mark.parametrize("config", [NumbersConfig(), SymbolsConfig()], ids=["numbers", "symbols"])
def test_json_has_the_keys_of_the_contract(config: ReverseToyConfig) -> None:
    lesson, _ = lesson_of(config, lambda row: row[0] != 0)
    found = json.loads(json.dumps(lesson.as_json(), allow_nan=False))

    keys = [*KEYS[:5], "bleu", *KEYS[5:]] if config.task == "symbols" else KEYS
    assert list(found) == keys
    assert found["task"] == config.task
    assert 0.0 < found["exact_match"] < 1.0
    assert (found["teacher_forced_loss"], found["free_running_loss"]) == (0.125, 0.5)
    assert found["seconds"] == lesson.seconds
    assert found["history"] == [
        {
            "step": step,
            "teacher_forced_loss": losses.loss,
            "free_running_loss": losses.free_running_loss,
        }
        for step, losses in HISTORY
    ]
    shown, *others = found["examples"]
    assert shown["source"] == list(draw_sequences(config).example)
    assert 1 <= len(others) <= 5
    tested = [row.tolist() for rows in draw_sequences(config).test.values() for row in rows]
    sources = [example["source"] for example in found["examples"]]
    assert all(source in tested for source in sources)
    assert len({tuple(source) for source in sources}) == len(sources)
    for example in found["examples"]:
        assert list(example) == ["source", "target", "output"]
        assert example["target"] == example["source"][::-1]
        is_right = example["source"][0] != 0
        assert example["output"] == [digit + (not is_right) for digit in example["target"]]


def test_examples_are_of_every_length_where_there_are_few() -> None:
    config = SymbolsConfig(length=Lengths(3, 7))
    lesson, _ = lesson_of(config, lambda row: True)
    assert {len(example.source) for example in lesson.examples} == {3, 4, 5, 6, 7}


def test_bleu_is_of_the_symbols_as_they_are() -> None:
    config = SymbolsConfig(length=Lengths(4, 6), digits=50)
    scores = []
    for is_right in (lambda row: False, lambda row: row[0] % 2 == 0, lambda row: True):
        lesson, lines = lesson_of(config, is_right)
        found = lesson.as_json()["bleu"]
        assert "tok:none" in found["signature"]
        assert f"   BLEU {found['score']:.2f}  {found['signature']}" in part(lines, 5)
        scores.append(found["score"])
    wrong, half, right = scores
    assert wrong < half < 90.0
    assert right == pytest.approx(100.0)


def test_numbers_have_no_bleu() -> None:
    lesson, lines = lesson_of(NumbersConfig(), lambda row: True)
    assert lesson.bleu is None
    assert not any("BLEU" in line for line in lines)


# ---------------------------------------------------------------- the target


def lesson_with(config: ReverseToyConfig, num_exact: int) -> Lesson:
    """With so many exact answers of 200."""
    found = [Answer([1, 2, 3], [3, 2, 1], [3, 2, 1], number < num_exact) for number in range(200)]
    return Lesson(config, Scores(Losses(0.1, 0.2), found), None, found[:1], "apples", HISTORY, 1.0)


@pytest.mark.parametrize(
    "config",
    [
        NumbersConfig(),
        NumbersConfig(seed=2**40, device="cpu"),
        NumbersConfig.model_validate({"hidden_size": "16", "teacher_forcing": 1, "length": "3-3"}),
        SymbolsConfig(),
        SymbolsConfig(seed=7),
    ],
)
def test_the_defaults_have_a_target(config: ReverseToyConfig) -> None:
    assert lesson_with(config, 0).misses_target
    assert lesson_with(config, 197).misses_target
    assert not lesson_with(config, 198).misses_target
    assert not lesson_with(config, 200).misses_target


@pytest.mark.parametrize(
    ("task", "key", "value"),
    [
        ("numbers", "hidden_size", 4),
        ("numbers", "length", 4),
        ("numbers", "test_length", 3),
        ("numbers", "digits", 11),
        ("numbers", "steps", 5999),
        ("numbers", "learning_rate", 0.02),
        ("numbers", "pairs", 49_999),
        ("numbers", "batch_size", 99),
        ("numbers", "gradient_clip_norm", None),
        ("numbers", "teacher_forcing", 0.5),
        ("symbols", "attention", "general"),
        ("symbols", "reverse_source", True),
        ("symbols", "hidden_size", 16),
        ("symbols", "embedding_dim", 16),
        ("symbols", "num_layers", 2),
        ("symbols", "bidirectional", True),
    ],
)
def test_anything_else_has_none(task: str, key: str, value: object) -> None:
    schema = NumbersConfig if task == "numbers" else SymbolsConfig
    assert not lesson_with(schema.model_validate({key: value}), 0).misses_target


# ---------------------------------------------------------------- why it fell short


def reason(config: ReverseToyConfig, is_right: IsRight) -> str:
    """What is said after the scores."""
    lines = part(lesson_of(config, is_right)[1], 5)
    ends = [i for i, line in enumerate(lines) if "exact, free-running." in line or "BLEU " in line]
    return text(lines[ends[-1] + 1 :])


NARROW = [
    (NumbersConfig(hidden_size=4), "16"),
    (NumbersConfig(hidden_size=16, length=Lengths(1, 4)), "64"),
    (NumbersConfig(hidden_size=4, steps=6001), "16"),
    (SymbolsConfig(hidden_size=8), "96"),
    (SymbolsConfig(hidden_size=100, reverse_source=True, length=Lengths(2, 11)), "400"),
]


@pytest.mark.parametrize(("config", "wider"), NARROW)
def test_a_narrow_model_falls_short_by_its_context_vector(
    config: ReverseToyConfig, wider: str
) -> None:
    said = reason(config, lambda row: False)
    assert "has to pass through the context vector" in said
    assert f"{config.hidden_size} cells are too narrow" in said
    assert f"length {config.length}" in said
    assert said.endswith(f"Compare --hidden-size {wider}, or --sweep.")
    assert reason(config, lambda row: True) == ""


@pytest.mark.parametrize(
    ("config", "steps", "usual"),
    [
        (NumbersConfig(steps=5999), "5,999", "6,000"),
        (NumbersConfig(steps=300, hidden_size=4), "300", "6,000"),
        (SymbolsConfig(steps=3999), "3,999", "4,000"),
    ],
)
def test_a_short_training_falls_short_by_its_steps(
    config: ReverseToyConfig, steps: str, usual: str
) -> None:
    said = reason(config, lambda row: False)
    assert said == f"{steps} steps are few: without --steps it is {usual}."
    assert reason(config, lambda row: True) == ""


@pytest.mark.parametrize("kind", ["dot", "general", "additive"])
def test_with_attention_it_is_not_the_context_vector(kind: str) -> None:
    config = SymbolsConfig.model_validate({"attention": kind, "hidden_size": 8})
    assert reason(config, lambda row: False) == ""


@pytest.mark.parametrize(
    "config",
    [
        NumbersConfig(hidden_size=4, test_length=Lengths(3, 6)),
        SymbolsConfig(hidden_size=8, test_length=Lengths(1, 20)),
    ],
    ids=["numbers", "symbols"],
)
def test_lengths_not_trained_on_need_no_explanation(config: ReverseToyConfig) -> None:
    assert reason(config, lambda row: len(row) in config.length.as_range()) == ""
    assert reason(config, lambda row: len(row) not in config.length.as_range()) != ""
    only_others = config.model_copy(update={"test_length": Lengths(21, 22)})
    assert reason(only_others, lambda row: False) == ""


@pytest.mark.parametrize("config", [NumbersConfig(), SymbolsConfig(hidden_size=200)])
def test_a_model_as_wide_as_usual_is_not_called_narrow(config: ReverseToyConfig) -> None:
    assert reason(config, lambda row: False) == ""


@pytest.mark.parametrize(
    "changes",
    [
        {"learning_rate": 1e-6},
        {"pairs": 20},
        {"digits": 1000},
        {"teacher_forcing": 0},
        {"batch_size": 1, "steps": 10},
    ],
    ids=str,
)
def test_what_else_may_be_the_reason_is_not_guessed(changes: dict[str, Any]) -> None:
    config = NumbersConfig.model_validate({"hidden_size": 4, **changes})
    assert reason(config, lambda row: False) == ""


def test_an_explanation_begins_below_the_target() -> None:
    config = NumbersConfig(hidden_size=15)
    sources = draw_sequences(config).test[3].tolist()
    assert len(sources) == 200
    for num_wrong, is_explained in ((2, False), (3, True)):
        wrong = sources[-num_wrong:]
        found = reason(config, lambda row, wrong=wrong: row not in wrong)  # type: ignore[misc]
        assert bool(found) == is_explained


# ---------------------------------------------------------------- --sequence


@settings(deadline=None)
@given(st.data(), st.integers(2, 1000))
def test_a_sequence_is_read_as_written(data: st.DataObject, digits: int) -> None:
    numbers = data.draw(st.lists(st.integers(0, digits - 1), min_size=1, max_size=12))
    blanks = data.draw(st.lists(st.sampled_from(["", " ", "  "]), min_size=24, max_size=24))
    written = ",".join(
        f"{before}{number}{after}"
        for number, before, after in zip(numbers, blanks[::2], blanks[1::2], strict=False)
    )
    assert parse_sequence(written, digits) == numbers


@pytest.mark.parametrize(
    ("written", "digits"),
    [
        ("3,x", 10),
        ("", 10),
        (" ", 10),
        (",", 10),
        ("3,,4", 10),
        ("3,", 10),
        ("3 4", 10),
        ("3;4", 10),
        ("3,10", 10),
        ("2", 2),
        ("-1", 10),
        ("+1", 10),
        ("1.0", 10),
        ("1e0", 10),
        ("0x1", 10),
        ("1_0", 100),
        ("\u0663,1", 10),
        ("\u00b2", 10),
        ("\u2167", 10),
        ("\uff13", 10),
        ("9" * 5000, 1000),
        ("[3,1,4]", 10),
    ],
)
def test_what_is_no_sequence_is_refused(written: str, digits: int) -> None:
    with pytest.raises(UsageError, match=f"--sequence .*from 0 to {digits - 1} with commas") as got:
        parse_sequence(written, digits)
    assert "3,1,4" in str(got.value)


def test_a_sequence_has_an_end() -> None:
    assert parse_sequence(",".join("1" * MAX_LENGTH), 10) == [1] * MAX_LENGTH
    with pytest.raises(UsageError, match=f"--sequence: {MAX_LENGTH + 1} numbers; {MAX_LENGTH} are"):
        parse_sequence(",".join("1" * (MAX_LENGTH + 1)), 10)
