"""Lines in, lines out."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from seq2seq_cli.data.batching import make_batch
from seq2seq_cli.data.vocabulary import EOS_ID, SOS_ID, UNK_ID
from seq2seq_cli.decoding import sources as sources_module
from seq2seq_cli.decoding import translator as translator_module
from seq2seq_cli.decoding.beam_search import beam_search
from seq2seq_cli.decoding.translator import Score, Translation, TranslationOptions, Translator
from seq2seq_cli.device import resolve_precision
from seq2seq_cli.errors import ModelFileError, UsageError
from tests.unit.decoding.support import ATTENTIONS, CPU, PLACES, likelier, translator_file

LINES = ["s1 s2 s3", "", "s4", "   ", "s1 zzz s9 s9 s9 s3", "\u2028", "s5 s5", "s1 s2 s3"]
GREEDY = TranslationOptions(beam_size=1)


def translator(place: str = "deep", **config: Any) -> Translator:
    return Translator([translator_file(place, **config)], CPU)


def translate(
    lines: list[str], subject: Translator | None = None, **options: Any
) -> list[Translation]:
    """By a translator with attention, unless another is given."""
    return list((subject or translator()).translate(lines, TranslationOptions(**options)))


def texts(found: list[Translation]) -> list[list[str]]:
    return [[candidate.text for candidate in translation.candidates] for translation in found]


def scores(found: list[Translation]) -> list[float]:
    return [candidate.score for translation in found for candidate in translation.candidates]


# ---------------------------------------------------------------- lines and batches


@pytest.mark.parametrize("options", [{}, {"beam_size": 1}, {"beam_size": 6, "n_best": 6}])
def test_every_line_has_its_answer_in_its_place(options: dict[str, Any]) -> None:
    found = translate(LINES, **options)

    assert [translation.source for translation in found] == LINES
    blank = [not translation.best.text for translation in found]
    assert blank == [not line.strip() for line in LINES]
    assert texts(found[:1]) == texts(found[7:])
    alone = [translate([line], **options)[0] for line in LINES]
    assert texts(found) == texts(alone)
    assert scores(found) == pytest.approx(scores(alone), rel=1e-5)


def test_blank_lines_have_one_translation_and_nothing_to_say_about_it() -> None:
    for options in ({}, {"n_best": 3}, {"with_attention": True}, {"temperature": 1.0}):
        for translation in translate(["", " \t", "\u3000"], **options):
            assert translation.source_tokens == translation.flags == []
            assert [vars(candidate) for candidate in translation.candidates] == [
                {
                    "text": "",
                    "tokens": [],
                    "score": 0.0,
                    "ranking": 0.0,
                    "length_capped": False,
                    "attention": None,
                }
            ]


@pytest.mark.parametrize("batch_size", [1, 2, 3, 64])
@pytest.mark.parametrize("temperature", [None, 1.0])
def test_the_batch_size_changes_nothing(
    batch_size: int, temperature: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [" ".join(f"s{(i * j) % 17}" for j in range(i % 9)) for i in range(40)]
    options: dict[str, Any] = {"n_best": 2, "max_length": 8, "temperature": temperature}
    expected = translate(lines, batch_size=16, **options)
    monkeypatch.setattr(sources_module, "POOL_BATCHES", 5)

    found = translate(lines, batch_size=batch_size, **options)

    assert [translation.source for translation in found] == lines
    assert texts(found) == texts(expected)
    assert scores(found) == pytest.approx(scores(expected), rel=1e-4)


def test_lines_are_taken_as_they_are_needed() -> None:
    def endless() -> Iterator[str]:
        while True:
            yield "s1 s2"

    translations = translator().translate(endless(), TranslationOptions(batch_size=2))

    assert next(translations).best.text == next(translations).best.text


def batch_sizes(
    lines: list[str], monkeypatch: pytest.MonkeyPatch, **options: Any
) -> list[tuple[int, int]]:
    """Sentences and hypotheses of each of the searches that lines take."""
    sizes: list[tuple[int, int]] = []

    def search(ensemble: Any, batches: Any, limits: Any, options: Any, draws: Any) -> Any:
        sizes.append((len(limits), len(limits) * options.beam_size))
        return beam_search(ensemble, batches, limits, options, draws)

    monkeypatch.setattr(translator_module, "beam_search", search)
    assert len(translate(lines, **options)) == len(lines)
    return sizes


def test_batches_have_even_numbers_of_hypotheses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(translator_module, "DECODING_HYPOTHESES", 12)
    lines = ["s1 s2"] * 13

    assert batch_sizes(lines, monkeypatch, beam_size=1) == [(12, 12), (1, 1)]
    assert batch_sizes(lines, monkeypatch, beam_size=5) == [(2, 10)] * 6 + [(1, 5)]
    assert batch_sizes(lines[:2], monkeypatch, beam_size=30) == [(1, 30)] * 2
    assert batch_sizes(lines, monkeypatch, beam_size=5, batch_size=7) == [(7, 35), (6, 30)]


def test_batches_of_long_sentences_are_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(translator_module, "DECODING_TOKENS", 20)
    words = [1, 9, 4, 30, 1, 4, 4, 10]
    lines = [" ".join(["s1"] * count) for count in words]

    # 1, 1, 4, 4, 4 words: padded to 4 each; 9 and 10; what is longer than all goes alone.
    expected = [5, 2, 1]
    assert [count for count, _ in batch_sizes(lines, monkeypatch)] == expected
    assert [count for count, _ in batch_sizes(lines, monkeypatch, batch_size=8)] == [8]


def test_int8_is_for_search_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "_int_mm", lambda one, other: one.int() @ other.int())
    file = translator_file()
    [exact, rounded] = [Translator([file], CPU, kind) for kind in (torch.float32, torch.int8)]
    pairs = [("s1 s2", "t4 t5"), ("s3", "t1")]

    one, other = (scores(translate(["s1 s2 s3"] * 3, each)) for each in (exact, rounded))
    assert len({*one, *other}) == 2
    assert one == pytest.approx(other, rel=0.1)
    rounded.precision = resolve_precision("auto", CPU)
    same = [score.score for score in rounded.score(pairs)]
    rounded.precision = torch.int8
    assert [score.score for score in rounded.score(pairs)] == same


def test_no_lines_no_translations() -> None:
    assert translate([]) == []
    assert list(translator().score([])) == []


def test_flags_say_what_was_done_to_a_line() -> None:
    found = translate(
        ["s1 s2 s3", "s1 s2 s3 s4", "s1 huh", "s1 s2 s3 huh"], translator(max_length=3)
    )

    assert [{*translation.flags} - {"length_capped"} for translation in found] == [
        set(),
        {"truncated"},
        {"unknown_words"},
        {"truncated"},
    ]
    assert found[1].candidates == found[0].candidates  # the rest was cut off
    assert found[1].source_tokens == ["<sos>", "s1", "s2", "s3", "<eos>"]
    assert found[2].source_tokens == ["<sos>", "s1", "huh", "<eos>"]


@pytest.mark.parametrize("max_length", [0, 1, 3])
def test_max_length_caps_a_translation(max_length: int) -> None:
    lines = [f"s{number} s2" for number in range(12)]
    whole = translate(lines, beam_size=1)

    cut = translate(lines, beam_size=1, max_length=max_length)

    longer = [len(translation.best.tokens) > max_length for translation in whole]
    assert any(longer)
    for before, after, is_longer in zip(whole, cut, longer, strict=True):
        assert after.best.tokens == before.best.tokens[:max_length]
        assert after.best.length_capped == is_longer
        assert after.flags == ["length_capped"] * is_longer


def test_the_flag_is_about_the_best_alone() -> None:
    found = translate([f"s{i} s{i + 1}" for i in range(15)], n_best=4, beam_size=4, max_length=5)

    ends = {(t.best.length_capped, *(c.length_capped for c in t.candidates[1:])) for t in found}
    assert any(best and not all(others) for best, *others in ends)
    assert any(not best and any(others) for best, *others in ends)
    for translation in found:
        assert ("length_capped" in translation.flags) == translation.best.length_capped


def test_the_first_models_config_says_how_long_a_translation_may_be() -> None:
    file = translator_file(decoding={"max_length_ratio": 3.0})
    likelier(file.model, EOS_ID, -50.0)

    found = translate(["s1 s2", "s1 s2 s3 s4 s5"], Translator([file], CPU), beam_size=1)

    assert [len(translation.best.tokens) for translation in found] == [10, 15]


# ---------------------------------------------------------------- candidates


@pytest.mark.parametrize("penalty", [0.0, 0.6, 2.0])
def test_candidates_come_in_the_order_of_their_ranking(penalty: float) -> None:
    for translation in translate(LINES[4:5] * 2, beam_size=6, n_best=6, length_penalty=penalty):
        rankings = [candidate.ranking for candidate in translation.candidates]
        assert len(rankings) == 6
        assert rankings == sorted(rankings, reverse=True)
        assert rankings == [
            pytest.approx(c.score / (len(c.tokens) + 1) ** penalty) for c in translation.candidates
        ]
        assert translation.best is translation.candidates[0]
        assert len({candidate.text for candidate in translation.candidates}) == 6
        assert all(c.text == " ".join(c.tokens) for c in translation.candidates)


def test_fewer_candidates_are_the_first_of_more() -> None:
    more = translate(LINES, beam_size=6, n_best=6)

    for number in (1, 2, 5):
        fewer = translate(LINES, beam_size=6, n_best=number)
        assert [t.candidates for t in fewer] == [t.candidates[:number] for t in more]


def test_more_candidates_than_the_beam_are_refused() -> None:
    with pytest.raises(UsageError, match="3 translations of each line need a beam as large, and"):
        translate(["s1"], beam_size=2, n_best=3)
    with pytest.raises(UsageError, match="and it is 4"):
        translate(["s1"], translator(decoding={"beam_size": 4}), n_best=5)


def test_what_is_not_said_is_as_the_config_has_it() -> None:
    lines = [f"s{i} s{2 * i} s{i + 3}" for i in range(8)]
    config: dict[str, Any] = {"beam_size": 3, "length_penalty": 1.5, "no_repeat_ngram_size": 2}
    subject = translator(decoding=config)

    found = translate(lines, subject, n_best=3)

    assert found == translate(lines, translator(), n_best=3, **config)
    plain: dict[str, Any] = {"beam_size": 6, "length_penalty": 0.0, "no_repeat_ngram_size": 0}
    assert translate(lines, subject, n_best=3, **plain) == translate(
        lines, translator(), n_best=3, **plain
    )
    for key, value in plain.items():  # each has its effect, 0 too
        assert texts(translate(lines, subject, n_best=3, **{key: value})) != texts(found)


def test_no_options_are_the_configs() -> None:
    assert list(translator().translate(LINES)) == translate(LINES)


# ---------------------------------------------------------------- sampling


def test_what_is_drawn_depends_on_seed_and_line() -> None:
    options: dict[str, Any] = {"temperature": 1.0, "n_best": 3}
    lines = ["s1 s2 s3"] * 3

    first = translate(lines, **options)

    assert first == translate(lines, seed=1, **options)
    assert texts(first) == texts(translate([*lines, "s4"], **options))[:3]
    assert texts(first)[1:] == texts(translate(["", *lines[1:]], **options))[1:]
    assert texts(first) != texts(translate(lines, seed=2, **options))
    assert len({*map(str, texts(first))}) == 3
    assert [len(translation.candidates) for translation in first] == [3, 3, 3]
    assert all(
        translation.best.ranking == max(c.ranking for c in translation.candidates)
        for translation in first
    )


def test_a_sample_needs_no_beam_as_large() -> None:
    [found] = translate(["s1"], temperature=1.0, n_best=12, beam_size=2)

    assert len(found.candidates) == 12


# ---------------------------------------------------------------- attention


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("reverse_source", [False, True])
@torch.no_grad()
def test_attention_is_what_each_token_was_chosen_with(place: str, reverse_source: bool) -> None:
    subject = translator(place, reverse_source=reverse_source)
    file = subject.file

    for translation in translate(
        LINES, subject, with_attention=True, beam_size=3, n_best=3, max_length=6
    ):
        words = translation.source.split()
        if not words:
            assert translation.best.attention is None
            continue
        assert translation.source_tokens == ["<sos>", *words, "<eos>"]
        fed = file.source.vocabulary.to_ids(words[::-1] if reverse_source else words)
        columns = [*range(len(words) + 2)]
        if reverse_source:
            columns[1:-1] = columns[-2:0:-1]
        for candidate in translation.candidates:
            decoding = file.model.encode(make_batch([fed], reverse_source=False))
            last = SOS_ID
            assert candidate.attention is not None
            assert len(candidate.attention) == len(candidate.tokens)
            for token, row in zip(candidate.tokens, candidate.attention, strict=True):
                _, decoding, weights = file.model.step(torch.tensor([last]), decoding)
                assert weights is not None
                assert row == pytest.approx(weights[0, columns].tolist(), abs=1e-5)
                assert sum(row) == pytest.approx(1.0)
                last = file.target.vocabulary.tokens.index(token)


def test_reversing_the_source_is_the_models_business() -> None:
    forwards, backwards = translator(), translator(reverse_source=True)

    for mine, theirs in zip(
        translate(["s3 s2 s1", "s9 s4"], backwards, with_attention=True),
        translate(["s1 s2 s3", "s4 s9"], forwards, with_attention=True),
        strict=True,
    ):
        assert mine.best.tokens == theirs.best.tokens
        assert mine.source_tokens[1:-1] == theirs.source_tokens[-2:0:-1]
        assert mine.best.attention == [
            [row[0], *row[-2:0:-1], row[-1]] for row in theirs.best.attention or []
        ]


def test_no_attention_is_given_unasked() -> None:
    assert [t.best.attention for t in translate(LINES)] == [None] * len(LINES)


@pytest.mark.parametrize("options", [{"with_attention": True}, {"replacements": {}}])
def test_without_attention_none_can_be_asked_for(options: dict[str, Any]) -> None:
    subject = translator("none")

    assert not subject.has_attention
    assert translator("before").has_attention
    with pytest.raises(UsageError, match=r"no attention, .*; train one with model.decoder.attent"):
        translate(["s1"], subject, **options)
    assert translate(["s1"], subject)


# ---------------------------------------------------------------- unknown words


@pytest.mark.parametrize("reverse_source", [False, True])
@pytest.mark.parametrize("place", PLACES)
def test_unknown_words_are_replaced_in_the_text_alone(place: str, reverse_source: bool) -> None:
    file = translator_file(place, reverse_source=reverse_source)
    likelier(file.model, UNK_ID, 4.0)
    subject = Translator([file], CPU)
    lines = ["s1 s2 s3", "", "s7 Uhu s9", "s4 s5 s6 s7 s8 s9 s10"]
    options = {"n_best": 3, "beam_size": 3, "with_attention": True}
    dictionary = {"s9": "nine", "Uhu": "eagle owl", "s2": "two", "t1": "no source word"}
    plain = translate(lines, subject, **options)

    found = translate(lines, subject, **options, replacements=dictionary)

    replaced = []
    for before, after in zip(plain, found, strict=True):
        words = before.source_tokens[1:-1]
        for one, other in zip(before.candidates, after.candidates, strict=True):
            expected = []
            for token, row in zip(one.tokens, one.attention or [], strict=True):
                looked_at = words[int(np.argmax(row[1:-1]))]
                replaced += [looked_at] * (token == "<unk>")
                expected.append(dictionary.get(looked_at, looked_at) if token == "<unk>" else token)
            assert other.text == " ".join(expected)
            assert vars(other) | {"text": one.text} == vars(one)
    assert {*replaced} & {*dictionary}
    assert {*replaced} - {*dictionary}


def test_replacing_needs_no_attention_in_the_answer() -> None:
    file = translator_file()
    likelier(file.model, UNK_ID, 50.0)

    [found] = translate(["Uhu"], Translator([file], CPU), replacements={}, max_length=2)

    assert found.best.text == "Uhu Uhu"
    assert found.best.tokens == ["<unk>", "<unk>"]


# ---------------------------------------------------------------- scoring


@pytest.mark.parametrize("place", ATTENTIONS)
@pytest.mark.parametrize(
    "options",
    [
        {"beam_size": 4, "n_best": 4},
        {"beam_size": 4, "n_best": 4, "max_length": 2},
        {"beam_size": 4, "n_best": 4, "no_repeat_ngram_size": 1, "length_penalty": 0.0},
        {"temperature": 1.5, "n_best": 4},
    ],
)
def test_a_translations_score_is_that_of_scoring_it(place: str, options: dict[str, Any]) -> None:
    subject = translator(place, reverse_source=True, max_length=4)
    pairs = [
        (translation.source, candidate)
        for translation in translate(LINES, subject, **options)
        for candidate in translation.candidates
    ]

    found = list(subject.score([(source, candidate.text) for source, candidate in pairs]))

    assert [score.score for score in found] == pytest.approx(
        [candidate.score for _, candidate in pairs], rel=1e-4
    )
    assert [score.tokens for score in found] == [candidate.tokens for _, candidate in pairs]


def test_scores_of_blank_sides() -> None:
    pairs = [("", "t1"), ("s1", "t1"), (" ", "\t"), ("s1", " "), ("", "t2 t3")]

    found = list(translator().score(pairs))

    assert [score.score for score in found[::2]] == [-math.inf, 0.0, -math.inf]
    assert [score.tokens for score in found] == [["t1"], ["t1"], [], [], ["t2", "t3"]]
    [at_once] = translate(["s1"], max_length=0)  # says nothing but the end
    assert found[3].score == pytest.approx(at_once.best.score, rel=1e-5)
    assert found[3].score < 0.0


def test_scores_have_the_flags_of_the_source() -> None:
    subject = translator(max_length=3)

    found = list(subject.score([("s1 s2 s3 s4", "t1 zz"), ("huh", "t1"), ("s1 s2 s3", "zz t1")]))

    assert [score.flags for score in found] == [["truncated"], ["unknown_words"], []]
    assert [score.tokens for score in found] == [["t1", "<unk>"], ["t1"], ["<unk>", "t1"]]
    assert found[0].score == pytest.approx(
        next(subject.score([("s1 s2 s3", "t1 <unk>")])).score, rel=1e-5
    )


@pytest.mark.parametrize("batch_size", [1, 2, 7, 32])
def test_a_pair_scores_the_same_in_any_batch(
    batch_size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    pairs = [
        (" ".join(f"s{i % 7 + j}" for j in range(i % 5)), " ".join(["t3"] * (i % 7)))
        for i in range(33)
    ]
    subject = translator("before")
    alone = [next(subject.score([pair])) for pair in pairs]
    monkeypatch.setattr(sources_module, "POOL_BATCHES", 2)

    found = list(subject.score(pairs, batch_size))

    assert [score.score for score in found] == pytest.approx(
        [score.score for score in alone], rel=1e-5
    )
    assert [score.tokens for score in found] == [score.tokens for score in alone]


def test_a_score_is_a_sum_over_the_targets_tokens() -> None:
    subject = translator()
    start, whole = (next(subject.score([("s1 s2", t)])).score for t in ("t4", "t4 t5"))
    with torch.no_grad():
        file = subject.file
        decoding = file.model.encode(
            make_batch([file.source.encode("s1 s2")], reverse_source=False)
        )
        total = 0.0
        targets = [SOS_ID, *file.target.encode("t4 t5").tolist(), EOS_ID]
        for fed, wanted in itertools.pairwise(targets):
            log_probs, decoding, _ = file.model.step(torch.tensor([fed]), decoding)
            total += log_probs[0, wanted].item()

    assert whole == pytest.approx(total, rel=1e-5)
    assert start != pytest.approx(whole)


# ---------------------------------------------------------------- modes and faults


def wavering() -> Translator:
    """In training mode, with dropout."""
    subject = translator()
    subject.file.model.train()
    subject.file.model.decoder.output_dropout.rate = 0.5
    return subject


def test_a_model_in_training_mode_stays_so_but_translates_without_dropout() -> None:
    subject = wavering()

    assert translate(LINES, subject) == translate(LINES)
    assert list(subject.score([("s1 s2", "t1")])) == list(translator().score([("s1 s2", "t1")]))

    assert all(module.training for module in subject.file.model.modules())
    subject.file.model.eval()
    translate(LINES, subject)
    assert not any(module.training for module in subject.file.model.modules())


def test_the_mode_comes_back_after_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    subject = wavering()

    def fail(*_: object) -> None:
        assert not subject.file.model.training
        raise MemoryError

    monkeypatch.setattr(subject.ensemble, "encode", fail)
    monkeypatch.setattr(subject.ensemble, "token_log_probs", fail)
    with pytest.raises(MemoryError):
        translate(LINES, subject)
    assert subject.file.model.training
    with pytest.raises(MemoryError):
        list(subject.score([("s1", "t1")]))
    assert subject.file.model.training


def test_between_two_lines_the_models_are_in_their_own_mode() -> None:
    subject = wavering()

    next(subject.translate(LINES, GREEDY))

    assert subject.file.model.training


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 3e38])
@pytest.mark.parametrize("options", [{}, {"beam_size": 1}, {"temperature": 1.0, "n_best": 2}])
def test_weights_that_are_no_numbers_are_an_error(value: float, options: dict[str, Any]) -> None:
    file = translator_file()
    with torch.no_grad():
        file.model.get_parameter("decoder.output.weight").fill_(value)
    subject = Translator([file], CPU)

    with pytest.raises(ModelFileError, match=r"^model: gives no probabilities: some weights"):
        translate(["s1 s2"], subject, **options)
    with pytest.raises(ModelFileError, match=r"^model: gives no probabilities"):
        list(subject.score([("s1 s2", "t1")]))


def test_blank_lines_need_no_numbers() -> None:
    file = translator_file()
    with torch.no_grad():
        file.model.get_parameter("decoder.output.weight").fill_(math.nan)
    subject = Translator([file], CPU)

    assert translate([""], subject)[0].best.text == ""
    assert list(subject.score([("", "")])) == [Score(0.0, [], [])]


def test_a_translation_without_end_is_scored_by_its_start() -> None:
    """Memory is taken for each of its tokens, and all are scored at once."""
    endless, long, plain = "t1 " * 300_000, "t1 " * 10_000, "t1"
    found = list(translator().score([("s1", endless), ("s1", long), ("s1", plain)]))
    cut = [("translation_truncated" in score.flags) for score in found]
    assert cut == [True, False, False]
    assert found[0].score == pytest.approx(found[1].score)
    assert len(found[0].tokens) == 10_000
