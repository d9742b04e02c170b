"""What a config file may say, what it means, and the lines that its mistakes become."""

from __future__ import annotations

import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from seq2seq_cli.config import Config, TranslatorConfig
from seq2seq_cli.config.data import (
    BpeTokenizer,
    CharactersTokenizer,
    DataConfig,
    HeldOutConfig,
    HubConfig,
    ParallelFiles,
    SpacyTokenizer,
    UnigramTokenizer,
    WordsTokenizer,
)
from seq2seq_cli.config.sections import Section
from seq2seq_cli.config.training import (
    AdamConfig,
    ConstantForcing,
    ExponentialForcing,
    HalvingRate,
    InverseSigmoidForcing,
    InverseSqrtRate,
    LinearForcing,
    PlateauRate,
    SgdConfig,
)
from seq2seq_cli.config_file import (
    MAX_BYTES,
    changed_keys,
    dump_config,
    load_config,
    parse_override,
    shipped_configs,
)
from seq2seq_cli.errors import ConfigError
from seq2seq_cli.yaml_document import MAX_DEPTH, MAX_VALUES
from tests.unit.config.support import CORPUS, at, load, mistakes

FILES = """\
data:
  train: {source: a.de, target: a.en}
  valid: v.csv
  columns: {source: x, target: y}
"""


@pytest.fixture(autouse=True)
def _stand_in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")


# ---------------------------------------------------------------- mistakes


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        # Unknown keys.
        ("trainig: {epochs: 3}", "2: trainig: unknown key (did you mean training?)"),
        ("training: {epoch: 3}", "2: training.epoch: unknown key (did you mean epochs?)"),
        ("zzz: 3", "2: zzz: unknown key"),
        ("1: 3", "2: 1: unknown key"),
        ("null: 3", "2: null: unknown key"),
        ("model: {encoder: {dim: 3}}", "2: model.encoder.dim: unknown key"),
        (
            "training: {optimizer: {kind: adam, weight_decay: 0.1}}",
            "2: training.optimizer.weight_decay: unknown key",
        ),
        (
            "training: {optimizer: {kind: sgd, learning-rate: 0.1}}",
            "2: training.optimizer.learning-rate: unknown key of kind sgd "
            "(did you mean learning_rate?)",
        ),
        # One of several.
        (
            "training: {optimizer: {kind: addam}}",
            "2: training.optimizer.kind: must be one of adam, adamw, sgd, not 'addam' "
            "(did you mean adam?)",
        ),
        (
            "model: {init: {kind: zero}}",
            "2: model.init.kind: must be one of uniform, normal, xavier, not 'zero'",
        ),
        (
            "precision: bfloat",
            "2: precision: must be one of auto, float32, bfloat16, not 'bfloat' "
            "(did you mean bfloat16?)",
        ),
        ("precision:", "2: precision: must be one of auto, float32, bfloat16, not nothing"),
        (
            "training: {batch_unit: token}",
            "2: training.batch_unit: must be one of sentences, tokens, not 'token' "
            "(did you mean tokens?)",
        ),
        # Whole numbers.
        *[
            (
                f"training: {{save_every: {value}}}",
                f"2: training.save_every: must be a whole number, not {shown}",
            )
            for value, shown in [
                ("many", "'many'"),
                ("1.5", "1.5"),
                ("1e-4", "1e-4"),
                ("true", "'true'"),
                (".inf", "'.inf'"),
                ("1e999", "1e999"),
                ("''", "''"),
                ("[1]", "['1']"),
            ]
        ],
        ("training: {save_every: 0}", "2: training.save_every: must be at least 1, not 0"),
        ("seed: -1", "2: seed: must be at least 0, not -1"),
        (
            "model: {decoder: {num_layers: 65}}",
            "2: model.decoder.num_layers: must be at most 64, not 65",
        ),
        # Numbers.
        (
            "training: {optimizer: {learning_rate: fast}}",
            "2: training.optimizer.learning_rate: must be a number, not 'fast'",
        ),
        (
            "training: {optimizer: {learning_rate: .nan}}",
            "2: training.optimizer.learning_rate: must be a number, not '.nan'",
        ),
        (
            "training: {optimizer: {learning_rate: inf}}",
            "2: training.optimizer.learning_rate: must be a number, not 'inf'",
        ),
        (
            "training: {optimizer: {learning_rate:}}",
            "2: training.optimizer.learning_rate: must be a number, not nothing",
        ),
        (
            "training: {optimizer: {learning_rate: 0}}",
            "2: training.optimizer.learning_rate: must be greater than 0, not 0",
        ),
        ("model: {dropout: 1.0}", "2: model.dropout: must be less than 1, not 1.0"),
        (
            "training: {teacher_forcing: {ratio: 2}}",
            "2: training.teacher_forcing.ratio: must be at most 1, not 2",
        ),
        # Schedules.
        (
            "training: {learning_rate_schedule: {kind: inverse}}",
            "2: training.learning_rate_schedule.kind: must be one of constant, plateau, cosine, "
            "inverse_sqrt, halving, not 'inverse' (did you mean inverse_sqrt?)",
        ),
        (
            "training: {learning_rate_schedule: {kind: inverse_sqrt, warmup_steps: 0}}",
            "2: training.learning_rate_schedule.warmup_steps: must be at least 1, not 0",
        ),
        (
            "training: {learning_rate_schedule: {kind: halving, after_epochs: -1}}",
            "2: training.learning_rate_schedule.after_epochs: must be at least 0, not -1",
        ),
        (
            "training: {learning_rate_schedule: {kind: halving, every_epochs: 0}}",
            "2: training.learning_rate_schedule.every_epochs: must be greater than 0, not 0",
        ),
        (
            "training: {teacher_forcing: {kind: inverse-sigmoid}}",
            "2: training.teacher_forcing.kind: must be one of constant, linear, exponential, "
            "inverse_sigmoid, not 'inverse-sigmoid' (did you mean inverse_sigmoid?)",
        ),
        (
            "training: {teacher_forcing: {kind: exponential, k: 1}}",
            "2: training.teacher_forcing.k: must be less than 1, not 1",
        ),
        (
            "training: {teacher_forcing: {kind: exponential, k: 0}}",
            "2: training.teacher_forcing.k: must be greater than 0, not 0",
        ),
        (
            "training: {teacher_forcing: {kind: inverse_sigmoid, k: 0.9}}",
            "2: training.teacher_forcing.k: must be at least 1, not 0.9",
        ),
        (
            "training: {teacher_forcing: {kind: exponential, ratio: 0.9}}",
            "2: training.teacher_forcing.ratio: unknown key",
        ),
        *[
            (
                f"training: {{teacher_forcing: {{kind: {kind}, per: word}}}}",
                "2: training.teacher_forcing.per: must be one of step, token, not 'word'",
            )
            for kind in ("constant", "linear", "exponential", "inverse_sigmoid")
        ],
        # Yes or no.
        (
            "model: {encoder: {bidirectional: maybe}}",
            "2: model.encoder.bidirectional: must be true or false, not 'maybe'",
        ),
        (
            "model: {encoder: {bidirectional: 2}}",
            "2: model.encoder.bidirectional: must be true or false, not 2",
        ),
        # Text.
        ("device: gpu", "2: device: must be auto, cpu, cuda, cuda:N or mps, not 'gpu'"),
        ('device: "cpu\\n"', "2: device: must be auto, cpu, cuda, cuda:N or mps, not 'cpu\\n'"),
        ("name: a/b", "2: name: must be letters, digits, - _ . + only, not 'a/b'"),
        ("name: ..", "2: name: must be letters, digits, - _ . + only, not .."),
        ("name: -x", "2: name: must be letters, digits, - _ . + only, not '-x'"),
        ("name: ''", "2: name: must be letters, digits, - _ . + only, not ''"),
        ("name: [a]", "2: name: must be text, not ['a']"),
        # Epoch or steps.
        *[
            (f"validation: {{every: {value}}}", "2: validation.every: must be `epoch` or a number")
            for value in ("often", "0", "-3", "1.5", "''", "[1]", "null")
        ],
        # A value where keys should be.
        (
            "model: big",
            "2: model: must be a mapping of keys (encoder, decoder, dropout, layer_norm, "
            "tied_embeddings, fixnorm, init, pretrained), not 'big'",
        ),
        (
            "decoding: [1]",
            "2: decoding: must be a mapping of keys (beam_size, length_penalty, "
            "no_repeat_ngram_size, max_length_ratio), not ['1']",
        ),
        (
            "training: {optimizer: adam}",
            "2: training.optimizer: must be a mapping of keys (kind, ...), not 'adam'",
        ),
        # What no single key can say.
        (
            "training: {epochs: null}",
            "2: training: needs one of epochs, max_steps, max_minutes: when to stop",
        ),
        (
            "training: {epochs: null, max_minutes: 3, learning_rate_schedule: {kind: cosine}}",
            "2: training: a cosine or linear schedule needs epochs or max_steps to end at",
        ),
        (
            "training: {epochs: null, max_minutes: 3, teacher_forcing: {kind: linear}}",
            "2: training: a cosine or linear schedule needs epochs or max_steps to end at",
        ),
        # Twice.
        ("seed: 1\nseed: 2", "3: seed: is there twice"),
        ("training:\n  epochs: 3\n  epochs: 4", "4: training.epochs: is there twice"),
        ("training: {epochs: 3}\ntraining: {log_every: 4}", "3: training: is there twice"),
        ("a: &a {x: 1}\nmodel: {encoder: *b}", "3: not valid YAML: found undefined alias 'b'"),
        # Not YAML, or more of it than a config needs.
        ("model: {", "3: not valid YAML: expected the node content, but found '<stream end>'"),
        ("\tname: x", "2: not valid YAML: found character '\\t' that cannot start any token"),
        ("name: @x", "2: not valid YAML: found character '@' that cannot start any token"),
        ("---\nseed: 3", "2: not valid YAML: but found another document"),
        ("[a, b]: 3", "2: a key must be plain text"),
        ("{a: b}: 3", "2: a key must be plain text"),
        ("model: {decoder: {<<: {a: 1}}}", "2: model.decoder.<<: unknown key"),
    ],
)
def test_a_mistake_is_named_with_its_line_and_key(lines: str, expected: str) -> None:
    (line,) = mistakes(f"{CORPUS}{lines}\n")
    assert line.startswith(f"c.yaml:{expected}")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("data:\n", "1: data: needs a `dataset` (phrasebook, multi30k ...) or `train` files"),
        ("data: {}\n", "1: data: needs a `dataset` (phrasebook, multi30k ...) or `train` files"),
        ("seed: 1\ndata: x\n", "2: data: must be a mapping of keys (source, target, tokenizer, "),
        (
            "data: {dataset: phrasebook}\n",
            "1: data: `source` and `target` must be two of the languages of phrasebook: de, en",
        ),
        (
            "data: {dataset: phrasebok, source: de, target: en}\n",
            "1: data.dataset: must be one of phrasebook, multi30k, tatoeba, hf:NAME, "
            "kaggle:OWNER/NAME/FILE.csv, not 'phrasebok' (did you mean phrasebook?)",
        ),
        (
            "data: {dataset: phrasebook, source: de, target: en, train: a.csv}\n",
            "1: data: name a dataset, or files of your own, not both",
        ),
        *[
            (f"data: {{dataset: '{name}'}}\n", f"1: data.dataset: must be written {form}")
            for name, form in [
                ("hf:", "hf:NAME or hf:OWNER/NAME"),
                ("hf:a/b/c", "hf:NAME or hf:OWNER/NAME"),
                ("hf:../a", "hf:NAME or hf:OWNER/NAME"),
                ("kaggle:", "kaggle:OWNER/NAME/FILE.csv"),
                ("kaggle:a/b", "kaggle:OWNER/NAME/FILE.csv"),
                ("kaggle:a/b/../c.csv", "kaggle:OWNER/NAME/FILE.csv"),
            ]
        ],
        *[
            (
                f"data: {{dataset: tatoeba, {languages}}}\n",
                "1: data: tatoeba pairs a language with English: one of `source` and `target`",
            )
            for languages in (
                "source: de, target: fr",
                "source: en, target: eng",
                "source: de",
                "target: en",
            )
        ],
        *[
            (
                f"data: {{dataset: multi30k, {languages}}}\n",
                "1: data: `source` and `target` must be two of the languages of multi30k: de, en",
            )
            for languages in ("source: de, target: es", "source: de, target: de", "source: de")
        ],
        # Which files, and what is said of them.
        ("data: {train: none}\n", "1: data: needs a `dataset` (phrasebook, multi30k ...) or"),
        ("data: {train: ''}\n", "1: data.train: must be the path of a file"),
        ('data: {train: "a\\0b"}\n', "1: data.train: must be the path of a file"),
        ("data:\n  train: [a.csv, '']\n", "2: data.train.1: must be the path of a file"),
        (
            "data:\n  train: [a.csv, [b.csv]]\n",
            "2: data.train.1: must be a file or {source: FILE, target: FILE}, not ",
        ),
        (
            "data:\n  train: {source: [a, null], target: b}\n",
            "2: data.train.source.1: must be a file or {source: FILE, target: FILE}, not nothing",
        ),
        *[
            (
                f"data:\n  train: a.csv\n  columns: {{source: {value}, target: 2}}\n",
                "3: data.columns.source: must be the name of a column, or its number from 1",
            )
            for value in ("0", "''", "null", "[1]")
        ],
        (
            "data:\n  train: {source: a, target: b}\n  columns: {source: 1, target: 2}\n",
            "1: data: `columns` is for tables, and here are none",
        ),
        (
            "data:\n  train: a.csv\n  header: maybe\n",
            "3: data.header: must be auto, true or false",
        ),
        ("data:\n  train: a.csv\n  header: 1\n", "3: data.header: must be auto, true or false"),
        (
            "data: {train: a.csv, header: false, columns: {source: a, target: 2}}\n",
            "1: data: without a header, `columns` must be numbers, from 1",
        ),
        (
            "data: {train: {source: a, target: b}, header: true}\n",
            "1: data: `header` is for tables, and here are none",
        ),
        (
            "data: {dataset: 'hf:x', header: true}\n",
            "1: data: `header` is for tables, and here are none",
        ),
        (
            "data: {train: a.csv, hf: {config: x}}\n",
            "1: data: `hf` is for a dataset written hf:NAME",
        ),
        (
            "data:\n  train: a.csv\n  hf: {split: x}\n",
            "3: data.hf.split: unknown key",
        ),
        *[
            (f"data:\n  train: a.csv\n  held_out: {given}\n", f"3: data.held_out{told}")
            for given, told in [
                ("{valid: 0}", ".valid: must be greater than 0, not 0"),
                ("{valid: 0.51}", ".valid: must be at most 0.5, not 0.51"),
                ("{test: 0.5}", ".test: must be less than 0.5, not 0.5"),
                ("{vaild: 0.1}", ".vaild: unknown key (did you mean valid?)"),
                ("0.1", ": must be a mapping of keys (valid, test), not 0.1"),
            ]
        ],
        ("data:\n  train: a.csv\n  limit: 0\n", "3: data.limit: must be at least 1, not 0"),
        ("data:\n  train: a.csv\n  limit: x\n", "3: data.limit: must be a whole number, not 'x'"),
        (
            "data:\n  train: {source: a}\n  valid: v.csv\n",
            "2: data.train.target: is missing",
        ),
        (
            "data:\n  train: a.csv\n  valid: v.csv\n  columns:\n    source: a\n",
            "4: data.columns.target: is missing",
        ),
        (
            "data:\n  train: a.csv\n  valid: v.csv\n  columns: a\n",
            "4: data.columns: must be a mapping of keys (source, target), not 'a'",
        ),
        (
            "data:\n  dataset: phrasebook\n  source: de\n  target: en\n  tokenizer:\n"
            "    kind: bpee\n",
            "6: data.tokenizer.kind: must be one of whitespace, words, spacy, characters, bpe, "
            "unigram, not 'bpee' (did you mean bpe?)",
        ),
        (
            "data:\n  dataset: phrasebook\n  source: de\n  target: en\n  tokenizer: words\n",
            "5: data.tokenizer: must be a mapping of keys (kind, ...), not 'words'",
        ),
        (
            "data:\n  dataset: phrasebook\n  source: de\n  target: en\n"
            "  tokenizer: {kind: bpe, size: 7}\n",
            "5: data.tokenizer.size: must be at least 8, not 7",
        ),
        *[
            (
                f"data:\n  train: a.csv\n  tokenizer: {{{given}}}\n",
                f"3: data.tokenizer.{told}",
            )
            for given, told in [
                ("kind: bpe, dropout: 1", "dropout: must be less than 1, not 1"),
                ("kind: unigram, dropout: 1.1", "dropout: must be at most 1, not 1.1"),
                ("kind: words, dropout: 0.1", "dropout: unknown key"),
                ("kind: characters, size: 100", "size: unknown key"),
                ("kind: spacy, nfc: perhaps", "nfc: must be true or false, not 'perhaps'"),
            ]
        ],
        *[
            (text, "1: a config is a mapping of keys to values")
            for text in ("", "# nothing\n", "null\n", "- a\n", "hello\n", '""\n')
        ],
    ],
)
def test_mistakes_about_the_data_and_the_document(text: str, expected: str) -> None:
    (line,) = mistakes(text)
    assert line.startswith(f"c.yaml:{expected}")


def test_a_config_without_data_is_refused() -> None:
    (line,) = mistakes("seed: 1\n")
    assert line.startswith("c.yaml")
    assert line.endswith(": data: is missing")


def test_all_mistakes_are_told_at_once_in_the_order_of_the_file() -> None:
    text = """\
validation: {metric: accuracy}
sed: 3
training:
  save_every: never
  optimizer:
    kind: sgd
    momentum: 2
    learnin_rate: 1
  epochs: -1
  epochs: -2
data:
  dataset: phrasebook
  source: de
  target: en
  tokenizer: {kind: unigram, size: 1}
device: gpu
"""
    metrics = "loss, free_running_loss, train_loss, bleu"
    assert mistakes(text, "model.dropout=2", "seed=x") == [
        f"c.yaml:1: validation.metric: must be one of {metrics}, not 'accuracy'",
        "c.yaml:2: sed: unknown key (did you mean seed?)",
        "c.yaml:4: training.save_every: must be a whole number, not 'never'",
        "c.yaml:7: training.optimizer.momentum: must be less than 1, not 2",
        "c.yaml:8: training.optimizer.learnin_rate: unknown key of kind sgd "
        "(did you mean learning_rate?)",
        "c.yaml:10: training.epochs: is there twice",
        "c.yaml:10: training.epochs: must be greater than 0, not -2",
        "c.yaml:15: data.tokenizer.size: must be at least 8, not 1",
        "c.yaml:16: device: must be auto, cpu, cuda, cuda:N or mps, not 'gpu'",
        "--set model.dropout: model.dropout: must be less than 1, not 2",
        "--set seed: seed: must be a whole number, not 'x'",
    ]


def test_a_mistake_behind_an_alias_is_named_where_it_stands_for_each_key() -> None:
    text = f"{CORPUS}model:\n  encoder: &same\n    hidden_size: x\n  decoder: *same\n"
    assert mistakes(text) == [
        "c.yaml:4: model.encoder.hidden_size: must be a whole number, not 'x'",
        "c.yaml:4: model.decoder.hidden_size: must be a whole number, not 'x'",
    ]


def _bomb() -> str:
    lines = ["a: &a [x,x,x,x,x,x,x,x,x,x]"]
    lines += [
        f"{name}: &{name} [{','.join([f'*{before}'] * 10)}]"
        for before, name in zip("abcdefgh", "bcdefghi", strict=True)
    ]
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (_bomb(), "too many values (do aliases multiply them?)"),
        ("a: &a\n  b: *a\n", "too many values (do aliases multiply them?)"),
        ("a: &a [*a]\n", "too many values (do aliases multiply them?)"),
        ("&a\ndata: *a\n", "too many values (do aliases multiply them?)"),
        (
            "".join(f"k{index}: 1\n" for index in range(MAX_VALUES)),
            "too many values (do aliases multiply them?)",
        ),
        ("a: [" + "x," * 100_000, "too many values (do aliases multiply them?)"),
        ("a: " + "[" * 100_000, f"nested deeper than {MAX_DEPTH} levels"),
        ("a: " + "{b: " * 50_000, f"nested deeper than {MAX_DEPTH} levels"),
        (
            "".join(" " * level + "k:\n" for level in range(500)),
            f"nested deeper than {MAX_DEPTH} levels",
        ),
    ],
    ids=["bomb", "recursive", "in-list", "root", "long", "list", "brackets", "braces", "block"],
)
def test_documents_made_to_explode_are_refused(text: str, expected: str) -> None:
    (line,) = mistakes(text)
    assert line.startswith("c.yaml:")
    assert line.endswith(f": {expected}")


def test_nesting_is_counted_by_level_not_in_all() -> None:
    siblings = "".join(f"  k{index}: [[1]]\n" for index in range(3 * MAX_DEPTH))
    assert len(mistakes(f"{CORPUS}decoding:\n{siblings}")) == 3 * MAX_DEPTH


def test_a_large_file_is_refused_and_one_just_below_is_not() -> None:
    padding = MAX_BYTES - len(CORPUS) - 1
    assert load(f"{CORPUS}#{'x' * padding}").data.dataset == "phrasebook"
    assert mistakes(f"{CORPUS}#{'x' * (padding + 1)}") == [
        "c.yaml: larger than 262,144 bytes, which no config is"
    ]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"name: x\n# caf\xe9\n", "c.yaml:2: byte 0xE9 is not UTF-8"),
        (b"\x80", "c.yaml:1: byte 0x80 is not UTF-8"),
        ("name: x\n".encode("utf-16"), "c.yaml:1: byte 0xFF is not UTF-8"),
    ],
)
def test_a_file_that_is_not_utf8(data: bytes, expected: str) -> None:
    assert mistakes(data) == [expected]


@pytest.mark.parametrize("character", ["\0", "\x01", "\x7f"])
def test_control_characters_are_no_yaml(character: str) -> None:
    (line,) = mistakes(f"{CORPUS}name: {character}\n")
    assert line.startswith("c.yaml")
    assert ": not valid YAML: unacceptable character" in line


def test_a_byte_order_mark_and_windows_line_ends_do_no_harm() -> None:
    text = f"{CORPUS}seed: 3\n".replace("\n", "\r\n")
    assert load(b"\xef\xbb\xbf" + text.encode()).seed == 3


# ---------------------------------------------------------------- values


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("training.optimizer.learning_rate", "1e-4", 0.0001),
        ("training.optimizer.learning_rate", "1", 1.0),
        ("training.optimizer.learning_rate", "'0.5'", 0.5),
        ("training.max_steps", "1e5", 100_000),
        ("training.max_steps", "1_000", 1000),
        ("training.max_steps", "100.0", 100),
        ("training.max_steps", "null", None),
        ("training.max_steps", "~", None),
        ("training.max_steps", "", None),
        ("training.gradient_clip_norm", "null", None),
        ("validation.every", "epoch", "epoch"),
        ("validation.every", "1e3", 1000),
        ("validation.every", "25", 25),
        ("model.encoder.bidirectional", "true", True),
        ("model.encoder.bidirectional", "No", False),
        ("data.target", "no", "no"),
        ("data.target", "on", "on"),
        ("data.target", "1", "1"),
        ("name", "'null'", "null"),
        ("name", '"null"', "null"),
        ("name", "1e-4", "1e-4"),
        ("name", "no", "no"),
        ("name", "007", "007"),
        ("name", "2014-09-10", "2014-09-10"),
        ("name", "Übung", "Übung"),
        ("device", "cuda:1", "cuda:1"),
        ("seed", "0", 0),
        ("data.columns.source", "2", 2),
        ("data.columns.source", "'2'", 2),
        ("data.columns.source", "1.5", "1.5"),
        ("data.columns.source", "no", "no"),
        ("data.columns.source", "true", "true"),
        ("data.header", "auto", "auto"),
        ("data.header", "yes", True),
        ("data.header", "True", True),
        ("data.limit", "1e3", 1000),
        ("data.limit", "null", None),
        ("data.test", "none", "none"),
        ("data.test", "null", None),
        ("data.held_out.valid", "0.5", 0.5),
        ("data.held_out.test", "1e-3", 0.001),
        ("training.learning_rate_schedule.kind", "plateau", "plateau"),
    ],
)
def test_the_field_decides_what_a_plain_scalar_means(key: str, text: str, value: object) -> None:
    found = at(load(FILES, f"{key}={text}"), key)
    assert found == value
    assert type(found) is type(value)


def test_without_a_kind_the_default_kind_is_meant() -> None:
    config = load(
        "data: {dataset: phrasebook, source: de, target: en, tokenizer: {lowercase: true}}\n"
        "training: {optimizer: {learning_rate: 2}, teacher_forcing: {ratio: 0.25}}\n"
    )
    assert config.data.tokenizer == WordsTokenizer(lowercase=True)
    assert config.training.optimizer == AdamConfig(learning_rate=2)
    assert config.training.teacher_forcing.kind == "constant"


def test_a_split_may_be_absent_or_done_without() -> None:
    data = load("data: {train: a.csv}\n").data
    assert (data.valid, data.test) == (None, None)
    assert data.held_out == HeldOutConfig(valid=0.05, test=0.05)
    data = load("data: {train: a.csv, test: none}\n").data
    assert (data.valid, data.test) == (None, "none")
    for text in ("data: {train: a.csv, valid: none}\n", CORPUS):
        config = load(text, "data.valid=none", "validation.metric=train_loss")
        assert config.data.valid == "none"


@pytest.mark.parametrize("metric", ["", "validation: {metric: bleu}\n"])
def test_without_validation_data_the_training_loss_decides(metric: str) -> None:
    expected = (
        "validation.metric: must be train_loss where there is no validation data (data.valid: none)"
    )
    (line,) = mistakes(f"data: {{train: a.csv, valid: none}}\n{metric}")
    assert line.startswith("c.yaml:")
    assert line.endswith(expected)
    (line,) = mistakes(f"{CORPUS}{metric}", "data.valid=none")
    assert line.endswith(expected)


def test_r_drop_wants_some_dropout() -> None:
    nowhere = "model: {dropout: {embedding: 0, hidden: 0}}\n"
    (line,) = mistakes(f"{CORPUS}{nowhere}training: {{r_drop: 2}}\n")
    assert line.endswith(
        "training.r_drop: compares what two dropout masks let through, and model.dropout is 0 "
        "everywhere"
    )
    assert load(CORPUS + nowhere).training.r_drop == 0.0
    for place in ("embedding", "hidden", "output", "word"):
        config = load(CORPUS + nowhere, f"model.dropout.{place}=0.1", "training.r_drop=2")
        assert config.training.r_drop == 2.0


def test_r_drop_wants_dropout_that_has_a_place() -> None:
    between = "model: {dropout: {embedding: 0, hidden: 0.5}}\ntraining: {r_drop: 2}\n"
    one_layer = [f"model.{side}.num_layers=1" for side in ("encoder", "decoder")]
    (line,) = mistakes(CORPUS + between, *one_layer)
    assert line.endswith("everywhere but between layers, of which there is one")
    for setting in one_layer:
        assert load(CORPUS + between, setting).training.r_drop == 2.0


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("data.tokenizer", "{kind: spacy, nfc: true}", SpacyTokenizer(nfc=True)),
        ("data.tokenizer", "{kind: characters}", CharactersTokenizer()),
        ("data.tokenizer", "{kind: bpe, dropout: 0.1}", BpeTokenizer(dropout=0.1)),
        ("data.tokenizer", "{kind: unigram, dropout: 1}", UnigramTokenizer(dropout=1)),
        ("training.learning_rate_schedule", "{kind: inverse_sqrt}", InverseSqrtRate()),
        (
            "training.learning_rate_schedule",
            "{kind: halving, after_epochs: 0, every_epochs: 1}",
            HalvingRate(after_epochs=0, every_epochs=1),
        ),
        ("training.teacher_forcing", "{kind: exponential, k: 0.9}", ExponentialForcing(k=0.9)),
        ("training.teacher_forcing", "{kind: inverse_sigmoid}", InverseSigmoidForcing(k=300)),
        ("training.teacher_forcing", "{per: token}", ConstantForcing(per="token")),
        ("training.teacher_forcing", "{kind: linear, per: token}", LinearForcing(per="token")),
    ],
)
def test_kinds(key: str, text: str, value: Section) -> None:
    config = load(CORPUS, f"{key}={text}")
    assert at(config, key) == value
    Path("dumped.yaml").write_text(dump_config(config))
    assert load_config("dumped.yaml") == config


@pytest.mark.parametrize(
    "schedule",
    ["learning_rate_schedule={kind: halving}", "teacher_forcing={kind: inverse_sigmoid}"],
)
def test_schedules_without_an_end_need_no_number_of_steps(schedule: str) -> None:
    config = load(CORPUS, "training.epochs=null", "training.max_minutes=1", f"training.{schedule}")
    assert config.training.max_minutes == 1


def test_corpora_and_their_languages() -> None:
    for dataset, source, target in [
        ("multi30k", "cs", "fr"),
        ("tatoeba", "de", "en"),
        ("tatoeba", "eng", "cmn"),
        ("hf:name", "x", "y"),
        ("hf:Owner-1/na.me_2", "de", "en"),
        ("kaggle:owner/name/folder/a file.csv", "de", "en"),
        ("kaggle:owner/name/versions/3/file.csv", "de", "en"),
    ]:
        given = f"data: {{dataset: '{dataset}', source: {source}, target: {target}}}\n"
        assert load(given).data.dataset == dataset
    assert load("data: {dataset: 'hf:name'}\n").data.source is None


def test_an_alias_is_a_copy() -> None:
    config = load(
        f"{CORPUS}model:\n  encoder: &same {{hidden_size: 3}}\n  decoder: *same\n",
        "model.encoder.hidden_size=4",
    )
    assert (config.model.encoder.hidden_size, config.model.decoder.hidden_size) == (4, 3)


# ---------------------------------------------------------------- --set


def test_set_replaces_a_mapping_as_a_whole() -> None:
    text = f"{CORPUS}training: {{epochs: 3, log_every: 7, optimizer: {{learning_rate: 5}}}}\n"
    config = load(text, "training={epochs: 4}")
    assert (config.training.epochs, config.training.log_every) == (4, 10)
    assert config.training.optimizer == AdamConfig()
    config = load(text, "training.optimizer={kind: sgd}")
    assert (config.training.log_every, config.training.optimizer) == (7, SgdConfig())


def test_set_reaches_a_key_inside_and_leaves_its_neighbours() -> None:
    text = f"{CORPUS}training: {{epochs: 3, optimizer: {{learning_rate: 5}}}}\n"
    config = load(text, "training.optimizer.learning_rate=1e-2", "model.encoder.num_layers=1")
    assert config.training.epochs == 3
    assert config.training.optimizer == AdamConfig(learning_rate=0.01)
    assert (config.model.encoder.num_layers, config.model.decoder.num_layers) == (1, 2)


def test_the_last_set_of_a_key_wins_and_repairs_what_was_wrong() -> None:
    assert load(f"{CORPUS}seed: x\n", "seed=y", "seed=5").seed == 5
    assert load(f"{CORPUS}training:\n", "training.epochs=5").training.epochs == 5
    assert load(CORPUS, "training.epochs=x", "training={}").training.epochs == 10


@pytest.mark.parametrize("override", ["foo", "seed", "=", "=x", "a..b=1", ".=1", "a.=1", ".a=1"])
def test_a_set_that_is_no_key_and_value(override: str) -> None:
    assert mistakes(CORPUS, override) == [
        f"--set {override}: write it as key=VALUE, say training.epochs=5"
    ]


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("sed=3", "--set sed: sed: unknown key (did you mean seed?)"),
        ("seed=x", "--set seed: seed: must be a whole number, not 'x'"),
        ("name='~'", "--set name: name: must be letters, digits, - _ . + only, not '~'"),
        ("name=a=b", "--set name: name: must be letters, digits, - _ . + only, not 'a=b'"),
        (
            "training={epochs: 3, epoch: 4}",
            "--set training: training.epoch: unknown key (did you mean epochs?)",
        ),
        ("training=long", "--set training: training: must be a mapping of keys (epochs, "),
        (
            "data.tokenizer={kind: bpee}",
            "--set data.tokenizer: data.tokenizer.kind: must be one of whitespace, words, spacy, "
            "characters, bpe, unigram, not 'bpee' (did you mean bpe?)",
        ),
        (
            "data=",
            "--set data: data: needs a `dataset` (phrasebook, multi30k ...) or `train` files",
        ),
        ("seed.x=1", "--set seed.x: seed is a value, it has no keys inside"),
        (
            "data.dataset.x.y=1",
            "--set data.dataset.x.y: data.dataset is a value, it has no keys inside",
        ),
        ("training=[", "--set training:1: not valid YAML: expected the node content, "),
        ("training={a: &a [*a]}", "--set training:1: too many values (do aliases "),
        ("seed=" + "[" * 50, f"--set seed:1: nested deeper than {MAX_DEPTH} levels"),
        ("seed=" + "9" * 5000, "--set seed: seed: is far too large a number: '9999"),
    ],
)
def test_mistakes_in_set(override: str, expected: str) -> None:
    (line,) = mistakes(f"{CORPUS}seed: 1\n", override)
    assert line.startswith(expected)


def test_a_key_of_a_set_value_is_no_deeper_than_a_file() -> None:
    key = ".".join("a" * MAX_DEPTH)
    assert parse_override(f"{key}=1").key == key
    with pytest.raises(ConfigError, match=f"^--set a[.a]*: nested deeper than {MAX_DEPTH} levels$"):
        parse_override(f"{key}.a=1")


def test_a_config_has_no_more_values_than_are_allowed() -> None:
    keys = "".join(f"k{index}: 1\n" for index in range(MAX_VALUES - 10))
    assert all(line.endswith(": unknown key") for line in mistakes(CORPUS + keys))


def test_a_key_twice_in_a_set_value() -> None:
    (line,) = mistakes(CORPUS, "training={epochs: 3, epochs: 4}")
    assert line.startswith("--set training")
    assert line.endswith("epochs: is there twice")


# ---------------------------------------------------------------- paths


@pytest.mark.parametrize(
    ("overrides", "train", "valid"),
    [
        ([], ("conf/a.de", "conf/a.en"), "conf/v.csv"),
        (["data.train=z.tsv"], "here/z.tsv", "conf/v.csv"),
        (["data.train={source: q, target: r}"], ("here/q", "here/r"), "conf/v.csv"),
        (["data.train.source=q"], ("here/q", "conf/a.en"), "conf/v.csv"),
        (["data.train.target=../q"], ("conf/a.de", "here/../q"), "conf/v.csv"),
        (["data.valid=w.csv"], ("conf/a.de", "conf/a.en"), "here/w.csv"),
        (["data={train: k.csv, valid: l.csv}"], "here/k.csv", "here/l.csv"),
        (["data.train.source=q", "data.train=t.csv"], "here/t.csv", "conf/v.csv"),
        (["data.limit=3", "data={train: k.csv, valid: l.csv}"], "here/k.csv", "here/l.csv"),
    ],
)
def test_paths_are_relative_to_the_config_or_to_where_one_stands(
    tmp_path: Path, overrides: list[str], train: str | tuple[str, str], valid: str
) -> None:
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "c.yaml").write_text(FILES)
    config = load_config(str(tmp_path / "conf" / "c.yaml"), map(parse_override, overrides))

    wanted: Path | ParallelFiles = (
        tmp_path / train
        if isinstance(train, str)
        else ParallelFiles(source=tmp_path / train[0], target=tmp_path / train[1])
    )
    assert config.data.train == wanted
    assert config.data.valid == tmp_path / valid


@pytest.mark.parametrize(
    ("override", "key", "files"),
    [
        ("", "train", ["conf/a-*.csv", "conf/../b.tsv", "/d.csv", "home/e.csv"]),
        ("", "valid.source", ["conf/s1", "conf/none"]),
        ("", "valid.target", ["conf/t*"]),
        ("", "test", ["conf/none"]),
        ("data.train=[q.csv, ../r*.csv, ~/s.csv]", "train", ["here/q.csv", "here/../r*.csv",
                                                             "home/s.csv"]),
        ("data.train=[q.csv]", "valid.source", ["conf/s1", "conf/none"]),
        ("data.valid.source=[q, r]", "valid.source", ["here/q", "here/r"]),
        ("data.valid.source=[q, r]", "valid.target", ["conf/t*"]),
        ("data.valid={source: [q], target: [r, t]}", "valid.target", ["here/r", "here/t"]),
        ("data.test=./none", "test", ["here/none"]),
        ("data.test=[none]", "test", ["here/none"]),
        ("data.limit=3", "train", ["conf/a-*.csv", "conf/../b.tsv", "/d.csv", "home/e.csv"]),
    ],
)  # fmt: skip
def test_each_of_several_paths_is_relative(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, override: str, key: str, files: list[str]
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "c.yaml").write_text(
        "data:\n  train: [a-*.csv, ../b.tsv, /d.csv, ~/e.csv]\n"
        "  valid: {source: [s1, none], target: t*}\n  test: ./none\n"
    )
    overrides = [parse_override(override)] if override else []
    config = load_config(str(tmp_path / "conf" / "c.yaml"), overrides)
    found: Any = config.data
    for part in key.split("."):
        found = getattr(found, part)
    assert (found if isinstance(found, tuple) else (found,)) == tuple(
        tmp_path / file for file in files
    )
    Path("dumped.yaml").write_text(dump_config(config))
    assert load_config("dumped.yaml") == config


def test_absolute_and_home_paths_stay_what_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    config = load(
        "data: {train: /x/a.csv, valid: ~/b.csv}\n", "data.test={source: ~/s, target: /y/t}"
    )
    assert config.data.train == Path("/x/a.csv")
    assert config.data.valid == tmp_path / "home" / "b.csv"
    assert config.data.test == ParallelFiles(source=tmp_path / "home" / "s", target=Path("/y/t"))


# ---------------------------------------------------------------- names and finding


def test_the_name_is_the_files_own_unless_it_says_otherwise(tmp_path: Path) -> None:
    path = tmp_path / "my.first-run_2.yaml"
    path.write_text(CORPUS)
    assert load_config(str(path)).name == "my.first-run_2"
    assert load_config(str(path), [parse_override("name=other")]).name == "other"
    path.write_text(f"{CORPUS}name: said\n")
    assert load_config(str(path)).name == "said"


def test_a_run_directory_stands_for_the_config_in_it() -> None:
    Path("runs/x").mkdir(parents=True)
    Path("runs/x/config.yaml").write_text(f"{CORPUS}name: y\n")
    assert load_config("runs/x").name == "y"


def test_shipped_configs_are_found_by_name() -> None:
    shipped = shipped_configs()
    assert {"quickstart", "multi30k-tutorial"} <= set(shipped)
    for name, path in shipped.items():
        config = load_config(name)
        assert config == load_config(str(path))
        assert config.name == name


def test_a_file_beside_one_comes_before_a_shipped_config() -> None:
    Path("quickstart").write_text(f"{CORPUS}seed: 77\n")
    assert load_config("quickstart").seed == 77


def test_an_unknown_name_lists_the_names_there_are() -> None:
    with pytest.raises(ConfigError) as caught:
        load_config("quikstart")
    message = str(caught.value)
    assert message.startswith("quikstart: no such file, ")
    assert ", ".join(sorted(shipped_configs())) in message
    assert message.endswith("(did you mean quickstart?)")


@pytest.mark.parametrize("name", ["nosuch.yaml", "nosuch.yml", "no/such"])
def test_a_file_that_is_not_there(name: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(name)
    assert str(caught.value) == f"{name}: cannot be read: No such file or directory"


def test_a_folder_without_a_config() -> None:
    Path("folder").mkdir()
    with pytest.raises(ConfigError, match=r"^folder: cannot be read: Is a directory$"):
        load_config("folder")


# ---------------------------------------------------------------- writing and comparing

ALL_SET = """\
name: 1e-4
seed: 12345
device: cuda:1
precision: bfloat16
data:
  train: {source: /d/a.de.gz, target: /d/a.en.gz}
  valid: /d/v.csv
  test: /d/t.tsv
  columns: {source: German, target: 3}
  header: true
  held_out: {valid: 0.1, test: 0.2}
  limit: 1e3
  source: de
  target: no
  tokenizer: {kind: bpe, size: 6000, lowercase: true, nfc: true, dropout: 0.1}
  vocabulary: {max_size: 10000, min_freq: 2, shared: true}
  max_length: 50
  reverse_source: true
model:
  encoder: {embedding_dim: 1, hidden_size: 2, num_layers: 3, bidirectional: true, residual: true}
  decoder:
    {embedding_dim: 4, hidden_size: 5, num_layers: 6, residual: true,
     attention: {kind: general, place: before, word_vectors: true}}
  dropout: {embedding: 0.123456789, hidden: 0, output: 0.1, word: 1e-3, variational: true}
  layer_norm: true
  fixnorm: true
  tied_embeddings: target
  pretrained: {source: /d/a.vec, target: /d/b.vec.gz}
  init: {kind: normal, std: 1e-7}
training:
  epochs: null
  max_steps: 1e6
  max_minutes: 0.5
  batch_size: 4096
  batch_unit: tokens
  optimizer: {kind: adamw, learning_rate: 3e-4, weight_decay: 1e-9}
  learning_rate_schedule: {kind: plateau, factor: 0.3, patience: 0}
  teacher_forcing: {kind: linear, start: 0.9, end: 0, per: token}
  gradient_clip_norm: null
  label_smoothing: 0.1
  r_drop: 0.5
  loss_per: sentence
  averaging: {kind: last, checkpoints: 2}
  accumulate: 2
  log_every: 1
  save_every: 2
  save_every_minutes: 3
  max_skipped_steps: 4
validation: {every: 250, metric: bleu, patience: 5}
decoding: {beam_size: 12, length_penalty: 0, no_repeat_ngram_size: 3, max_length_ratio: 1.5}
"""


def _odd_columns(name: str) -> Config:
    data = DataConfig.model_validate(
        {"train": "/a.csv", "valid": "/b.csv", "columns": {"source": name, "target": f"{name}2"}}
    )
    return Config(data=data)


@pytest.mark.parametrize(
    "config",
    [
        Config(data=DataConfig(train=Path("/a.tsv"), valid=Path("/b.tsv"), target="no")),
        Config(name="no", data=DataConfig(train=Path("/x ü/a.csv"), valid=Path("/y: #z/b.tsv"))),
        *[Config(name=name, data=DataConfig(train=Path("/a.csv"), valid=Path("/b.csv")))
          for name in ("null", "1e-4", "true", "0x10", "2014-09-10", "_", "日本")],
        *[_odd_columns(name)
          for name in ("~", "null", " a ", "a: b", "#", "a\nb", "\u2028", "'", '"', "x" * 300,
                       "-", "@", "\\", "\0", "\u0301", "1_000", "a\tb", "👨‍👩‍👧", "\x85",
                       "a \x85 b", "\u2029 x", "x\x85\x85", "\r", "a\r\nb", "\ufeff")],
        *[load_config(name) for name in shipped_configs()],
    ],
    ids=lambda config: ascii(config.data.columns.source if config.data.columns else config.name)[
        :20
    ],
)  # fmt: skip
def test_a_dumped_config_is_read_back_equal(config: Config) -> None:
    Path("dumped.yaml").write_text(dump_config(config))
    assert load_config("dumped.yaml") == config


def test_a_config_with_every_key_set_is_read_back_equal_anywhere(tmp_path: Path) -> None:
    config = load(ALL_SET)
    defaults = Config(data=DataConfig(dataset="phrasebook", source="de", target="en"))
    same = {
        key
        for key, value in _leaves(config)
        if key in dict(_leaves(defaults)) and dict(_leaves(defaults))[key] == value
    }
    hub = {f"data.hf.{name}" for name in HubConfig.model_fields}
    assert same <= {"data.source", *hub}, "a key at its default shows nothing"
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "c.yaml").write_text(dump_config(config))
    assert load_config(str(tmp_path / "elsewhere" / "c.yaml")) == config


def test_what_is_taken_of_a_hub_is_read_back_equal() -> None:
    config = load(
        "data:\n  dataset: hf:owner/name-1.x\n  source: de\n  target: en\n"
        "  columns: {source: translation.de, target: translation.en}\n"
        "  hf: {config: de-en, revision: 1e5, train: all, valid: dev, test: 'null'}\n"
    )
    hub = HubConfig(config="de-en", revision="1e5", train="all", valid="dev", test="null")
    assert config.data.hf == hub
    Path("dumped.yaml").write_text(dump_config(config))
    assert load_config("dumped.yaml").data == config.data


def test_a_dump_names_every_key_and_the_version() -> None:
    text = dump_config(load(CORPUS))
    assert text.startswith("# Resolved by seq2seq ")
    for key, _ in _leaves(load(CORPUS)):
        assert f"{key.split('.')[-1]}:" in text


def test_changed_keys_are_dotted_with_old_and_new() -> None:
    old = load(CORPUS)
    assert changed_keys(old, old) == {}
    assert changed_keys(old, load(CORPUS, "seed=2", "model.encoder.num_layers=1")) == {
        "model.encoder.num_layers": (2, 1),
        "seed": (1, 2),
    }
    assert changed_keys(old, load(CORPUS, "training.optimizer={kind: sgd}")) == {
        "training.optimizer.kind": ("adam", "sgd"),
        "training.optimizer.learning_rate": (0.001, 0.7),
        "training.optimizer.momentum": (None, 0.0),
    }


def test_changed_keys_are_seen_from_both_sides() -> None:
    old, new = load(CORPUS), load(CORPUS, "training.learning_rate_schedule={kind: plateau}")
    there, back = changed_keys(old, new), changed_keys(new, old)
    assert {key: (after, before) for key, (before, after) in there.items()} == back
    assert set(there) == {
        f"training.learning_rate_schedule.{key}" for key in PlateauRate.model_fields
    }


# ---------------------------------------------------------------- the schema


def _sections(annotation: Any) -> Iterator[type[Section]]:
    """The sections in a field's type."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        yield annotation
    for argument in typing.get_args(annotation):
        yield from _sections(argument)


def _walk(section: type[Section], prefix: str = "") -> Iterator[tuple[str, type[Section], str]]:
    """(dotted key, section it stands in, its name there) of all keys there are."""
    for name, field in section.model_fields.items():
        yield f"{prefix}{name}", section, name
        for inner in _sections(field.annotation):
            yield from _walk(inner, f"{prefix}{name}.")


def _leaves(section: Section, prefix: str = "") -> Iterator[tuple[str, object]]:
    for name in type(section).model_fields:
        value = getattr(section, name)
        if isinstance(value, Section):
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


KEYS = [*_walk(Config)]


def test_the_walk_over_the_schema_sees_what_there_is() -> None:
    keys = {key for key, _, _ in KEYS}
    assert {"seed", "data.tokenizer.size", "data.train.source", "model.init.std"} <= keys
    assert {key for key, _ in _leaves(load(ALL_SET))} <= keys


@pytest.mark.parametrize(
    ("key", "section", "name"), KEYS, ids=[f"{key}-{at.__name__}" for key, at, _ in KEYS]
)
def test_every_key_is_described_and_has_a_default_but_data(
    key: str, section: type[Section], name: str
) -> None:
    field = section.model_fields[name]
    assert field.description
    assert field.description.endswith(".")
    # The members of a pair of names are needed once that pair is given.
    pairs = {f"data.{parent}" for parent in ("train", "valid", "test", "columns")}
    needed = key == "data" or key.rpartition(".")[0] in pairs
    assert field.is_required() is needed


DEFAULTED = [
    (key, section, name)
    for key, section, name in KEYS
    if not section.model_fields[name].is_required()
]


def test_every_default_would_pass_as_a_value() -> None:
    assert len(DEFAULTED) > 50
    for key, section, name in DEFAULTED:
        field = section.model_fields[name]
        if field.default is None:
            continue
        values = field.default
        if isinstance(values, Section):
            values = values.model_dump(mode="json")
        data = {"dataset": "phrasebook", "source": "de", "target": "en"}
        given = {**data, name: values} if issubclass(section, DataConfig) else {name: values}
        if issubclass(section, TranslatorConfig):
            given["data"] = data
        assert getattr(section.model_validate(given), name) == field.default, key


def test_every_section_can_be_given_empty_and_is_then_its_default() -> None:
    plain = load(CORPUS)
    for key, section, name in DEFAULTED:
        if isinstance(section.model_fields[name].default, Section):
            assert load(CORPUS, f"{key}={{}}") == plain, key


def test_a_section_cannot_be_changed() -> None:
    config = load(CORPUS)
    with pytest.raises(ValueError, match="frozen"):
        config.seed = 3


def test_what_goes_into_a_model_file_names_no_file_and_nothing_of_training() -> None:
    config = load(ALL_SET)
    kept = config.for_translator()
    assert type(kept) is TranslatorConfig
    assert "/d/" not in kept.model_dump_json()
    assert {key for key, _ in _leaves(kept)} == {
        key
        for key, _ in _leaves(config)
        if key == "name" or key.startswith(("data.", "model.", "decoding."))
        if not key.startswith(("data.train", "data.valid", "data.test", "data.columns"))
        if not key.startswith(("data.dataset", "data.hf", "data.held_out"))
        if not key.startswith("model.pretrained") and key not in ("data.header", "data.limit")
    }
    for key, value in _leaves(kept):
        assert dict(_leaves(config))[key] == value
    assert kept.data.tokenizer == BpeTokenizer(size=6000, lowercase=True, nfc=True, dropout=0.1)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("data:\n  train: a.csv\n  header: null\n", "3: data.header: must be auto, true or false"),
        ("data:\n  train: a.csv\n  header: []\n", "3: data.header: must be auto, true or false"),
        ("data:\n  train: []\n", "2: data.train: must name at least one file"),
        ("data:\n  train:\n  - a.csv\n  - ''\n", "4: data.train.1: must be the path of a file"),
        (
            "data: {dataset: phrasebook, source: de, target: en, train: none}\n",
            "1: data: name a dataset, or files of your own, not both",
        ),
        (
            "data:\n  train: a.csv\n  columns: {source: 1, target: 1}\n",
            "3: data.columns: source and target are the same column",
        ),
    ],
)
def test_mistakes_about_files_and_columns(text: str, line: str) -> None:
    assert mistakes(text) == [f"c.yaml:{line}"]


@pytest.mark.parametrize("name", ['"~\\0"', '"~\\uD800"'])
def test_homes_that_no_path_can_name(name: str) -> None:
    (line,) = mistakes(f"data: {{train: {name}}}\n")
    assert line == "c.yaml:1: data.train: must be the path of a file"


def test_the_home_of_nobody_is_a_name_with_a_tilde() -> None:
    train = load("data: {train: ~nobody-of-that-name/a.csv}\n").data.train
    assert isinstance(train, Path)
    assert train.parts[-2:] == ("~nobody-of-that-name", "a.csv")
