"""Beam search and sampling against plain definitions: one sentence, one step at a time."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor

from seq2seq_cli.data.batching import Batch, make_batch
from seq2seq_cli.data.vocabulary import EOS_ID, PAD_ID, SOS_ID, UNK_ID, Ids
from seq2seq_cli.decoding.beam_search import (
    Hypothesis,
    SearchOptions,
    beam_search,
    length_limits,
)
from seq2seq_cli.decoding.ensemble import Ensemble
from seq2seq_cli.model.seq2seq import Decoding, Seq2Seq
from seq2seq_cli.randomness import generator
from tests.unit.decoding.support import ATTENTIONS, PLACES, likelier, searched_model, sources
from tests.unit.model.support import SOURCE_SIZE, row, sentences

repeatable = settings(derandomize=True, deadline=None, max_examples=40, database=None)
places = pytest.mark.parametrize("place", ATTENTIONS)

TINY = 7  # a target vocabulary of the special tokens and three words
LENGTHS, LIMITS = (3, 7, 1, 7, 5), [3, 12, 5, 0, 8]


def search(
    model: Seq2Seq, batch: Batch, limits: Sequence[int], options: SearchOptions, seed: int = 1
) -> list[list[Hypothesis]]:
    draws = [generator(seed, "sampling", number) for number in range(len(limits))]
    return beam_search(Ensemble([model]), [batch], limits, options, draws)


class Plain(NamedTuple):
    """A hypothesis of the plain search, and what it came from."""

    score: float
    ids: list[int]
    capped: bool
    weights: list[Tensor]
    decoding: Decoding


def has_repeats(ids: Sequence[int], size: int) -> bool:
    runs = [tuple(ids[start : start + size]) for start in range(len(ids) - size + 1)]
    return size > 0 and len({*runs}) < len(runs)


@torch.no_grad()
def plain_search(
    model: Seq2Seq, batch: Batch, limit: int, options: SearchOptions
) -> tuple[list[Plain], float]:
    """The definition, for one sentence. Also gives how far any choice was from a tie."""
    alive = [Plain(0.0, [], False, [], model.encode(batch))]
    found: list[Plain] = []
    margin = math.inf
    while alive:
        continued: list[Plain] = []
        for score, ids, _, weights, decoding in alive:
            last = torch.tensor([ids[-1] if ids else SOS_ID])
            log_probs, after, look = model.step(last, decoding)
            allowed = {
                token: log_prob
                for token, log_prob in enumerate(log_probs[0].tolist())
                if token not in (PAD_ID, SOS_ID)
                and not has_repeats([*ids, token], options.no_repeat_ngram_size)
            }
            likeliest = max(allowed, key=lambda token: allowed[token])
            if len(ids) == limit:
                allowed = {EOS_ID: allowed[EOS_ID]}
            looks = weights if look is None else [*weights, look[0]]
            continued += [
                Plain(score + log_prob, [*ids, token], likeliest != EOS_ID, looks, after)
                for token, log_prob in allowed.items()
            ]
        continued.sort(key=lambda plain: plain.score, reverse=True)
        left = options.beam_size - len(found)
        if left < len(continued):
            margin = min(margin, continued[left - 1].score - continued[left].score)
        alive = [plain for plain in continued[:left] if plain.ids[-1] != EOS_ID]
        found += [
            plain._replace(
                ids=plain.ids[:-1],
                capped=len(plain.ids) == limit + 1 and plain.capped,
                weights=plain.weights[:-1],
            )
            for plain in continued[:left]
            if plain.ids[-1] == EOS_ID
        ]
    rank = {
        id(plain): plain.score / len([*plain.ids, EOS_ID]) ** options.length_penalty
        for plain in found
    }
    found.sort(key=lambda plain: rank[id(plain)], reverse=True)
    gaps = [rank[id(one)] - rank[id(two)] for one, two in itertools.pairwise(found)]
    return found, min([margin, *gaps])


@torch.no_grad()
def plain_greedy(model: Seq2Seq, batch: Batch, limit: int) -> tuple[list[int], float, bool]:
    decoding = model.encode(batch)
    last, score = SOS_ID, 0.0
    ids: list[int] = []
    while True:
        log_probs, decoding, _ = model.step(torch.tensor([last]), decoding)
        allowed = log_probs[0].clone()
        allowed[[PAD_ID, SOS_ID]] = -torch.inf
        last = int(allowed.argmax())
        if last == EOS_ID or len(ids) == limit:
            return ids, score + float(log_probs[0, EOS_ID]), last != EOS_ID
        ids.append(last)
        score += float(log_probs[0, last])


def rescored(model: Seq2Seq, sources: Sequence[Ids], targets: Sequence[Sequence[int]]) -> Tensor:
    """Log-probabilities of whole targets, <eos> counted, as scoring has them."""
    ids = [np.array(target, dtype=np.int32) for target in targets]
    batch = make_batch(sources, ids, reverse_source=False)
    with torch.no_grad():
        log_probs = Ensemble([model]).token_log_probs([batch])
    lengths = [len(each) + 1 for each in ids]
    return torch.stack([own.sum() for own in torch.split(log_probs, lengths)])


def all_targets(limit: int, no_repeat: int = 0) -> list[tuple[int, ...]]:
    """Everything that may be written in the tiny vocabulary."""
    words = [UNK_ID, *range(EOS_ID + 1, TINY)]
    targets = [t for size in range(limit + 1) for t in itertools.product(words, repeat=size)]
    return [target for target in targets if not has_repeats(target, no_repeat)]


def assert_same(found: list[Hypothesis], expected: list[Hypothesis]) -> None:
    assert [h.token_ids for h in found] == [h.token_ids for h in expected]
    assert [h.score for h in found] == pytest.approx([h.score for h in expected], rel=1e-4)
    assert [h.length_capped for h in found] == [h.length_capped for h in expected]
    for one, other in zip(found, expected, strict=True):
        assert (one.attention is None) == (other.attention is None)
        if one.attention is not None and other.attention is not None:
            columns = other.attention.size(1)
            torch.testing.assert_close(one.attention[:, :columns], other.attention)
            assert not one.attention[:, columns:].any()


# ---------------------------------------------------------------- search


@places
@pytest.mark.parametrize("seed", range(3))
def test_a_beam_of_one_is_greedy_search(place: str, seed: int) -> None:
    model = searched_model(place, seed)
    batch = sources(*LENGTHS)

    for index, [hypothesis] in enumerate(search(model, batch, LIMITS, SearchOptions())):
        ids, score, capped = plain_greedy(model, row(batch, index), LIMITS[index])
        assert hypothesis.token_ids == ids
        assert hypothesis.score == pytest.approx(score, rel=1e-4)
        assert hypothesis.length_capped == capped


def test_some_sentences_end_by_themselves_and_some_at_the_limit() -> None:
    ends = [
        hypothesis.length_capped
        for seed in range(20)
        for [hypothesis] in search(
            searched_model("deep", seed), sources(*LENGTHS), [6] * 5, SearchOptions()
        )
    ]
    assert set(ends) == {True, False}  # else the tests here compare only one kind


@repeatable
@given(
    place=st.sampled_from([*ATTENTIONS]),
    seed=st.integers(0, 10**6),
    std=st.sampled_from([0.5, 1.5, 3.0]),
    options=st.builds(
        SearchOptions,
        beam_size=st.integers(1, 6),
        length_penalty=st.sampled_from([0.0, 0.6, 1.0, 2.0]),
        no_repeat_ngram_size=st.integers(0, 3),
        with_attention=st.just(True),
    ),
    shape=st.lists(st.tuples(st.integers(1, 6), st.integers(0, 6)), min_size=1, max_size=3),
    is_tiny=st.booleans(),
)
def test_search_is_its_definition(
    place: str,
    seed: int,
    std: float,
    options: SearchOptions,
    shape: list[tuple[int, int]],
    is_tiny: bool,
) -> None:
    model = searched_model(place, seed, TINY if is_tiny else 15, std)
    lengths, limits = zip(*shape, strict=True)
    batch = sources(*lengths, seed=seed)

    lists = search(model, batch, limits, options)

    for index, found in enumerate(lists):
        expected, margin = plain_search(model, row(batch, index), limits[index], options)
        assume(margin > 1e-4)  # of equals, either may be kept
        assert_same(
            found,
            [
                Hypothesis(
                    plain.ids,
                    plain.score,
                    plain.capped,
                    None
                    if place == "none"
                    else torch.stack(plain.weights)
                    if plain.weights
                    else torch.empty(0, lengths[index] + 2),
                )
                for plain in expected
            ],
        )


@places
@pytest.mark.parametrize(
    ("penalty", "no_repeat"), [(0.0, 0), (0.6, 0), (1.0, 0), (2.0, 0), (1.0, 1), (0.6, 2)]
)
def test_a_wide_beam_finds_what_trying_everything_finds(
    place: str, penalty: float, no_repeat: int
) -> None:
    limits = [3, 2, 4 if no_repeat else 0]
    model = searched_model(place, 3, TINY)
    words = sentences([4, 6, 2], SOURCE_SIZE)
    batch = make_batch(words, reverse_source=False)
    widest = len(all_targets(max(limits), no_repeat))

    lists = search(model, batch, limits, SearchOptions(widest, penalty, no_repeat))

    for source, limit, found in zip(words, limits, lists, strict=True):
        targets = all_targets(limit, no_repeat)
        scores = rescored(model, [source] * len(targets), targets).tolist()
        score_of = dict(zip(targets, scores, strict=True))
        ranks = {t: score / (len(t) + 1) ** penalty for t, score in score_of.items()}
        ids = [tuple(hypothesis.token_ids) for hypothesis in found]
        assert sorted(ids) == sorted(targets)
        # Of those that are equal but for rounding, either may come first.
        best_first = sorted(ranks.values(), reverse=True)
        assert [ranks[t] for t in ids] == pytest.approx(best_first, rel=1e-5)
        assert [h.score for h in found] == pytest.approx([score_of[t] for t in ids], rel=1e-4)
        found_ranks = [h.ranking(penalty) for h in found]
        assert found_ranks == pytest.approx([ranks[t] for t in ids], rel=1e-5)


@places
@pytest.mark.parametrize("beam_size", [1, 3, 5])
def test_a_batch_in_any_order_gives_what_each_sentence_gives_alone(
    place: str, beam_size: int
) -> None:
    model = searched_model(place, 2)
    batch = sources(*LENGTHS)
    options = SearchOptions(beam_size, with_attention=True)
    alone = [
        search(model, row(batch, index), [limit], options)[0] for index, limit in enumerate(LIMITS)
    ]

    for order in ([3, 1, 4, 0, 2], [4, 2]):
        mixed = Batch(*(part[order] for part in batch))
        lists = search(model, mixed, [LIMITS[index] for index in order], options)
        for index, found in zip(order, lists, strict=True):
            assert_same(found, alone[index])


@pytest.mark.parametrize("place", PLACES)
def test_sentences_keep_their_own_memory_when_others_leave(place: str) -> None:
    model = searched_model(place, 8)
    random = np.random.default_rng(1)
    lengths, limits = random.integers(1, 13, (2, 24)).tolist()
    batch = sources(*lengths)
    options = SearchOptions(4, with_attention=True)

    lists = search(model, batch, limits, options)

    ends = {max(len(hypothesis.token_ids) for hypothesis in found) for found in lists}
    assert len(ends) > 5  # they left at different times
    for index, found in enumerate(lists):
        assert_same(found, search(model, row(batch, index), [limits[index]], options)[0])


def test_attention_is_given_where_asked_for() -> None:
    batch = sources(4)
    for place, wanted in [("none", True), ("deep", False)]:
        options = SearchOptions(2, with_attention=wanted)
        assert {h.attention for h in search(searched_model(place), batch, [5], options)[0]} == {
            None
        }


def test_a_limit_of_nothing_leaves_the_empty_translation() -> None:
    model = searched_model("deep", 1)
    batch = sources(3, 5)
    with torch.no_grad():
        log_probs, _, _ = model.step(torch.full((2,), SOS_ID), model.encode(batch))

    lists = search(model, batch, [0, 0], SearchOptions(4))

    for [hypothesis], own in zip(lists, log_probs, strict=True):
        assert hypothesis.token_ids == []
        assert hypothesis.score == pytest.approx(own[EOS_ID].item())
        assert hypothesis.length_capped == (own.argmax().item() != EOS_ID)


@pytest.mark.parametrize(
    "options",
    [
        SearchOptions(4),
        SearchOptions(4, no_repeat_ngram_size=1),
        SearchOptions(4, temperature=1.0),
        SearchOptions(4, temperature=2.0, no_repeat_ngram_size=2),
    ],
)
@places
def test_scores_are_those_of_rescoring(place: str, options: SearchOptions) -> None:
    model = searched_model(place, 6)
    words = sentences([3, 8, 5, 2], SOURCE_SIZE)
    limits = [4, 1, 20, 0]

    lists = search(model, make_batch(words, reverse_source=False), limits, options)

    assert any(hypothesis.length_capped for found in lists for hypothesis in found)
    for source, limit, found in zip(words, limits, lists, strict=True):
        again = rescored(model, [source] * len(found), [h.token_ids for h in found])
        assert [h.score for h in found] == pytest.approx(again.tolist(), rel=1e-4)
        assert all(len(hypothesis.token_ids) <= limit for hypothesis in found)


def test_ranking_counts_the_end() -> None:
    hypothesis = Hypothesis([5, 6, 7], -8.0, False, None)

    assert [hypothesis.ranking(penalty) for penalty in (0.0, 0.5, 1.0, 2.0)] == [-8, -4, -2, -0.5]


def test_limits_follow_the_source_but_never_fall_below_ten() -> None:
    batch = sources(3, 7, 20, 21)

    assert length_limits(batch, 1.5, None) == [10, 11, 30, 32]
    assert length_limits(batch, 1.5, 4) == [4, 4, 4, 4]


# ---------------------------------------------------------------- n-grams


@repeatable
@given(
    size=st.integers(1, 3),
    seed=st.integers(0, 10**6),
    beam_size=st.integers(1, 5),
    temperature=st.sampled_from([None, 0.5, 1.0]),
)
def test_no_n_tokens_in_a_row_come_twice(
    size: int, seed: int, beam_size: int, temperature: float | None
) -> None:
    options = SearchOptions(beam_size, 1.0, size, temperature)

    lists = search(searched_model("deep", seed, TINY), sources(2, 5, 9), [3, 20, 12], options)

    ids = [hypothesis.token_ids for found in lists for hypothesis in found]
    assert ids
    assert not any(has_repeats(each, size) for each in ids)
    if size == 1:  # there are but four words
        assert max(map(len, ids)) <= 4


def test_else_they_do() -> None:
    model = searched_model("deep", 1, TINY)

    lists = search(model, sources(2, 5, 9), [20] * 3, SearchOptions(3))

    assert any(has_repeats(h.token_ids, 3) for found in lists for h in found)


def test_where_nothing_is_left_to_say_the_limit_has_cut_nothing() -> None:
    model = searched_model("deep", 4, TINY)
    likelier(model, EOS_ID, -30.0)  # each becomes as long as it may

    whole, cut = search(model, sources(3, 3), [4, 3], SearchOptions(2, no_repeat_ngram_size=1))

    assert [(len(h.token_ids), h.length_capped) for h in whole] == [(4, False)] * 2
    assert [(len(h.token_ids), h.length_capped) for h in cut] == [(3, True)] * 2


# ---------------------------------------------------------------- sampling


@places
@pytest.mark.parametrize("temperature", [1e-310, 1e-6])
def test_hardly_any_temperature_is_greedy_search(place: str, temperature: float) -> None:
    model = searched_model(place, 2)
    batch = sources(*LENGTHS)
    greedy = search(model, batch, LIMITS, SearchOptions(with_attention=True))

    drawn = search(model, batch, LIMITS, SearchOptions(3, 1.0, 0, temperature, True))

    for [expected], found in zip(greedy, drawn, strict=True):
        assert_same(found, [expected] * 3)


@places
def test_what_is_drawn_depends_on_the_sentences_own_chance_alone(place: str) -> None:
    model = searched_model(place, 2)
    batch = sources(*LENGTHS, 5)
    limits = [*LIMITS, 8]
    options = SearchOptions(4, temperature=1.0, with_attention=True)

    lists = search(model, batch, limits, options)

    for index, limit in enumerate(limits):
        draw = generator(1, "sampling", index)
        [found] = beam_search(Ensemble([model]), [row(batch, index)], [limit], options, [draw])
        assert_same(lists[index], found)
    other = search(model, batch, limits, options, seed=2)
    assert [h.token_ids for h in lists[1]] != [h.token_ids for h in other[1]]
    assert [len(found) for found in lists] == [4] * 6


def test_the_same_sentence_twice_is_drawn_twice() -> None:
    model = searched_model("deep", 2)
    one = sources(6)
    twice = Batch(
        one.src_ids.repeat(2, 1),
        one.src_lens.repeat(2),
        one.trg_ids.repeat(2, 1),
        one.trg_lens.repeat(2),
    )

    first, second = search(model, twice, [9, 9], SearchOptions(3, temperature=1.0))

    assert [h.token_ids for h in first] != [h.token_ids for h in second]


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
@pytest.mark.parametrize("place", ["none", "input_feeding"])
def test_frequencies_are_the_models_probabilities(place: str, temperature: float) -> None:
    model = searched_model(place, 9, TINY)
    batch = sources(4)
    targets = all_targets(2)
    probabilities = dict.fromkeys(targets, 1.0)
    with torch.no_grad():
        for target in targets:
            decoding = model.encode(batch)
            for fed, drawn in zip([SOS_ID, *target], [*target, EOS_ID][:2], strict=False):
                log_probs, decoding, _ = model.step(torch.tensor([fed]), decoding)
                log_probs[:, [PAD_ID, SOS_ID]] = -math.inf
                tempered = (log_probs[0] / temperature).softmax(dim=0)
                probabilities[target] *= tempered[drawn].item()
    assert sum(probabilities.values()) == pytest.approx(1.0)
    number = 6_000

    [found] = search(model, batch, [2], SearchOptions(number, temperature=temperature), seed=3)

    counts = Counter(tuple(hypothesis.token_ids) for hypothesis in found)
    assert counts.total() == number
    assert {*counts} <= {*targets}
    # Rare ones count together, as the test wants some of each kind.
    common = [target for target in targets if number * probabilities[target] >= 5.0]
    observed = [counts[target] for target in common]
    expected = [number * probabilities[target] for target in common]
    observed.append(number - sum(observed))
    expected.append(number - sum(expected) + 1e-6)
    chi_square = sum((o - e) ** 2 / e for o, e in zip(observed, expected, strict=True))
    assert chi_square < 52.4  # 20 degrees of freedom: one in 10,000 lies beyond


@pytest.mark.parametrize("temperature", [None, 1.0, 50.0])
def test_padding_and_beginning_are_never_chosen(temperature: float | None) -> None:
    model = searched_model("deep", 2)
    for token_id in (PAD_ID, SOS_ID):
        likelier(model, token_id, 15.0)

    lists = search(model, sources(3, 6), [9, 9], SearchOptions(20, temperature=temperature))

    for found in lists:
        assert len(found) == 20
        assert not {PAD_ID, SOS_ID} & {*itertools.chain(*(h.token_ids for h in found))}
        assert all(math.isfinite(hypothesis.score) for hypothesis in found)


class Constant(np.random.Generator):
    """Always the same number."""

    def __init__(self, number: float) -> None:
        super().__init__(np.random.PCG64(1))
        self.number = number

    def random(self, size: int) -> npt.NDArray[np.float64]:  # type: ignore[override]
        return np.full(size, self.number)


@pytest.mark.parametrize("temperature", [1.0, 7.0])
def test_the_ends_of_chance_draw_the_first_and_the_last_that_may_be(temperature: float) -> None:
    model, batch = searched_model("deep", 2, TINY), sources(4)
    likelier(model, TINY - 1, -math.inf)
    options = SearchOptions(1, temperature=temperature)

    for number, token_id in [(0.0, UNK_ID), (math.nextafter(1.0, 0.0), TINY - 2)]:
        [[found]] = beam_search(Ensemble([model]), [batch], [6], options, [Constant(number)])
        assert found.token_ids == [token_id] * 6


# ---------------------------------------------------------------- no numbers


@pytest.mark.parametrize("options", [SearchOptions(), SearchOptions(4), SearchOptions(2, 1, 2, 1)])
def test_where_the_model_gives_no_numbers_nothing_is_found(options: SearchOptions) -> None:
    model = searched_model("deep")
    likelier(model, 5, math.nan)

    assert search(model, sources(3, 5), [9, 9], options) == [[], []]
