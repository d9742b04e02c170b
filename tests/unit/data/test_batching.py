"""Every pair once an epoch, beside pairs of its length, and padding where there is no token."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pytest
import torch

from seq2seq_cli.config.training import TrainingConfig
from seq2seq_cli.data.batching import (
    POOL_BATCHES,
    FlatIds,
    FlatPairs,
    Indices,
    epoch_batches,
    make_batch,
    ordered_batches,
    pairs_batch,
)
from seq2seq_cli.data.vocabulary import EOS_ID, PAD_ID, SOS_ID, Ids


def ids(*values: int) -> Ids:
    return np.array(values, dtype=np.int32)


def random_pairs(num_pairs: int, longest: int = 30, seed: int = 0) -> FlatPairs:
    """Pairs whose ids are all different, of lengths that go together loosely."""
    draw = np.random.default_rng(seed)
    lengths = draw.integers(1, longest + 1, num_pairs)
    others = np.clip(lengths + draw.integers(-3, 4, num_pairs), 1, longest)

    def side(lengths: npt.NDArray[np.int64], first: int) -> FlatIds:
        stops = np.cumsum(lengths) + first
        return FlatIds.from_sequences(
            [
                np.arange(stop - length, stop, dtype=np.int32)
                for stop, length in zip(stops, lengths, strict=True)
            ]
        )

    return FlatPairs(side(lengths, 4), side(others, 5))


def width(pairs: FlatPairs, batch: Indices) -> int:
    """Padded tokens of the longer side, <sos> and <eos> counted, of each pair in the batch."""
    longest = [max(len(pairs.source[i]), len(pairs.target[i])) for i in batch]
    return max(longest) + 2


# ---------------------------------------------------------------- ids, flat


@pytest.mark.parametrize(
    "sequences",
    [[], [[]], [[5]], [[5, 6, 7], [], [8], [9, 9]], [[], [], []], [[2**31 - 1, 0]]],
)
def test_flat_ids_hold_the_sequences(sequences: list[list[int]]) -> None:
    flat = FlatIds.from_sequences([ids(*sequence) for sequence in sequences])
    assert len(flat) == len(sequences)
    assert [flat[index].tolist() for index in range(len(flat))] == sequences
    assert flat.lengths.tolist() == [len(sequence) for sequence in sequences]
    assert flat.ids.tolist() == [index for sequence in sequences for index in sequence]
    assert flat.ids.dtype == np.int32
    assert flat.offsets.dtype == np.int64


def test_flat_ids_may_be_read_only_as_a_mapped_file_is() -> None:
    numbers, offsets = ids(4, 5, 6), np.array([0, 1, 3])
    for array in (numbers, offsets):
        array.flags.writeable = False
    pairs = FlatPairs(FlatIds(numbers, offsets), FlatIds(numbers, offsets))
    batch = pairs_batch(pairs, np.array([1, 0]), reverse_source=True)
    assert batch.src_ids.tolist() == [[2, 6, 5, 3], [2, 4, 3, 0]]


def test_every_word_and_one_end_a_sentence_counts_in_the_loss() -> None:
    pairs = FlatPairs(
        FlatIds.from_sequences([ids(4, 5, 6, 7), ids(4)]),
        FlatIds.from_sequences([ids(8), ids(8, 9, 9)]),
    )
    assert len(pairs) == 2
    assert pairs.num_target_tokens == (1 + 1) + (3 + 1)
    assert pairs_batch(pairs, np.array([0, 1]), reverse_source=False).num_target_tokens == 6
    many = random_pairs(100)
    batches = ordered_batches(many, 7, "sentences")
    assert many.num_target_tokens == sum(
        pairs_batch(many, batch, reverse_source=False).num_target_tokens for batch in batches
    )


# ---------------------------------------------------------------- one batch


@pytest.mark.parametrize(
    ("reverse", "expected"),
    [
        (False, [[SOS_ID, 5, 6, 7, EOS_ID], [SOS_ID, 8, EOS_ID, PAD_ID, PAD_ID]]),
        (True, [[SOS_ID, 7, 6, 5, EOS_ID], [SOS_ID, 8, EOS_ID, PAD_ID, PAD_ID]]),
    ],
)
def test_a_batch_is_padded_and_only_the_sources_words_are_reversed(
    reverse: bool, expected: list[list[int]]
) -> None:
    sources, targets = [ids(5, 6, 7), ids(8)], [ids(10, 11), ids(12, 13)]
    batch = make_batch(sources, targets, reverse_source=reverse)
    assert batch.src_ids.tolist() == expected
    assert batch.src_lens.tolist() == [5, 3]
    assert batch.trg_ids.tolist() == [[SOS_ID, 10, 11, EOS_ID], [SOS_ID, 12, 13, EOS_ID]]
    assert batch.trg_lens.tolist() == [4, 4]
    assert batch.src_ids.dtype == batch.trg_ids.dtype == torch.int64
    assert [array.tolist() for array in sources] == [[5, 6, 7], [8]]  # left as they were


def test_a_batch_without_targets_is_for_encoding() -> None:
    batch = make_batch([ids(5), ids(5, 6)], reverse_source=False)
    assert batch.trg_ids.shape == (2, 0)
    assert batch.trg_lens.tolist() == [0, 0]
    assert batch.num_target_tokens == 0
    assert batch.trg_ids.dtype == torch.int64
    assert batch.src_ids.tolist() == [[2, 5, 3, 0], [2, 5, 6, 3]]


def test_empty_sentences_are_their_marks_alone() -> None:
    batch = make_batch([ids(), ids()], [ids(), ids(7)], reverse_source=True)
    assert batch.src_ids.tolist() == [[SOS_ID, EOS_ID]] * 2
    assert batch.src_lens.tolist() == [2, 2]
    assert batch.trg_lens.tolist() == [2, 3]
    assert batch.num_target_tokens == 3


def test_the_cpu_has_the_batch_already() -> None:
    batch = make_batch([ids(5)], [ids(6)], reverse_source=False)
    assert batch.to(torch.device("cpu")) is batch


@pytest.mark.parametrize("reverse", [False, True])
def test_a_row_is_the_same_whatever_stands_beside_it(reverse: bool) -> None:
    pairs = random_pairs(40)
    batch = pairs_batch(pairs, np.arange(40)[::-1], reverse_source=reverse)
    longest_first = sorted(range(39, -1, -1), key=lambda index: -len(pairs.target[index]))
    for row, index in enumerate(longest_first):
        alone = pairs_batch(pairs, np.array([index]), reverse_source=reverse)
        for padded, lengths, own, own_length in (
            (batch.src_ids, batch.src_lens, alone.src_ids, alone.src_lens),
            (batch.trg_ids, batch.trg_lens, alone.trg_ids, alone.trg_lens),
        ):
            length = int(own_length[0])
            assert lengths[row] == length == own.size(1)
            assert padded[row, :length].tolist() == own[0].tolist()
            assert (padded[row, length:] == PAD_ID).all()
        words = alone.src_ids[0, 1:-1].tolist()
        assert (words[::-1] if reverse else words) == pairs.source[index].tolist()
        assert alone.trg_ids[0, 1:-1].tolist() == pairs.target[index].tolist()
    for padded in (batch.src_ids, batch.trg_ids):
        assert not (padded[:, -1] == PAD_ID).all()  # no wider than the longest
    assert batch.num_target_tokens == int((batch.trg_ids[:, 1:] != PAD_ID).sum())


# ---------------------------------------------------------------- an epoch


@pytest.mark.parametrize("num_pairs", [1, 7, 500])
@pytest.mark.parametrize("batch_size", [1, 3, 64, 10_000])
@pytest.mark.parametrize("unit", ["sentences", "tokens"])
def test_an_epoch_holds_every_pair_once(unit: str, batch_size: int, num_pairs: int) -> None:
    pairs = random_pairs(num_pairs)
    config = TrainingConfig.model_validate({"batch_size": batch_size, "batch_unit": unit})
    for epoch in range(3):
        batches = epoch_batches(pairs, config, seed=1, epoch=epoch)
        assert all(len(batch) for batch in batches)
        assert sorted(np.concatenate(batches).tolist()) == list(range(num_pairs))
    in_order = ordered_batches(pairs, batch_size, unit)
    assert sorted(np.concatenate(in_order).tolist()) == list(range(num_pairs))


@pytest.mark.parametrize("batch_size", [1, 10, 64, 128])
def test_batches_of_sentences_are_full_but_the_last_of_a_pool(batch_size: int) -> None:
    pairs = random_pairs(1000)
    batches = epoch_batches(pairs, TrainingConfig(batch_size=batch_size), seed=1, epoch=0)
    assert max(map(len, batches)) == batch_size
    pools = -(-len(pairs) // (batch_size * POOL_BATCHES))
    assert sum(len(batch) < batch_size for batch in batches) <= pools
    assert len(batches) == -(-len(pairs) // batch_size)


@pytest.mark.parametrize("batch_size", [1, 20, 33, 200, 1000])
def test_batches_of_tokens_keep_to_the_bound(batch_size: int) -> None:
    pairs = random_pairs(500, longest=40)
    config = TrainingConfig(batch_size=batch_size, batch_unit="tokens")
    for batches in (
        epoch_batches(pairs, config, seed=1, epoch=0),
        ordered_batches(pairs, batch_size, "tokens"),
    ):
        for batch in batches:
            tokens = width(pairs, batch) * len(batch)
            assert tokens <= batch_size or len(batch) == 1
            padded = pairs_batch(pairs, batch, reverse_source=False)
            assert tokens == max(padded.src_ids.numel(), padded.trg_ids.numel())


def test_batches_of_tokens_are_as_large_as_the_bound_lets_them_be() -> None:
    pairs = random_pairs(500, longest=40)
    batches = ordered_batches(pairs, 200, "tokens")
    for batch, following in pairwise(batches):
        wider = np.append(batch, following[0])
        assert width(pairs, wider) * len(wider) > 200


@pytest.mark.parametrize("unit", ["sentences", "tokens"])
def test_an_epoch_is_a_function_of_seed_and_epoch(unit: str) -> None:
    pairs = random_pairs(300)
    config = TrainingConfig.model_validate({"batch_size": 40, "batch_unit": unit})

    def batches(seed: int, epoch: int) -> list[list[int]]:
        return [batch.tolist() for batch in epoch_batches(pairs, config, seed, epoch)]

    first = batches(1, 0)
    np.random.default_rng().random(3)
    assert batches(1, 0) == first
    for other in (batches(1, 1), batches(2, 0)):
        assert other != first
        assert [set(batch) for batch in other] != [set(batch) for batch in first]


def test_batches_differ_in_what_they_hold_not_only_in_order_between_epochs() -> None:
    pairs = random_pairs(2000)
    config = TrainingConfig(batch_size=4)
    first, second = (
        {frozenset(batch.tolist()) for batch in epoch_batches(pairs, config, 1, epoch)}
        for epoch in (0, 1)
    )
    assert len(first & second) < len(first) / 20


def test_the_first_batches_are_not_the_short_ones() -> None:
    pairs = random_pairs(1000)
    batches = epoch_batches(pairs, TrainingConfig(batch_size=10), seed=1, epoch=0)
    widths = [width(pairs, batch) for batch in batches]
    assert widths != sorted(widths)
    assert abs(np.mean(widths[:50]) - np.mean(widths)) < 4


@pytest.mark.parametrize("unit", ["sentences", "tokens"])
def test_lengths_within_a_pool_are_sorted_into_batches(unit: str) -> None:
    pairs = random_pairs(600)  # one pool
    config = TrainingConfig.model_validate(
        {"batch_size": 8 if unit == "sentences" else 150, "batch_unit": unit}
    )
    lengths = pairs.source.lengths
    spans = sorted(
        (int(lengths[batch].min()), int(lengths[batch].max()))
        for batch in epoch_batches(pairs, config, seed=1, epoch=0)
    )
    for (_, longest), (shortest, _) in pairwise(spans):
        assert longest <= shortest


def test_over_many_pools_lengths_within_a_batch_stay_similar() -> None:
    pairs = random_pairs(3000, longest=50)
    config = TrainingConfig(batch_size=5)  # six pools
    batches = epoch_batches(pairs, config, seed=1, epoch=0)
    spread = np.mean([np.ptp(pairs.source.lengths[batch]) for batch in batches])
    at_random = np.random.default_rng(0).permutation(3000).reshape(-1, 5)
    assert spread < 1
    assert np.mean([np.ptp(pairs.source.lengths[batch]) for batch in at_random]) > 20


@pytest.mark.parametrize("unit", ["sentences", "tokens"])
def test_ordered_batches_run_from_short_to_long_without_chance(unit: str) -> None:
    pairs = random_pairs(200)
    batches = ordered_batches(pairs, 60, unit)
    order = np.concatenate(batches)
    keys = [(len(pairs.source[i]), len(pairs.target[i]), i) for i in order.tolist()]
    assert keys == sorted(keys)
    assert [batch.tolist() for batch in ordered_batches(pairs, 60, unit)] == [
        batch.tolist() for batch in batches
    ]


def test_a_pair_that_is_too_long_by_itself_stands_alone() -> None:
    lengths = [1, 2, 50, 3, 60]
    flat = FlatIds.from_sequences([np.full(length, 7, np.int32) for length in lengths])
    batches = ordered_batches(FlatPairs(flat, flat), 20, "tokens")
    assert [batch.tolist() for batch in batches] == [[0, 1, 3], [2], [4]]


def test_a_long_target_counts_as_a_long_source_does() -> None:
    short = FlatIds.from_sequences([ids(7)] * 4)
    mixed = FlatIds.from_sequences([ids(7), ids(7), ids(7), np.full(18, 7, np.int32)])
    for pairs in (FlatPairs(short, mixed), FlatPairs(mixed, short)):
        batches = ordered_batches(pairs, 20, "tokens")
        assert [batch.tolist() for batch in batches] == [[0, 1, 2], [3]]
