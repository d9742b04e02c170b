"""The keys of `seq2seq reverse-toy`, as options and as YAML."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from seq2seq_cli.config.model import (
    AdditiveAttention,
    DotAttention,
    GeneralAttention,
    NoAttention,
)
from seq2seq_cli.config.reverse_toy import (
    MAX_LENGTH,
    TASKS,
    Lengths,
    NumbersConfig,
    ReverseToyConfig,
    SymbolsConfig,
)
from seq2seq_cli.config.training import (
    ConstantForcing,
    ExponentialForcing,
    InverseSigmoidForcing,
    LinearForcing,
)
from seq2seq_cli.config_file import MAX_BYTES, Override, load_reverse_toy_config
from seq2seq_cli.errors import ConfigError

repeatable = settings(derandomize=True, deadline=None, max_examples=200, database=None)
lengths = st.integers(1, MAX_LENGTH)


def load(text: str | bytes | None = None, **options: str) -> ReverseToyConfig:
    """What a file toy.yaml with that text, or no file, and these options mean."""
    path = None
    if text is not None:
        path = Path("toy.yaml")
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return load_reverse_toy_config(
        path, [Override(key, value, option(key)) for key, value in options.items()]
    )


def option(key: str) -> str:
    return f"--{key.replace('_', '-')}"


def mistakes(text: str | bytes | None = None, **options: str) -> list[str]:
    """The lines of the error that they are refused with."""
    with pytest.raises(ConfigError) as caught:
        load(text, **options)
    return str(caught.value).splitlines()


# ---------------------------------------------------------------- what it means


def test_numbers_are_the_default_task() -> None:
    config = load()
    assert isinstance(config, NumbersConfig)
    assert config == load(task="numbers") == load("task: numbers\n") == load("seed: 1\n")
    assert config.task == "numbers"
    assert (config.hidden_size, config.length, config.steps) == (16, Lengths(3, 3), 6000)
    assert (config.digits, config.pairs, config.batch_size) == (10, 50_000, 100)
    assert (config.learning_rate, config.gradient_clip_norm) == (0.01, 1.0)
    assert config.teacher_forcing == ConstantForcing(ratio=1.0)
    assert (config.seed, config.device) == (1, "auto")
    assert config.tested_lengths == config.length


def test_defaults_of_symbols() -> None:
    config = load(task="symbols")
    assert isinstance(config, SymbolsConfig)
    assert config == load("task: symbols\n")
    assert config.task == "symbols"
    assert (config.hidden_size, config.embedding_dim, config.num_layers) == (96, 32, 1)
    assert (config.length, config.steps) == (Lengths(2, 10), 4000)
    assert (config.learning_rate, config.gradient_clip_norm) == (0.005, 1.0)
    assert config.attention == NoAttention()
    assert not config.bidirectional
    assert not config.reverse_source
    assert config.teacher_forcing == ConstantForcing(ratio=1.0)


COMMON = [
    ("hidden_size", "1", 1),
    ("hidden_size", "65536", 65_536),
    ("hidden_size", "1e2", 100),
    ("length", "7", Lengths(7, 7)),
    ("length", "4-9", Lengths(4, 9)),
    ("length", "' 4 - 9 '", Lengths(4, 9)),
    ("test_length", "1-100", Lengths(1, 100)),
    ("digits", "2", 2),
    ("digits", "1000", 1000),
    ("steps", "1", 1),
    ("steps", "1e9", 1_000_000_000),
    ("pairs", "1", 1),
    ("pairs", "1e6", 1_000_000),
    ("batch_size", "1e5", 100_000),
    ("learning_rate", "1e-4", 0.0001),
    ("gradient_clip_norm", ".5", 0.5),
    ("gradient_clip_norm", "null", None),
    ("seed", "0", 0),
    ("seed", "9223372036854775807", 2**63 - 1),
    ("device", "cuda:1", "cuda:1"),
    ("device", "cpu", "cpu"),
    ("teacher_forcing", "0.5", ConstantForcing(ratio=0.5)),
    ("teacher_forcing", "0", ConstantForcing(ratio=0.0)),
    ("teacher_forcing", "5e-1", ConstantForcing(ratio=0.5)),
    ("teacher_forcing", "{ratio: 0.25, per: token}", ConstantForcing(ratio=0.25, per="token")),
    ("teacher_forcing", "{kind: linear, end: 0}", LinearForcing(start=1.0, end=0.0)),
    ("teacher_forcing", "{kind: exponential, k: 0.9}", ExponentialForcing(k=0.9)),
    ("teacher_forcing", "{kind: inverse_sigmoid}", InverseSigmoidForcing()),
]
OF_SYMBOLS = [
    ("embedding_dim", "3", 3),
    ("num_layers", "64", 64),
    ("bidirectional", "true", True),
    ("reverse_source", "true", True),
    ("attention", "dot", DotAttention()),
    ("attention", "general", GeneralAttention()),
    ("attention", "additive", AdditiveAttention()),
    ("attention", "{kind: additive}", AdditiveAttention()),
    ("attention", "{kind: dot, place: before}", DotAttention(place="before")),
]


@pytest.mark.parametrize(
    ("task", "key", "value", "meaning"),
    [(task, *row) for task in TASKS for row in COMMON] + [("symbols", *row) for row in OF_SYMBOLS],
)
def test_an_option_means_what_the_key_means(
    task: str, key: str, value: str, meaning: object
) -> None:
    config = load(task=task, **{key: value})
    assert config == TASKS[task].model_validate({key: meaning})
    assert getattr(config, key) == meaning
    assert config != TASKS[task]()
    assert config == load(f"task: {task}\n{key}: {value}\n")
    assert config == load(f"{key}: {value}\n", task=task)
    assert config == load(f"task: {task}\n", **{key: value})


@pytest.mark.parametrize("key", ["test_length", "teacher_forcing", "attention"])
def test_nothing_is_the_default(key: str) -> None:
    assert load(f"task: symbols\n{key}:\n") == load(task="symbols")


def test_a_file_with_many_keys() -> None:
    assert load(
        """\
        task: symbols  # with embeddings
        length: 1-25
        test_length: 1-30
        digits: 50
        attention:
          kind: general
          place: input_feeding
        teacher_forcing:
          kind: linear
          end: 0.25
        """
    ) == SymbolsConfig(
        length=Lengths(1, 25),
        test_length=Lengths(1, 30),
        digits=50,
        attention=GeneralAttention(place="input_feeding"),
        teacher_forcing=LinearForcing(end=0.25),
    )


@pytest.mark.parametrize(
    ("text", "options", "config"),
    [
        ("hidden_size: 5\nsteps: 3\n", {"hidden_size": "7"}, NumbersConfig(hidden_size=7, steps=3)),
        ("length: 2-9\n", {"length": "4"}, NumbersConfig(length=Lengths(4, 4))),
        ("length: 9-2\n", {"length": "4"}, NumbersConfig(length=Lengths(4, 4))),
        ("task: numbers\n", {"task": "symbols"}, SymbolsConfig()),
        ("task: symbols\n", {"task": "numbers"}, NumbersConfig()),
        ("attention: dot\n", {"task": "symbols"}, SymbolsConfig(attention=DotAttention())),
        # Mappings are replaced as a whole.
        (
            "task: symbols\nattention: {kind: dot, place: before}\n",
            {"attention": "general"},
            SymbolsConfig(attention=GeneralAttention()),
        ),
        (
            "teacher_forcing: {kind: linear, per: token}\n",
            {"teacher_forcing": "0.5"},
            NumbersConfig(teacher_forcing=ConstantForcing(ratio=0.5)),
        ),
        (
            "gradient_clip_norm: 3\n",
            {"gradient_clip_norm": "null"},
            NumbersConfig(gradient_clip_norm=None),
        ),
    ],
)
def test_options_win_over_the_file(
    text: str, options: dict[str, str], config: ReverseToyConfig
) -> None:
    assert load(text, **options) == config


# ---------------------------------------------------------------- lengths


@repeatable
@given(lengths, lengths)
@example(1, MAX_LENGTH)
@example(MAX_LENGTH, 1)
def test_every_range_is_read_or_refused(first: int, last: int) -> None:
    text = f"{first}-{last}"
    if first > last:
        assert mistakes(length=text) == [f"--length: the range {text} ends before it begins"]
    else:
        assert load(length=text).length == Lengths(first, last)


@repeatable
@given(lengths, lengths, st.integers(-1, MAX_LENGTH + 1))
def test_lengths_are_written_as_they_are_read(first: int, last: int, length: int) -> None:
    both = Lengths(min(first, last), max(first, last))
    assert load(length=str(both)).length == both
    assert load(length=str(first)).length == Lengths(first, first)
    assert str(Lengths(first, first)) == str(first)
    assert (length in both.as_range()) == (both.shortest <= length <= both.longest)


def test_lengths_tested_are_those_trained_on_unless_named() -> None:
    assert load(length="2-5").tested_lengths == Lengths(2, 5)
    assert load(length="2-5", test_length="7").tested_lengths == Lengths(7, 7)


# ---------------------------------------------------------------- mistakes


BOUNDS = "lengths go from 1 to 100, not"
NO_LENGTH = "must be a length, say 3, or a range, say 2-10, not"
FORCINGS = "constant, linear, exponential, inverse_sigmoid"
ATTENTIONS = "none, dot, general, additive"

RATIO_OR_SCHEDULE = "must be a number, or a mapping of keys (kind and what goes with it)"

MISTAKES = [
    ("hidden_size", "0", "must be at least 1, not 0"),
    ("hidden_size", "-4", "must be at least 1, not -4"),
    ("hidden_size", "65537", "must be at most 65536, not 65537"),
    ("hidden_size", "1.5", "must be a whole number, not 1.5"),
    ("hidden_size", "x", "must be a whole number, not 'x'"),
    ("hidden_size", "true", "must be a whole number, not 'true'"),
    ("hidden_size", "", "must be a whole number, not nothing"),
    ("hidden_size", "[4, 8]", "must be a whole number, not ['4', '8']"),
    *[
        (key, value, message)
        for key in ("length", "test_length")
        for value, message in [
            ("5-2", "the range 5-2 ends before it begins"),
            ("0", f"{BOUNDS} 0"),
            ("0-3", f"{BOUNDS} 0-3"),
            ("101", f"{BOUNDS} 101"),
            ("1-101", f"{BOUNDS} 1-101"),
            ("-3", f"{NO_LENGTH} '-3'"),
            ("2-", f"{NO_LENGTH} '2-'"),
            ("2-3-4", f"{NO_LENGTH} '2-3-4'"),
            ("2..10", f"{NO_LENGTH} '2..10'"),
            ("2–10", f"{NO_LENGTH} '2–10'"),
            ("3.0", f"{NO_LENGTH} '3.0'"),
            ("1e1", f"{NO_LENGTH} '1e1'"),
            ("three", f"{NO_LENGTH} 'three'"),
            ("''", f"{NO_LENGTH} ''"),
            ("٣", f"{NO_LENGTH} '٣'"),
            ("9999999999", f"{NO_LENGTH} '9999999999'"),
            ("[2, 10]", f"{NO_LENGTH} ['2', '10']"),
            ("[3]", f"{NO_LENGTH} ['3']"),
            ("{shortest: 2}", f"{NO_LENGTH} {{'shortest': '2'}}"),
        ]
    ],
    ("digits", "1", "must be at least 2, not 1"),
    ("digits", "1001", "must be at most 1000, not 1001"),
    ("steps", "0", "must be at least 1, not 0"),
    ("steps", "1e10", "must be at most 1000000000, not 1e10"),
    ("steps", "many", "must be a whole number, not 'many'"),
    ("pairs", "0", "must be at least 1, not 0"),
    ("pairs", "1e7", "must be at most 1000000, not 1e7"),
    ("batch_size", "0", "must be at least 1, not 0"),
    ("batch_size", "1e6", "must be at most 100000, not 1e6"),
    ("learning_rate", "0", "must be greater than 0, not 0"),
    ("learning_rate", ".inf", "must be a number, not '.inf'"),
    ("learning_rate", "fast", "must be a number, not 'fast'"),
    ("gradient_clip_norm", "0", "must be greater than 0, not 0"),
    ("gradient_clip_norm", "none", "must be a number, not 'none'"),
    ("seed", "-1", "must be at least 0, not -1"),
    ("seed", "x", "must be a whole number, not 'x'"),
    ("device", "tpu", "must be auto, cpu, cuda, cuda:N or mps, not 'tpu'"),
    ("device", "[cpu]", "must be text, not ['cpu']"),
    ("teacher_forcing", "1.5", "must be at most 1, not 1.5"),
    ("teacher_forcing", "-0.5", "must be at least 0, not -0.5"),
    ("teacher_forcing", "nan", "must be a number, not 'nan'"),
    ("teacher_forcing", "often", f"{RATIO_OR_SCHEDULE}, not 'often'"),
    ("teacher_forcing", "linear", f"{RATIO_OR_SCHEDULE}, not 'linear'"),
    ("teacher_forcing", "[0.5]", f"{RATIO_OR_SCHEDULE}, not ['0.5']"),
    ("length", '"5\\n-2"', "must be a length, say 3, or a range, say 2-10, not '5\\n-2'"),
    ("task", "symbol", "must be one of numbers, symbols, not 'symbol' (did you mean symbols?)"),
    ("task", "Numbers", "must be one of numbers, symbols, not 'Numbers' (did you mean numbers?)"),
    ("task", "words", "must be one of numbers, symbols, not 'words'"),
    ("hiden_size", "4", "unknown key (did you mean hidden_size?)"),
    ("lenght", "4", "unknown key (did you mean length?)"),
    ("zzz", "4", "unknown key"),
]
MISTAKES_OF_SYMBOLS = [
    ("embedding_dim", "0", "must be at least 1, not 0"),
    ("num_layers", "0", "must be at least 1, not 0"),
    ("num_layers", "65", "must be at most 64, not 65"),
    ("bidirectional", "both", "must be true or false, not 'both'"),
    ("reverse_source", "2", "must be true or false, not 2"),
    ("reverse_source", "", "must be true or false, not nothing"),
    ("attention", "[dot]", "must be a mapping of keys (kind, ...), not ['dot']"),
    ("embeding_dim", "4", "unknown key (did you mean embedding_dim?)"),
]


@pytest.mark.parametrize(
    ("task", "key", "value", "message"),
    [("numbers", *row) for row in MISTAKES]
    + [("symbols", *row) for row in [*MISTAKES, *MISTAKES_OF_SYMBOLS] if row[0] != "task"],
)
def test_a_bad_value_is_one_line(task: str, key: str, value: str, message: str) -> None:
    by_option = [f"{option(key)}: {message}"]
    assert mistakes(**{"task": task, key: value}) == by_option
    assert mistakes("seed: 7\n", **{"task": task, key: value}) == by_option
    before = "\n\n" if key == "task" else f"# its task\ntask: {task}\n"
    assert mistakes(f"{before}{key}: {value}\n") == [f"toy.yaml:3: {key}: {message}"]


@pytest.mark.parametrize(
    ("name", "guess"), [("genral", " (did you mean general?)"), ("3", ""), ("true", "")]
)
def test_attention_of_no_known_kind(name: str, guess: str) -> None:
    message = f"must be one of {ATTENTIONS}, not '{name}'{guess}"
    assert mistakes(task="symbols", attention=name) == [f"--attention: {message}"]
    (line,) = mistakes(f"task: symbols\nattention: {name}\n")
    assert line in [f"toy.yaml:2: {key}: {message}" for key in ("attention", "attention.kind")]


@pytest.mark.parametrize(
    "key", ["attention", "reverse_source", "bidirectional", "embedding_dim", "num_layers"]
)
@pytest.mark.parametrize("value", ["1", "none", "garbage"])
def test_keys_of_symbols_with_numbers(key: str, value: str) -> None:
    message = "goes with task symbols, not with numbers"
    assert mistakes(**{key: value}) == [f"{option(key)}: {message}"]
    assert mistakes(task="numbers", **{key: value}) == [f"{option(key)}: {message}"]
    assert mistakes(f"seed: 3\n{key}: {value}\n") == [f"toy.yaml:2: {key}: {message}"]
    in_a_file = mistakes(f"task: symbols\n{key}: {value}\n", task="numbers")
    assert in_a_file == [f"toy.yaml:2: {key}: {message}"]


@pytest.mark.parametrize(
    ("section", "expected"),
    [
        (
            "teacher_forcing:\n  kind: linar",
            f"3: teacher_forcing.kind: must be one of {FORCINGS}, not 'linar' "
            "(did you mean linear?)",
        ),
        ("teacher_forcing:\n  ratio: 2", "3: teacher_forcing.ratio: must be at most 1, not 2"),
        (
            "teacher_forcing:\n  kind: linear\n  strat: 1",
            "4: teacher_forcing.strat: unknown key of kind linear (did you mean start?)",
        ),
        ("teacher_forcing:\n  end: 0.5", "3: teacher_forcing.end: unknown key of kind constant"),
        (
            "attention:\n  kind: dott",
            f"3: attention.kind: must be one of {ATTENTIONS}, not 'dott' (did you mean dot?)",
        ),
        (
            "attention:\n  kind: dot\n  place: after",
            "4: attention.place: must be one of before, input_feeding, deep, every_layer, "
            "not 'after'",
        ),
        ("attention:\n  place: before", "3: attention.place: unknown key of kind none"),
    ],
)
def test_mistakes_within_mappings(section: str, expected: str) -> None:
    assert mistakes(f"task: symbols\n{section}\n") == [f"toy.yaml:{expected}"]


@pytest.mark.parametrize(
    ("text", "options", "where"),
    [
        (None, {"attention": "dot", "bidirectional": "true"}, "--attention"),
        ("attention: dot\nbidirectional: true\n", {}, "toy.yaml:1: attention"),
        ("bidirectional: true\nattention: {kind: dot}\n", {}, "toy.yaml:2: attention"),
        ("bidirectional: true\n", {"attention": "dot"}, "--attention"),
        ("attention: dot\n", {"bidirectional": "true"}, "toy.yaml:1: attention"),
    ],
)
def test_dot_does_not_fit_two_directions(
    text: str | None, options: dict[str, str], where: str
) -> None:
    (line,) = mistakes(text, task="symbols", **options)
    assert line.startswith(f"{where}: dot compares vectors of one size")
    assert "general and additive fit any sizes" in line


@pytest.mark.parametrize("kind", ["none", "general", "additive"])
def test_all_other_attention_fits_two_directions(kind: str) -> None:
    config = load(task="symbols", attention=kind, bidirectional="true")
    assert isinstance(config, SymbolsConfig)
    assert config.bidirectional
    assert config.attention.kind == kind


def test_all_mistakes_are_told_at_once_the_files_first() -> None:
    assert mistakes("length: 5-2\nseed: 3\nzzz: 1\nhidden_size: 0\n", digits="1", steps="0") == [
        "toy.yaml:1: length: the range 5-2 ends before it begins",
        "toy.yaml:3: zzz: unknown key",
        "toy.yaml:4: hidden_size: must be at least 1, not 0",
        "--steps: must be at least 1, not 0",
        "--digits: must be at least 2, not 1",
    ]


def test_an_option_is_to_blame_where_it_replaced_the_files_value() -> None:
    assert mistakes("hidden_size: 5\n", hidden_size="0") == [
        "--hidden-size: must be at least 1, not 0"
    ]


@pytest.mark.parametrize("key", ["length", "hidden_size", "attention", "teacher_forcing", "task"])
@pytest.mark.parametrize("value", ["{", "3: 4: 5", "*unknown", "'", "\0"])
def test_options_that_are_no_yaml(key: str, value: str) -> None:
    (line,) = mistakes(**{"task": "symbols", key: value})
    assert line.startswith(option(key))
    assert "not valid YAML" in line


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("3-10\n", "1: a config is a mapping of keys to values"),
        ("- task: symbols\n", "1: a config is a mapping of keys to values"),
        ("seed: 1\nseed: 2\n", "2: seed: is there twice"),
        ("seed: 1\nlength: 3: 4\n", "2: not valid YAML: mapping values are not allowed here"),
        (b"seed: 1\n# \xff\n", "2: byte 0xFF is not UTF-8"),
    ],
)
def test_files_that_cannot_be_read(text: str | bytes, expected: str) -> None:
    assert mistakes(text) == [f"toy.yaml:{expected}"]
    assert mistakes(text, steps="5") == [f"toy.yaml:{expected}"]


def test_files_that_are_none(tmp_path: Path) -> None:
    for path in (Path("missing.yaml"), tmp_path):
        with pytest.raises(ConfigError, match="cannot be read") as caught:
            load_reverse_toy_config(path, [])
        assert str(caught.value).startswith(f"{path}: ")
    (line,) = mistakes(b"#" * (MAX_BYTES + 1))
    assert line.startswith("toy.yaml: larger than")


def test_a_file_with_nothing_in_it_leaves_the_defaults() -> None:
    assert load("# length: 4\n") == NumbersConfig()


@pytest.mark.parametrize("section", ["data: {dataset: phrasebook}", "training:", "model: {}"])
def test_a_training_config_is_told_apart(section: str) -> None:
    assert mistakes(f"seed: 2\n{section}\n") == [
        "toy.yaml: this is a config of `seq2seq train`, not of the toy"
    ]


def test_a_task_that_is_not_there_is_named_whatever_else_is_wrong() -> None:
    [wrong] = mistakes(task="symbol", attention="dot")
    assert wrong.startswith("--task: must be one of numbers, symbols, not 'symbol'")


def test_a_key_of_the_other_task_hides_no_other_mistake() -> None:
    assert set(mistakes(attention="dot", length="5-2")) == {
        "--attention: goes with task symbols, not with numbers",
        "--length: the range 5-2 ends before it begins",
    }


def test_a_key_inside_an_option_is_named() -> None:
    [wrong] = mistakes(teacher_forcing="{kind: linear, start: 2}")
    assert wrong == "--teacher-forcing: start: must be at most 1, not 2"
