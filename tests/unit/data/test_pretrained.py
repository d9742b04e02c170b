"""What the reader of word vectors makes of the files there are, the broken ones included."""

from __future__ import annotations

import gzip
import io
import logging
import pickle
import re
import sys
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seq2seq_cli.data.pretrained import Pretrained, read_pretrained
from seq2seq_cli.data.vocabulary import SPECIAL_TOKENS, Vocabulary
from seq2seq_cli.errors import ConfigError, DataError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

KEY = "model.pretrained.source"
DIMENSION_KEY = "model.encoder.embedding_dim"
ANIMALS = ("hund", "katze", "maus")
PACKERS: dict[str, Callable[[bytes], bytes]] = {".gz": gzip.compress, ".zst": zstd.compress}

Words = dict[str, list[float]]


def make(path: Path, content: str | bytes) -> Path:
    data = content.encode() if isinstance(content, str) else content
    path.write_bytes(PACKERS.get(path.suffix, bytes)(data))
    return path


def read(path: Path, words: Sequence[str] = ANIMALS, dimension: int = 2) -> Pretrained:
    return read_pretrained(path, Vocabulary(words), dimension, KEY, DIMENSION_KEY)


def vectors_of(path: Path, words: Sequence[str] = ANIMALS, dimension: int = 2) -> Words:
    """The vectors of the words that have one."""
    tokens = Vocabulary(words).tokens
    found = read(path, words, dimension)
    assert found.ids.dtype == np.int64
    assert found.vectors.dtype == np.float32
    assert found.vectors.shape == (len(found.ids), dimension)
    assert sorted(set(found.ids.tolist())) == found.ids.tolist()
    return {
        tokens[index]: vector
        for index, vector in zip(found.ids, found.vectors.tolist(), strict=True)
    }


def error_of(path: Path, words: Sequence[str] = ANIMALS, dimension: int = 2) -> str:
    """The message of the error, without the file's name."""
    with pytest.raises(DataError) as caught:
        read(path, words, dimension)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(str(path))
    return message.removeprefix(str(path))


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO, logger="seq2seq")
    return caplog


def warnings(log: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in log.records if record.levelno == logging.WARNING]


# ---------------------------------------------------------------- formats

PLAIN = "maus 1 -0.5\nder 9 9\nhund 2e-1 .25\n"
READ = {"hund": [np.float32(0.2), 0.25], "maus": [1.0, -0.5]}


@pytest.mark.parametrize("name", ["v.txt", "v.vec", "v", "v.vec.gz", "v.txt.zst"])
@pytest.mark.parametrize(
    "content",
    [
        PLAIN,
        PLAIN.removesuffix("\n"),
        f"3 2\n{PLAIN}",
        f"3 2 \n{PLAIN}",
        f"\ufeff3 2\n{PLAIN}",
        f"\ufeff{PLAIN}",
        f"3 2\n{PLAIN}".replace("\n", " \n"),  # as word2vec and fastText write it
        f"3 2\n{PLAIN}".replace("\n", "\r\n"),
        f"3 2\n{PLAIN}".replace(" ", "\t"),
        f"3\t2\n{PLAIN}".replace("maus ", "maus\t"),
        f"3 2\n{PLAIN}".replace(" ", "   "),
        PLAIN.replace("maus", " maus"),
        f"3 2\n\n{PLAIN}\n \n\t\n",
    ],
)
def test_formats(tmp_path: Path, log: pytest.LogCaptureFixture, name: str, content: str) -> None:
    assert vectors_of(make(tmp_path / name, content)) == READ
    assert warnings(log) == []


LETTERS = st.sampled_from("aAbBßSsİi\u0131Σ\u03c3ς1.-_\u2028\x85\xa0\x0c\r\ufffd日")
WORDS = st.text(LETTERS, min_size=1, max_size=3)
GAPS = st.sampled_from([" ", "\t", "  ", " \t"])
FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)


@settings(derandomize=True, deadline=None, max_examples=150, database=None)
@given(st.data())
def test_a_word_takes_the_first_same_word_or_else_the_first_that_differs_in_case(
    data: st.DataObject,
) -> None:
    dimension = data.draw(st.integers(1, 4))
    vectors = st.lists(FLOATS, min_size=dimension, max_size=dimension)
    words_in_file = st.lists(WORDS, max_size=3).map(" ".join)
    entries = data.draw(st.lists(st.tuples(words_in_file, vectors), max_size=12))
    lines = [f"{len(entries)} {dimension}"] if data.draw(st.booleans()) else []
    if not lines or not entries:  # without a header a first word with spaces may end in a number
        lines, entries = [], [("first", [0.5] * dimension), *entries]
    for word, vector in entries:
        gap, end = data.draw(GAPS), data.draw(st.sampled_from(["", " ", "\t", "\r"]))
        lines.append(gap.join([word, *map(str, vector)]) + end)
    words = data.draw(st.lists(WORDS, unique=True, max_size=12))

    expected = {}
    for word in words:
        same = [vector for other, vector in entries if other == word]
        similar = [vector for other, vector in entries if other.lower() == word.lower()]
        if same or similar:
            expected[word] = (same or similar)[0]
    with tempfile.TemporaryDirectory() as folder:
        path = make(Path(folder) / "v.txt", "\n".join(lines))
        assert vectors_of(path, words, dimension) == expected


def test_the_same_word_wins_over_another_case_wherever_it_stands(tmp_path: Path) -> None:
    content = "HUND 1 1\nHund 2 2\nhund 3 3\nHund 4 4\nhund 5 5\n"
    found = vectors_of(make(tmp_path / "v.txt", content), ("hund", "Hund", "hUnd"))
    assert found == {"hund": [3.0, 3.0], "Hund": [2.0, 2.0], "hUnd": [1.0, 1.0]}


def test_special_tokens_take_no_vector(tmp_path: Path) -> None:
    lines = [f"{word} 1 1\n" for word in (*SPECIAL_TOKENS, "<UNK>", "hund")]
    assert vectors_of(make(tmp_path / "v.txt", "".join(lines))) == {"hund": [1.0, 1.0]}


@pytest.mark.parametrize("header", ["", "6 2\n"])
def test_words_may_hold_any_white_space_or_be_it(tmp_path: Path, header: str) -> None:
    content = "a b 1 1\n. . . . 2 2\n  3 3\n\xa0 4 4\n\u2028 5 5\nmaus 6 6\n"
    path = make(tmp_path / "v.txt", header + content)
    found = vectors_of(path, ("maus", "a", "b", ".", "\u2028", "\xa0"))
    assert found == {"maus": [6.0, 6.0], "\u2028": [5.0, 5.0], "\xa0": [4.0, 4.0]}


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ("hund 0.5\n3 1.0\n", {"hund": [0.5], "3": [1.0]}),
        ("3 1.0\nhund 0.5\n", {"hund": [0.5], "3": [1.0]}),
        ("2 1\nhund 0.5\n3 1\n", {"hund": [0.5], "3": [1.0]}),
        (". . 0.5\nhund 1\n", {"hund": [1.0]}),
    ],
)
def test_vectors_of_one_number(tmp_path: Path, content: str, found: Words) -> None:
    assert vectors_of(make(tmp_path / "v.txt", content), ("hund", "3", "2"), 1) == found


# ---------------------------------------------------------------- dimension


@pytest.mark.parametrize("name", ["v.txt", "v.txt.gz"])
@pytest.mark.parametrize(
    ("content", "in_file"),
    [
        ("2 3\nhund 1 2 3\nkatze 1 2 3\n", 3),
        ("hund 1 2 3\n", 3),
        ("hund\t1\t2\t3 \n", 3),
        ("7 1 2 3\n", 3),
        (". . . 1 2 3\n", 3),
        ("1 1\nhund 1\n", 1),
        ("hund 0.5\n", 1),
        ("der alte hund 0.5\n", 1),
        ("\n\nhund 1 2 3 4 5\n", 5),
        (f"{'9' * 5000} 7\n", 1),
    ],
    ids=lambda value: repr(value)[:25],
)
def test_another_dimension(tmp_path: Path, name: str, content: str, in_file: int) -> None:
    path = make(tmp_path / name, content)
    with pytest.raises(ConfigError) as caught:
        read(path)
    assert str(caught.value) == (
        f"{KEY}: the vectors in {path} have {in_file} numbers, but {DIMENSION_KEY} is 2; "
        f"set it to {in_file}"
    )
    assert len(read(path, ("der",), in_file).vectors) == 0


# ---------------------------------------------------------------- faults


@pytest.mark.parametrize("name", ["v.txt", "v.vec.zst"])
@pytest.mark.parametrize(
    ("content", "line", "reason"),
    [
        ("2 2\nhund 1 2\nkatze 1\n", 3, "1 numbers after the word instead of 2"),
        ("hund 1 2\nkatze\n", 2, "0 numbers after the word instead of 2"),
        ("hund 1 2\nfrei 1\n", 2, "1 numbers after the word instead of 2"),
        ("hund 1 2\nkatze  1\n", 2, "1 numbers after the word instead of 2"),
        ("hund 1 2\n\nmaus 1 zwei\n", 3, "'zwei' is not a number"),
        ("hund 1 2\nmaus 1,5 2\n", 2, "'1,5' is not a number"),
        ("hund 1 2\nmaus nan 2\n", 2, "'nan' is not a number"),
        ("hund 1 2\nmaus 2 -inf\n", 2, "'-inf' is not a number"),
        ("hund 1 2\nmaus 2 1e39\n", 2, "'1e39' is not a number"),
        ("hund 1 2\nmaus 2 1e999\n", 2, "'1e999' is not a number"),
        ("1 2\nmaus 2 nan\n", 2, "'nan' is not a number"),
        ("maus 2 nan\n", 1, "'nan' is not a number"),
        (f"hund 1 2\nmaus 1 {'x' * 100_000}\n", 2, "xxx…' is not a number"),
        ("Der Hund schläft .\n", 1, "not a word and its numbers"),
        ("hund,1,2\n", 1, "not a word and its numbers"),
        ('{"hund": [1, 2]}\n', 1, "'[1,' is not a number"),
        ("der nan 2\n", 1, "'nan' is not a number"),
        ("1 2\nein Satz .\n", 2, "'Satz' is not a number"),
        ("hund\n", 1, "not a word and its numbers"),
        ("1 0\nhund\n", 2, "not a word and its numbers"),
    ],
    ids=lambda value: repr(value)[:25],
)
def test_broken_lines(tmp_path: Path, name: str, content: str, line: int, reason: str) -> None:
    message = error_of(make(tmp_path / name, content))
    assert message.startswith(f":{line}: ")
    assert reason in message
    assert len(message) < 150


def test_vectors_that_no_word_takes_are_not_looked_at(tmp_path: Path) -> None:
    content = "die 3 4\nder nan nan\nhund 1 2\nhund x y\nHund x y\nfrei x 1e99\n"
    assert vectors_of(make(tmp_path / "v.txt", content)) == {"hund": [1.0, 2.0]}


@pytest.mark.parametrize("content", ["", "\ufeff", "\n\n", "3 2\n", "0 2\n", " "])
def test_a_file_without_vectors(tmp_path: Path, content: str) -> None:
    assert error_of(make(tmp_path / "v.txt", content)) == ": there is no word vector in it"


@pytest.mark.parametrize("name", ["v.txt", "v.vec.gz", "v.vec.zst"])
def test_files_that_cannot_be_read(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    assert error_of(path) == ": cannot be read: No such file or directory"
    path.mkdir()
    assert error_of(path) == ": cannot be read: Is a directory"


@pytest.mark.parametrize(("name", "kind"), [("v.vec.gz", "gzip"), ("v.vec.zst", "zstd")])
def test_a_packed_file_that_is_cut_off(tmp_path: Path, name: str, kind: str) -> None:
    numbers = np.random.default_rng(1).normal(size=(2000, 2))
    path = make(tmp_path / name, "".join(f"w {first} {second}\n" for first, second in numbers))
    path.write_bytes(path.read_bytes()[:-1000])
    assert error_of(path).startswith(f": damaged or cut off {kind} file")


def test_utf16(tmp_path: Path) -> None:
    assert "looks like UTF-16" in error_of(make(tmp_path / "v.txt", PLAIN.encode("utf-16")))


# ---------------------------------------------------------------- not text


def binary_word2vec(dimension: int) -> bytes:
    """As `word2vec -binary 1` writes it."""
    rng = np.random.default_rng(2)
    words = ["</s>", "die", *ANIMALS] * 20
    records = (
        word.encode() + b" " + rng.normal(size=dimension).astype("<f4").tobytes() + b"\n"
        for word in words
    )
    return f"{len(words)} {dimension}\n".encode() + b"".join(records)


def archive() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as members:
        members.writestr("v.txt", PLAIN)
    return file.getvalue()


@pytest.mark.parametrize("dimension", [2, 50])
@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("v.bin", binary_word2vec(50)),
        ("v.bin.gz", binary_word2vec(50)),
        ("v.bin", binary_word2vec(2)),
        ("v.bin", b"2 2\nhund \0\0\0\0\0\0\0\0\nmaus \0\0\0\0\0\0\0\0\n"),
        ("v.bin", b"\xba\x16\x4f\x2f\x0c\0\0\0\x2c\x01\0\0"),  # fastText
        ("v.zip", archive()),
        ("v.model", pickle.dumps(READ)),
        ("v.txt", gzip.compress(PLAIN.encode(), mtime=0)),
    ],
)
def test_files_that_are_no_text(tmp_path: Path, name: str, content: bytes, dimension: int) -> None:
    message = error_of(make(tmp_path / name, content), dimension=dimension)
    assert re.match(r":[12]: not text; .*\.vec.*\.bin.*\.zip", message)


def test_numbers_that_are_not_utf8(tmp_path: Path) -> None:
    message = error_of(make(tmp_path / "v.txt", b"hund 1 2\nmaus 1 2\xff\n"))
    assert message.startswith(":2: not text; ")


@pytest.mark.parametrize("header", [b"", b"4 2\n"])
def test_words_that_are_not_utf8_are_left_out_and_counted(
    tmp_path: Path, log: pytest.LogCaptureFixture, header: bytes
) -> None:
    content = b"f\xfcr 1 1\nhund 2 2\nma\xfe\xffus 3 3\nkatze 4 4 \n"
    path = make(tmp_path / "v.txt", header + content)
    found = vectors_of(path, ("hund", "katze", "f\ufffdr", "maus"))
    assert found == {"hund": [2.0, 2.0], "katze": [4.0, 4.0]}
    first = 2 if header else 1
    assert warnings(log) == [
        f"{path}: 2 lines are not UTF-8 and are left out; the first is line {first}"
    ]


def test_a_replacement_character_is_a_character(
    tmp_path: Path, log: pytest.LogCaptureFixture
) -> None:
    path = make(tmp_path / "v.txt", "f\ufffdr 1 1\n")
    assert vectors_of(path, ("f\ufffdr",)) == {"f\ufffdr": [1.0, 1.0]}
    assert warnings(log) == []


# ---------------------------------------------------------------- what is told


@pytest.mark.parametrize("count", [1, 2, 4, 1_999_995])
def test_a_header_with_another_count(
    tmp_path: Path, log: pytest.LogCaptureFixture, count: int
) -> None:
    path = make(tmp_path / "v.txt", f"{count} 2\n{PLAIN}")
    assert vectors_of(path) == READ
    (warning,) = warnings(log)
    assert warning.startswith(f"{path}: its first line says {count:,} vectors, but there are 3; ")


def test_coverage_is_told(tmp_path: Path, log: pytest.LogCaptureFixture) -> None:
    path = make(tmp_path / "v.txt", PLAIN)
    read(path)
    read(path, [f"wort{number}" for number in range(1_100)] + [*ANIMALS, "Der", "DER"] * 40)
    assert [(record.levelno, record.getMessage()) for record in log.records] == [
        (logging.INFO, f"{path}: 2 of the vocabulary's 3 words have a vector (66.7%)"),
        (logging.INFO, f"{path}: 160 of the vocabulary's 1,300 words have a vector (12.3%)"),
    ]


@pytest.mark.parametrize("found", [0, 1])
def test_hardly_any_coverage_is_warned_of(
    tmp_path: Path, log: pytest.LogCaptureFixture, found: int
) -> None:
    path = make(tmp_path / "v.txt", PLAIN)
    words = [
        "▁h",
        "und\x1b",
        "▁k",
        *(f"w{number}" for number in range(96)),
        "hund" if found else "x",
    ]
    assert len(read(path, words).ids) == found
    assert warnings(log) == [
        f"{path}: only {found} of the vocabulary's 100 words have a vector ({found}.0%). Is it of "
        "another language, or are the vocabulary's words not whole words (data.tokenizer)? The "
        r"file begins with: maus der hund; the vocabulary with: ▁h 'und\x1b' ▁k"
    ]


def test_a_vocabulary_without_words(tmp_path: Path) -> None:
    found = read(make(tmp_path / "v.txt", PLAIN), ())
    assert found.ids.shape == (0,)
    assert found.vectors.shape == (0, 2)
