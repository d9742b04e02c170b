"""Several models as one."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from seq2seq_cli.config.data import WhitespaceTokenizer
from seq2seq_cli.data.batching import Batch, make_batch
from seq2seq_cli.data.tokenizers import Whitespace
from seq2seq_cli.data.vocabulary import EOS_ID, PAD_ID, SOS_ID, TextCodec
from seq2seq_cli.decoding.beam_search import SearchOptions, beam_search
from seq2seq_cli.decoding.ensemble import Ensemble
from seq2seq_cli.decoding.translator import TranslationOptions, Translator
from seq2seq_cli.errors import ModelFileError
from seq2seq_cli.model.model_file import TranslatorFile, save_translator
from seq2seq_cli.model.seq2seq import Seq2Seq
from tests.unit.decoding.support import (
    ATTENTIONS,
    CPU,
    TARGET_WORDS,
    likelier,
    searched_model,
    sources,
    translator_file,
)
from tests.unit.model.support import TARGET_SIZE, small_batch

MODELS = [searched_model("before", 1), searched_model("none", 2), searched_model("deep", 3)]


@torch.no_grad()
def mean_probabilities(models: list[Seq2Seq], batches: list[Batch], fed: Tensor) -> Tensor:
    """(batch, time, vocabulary), each step being fed a column of `fed`, (batch, time)."""
    total = torch.zeros(*fed.shape, TARGET_SIZE)
    for model, batch in zip(models, batches, strict=True):
        decoding = model.encode(batch)
        for step, tokens in enumerate(fed.unbind(dim=1)):
            log_probs, decoding, _ = model.step(tokens, decoding)
            total[:, step] += log_probs.exp() / len(models)
    return total


# ---------------------------------------------------------------- one model twice


@pytest.mark.parametrize("place", ATTENTIONS)
@pytest.mark.parametrize(
    "options",
    [
        SearchOptions(with_attention=True),
        SearchOptions(4, 0.6, with_attention=True),
        SearchOptions(3, no_repeat_ngram_size=1, with_attention=True),
    ],
)
def test_a_model_twice_is_the_model(place: str, options: SearchOptions) -> None:
    model = searched_model(place, 4)
    batch, limits = sources(3, 7, 1, 7, 5), [3, 12, 5, 0, 8]

    once = beam_search(Ensemble([model]), [batch], limits, options)
    twice = beam_search(Ensemble([model, model]), [batch, batch], limits, options)

    for expected, found in zip(once, twice, strict=True):
        assert [h.token_ids for h in found] == [h.token_ids for h in expected]
        assert [h.score for h in found] == pytest.approx([h.score for h in expected], rel=1e-4)
        assert [h.length_capped for h in found] == [h.length_capped for h in expected]
        for one, other in zip(found, expected, strict=True):
            assert (one.attention is None) == (other.attention is None) == (place == "none")
            if one.attention is not None:
                torch.testing.assert_close(one.attention, other.attention)


@pytest.mark.parametrize("place", ATTENTIONS)
def test_losses_of_a_model_twice_are_the_models(place: str) -> None:
    model = searched_model(place, 4)
    batches = [small_batch(), small_batch((2, 9), (3, 8)), small_batch((4,), (1,))]

    once = Ensemble([model]).losses([[batch] for batch in batches], CPU)
    twice = Ensemble([model, model]).losses([[batch, batch] for batch in batches], CPU)

    assert once.loss != pytest.approx(once.free_running_loss, rel=1e-3)
    assert twice == pytest.approx(once, rel=1e-5)


# ---------------------------------------------------------------- several models


def test_a_step_is_the_mean_of_the_models_probabilities() -> None:
    batches = [sources(3, 5), sources(6, 2, seed=1), sources(1, 9, seed=2)]
    fed = torch.tensor([[SOS_ID, 7, 9], [SOS_ID, 4, 1]])
    ensemble = Ensemble(MODELS)

    with torch.no_grad():
        decodings = ensemble.encode(batches)
        for step, expected in enumerate(mean_probabilities(MODELS, batches, fed).unbind(dim=1)):
            log_probs, decodings, weights = ensemble.step(fed[:, step], decodings)
            torch.testing.assert_close(log_probs.exp(), expected)
            assert weights is not None
            assert weights.shape == (2, 7)  # of the first model, whose source has 5 words
            torch.testing.assert_close(log_probs.exp().sum(dim=1), torch.ones(2))


def test_attention_is_that_of_the_first_model() -> None:
    batch = sources(4)
    for first, other in [(0, 2), (2, 0), (1, 0)]:
        models = [MODELS[first], MODELS[other]]
        with torch.no_grad():
            decodings = Ensemble(models).encode([batch, batch])
            _, _, weights = Ensemble(models).step(torch.tensor([SOS_ID]), decodings)
            _, _, own = models[0].step(torch.tensor([SOS_ID]), models[0].encode(batch))
        assert (own is None) == (first == 1)
        torch.testing.assert_close(weights, own, rtol=0.0, atol=0.0)


def test_losses_are_those_of_the_plain_loop() -> None:
    targets = (4, 2, 6, 1, 6)
    groups = [
        [small_batch((3, 7, 1, 7, 5), targets), small_batch((2, 4, 9, 3, 3), targets)],
        [small_batch((5, 2), (3, 1)), small_batch((2, 2), (3, 1))],
    ]
    models = MODELS[:2]
    sums, number = [0.0, 0.0], 0
    for group in groups:
        trg_ids = group[0].trg_ids
        wanted = trg_ids[:, 1:]
        real = wanted != PAD_ID
        fed = trg_ids[:, :-1]
        for step in range(fed.size(1) - 1):  # what each is fed follows from the steps before
            said = mean_probabilities(models, group, fed[:, : step + 1])[:, step].argmax(dim=1)
            fed = torch.cat([fed[:, : step + 1], said.unsqueeze(1), fed[:, step + 2 :]], dim=1)
        for kind, each in enumerate([trg_ids[:, :-1], fed]):
            probabilities = mean_probabilities(models, group, each)
            of_wanted = probabilities.gather(2, wanted.unsqueeze(2)).squeeze(2)[real]
            sums[kind] -= of_wanted.log().sum().item()
        number += int(real.sum())

    losses = Ensemble(models).losses(groups, CPU)

    assert losses == pytest.approx([total / number for total in sums], rel=1e-5)
    assert sums[0] != pytest.approx(sums[1], rel=1e-3)


def test_log_probabilities_of_targets_are_logs_of_the_mean() -> None:
    targets = (4, 2, 6)
    batches = [small_batch((3, 7, 1), targets), small_batch((2, 4, 9), targets)]
    trg_ids = batches[0].trg_ids
    probabilities = mean_probabilities(MODELS[:2], batches, trg_ids[:, :-1])
    real = trg_ids[:, 1:] != PAD_ID
    expected = probabilities.gather(2, trg_ids[:, 1:, None]).squeeze(2)[real].log()

    with torch.no_grad():
        found = Ensemble(MODELS[:2]).token_log_probs(batches)

    torch.testing.assert_close(found, expected)


def test_what_a_model_holds_impossible_another_may_say() -> None:
    sure, other = searched_model("deep", 3), searched_model("deep", 3)
    likelier(sure, 8, -math.inf)
    batch = sources(4)
    with torch.no_grad():
        one, _, _ = other.step(torch.tensor([SOS_ID]), other.encode(batch))
        ensemble = Ensemble([sure, other])
        both, _, _ = ensemble.step(torch.tensor([SOS_ID]), ensemble.encode([batch, batch]))

    assert both[0, 8].item() == pytest.approx(one[0, 8].item() - math.log(2.0), rel=1e-5)


# ---------------------------------------------------------------- translators of several files


def other_file(seed: int = 9) -> TranslatorFile:
    """Reads characters, backwards, and has no attention."""
    return translator_file(
        "none",
        seed,
        source_words=[*"s0123456789 "],
        tokenizer={"kind": "characters"},
        reverse_source=True,
    )


LINES = ["s1 s2 s3", "s4", "", "s1 zzz s9 s9 s9 s3", "s5 s5"]


@torch.no_grad()
def plain_greedy(files: list[TranslatorFile], line: str, limit: int) -> tuple[list[str], float]:
    batches = [
        make_batch([file.source.encode(line)], reverse_source=file.config.data.reverse_source)
        for file in files
    ]
    fed, score = [SOS_ID], 0.0
    while True:
        models = [file.model for file in files]
        probabilities = mean_probabilities(models, batches, torch.tensor([fed]))[0, -1]
        allowed = probabilities.clone()
        allowed[[PAD_ID, SOS_ID]] = 0.0
        likeliest = EOS_ID if len(fed) == limit + 1 else int(allowed.argmax())
        score += math.log(probabilities[likeliest].item())
        if likeliest == EOS_ID:
            return files[0].target.vocabulary.to_tokens(fed[1:]), score
        fed.append(likeliest)


def test_models_that_read_differently_work_together() -> None:
    files = [translator_file("input_feeding"), other_file()]
    options = TranslationOptions(beam_size=1, max_length=7, with_attention=True)

    found = list(Translator(files, CPU).translate(LINES, options))

    for line, translation in zip(LINES, found, strict=True):
        if line:
            tokens, score = plain_greedy(files, line, 7)
            assert translation.best.tokens == tokens
            assert translation.best.score == pytest.approx(score, rel=1e-4)
            assert translation.source_tokens == ["<sos>", *line.split(), "<eos>"]
            assert translation.best.attention is not None
            assert len(translation.best.attention) == len(tokens)
        else:
            assert translation.best.text == ""
    alone = [[t.best.tokens for t in Translator([f], CPU).translate(LINES)] for f in files]
    assert [t.best.tokens for t in found] not in alone


def test_the_order_of_files_changes_no_score() -> None:
    files = [translator_file("before"), other_file()]
    options = TranslationOptions(beam_size=4, n_best=4, max_length=6)

    one = list(Translator(files, CPU).translate(LINES, options))
    other = list(Translator(files[::-1], CPU).translate(LINES, options))

    for mine, theirs in zip(one, other, strict=True):
        assert [c.tokens for c in mine.candidates] == [c.tokens for c in theirs.candidates]
        assert [c.score for c in mine.candidates] == pytest.approx(
            [c.score for c in theirs.candidates], rel=1e-4
        )


def test_scores_of_several_files_are_those_of_their_translations() -> None:
    translator = Translator([translator_file("before"), other_file()], CPU)
    options = TranslationOptions(beam_size=4, n_best=4)
    found = [
        (translation.source, candidate)
        for translation in translator.translate(LINES, options)
        for candidate in translation.candidates
        if translation.source
    ]
    assert len(found) == 16

    scores = list(translator.score([(source, candidate.text) for source, candidate in found], 3))

    assert [score.score for score in scores] == pytest.approx(
        [candidate.score for _, candidate in found], rel=1e-4
    )


class Deaf(Whitespace):
    """Knows no tokens in a line of one word."""

    def tokenize(self, text: str) -> list[str]:
        words = super().tokenize(text)
        return words if len(words) > 1 else []


@pytest.mark.parametrize("place", [0, 1])
def test_a_line_that_is_blank_to_one_model_is_blank(place: int) -> None:
    files = [translator_file("before"), translator_file("none")]
    source = TextCodec(Deaf(WhitespaceTokenizer()), files[place].source.vocabulary)
    files[place] = replace(files[place], source=source)
    translator = Translator(files, CPU)

    one, blank = translator.translate(["s1 s2", "s1"], TranslationOptions(max_length=3))

    assert one.source_tokens == ["<sos>", "s1", "s2", "<eos>"]
    assert blank.source_tokens == blank.best.tokens == blank.flags == []
    scores = [score.score for score in translator.score([("s1 s2", "t1"), ("s1", "t1")])]
    assert scores[1] == -math.inf < scores[0]


@pytest.fixture
def save(tmp_path: Path) -> Callable[..., Path]:
    def save(name: str, file: TranslatorFile) -> Path:
        save_translator(tmp_path / name, file)
        return tmp_path / name

    return save


def test_files_with_one_target_vocabulary_are_loaded_together(save: Callable[..., Path]) -> None:
    files = [translator_file("deep"), other_file(), translator_file("none", 3)]
    paths = [save(f"{number}.safetensors", file) for number, file in enumerate(files)]

    loaded = Translator.load(paths, CPU)

    for one, other in zip(
        loaded.translate(LINES), Translator(files, CPU).translate(LINES), strict=True
    ):
        assert one == other


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ([*TARGET_WORDS, "more"], "it has 20 target tokens, not 19"),
        (
            [*TARGET_WORDS[:5], "other", *TARGET_WORDS[6:]],
            "its target token 9 is 'other', not 't5'",
        ),
        ([*TARGET_WORDS[:-2], *TARGET_WORDS[:-3:-1]], "its target token 17 is 't14', not 't13'"),
    ],
)
def test_another_target_vocabulary_is_refused(
    save: Callable[..., Path], words: list[str], reason: str
) -> None:
    first = save("first.safetensors", translator_file("deep"))
    second = save("second.safetensors", other_file())
    third = save("third.safetensors", translator_file("deep", target_words=words))

    with pytest.raises(ModelFileError) as caught:
        Translator.load([first, second, third], CPU)

    assert str(caught.value).startswith(f"{third}: cannot join an ensemble with {first}: {reason};")
