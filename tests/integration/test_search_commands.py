"""`seq2seq translate` beyond one best translation: beams, draws, scores, lists, unknown words,
ensembles, attention and the prompt."""

from __future__ import annotations

import contextlib
import os
import re
import select
import stat
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from seq2seq_cli.interactive import HELP
from tests.integration.conftest import (
    TIMEOUT_SECONDS,
    Result,
    Trained,
    assert_refused,
    call_command,
    command,
    environment,
    named_pairs,
    objects,
    run_command,
    snapshot,
)

SOURCES = [source for source, _ in named_pairs(240)[220:]]
UNKNOWN = "Xylophon mag Brot ."
LINES = [SOURCES[0], "", SOURCES[1], " \t", UNKNOWN, "\u2028", SOURCES[0], ""]
BLANK = [not line.strip() for line in LINES]


def text_of(lines: Sequence[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()


def translate(trained: Trained, *arguments: str | Path, stdin: bytes | None = b"") -> Result:
    """In this process, with the run in the trained folder; to stdout."""
    words = ("translate", "--model", "runs/tiny", *arguments)
    return call_command(*words, cwd=trained.folder, stdin=stdin)


def translated(
    trained: Trained, *options: str | Path, lines: Sequence[str] = SOURCES
) -> list[dict[str, Any]]:
    """With --json."""
    result = translate(trained, "--json", *options, stdin=text_of(lines))
    assert result.code == 0, result.err
    return objects(result)


Entry = tuple[int, str, float, float]


def entries(result: Result) -> list[Entry]:
    """ID, text, last score among the features and total of each line of an n-best list."""
    assert result.code == 0, result.err
    found = []
    for line in result.lines:
        number, text, features, total = re.split(r" \|\|\| ", line)
        found.append((int(number), text, float(features.split("seq2seq= ")[-1]), float(total)))
    return found


def texts(found: Sequence[Entry]) -> list[tuple[int, str]]:
    return [entry[:2] for entry in found]


def assert_close(found: Any, expected: Any) -> None:
    """Equal, but for the last digits of numbers."""
    assert type(found) is type(expected)
    if isinstance(found, dict):
        assert found.keys() == expected.keys()
        for key in found:
            assert_close(found[key], expected[key])
    elif isinstance(found, list):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert_close(one, other)
    else:
        assert found == (
            pytest.approx(expected, abs=2e-5) if isinstance(found, float) else expected
        )


# ---------------------------------------------------------------- line for line, always

OPTIONS: dict[str, list[str]] = {
    "beam": ["--beam-size", "3"],
    "greedy, batches of one": ["--beam-size", "1", "--batch-size", "1"],
    "length penalty": ["--length-penalty", "0"],
    "length limit": ["--max-length", "2"],
    "no repeats": ["--no-repeat-ngram", "1"],
    "draws": ["--temperature", "2", "--seed", "3"],
    "unknown words": ["--replace-unk"],
    "dictionary": ["--replace-unk", "--dictionary", "words.tsv"],
    "ensemble": ["--model", "runs/tiny"],
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS.keys())
def test_output_answers_the_input_line_for_line(
    attending: Trained, options: list[str], empty_dir: Path
) -> None:
    (empty_dir / "words.tsv").write_text("Xylophon\txylophone\n")
    options = [str(empty_dir / word) if word == "words.tsv" else word for word in options]
    found = translated(attending, *options, lines=LINES)

    assert [line["source"] for line in found] == LINES
    assert [line["tokens"] == [] for line in found] == BLANK
    assert found[0]["tokens"] == found[6]["tokens"] or "--temperature" in options
    plain = translate(attending, *options, stdin=text_of(LINES))
    assert plain.lines == [line["translation"] for line in found]
    assert [not line for line in plain.lines] == BLANK
    output = empty_dir / "out"
    result = translate(attending, *options, "--output", output, stdin=text_of(LINES))
    assert (result.code, result.out) == (0, "")
    assert output.read_bytes().decode() == plain.out


@pytest.mark.parametrize("options", [[], ["--replace-unk"], ["--temperature", "1.5"]])
def test_n_best_lists_number_the_lines_of_the_input(
    attending: Trained, options: list[str], empty_dir: Path
) -> None:
    words = [*options, "--n-best", "3"]
    result = translate(attending, *words, stdin=text_of(LINES))
    found = entries(result)

    numbers = [number for number, blank in enumerate(BLANK) for _ in range(1 if blank else 3)]
    assert [entry[0] for entry in found] == numbers
    assert [entry[1:] for entry in found if BLANK[entry[0]]] == [("", 0.0, 0.0)] * sum(BLANK)
    as_json = translated(attending, *words, lines=LINES)
    assert [entry[1] for entry in found] == [
        candidate["translation"] for line in as_json for candidate in line["n_best"]
    ]
    assert [len(line["n_best"]) for line in as_json] == [1 if blank else 3 for blank in BLANK]
    translate(attending, *words, "--output", empty_dir / "list", stdin=text_of(LINES))
    assert (empty_dir / "list").read_bytes().decode() == result.out


@pytest.mark.parametrize("options", [["--n-best", "2"], ["--replace-unk"], ["--temperature", "1"]])
def test_no_lines_at_all(attending: Trained, options: list[str]) -> None:
    assert translate(attending, *options) == Result(0, "", "")


def test_json_of_a_model_with_attention(attending: Trained) -> None:
    for line in translated(attending, "--n-best", "2", lines=[*SOURCES, UNKNOWN]):
        assert list(line) == [
            *("source", "translation", "score", "n_best", "tokens", "source_tokens"),
            *("attention", "flags"),
        ]
        assert line["translation"] == " ".join(line["tokens"])
        first, _ = line["n_best"]
        assert first == {"translation": line["translation"], "score": line["score"]}
        assert line["source_tokens"] == ["<sos>", *line["source"].split(), "<eos>"]
        assert len(line["attention"]) == len(line["tokens"])
        for row in line["attention"]:
            assert len(row) == len(line["source_tokens"])
            assert min(row) >= 0.0
            assert sum(row) == pytest.approx(1.0, abs=1e-4)
        is_known = not line["source"].startswith(("Name", "Xylophon"))
        assert line["flags"] == ([] if is_known else ["unknown_words"])


# ---------------------------------------------------------------- beams


@pytest.mark.parametrize("penalty", ["0", "0.6", "1", "10"])
def test_n_best_is_ranked_by_score_over_length_to_the_penalty(
    attending: Trained, penalty: str
) -> None:
    stdin = text_of([*SOURCES, UNKNOWN])
    words = ("--n-best", "5", "--length-penalty", penalty)
    found = entries(translate(attending, *words, stdin=stdin))

    assert len(found) == 5 * (len(SOURCES) + 1)
    assert len({entry[:2] for entry in found}) == len(found)
    for _, text, score, total in found:
        length = len(text.split()) + 1
        assert total == pytest.approx(score / length ** float(penalty), rel=1e-6)
    assert found == sorted(found, key=lambda entry: (entry[0], -entry[3]))
    # The search itself does not know of the penalty.
    by_score = entries(translate(attending, "--n-best=5", "--length-penalty=0", stdin=stdin))
    assert sorted(texts(found)) == sorted(texts(by_score))
    if penalty == "10":
        assert texts(found) != texts(by_score)


def test_best_is_the_first_of_the_list(attending: Trained) -> None:
    words = ("--length-penalty", "10")
    found = translated(attending, *words, "--n-best", "5")
    best = [line["n_best"][0]["translation"] for line in found]
    assert best == [line["translation"] for line in found]
    assert best == translate(attending, *words, stdin=text_of(SOURCES)).lines
    assert best != translate(attending, "--length-penalty=0", stdin=text_of(SOURCES)).lines


def test_a_beam_of_one_is_the_greedy_choice_at_each_step(attending: Trained) -> None:
    greedy = translated(attending, "--beam-size", "1")
    assert_close(greedy, translated(attending, "--temperature", "1e-6"))
    for length in (1, 3):
        begun = translated(attending, "--beam-size", "1", "--max-length", str(length))
        assert [line["tokens"] for line in begun] == [line["tokens"][:length] for line in greedy]


def test_without_a_beam_size_it_is_that_of_the_models_config(
    attending: Trained, second: Path
) -> None:
    config = (attending.run_dir / "config.yaml").read_text(encoding="utf-8")
    assert "beam_size: 5" in config
    assert translated(attending) == translated(attending, "--beam-size", "5")
    narrow = ("translate", "--model", second, SOURCES[0], "--n-best")
    assert len(call_command(*narrow, "2", cwd=attending.folder).lines) == 2
    assert_refused(call_command(*narrow, "3", cwd=attending.folder), "3 ", "beam", "is 2")


@pytest.mark.parametrize("words", [["--n-best", "4", "--beam-size", "3"], ["--n-best", "6"]])
def test_more_translations_than_the_beam_holds(attending: Trained, words: list[str]) -> None:
    beam_size = words[-1] if "--beam-size" in words else "5"
    assert_refused(translate(attending, *words, "x"), f"{words[1]} ", "beam", f"is {beam_size}")


@pytest.mark.parametrize("length", [1, 4])
def test_no_translation_is_longer_than_the_limit(attending: Trained, length: int) -> None:
    free, capped = (
        translated(attending, "--n-best", "3", *words)
        for words in ((), ("--max-length", str(length)))
    )
    assert all(len(line["tokens"]) > 4 for line in free)
    for line in capped:
        assert all(len(each["translation"].split()) <= length for each in line["n_best"])
        if "length_capped" in line["flags"]:
            assert len(line["tokens"]) == length
    assert any("length_capped" in line["flags"] for line in capped)


def repeats(tokens: list[str], size: int) -> bool:
    runs = [tuple(tokens[i : i + size]) for i in range(len(tokens) - size + 1)]
    return len({*runs}) < len(runs)


@pytest.mark.parametrize("size", [1, 2])
def test_no_tokens_in_a_row_come_twice(attending: Trained, size: int) -> None:
    wild = ("--temperature", "4", "--max-length", "40")
    free, kept = (
        [line["tokens"] for line in translated(attending, *wild, "--no-repeat-ngram", str(number))]
        for number in (0, size)
    )
    assert free == [line["tokens"] for line in translated(attending, *wild)]
    assert any(repeats(tokens, size) for tokens in free)
    assert not any(repeats(tokens, size) for tokens in kept)


# ---------------------------------------------------------------- draws


def test_draws_are_repeated_by_the_seed_alone(attending: Trained) -> None:
    def drawn(*options: str) -> list[dict[str, Any]]:
        words = ("--temperature", "1.5", "--n-best", "2", *options)
        return translated(attending, *words, lines=SOURCES * 2)  # more than are read at a time

    expected = drawn()
    assert drawn("--seed", "1") == expected
    for size in ("1", "3", "64"):
        assert_close(drawn("--batch-size", size), expected)
    other = drawn("--seed", "2")
    assert [line["tokens"] for line in other] != [line["tokens"] for line in expected]


def test_each_line_and_each_of_its_draws_is_by_itself(attending: Trained) -> None:
    words = ("--temperature", "2", "--n-best", "4")
    same = translated(attending, *words, lines=[SOURCES[0]] * 5)
    assert len({line["translation"] for line in same}) > 1
    for line in same:
        assert len({candidate["translation"] for candidate in line["n_best"]}) > 1


def test_lower_temperatures_draw_likelier_translations(attending: Trained) -> None:
    means = []
    for temperature in ("0.2", "1", "5"):
        found = translated(attending, "--temperature", temperature, "--max-length", "8")
        means.append(sum(line["score"] for line in found) / len(found))
    assert means == sorted(means, reverse=True)
    assert means[0] > means[2] + 5.0


@pytest.mark.parametrize("temperature", ["0", "-1", "nan", "inf", "-inf"])
def test_temperatures_that_are_none(attending: Trained, temperature: str) -> None:
    result = translate(attending, f"--temperature={temperature}", SOURCES[0])
    assert_refused(result, f"--temperature {temperature}: must be ", "above 0")


# ---------------------------------------------------------------- scores


def test_printed_scores_are_those_of_the_search(attending: Trained, empty_dir: Path) -> None:
    found = translated(attending, "--n-best", "5", lines=[*SOURCES, UNKNOWN])
    wanted = [(line["source"], candidate) for line in found for candidate in line["n_best"]]
    (empty_dir / "targets").write_bytes(text_of([each["translation"] for _, each in wanted]))
    (empty_dir / "sources").write_bytes(text_of([source for source, _ in wanted]))

    words = ("--score", empty_dir / "targets", "--input", empty_dir / "sources")
    result = translate(attending, *words)

    assert result.code == 0, result.err
    expected = [candidate["score"] for _, candidate in wanted]
    assert [float(line) for line in result.lines] == pytest.approx(expected, abs=1e-4)
    again = translate(attending, *words, "--batch-size", "1")
    assert list(map(float, again.lines)) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("way", ["arguments", "stdin", "-"])
def test_scores_with_blank_sides(attending: Trained, empty_dir: Path, way: str) -> None:
    targets = ["The man sees the tree .", "", "", "bread", " "]
    sources = ["Der Mann sieht den Baum .", "Brot .", "", " ", "\u2028"]
    (empty_dir / "targets").write_bytes(text_of(targets))
    inputs = {"arguments": sources, "stdin": [], "-": ["--input", "-"]}[way]
    stdin = b"" if way == "arguments" else text_of(sources)
    words: list[str | Path] = ["--score", empty_dir / "targets", *inputs]

    plain = translate(attending, *words, stdin=stdin)
    found = objects(translate(attending, *words, "--json", stdin=stdin))

    first, second, *others = map(float, plain.lines)
    assert -5.0 < first < 0.0
    assert second < -1.0  # that there is nothing to say
    assert others == [0.0, float("-inf"), 0.0]
    assert [line["score"] for line in found] == [first, second, 0.0, None, 0.0]
    assert [(line["source"], line["translation"]) for line in found] == list(
        zip(sources, targets, strict=True)
    )
    assert [line["tokens"] for line in found] == [target.split() for target in targets]


def test_scores_flag_the_source(attending: Trained, empty_dir: Path) -> None:
    (empty_dir / "targets").write_text("<unk> likes bread .\nbread\n")
    words = ("--score", empty_dir / "targets", "--json", UNKNOWN, "Brot " * 200)
    flags = [line["flags"] for line in objects(translate(attending, *words))]
    assert flags == [["unknown_words"], ["truncated"]]


@pytest.mark.parametrize(("num_sources", "num_targets"), [(3, 4), (4, 3), (0, 1)])
def test_scores_of_unequal_numbers_of_lines(
    attending: Trained, empty_dir: Path, num_sources: int, num_targets: int
) -> None:
    (empty_dir / "targets").write_text("x\n" * num_targets)
    result = translate(
        attending, "--score", empty_dir / "targets", stdin=text_of(["x"] * num_sources)
    )
    assert_refused(result, "targets: has", f"{num_targets} lines", f"input has {num_sources}")


def test_faults_of_the_scored_file_are_named(attending: Trained, empty_dir: Path) -> None:
    (empty_dir / "targets").write_bytes(b"x\n\xff\n")
    words = ("a", "b", "--output", empty_dir / "out", "--score")
    assert_refused(translate(attending, *words, empty_dir / "targets"), "targets:2", "UTF-8")
    assert_refused(translate(attending, *words, "nowhere"), "nowhere", "No such file")
    assert not (empty_dir / "out").exists()


# ---------------------------------------------------------------- rescoring


@pytest.fixture(scope="module")
def moses_list(attending: Trained, second: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What another model finds for `SOURCES`."""
    path = tmp_path_factory.mktemp("list") / "list"
    words = ("--n-best", "5", "--beam-size", "5", "--output", path)
    result = call_command(
        "translate", "--model", second, *words, cwd=attending.folder, stdin=text_of(SOURCES)
    )
    assert result.code == 0, result.err
    return path


def rescored(trained: Trained, path: Path, *options: str | Path) -> Result:
    return translate(trained, "--rescore", path, *options, stdin=text_of(SOURCES))


@pytest.mark.parametrize("weight", [None, 0.0, 0.3, 1.0])
def test_a_list_of_another_model_is_ranked_again(
    attending: Trained, moses_list: Path, empty_dir: Path, weight: float | None
) -> None:
    listed = entries(Result(0, moses_list.read_text(encoding="utf-8"), ""))
    (empty_dir / "targets").write_bytes(text_of([text for _, text, *_ in listed]))
    sources = text_of([SOURCES[number] for number, *_ in listed])
    scored = translate(attending, "--score", empty_dir / "targets", stdin=sources)
    share = 0.5 if weight is None else weight
    expected = [
        (number, text, float(score), (1 - share) * total + share * float(score))
        for (number, text, _, total), score in zip(listed, scored.lines, strict=True)
    ]
    expected.sort(key=lambda entry: (entry[0], -entry[3]))
    words = () if weight is None else ("--rescore-weight", str(weight))

    found = entries(rescored(attending, moses_list, "--n-best", "5", *words))

    assert texts(found) == texts(expected)
    for entry, wanted in zip(found, expected, strict=True):
        assert entry[2:] == pytest.approx(wanted[2:], abs=1e-4)
    assert (texts(found) == texts(listed)) == (weight == 0.0)
    best = [next(text for number, text, *_ in found if number == i) for i in range(len(SOURCES))]
    assert rescored(attending, moses_list, *words).lines == best
    three = entries(rescored(attending, moses_list, "--n-best", "3", *words))
    assert three == [entry for i, entry in enumerate(found) if i % 5 < 3]


def test_rescored_lists_as_json(attending: Trained, moses_list: Path) -> None:
    as_list = entries(rescored(attending, moses_list, "--n-best", "2"))
    found = objects(rescored(attending, moses_list, "--n-best", "2", "--json"))
    assert [line["source"] for line in found] == SOURCES
    for number, line in enumerate(found):
        first, runner_up = as_list[2 * number : 2 * number + 2]
        assert (line["translation"], line["score"]) == (first[1], first[3])
        assert line["n_best"] == [
            {"translation": text, "score": total} for _, text, _, total in (first, runner_up)
        ]


def test_what_is_rescored_is_a_list_again(
    attending: Trained, moses_list: Path, empty_dir: Path
) -> None:
    once, twice = empty_dir / "once", empty_dir / "twice"
    for path, output in [(moses_list, once), (once, twice)]:
        assert rescored(attending, path, "--n-best", "5", "--output", output).code == 0
    last = twice.read_text(encoding="utf-8").splitlines()
    assert all(line.count("seq2seq= ") == 3 for line in last)
    assert len(last) == 5 * len(SOURCES)


def test_lines_without_entries_stay_blank(attending: Trained, empty_dir: Path) -> None:
    (empty_dir / "list").write_text("1 ||| bread . ||| LM= -2 ||| -2\n5 ||| x |||  ||| 0\n")
    lines = ["Brot .", "Brot .", "", "Brot .", "Brot .", "  "]
    words: list[str | Path] = ["--rescore", empty_dir / "list", *lines]

    assert translate(attending, *words).lines == ["", "bread .", "", "", "", ""]
    found = objects(translate(attending, *words, "--json"))
    assert [line["translation"] for line in found] == ["", "bread .", "", "", "", ""]
    assert [line["score"] == 0.0 for line in found] == [True, False, *[True] * 4]
    assert [len(line["n_best"]) for line in found] == [0, 1, 0, 0, 0, 0]
    [entry] = translate(attending, *words, "--n-best", "3").lines
    assert entry.startswith("1 ||| bread . ||| LM= -2 seq2seq= -")


@pytest.mark.parametrize(
    ("line", "fragment"),
    [
        ("1 ||| a b ||| -3", "fields"),
        ("x ||| a ||| f ||| -3", "'x' is no whole number"),
        ("2 ||| a ||| f ||| -3", "source has 2 lines"),
        ("0 ||| a ||| f ||| -3", "ID 0 after ID 1"),
        ("1 ||| a ||| f ||| good", "'good' is no finite number"),
        ("1 ||| \xff ||| f ||| -3", "UTF-8"),
    ],
)
def test_faults_of_a_list_name_file_and_line(
    attending: Trained, empty_dir: Path, line: str, fragment: str
) -> None:
    good = "0 ||| a ||| f ||| -1\n1 ||| b ||| f ||| -2\n"
    (empty_dir / "list").write_bytes(f"{good}{line}\n".encode("latin-1"))
    words = ("--rescore", empty_dir / "list", "--output", empty_dir / "out", "x", "y")
    assert_refused(translate(attending, *words), f"{empty_dir / 'list'}:3: ", fragment)
    assert not (empty_dir / "out").exists()


def test_a_list_that_is_not_there(attending: Trained) -> None:
    assert_refused(translate(attending, "--rescore", "nowhere", "x"), "nowhere", "No such file")


# ---------------------------------------------------------------- unknown words


def test_unknown_words_are_those_the_model_looked_at(attending: Trained, empty_dir: Path) -> None:
    lines = [*SOURCES, UNKNOWN]
    plain = translated(attending, lines=lines)
    replaced = translated(attending, "--replace-unk", lines=lines)
    dictionary = empty_dir / "words.tsv"
    dictionary.write_text("Xylophon\tthe  xylophone\t0.9\nXylophon\tno\t0.1\nName221\tBob\n")
    words = ("--replace-unk", "--dictionary", dictionary)
    looked_up = translated(attending, *words, lines=lines)

    def looked_at(line: dict[str, Any], row: list[float]) -> str:
        within = row[1:-1]
        return str(line["source_tokens"][1 + within.index(max(within))])

    entries = {"Xylophon": "the  xylophone", "Name221": "Bob"}
    num_unknown = 0
    for line, copied, translated_line in zip(plain, replaced, looked_up, strict=True):
        pairs = list(zip(line["tokens"], line["attention"], strict=True))
        copies = [looked_at(line, row) if token == "<unk>" else token for token, row in pairs]
        num_unknown += line["tokens"].count("<unk>")
        assert copied["translation"] == " ".join(copies)
        assert translated_line["translation"] == " ".join(
            entries.get(copy, copy) if token == "<unk>" else token
            for copy, (token, _) in zip(copies, pairs, strict=True)
        )
        for other in (copied, translated_line):
            assert other["tokens"] == line["tokens"]
            assert other["score"] == pytest.approx(line["score"], abs=1e-5)
    assert num_unknown > 5
    # It has learned where a name comes from.
    assert replaced[-1]["translation"].startswith("Xylophon ")
    assert looked_up[-1]["translation"].startswith("the  xylophone ")


def test_unknown_words_of_a_list(attending: Trained) -> None:
    found = entries(translate(attending, "--n-best", "5", "--replace-unk", UNKNOWN))
    plain = entries(translate(attending, "--n-best", "5", UNKNOWN))
    assert any("<unk>" in text for _, text, *_ in plain)
    assert not any("<unk>" in text for _, text, *_ in found)
    assert [entry[2:] for entry in found] == [entry[2:] for entry in plain]


def test_unknown_words_need_attention(trained: Trained, empty_dir: Path) -> None:
    result = translate(trained, "--replace-unk", "--output", empty_dir / "out", UNKNOWN)
    assert_refused(result, "no attention", "model.decoder.attention")
    assert not (empty_dir / "out").exists()


@pytest.mark.parametrize(
    ("content", "fragments"),
    [
        (None, ["words.tsv", "No such file"]),
        (b"a\tb\nc\n", ["words.tsv:2", "no translation of 'c'"]),
        (b"a\tb\tmuch\n", ["words.tsv:1", "'much'"]),
        (b"a\tb\n\xff\tc\n", ["words.tsv:2", "UTF-8"]),
    ],
)
def test_faults_of_a_dictionary(
    attending: Trained, empty_dir: Path, content: bytes | None, fragments: list[str]
) -> None:
    dictionary = empty_dir / "words.tsv"
    if content is not None:
        dictionary.write_bytes(content)
    words = ("--replace-unk", "--dictionary", dictionary, UNKNOWN)
    assert_refused(translate(attending, *words), *fragments)


def test_a_dictionary_is_of_no_use_to_a_model_of_characters(data_dir: Path) -> None:
    changes = ("data.tokenizer={kind: characters}", "training.max_steps=1")
    words = [word for change in changes for word in ("--set", change)]
    assert call_command("train", "--config", "tiny.yaml", *words, cwd=data_dir).code == 0
    (data_dir / "words.tsv").write_text("a\tb\n")
    result = call_command(
        "translate", "--replace-unk", "--dictionary", "words.tsv", "x", cwd=data_dir
    )
    assert_refused(result, "--dictionary", "characters")


# ---------------------------------------------------------------- ensembles


def test_a_model_twice_is_the_model(attending: Trained, empty_dir: Path) -> None:
    twice = ("--model", attending.model, "--n-best", "3")
    assert_close(translated(attending, *twice), translated(attending, "--n-best", "3"))
    (empty_dir / "targets").write_bytes(text_of(SOURCES))
    words = ("--score", empty_dir / "targets")
    one, two = (
        translate(attending, *words, *more, stdin=text_of(SOURCES)).lines
        for more in ((), ("--model", "tiny"))
    )
    assert [float(line) for line in two] == pytest.approx([float(line) for line in one], abs=1e-3)


def test_two_models_are_something_between_them(
    attending: Trained, second: Path, empty_dir: Path
) -> None:
    # One token: its probability, and then that of the end, are averages.
    (empty_dir / "targets").write_text("The\n" * len(SOURCES))

    def scores(*models: str | Path) -> list[float]:
        words = [word for model in models for word in ("--model", model)]
        words += ["--score", empty_dir / "targets", "--quiet"]
        stdin = text_of(SOURCES)
        result = call_command("translate", *words, cwd=attending.folder, stdin=stdin)
        assert result.code == 0, result.err
        return [float(line) for line in result.lines]

    first, other, both = scores("tiny"), scores(second), scores("tiny", second)
    assert scores(second, "tiny") == pytest.approx(both, abs=1e-4)
    for one, two, together in zip(first, other, both, strict=True):
        assert abs(one - two) > 1e-3
        assert together >= min(one, two) - 1e-3
        assert together != pytest.approx(one, abs=1e-3)


def test_attention_of_an_ensemble_is_that_of_its_first_model(
    attending: Trained, empty_dir: Path
) -> None:
    # Without attention, but with the vocabulary of the other.
    changes = ("data.tokenizer={kind: whitespace}", "data.vocabulary={min_freq: 2}")
    words = [word for change in (*changes, "training.max_steps=1") for word in ("--set", change)]
    words += ["--run-dir", str(empty_dir / "blind")]
    result = call_command("train", "--config", "tiny.yaml", *words, cwd=attending.folder)
    assert result.code == 0, result.err
    models = [attending.model, empty_dir / "blind"]

    for order, has_attention in [(models, True), (models[::-1], False)]:
        words = ["translate", "--json", SOURCES[0]]
        words += [str(word) for model in order for word in ("--model", model)]
        [line] = objects(call_command(*words, cwd=empty_dir))
        assert (line["attention"] is not None) == has_attention
    picture = call_command(*words, "--attention", "x.png", cwd=empty_dir)
    assert_refused(picture, "no attention")


def test_models_with_different_target_vocabularies_are_refused(
    trained: Trained, attending: Trained
) -> None:
    words = ("--model", trained.model, SOURCES[0])
    result = translate(attending, *words)
    assert_refused(
        result, "runs/tiny/best.safetensors", str(trained.model), "ensemble", "target tokens, not"
    )


# ---------------------------------------------------------------- pictures


@pytest.mark.parametrize("options", [[], ["--json"], ["--n-best", "2"], ["--replace-unk"]])
def test_attention_becomes_a_picture_and_the_translation_is_printed(
    attending: Trained, empty_dir: Path, options: list[str]
) -> None:
    picture = empty_dir / "look.png"
    result = translate(attending, "--attention", picture, *options, UNKNOWN)
    assert result.code == 0, result.err
    assert picture.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    assert picture.stat().st_size > 5000
    assert str(picture) in result.err
    assert result.out == translate(attending, *options, UNKNOWN).out
    assert [path.name for path in empty_dir.iterdir()] == ["look.png"]


def test_pictures_are_of_their_sentences(attending: Trained, empty_dir: Path) -> None:
    for name, sentence in [("a.svg", SOURCES[0]), ("b.svg", SOURCES[0]), ("c.svg", SOURCES[1])]:
        assert translate(attending, "--attention", empty_dir / name, sentence).code == 0
    first, again, other = (path.read_bytes() for path in sorted(empty_dir.iterdir()))
    assert first == again != other


# Each row: arguments, what is piped in, and what the one error line has to say.
NO_PICTURE: dict[str, tuple[list[str], bytes, list[str]]] = {
    "two lines": (["old.png"], b"Brot .\nBrot .\n", ["one sentence"]),
    "a blank line": (["old.png"], b" \n", ["one sentence", "not blank"]),
    "a blank line more": (["old.png"], b"Brot .\n\n", ["one sentence"]),
    "no line": (["old.png"], b"", ["one sentence"]),
    "a kind there is not": (["look.gif"], b"Brot .\n", ["look.gif", ".png, .pdf or .svg"]),
    "no kind": (["look"], b"Brot .\n", ["look: ", ".png"]),
    "no folder": (["nowhere/look.png"], b"Brot .\n", ["--attention nowhere/look.png"]),
    "a folder": (["runs"], b"Brot .\n", ["--attention runs"]),
}


@pytest.mark.parametrize(
    ("words", "stdin", "fragments"), NO_PICTURE.values(), ids=NO_PICTURE.keys()
)
def test_what_cannot_be_drawn_is_refused(
    attending: Trained,
    words: list[str],
    stdin: bytes,
    fragments: list[str],
    empty_dir: Path,
) -> None:
    (empty_dir / "old.png").write_text("old")
    (empty_dir / "runs").mkdir()
    before = snapshot(empty_dir)
    model = ("--model", attending.model)
    result = call_command("translate", *model, "--attention", *words, cwd=empty_dir, stdin=stdin)
    assert_refused(result, *fragments)
    assert snapshot(empty_dir) == before


def test_a_model_without_attention_has_none_to_draw(trained: Trained, empty_dir: Path) -> None:
    result = translate(trained, "--attention", empty_dir / "look.png", "Brot.")
    assert_refused(result, "no attention", "model.decoder.attention")
    assert not list(empty_dir.iterdir())


# ---------------------------------------------------------------- options without effect

GIVEN: dict[str, list[str]] = {
    "TEXT": ["Brot ."],
    "--input": ["--input", "-"],
    "--output": ["--output", "out"],
    "--beam-size": ["--beam-size", "2"],
    "--n-best": ["--n-best", "1"],
    "--length-penalty": ["--length-penalty", "0"],
    "--max-length": ["--max-length", "3"],
    "--no-repeat-ngram": ["--no-repeat-ngram", "0"],
    "--temperature": ["--temperature", "1"],
    "--seed": ["--seed", "0"],
    "--replace-unk": ["--replace-unk"],
    "--dictionary": ["--dictionary", "words"],
    "--score": ["--score", "targets"],
    "--rescore": ["--rescore", "list"],
    "--rescore-weight": ["--rescore-weight", "0"],
    "--attention": ["--attention", "look.png"],
    "--interactive": ["--interactive"],
    "--batch-size": ["--batch-size", "3"],
    "--json": ["--json"],
}
SEARCH = ["--beam-size", "--length-penalty", "--max-length", "--no-repeat-ngram"]
SEARCH += ["--temperature", "--replace-unk"]
PIPING = ["TEXT", "--input", "--output", "--n-best", "--attention", "--batch-size", "--json"]
WITHOUT_EFFECT: dict[str, list[str]] = {
    "--score": [*SEARCH, "--n-best", "--rescore", "--attention", "--interactive"],
    "--rescore": [*SEARCH, "--attention", "--interactive"],
    "--interactive": PIPING,
    "--temperature": ["--beam-size"],
}
NEEDED = {"--seed": "--temperature", "--dictionary": "--replace-unk"} | {
    "--rescore-weight": "--rescore"
}


@pytest.mark.parametrize(
    ("mode", "option"),
    [(mode, option) for mode, useless in WITHOUT_EFFECT.items() for option in useless],
)
def test_an_option_without_effect_is_refused(mode: str, option: str, empty_dir: Path) -> None:
    # Before anything is looked for: there is no model here, and none of the files.
    result = call_command("translate", *GIVEN[option], *GIVEN[mode], cwd=empty_dir)
    assert_refused(result, "has no effect with", mode, option)
    assert not list(empty_dir.iterdir())


@pytest.mark.parametrize(("option", "other"), NEEDED.items())
def test_an_option_that_goes_with_another_is_refused_alone(
    option: str, other: str, empty_dir: Path
) -> None:
    result = call_command("translate", "Brot .", *GIVEN[option], cwd=empty_dir)
    assert_refused(result, f"{option} goes with {other}")
    together = call_command("translate", "Brot .", *GIVEN[option], *GIVEN[other], cwd=empty_dir)
    assert_refused(together, "no trained model")


@pytest.mark.parametrize("mode", ["--score", "--rescore", "--interactive"])
def test_every_other_option_is_taken(mode: str, empty_dir: Path) -> None:
    useless = {*WITHOUT_EFFECT[mode], *NEEDED, mode}
    useless |= {other for other in WITHOUT_EFFECT if mode in WITHOUT_EFFECT[other]}
    useless |= {"--input"} if mode != "--interactive" else {"--beam-size"}
    words = [word for option in GIVEN.keys() - useless for word in GIVEN[option]]
    assert len(words) > 3
    result = call_command("translate", *words, *GIVEN[mode], cwd=empty_dir)
    assert_refused(result, "no trained model")


@pytest.mark.parametrize(
    "words",
    [
        ["--beam-size", "0"],
        ["--beam-size", "1" + "0" * 30],
        ["--n-best", "0"],
        ["--n-best", "1" + "0" * 30],
        ["--batch-size", "0"],
        ["--batch-size", "1" + "0" * 30],
        ["--max-length", "0"],
        ["--no-repeat-ngram", "-1"],
        ["--seed", "-1", "--temperature", "1"],
        ["--length-penalty", "-0.1"],
        ["--length-penalty", "nan"],
        ["--length-penalty", "inf"],
        ["--length-penalty", "1e9"],
        ["--rescore-weight", "1.01", "--rescore", "x"],
        ["--rescore-weight", "nan", "--rescore", "x"],
    ],
    ids=" ".join,
)
def test_numbers_out_of_bounds(attending: Trained, words: list[str]) -> None:
    result = translate(attending, *words, SOURCES[0])
    assert (result.code, result.out) == (2, "")
    assert "Traceback" not in result.err
    assert f"'{words[0]}'" in result.err


@pytest.mark.parametrize(
    "words",
    [
        ["--beam-size", "10000", "--max-length", "1"],
        ["--max-length", "1" + "0" * 30],
        ["--no-repeat-ngram", "1" + "0" * 30],
        ["--batch-size", "1000000"],
        ["--length-penalty", "10"],
        ["--temperature", "1e-300"],
        ["--temperature", "1e300", "--max-length", "3"],
        ["--seed", "1" + "0" * 30, "--temperature", "1"],
    ],
    ids=" ".join,
)
def test_large_numbers_within_bounds(attending: Trained, words: list[str]) -> None:
    result = translate(attending, *words, SOURCES[0])
    assert result.code == 0, result.err
    assert len(result.lines) == 1


def test_help_names_every_option(empty_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    result = call_command("translate", "--help", cwd=empty_dir)
    assert result.code == 0
    named = {*re.findall(r"(?<![\w-])--[a-z-]+", result.out)}
    assert named >= {*GIVEN} - {"TEXT"} | {"--model", "--device", "--quiet", "--verbose", "--debug"}
    assert "[TEXT]" in result.out


# ---------------------------------------------------------------- the prompt


def test_piped_sentences_are_answered_without_a_prompt(attending: Trained) -> None:
    lines = [SOURCES[0], "", UNKNOWN, "/nbest 2", "/attention", "/what"]
    result = translate(attending, "--interactive", "--replace-unk", stdin=text_of(lines))
    assert (result.code, result.err) == (0, "")

    first, blank, marked, answer, best, other, *blocks, unknown_command = result.lines
    assert first == translate(attending, SOURCES[0], "--replace-unk").lines[0]
    assert (blank, marked) == ("", "  [Xylophon?] mag Brot .")
    assert answer == translate(attending, UNKNOWN, "--replace-unk").lines[0]
    assert best.startswith("  1  ")
    assert best.endswith(f"  {answer}")
    assert other.startswith("  2  ")
    assert any("Xylophon" in line for line in blocks)
    assert any("█" in line for line in blocks)
    assert unknown_command.startswith("no such command: /what")


@pytest.mark.parametrize("end", [b"/quit\nBrot .\n", b"", b"\n/quit"])
def test_a_piped_session_ends_at_quit_or_with_the_text(attending: Trained, end: bytes) -> None:
    result = translate(attending, "--interactive", stdin=b"/nbest\n" + end)
    assert (result.code, result.err) == (0, "")
    assert [line for line in result.lines if line] == ["type a sentence first"]


def test_the_prompt_reads_utf8_whatever_the_locale_says(attending: Trained) -> None:
    latin = {"PYTHONIOENCODING": "latin-1:strict", "LC_ALL": "C", "PYTHONUTF8": "0"}
    result = run_command(
        *("translate", "--interactive", "--quiet"),
        cwd=attending.folder,
        stdin="Die Frau hört Brot .\n\udcff\nÄpfel\x1b[31m hört \x07\x9b\n".encode(
            errors="surrogateescape"
        ),
        env=latin,
    )
    assert (result.code, result.err) == (0, "")
    answer, invalid, marked, _ = result.lines
    assert answer == translate(attending, "Die Frau hört Brot .").lines[0]
    assert invalid == "that line is not valid UTF-8"
    assert marked == r"  [Äpfel\x1b[31m?] hört [\x07\x9b?]"


def test_options_hold_at_the_prompt(attending: Trained, trained: Trained) -> None:
    limited = translate(attending, "--interactive", "--max-length", "2", stdin=text_of(SOURCES[:1]))
    answer, said = limited.lines
    assert len(answer.split()) == 2
    assert "length limit" in said
    refused = translate(trained, "--interactive", "--replace-unk", stdin=b"Brot.\n")
    assert_refused(refused, "no attention")


class Terminal:
    """A command at a terminal of its own, and somebody who types there."""

    def __init__(self, words: Sequence[str], folder: Path, env: dict[str, str]) -> None:
        import pty
        import termios

        self._here, there = pty.openpty()
        termios.tcsetwinsize(there, (24, 80))
        # The terminal is to be the process's own: Ctrl-C is for whoever owns it. And it counts,
        # also where these tests run in the background and what they start would ignore it.
        owning = (
            "import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_DFL); "
            "os.login_tty(0); os.execv(sys.argv[1], sys.argv[1:])"
        )
        self._process = subprocess.Popen(
            [sys.executable, "-c", owning, *words],
            cwd=folder,
            env={**environment({"TERM": "xterm", "PYTHONIOENCODING": "utf-8"}), **env},
            stdin=there,
        )
        os.close(there)

    def read_until(self, end: str) -> str:
        """What is shown up to and with this text."""
        shown = b""
        deadline = time.monotonic() + TIMEOUT_SECONDS
        while not shown.endswith(end.encode()):
            assert self._shows_more(deadline - time.monotonic()), f"no {end!r} after {shown!r}"
            shown += os.read(self._here, 1)
        return shown.decode().replace("\r\n", "\n")

    def _shows_more(self, seconds: float) -> bool:
        return bool(select.select([self._here], [], [], max(0.0, seconds))[0])

    def interrupt(self) -> None:
        """Press Ctrl-C until something happens: Python's readline does not see one that comes while
        it takes in a key, before the next key."""
        for _ in range(TIMEOUT_SECONDS):
            self.type("\x03")
            if self._shows_more(1.0):
                return

    def type(self, keys: str) -> None:
        os.write(self._here, keys.encode())

    def end(self) -> tuple[int, str]:
        """Wait for the command to end; its exit code, and what it still said."""
        shown, deadline = b"", time.monotonic() + TIMEOUT_SECONDS
        with contextlib.suppress(OSError):  # Linux: nobody holds the other side any more
            while self._shows_more(deadline - time.monotonic()) and (
                piece := os.read(self._here, 4096)
            ):
                shown += piece
        os.close(self._here)
        return self._process.wait(TIMEOUT_SECONDS), shown.decode().replace("\r\n", "\n")

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


@contextlib.contextmanager
def at_terminal(trained: Trained, cache: Path) -> Iterator[Terminal]:
    words = command("translate", "--model", "runs/tiny", "--interactive")
    terminal = Terminal(words, trained.folder, {"XDG_CACHE_HOME": str(cache)})
    try:
        yield terminal
    finally:
        terminal.kill()


@pytest.mark.skipif(os.name == "nt", reason="terminals of POSIX")
def test_a_session_at_a_terminal_and_the_next(attending: Trained, empty_dir: Path) -> None:
    pytest.importorskip("readline")
    answer, unknown = translate(attending, SOURCES[0], UNKNOWN).lines
    history = empty_dir / "seq2seq" / "history"
    with at_terminal(attending, empty_dir) as terminal:
        assert terminal.read_until("\n> ") == f"{HELP}\n> "
        terminal.type(f"{SOURCES[0]}\r")
        assert terminal.read_until("\n> ") == f"{SOURCES[0]}\n{answer}\n> "
        terminal.type("half a line")
        terminal.read_until("half a line")
        terminal.interrupt()
        assert terminal.read_until("> ") == "\n> "
        terminal.type(f"{UNKNOWN}\r")
        shown = terminal.read_until(f"{unknown}\r\n> ")
        assert shown.endswith(f"  [Xylophon?] mag Brot .\n{unknown}\n> ")
        terminal.type("\x04")  # Ctrl-D
        assert terminal.end() == (0, "\n")
    assert history.read_text(encoding="utf-8").split("\n") == [SOURCES[0], UNKNOWN, ""]
    assert stat.S_IMODE(history.stat().st_mode) == 0o600

    with at_terminal(attending, empty_dir) as terminal:
        terminal.read_until("\n> ")
        terminal.type("\x10\x10\r")  # twice the line before
        assert terminal.read_until("\n> ").endswith(f"\n{answer}\n> ")
        terminal.type("/quit\r")
        code, shown = terminal.end()
        assert (code, shown.strip()) == (0, "/quit")
    lines = history.read_text(encoding="utf-8").split("\n")
    assert lines == [SOURCES[0], UNKNOWN, SOURCES[0], "/quit", ""]
