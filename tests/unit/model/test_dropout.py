"""Dropout by place: when it acts, on what, and for how long."""

from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from seq2seq_cli.data.batching import Batch
from seq2seq_cli.model.dropout import Dropout, Embedding, kept
from seq2seq_cli.model.packing import Packing
from seq2seq_cli.model.seq2seq import Seq2Seq
from tests.unit.model.support import ATTENTIONS, coins, small_batch, small_config, small_model

RATES = {"embedding": 0.5, "hidden": 0.4, "output": 0.3, "word": 0.2}
BATCH = small_batch(src_lens=(5, 5, 5, 5), trg_lens=(6, 6, 6, 6))
CPU = torch.device("cpu")

kinds_and_places = pytest.mark.parametrize(("kind", "place"), ATTENTIONS)


def training_model(
    rates: dict[str, float], kind: str = "none", place: str = "deep", *, variational: bool
) -> Seq2Seq:
    """The places that are not named have none."""
    dropout = dict.fromkeys(RATES, 0.0) | rates | {"variational": variational}
    return small_model(small_config(kind, place, num_layers=3, dropout=dropout)).train()


def losses(model: Seq2Seq, seed: int, forced: Tensor | None = None, batch: Batch = BATCH) -> Tensor:
    torch.manual_seed(seed)
    found: Tensor = model(batch, forced, reduction="none")[0]
    return found


def watched(module: nn.Module) -> list[Tensor]:
    """Fills up with what the module is called with."""
    calls: list[Tensor] = []

    def remember(_: nn.Module, inputs: tuple[Any, ...]) -> None:
        calls.append(inputs[0])

    module.register_forward_pre_hook(remember)
    return calls


def written(module: nn.Module) -> list[Tensor]:
    """Fills up with the first of what the module gives."""
    results: list[Tensor] = []
    module.register_forward_hook(lambda _, __, result: results.append(result[0]))
    return results


def layers(model: Seq2Seq) -> list[nn.Module]:
    """All layers of encoder and decoder."""
    return [*model.encoder.layers, *model.decoder.lstm.layers]


def mask_of(seed: int, *shape: int, rate: float = 0.5) -> Tensor:
    torch.manual_seed(seed)
    return kept(shape, rate, torch.float32, CPU)


@pytest.mark.parametrize("rate", [0.1, 0.3, 0.5, 0.9])
def test_masks_keep_to_their_rate(rate: float) -> None:
    mask = mask_of(0, 1000, 301, rate=rate)

    dropped = mask == 0
    scale = torch.tensor(1.0 / (1.0 - rate))
    torch.testing.assert_close(mask, torch.where(dropped, torch.zeros(()), scale))
    spread = (rate * (1.0 - rate)) ** 0.5
    assert dropped.float().mean().item() == pytest.approx(rate, abs=5 * spread / 301_000**0.5)
    assert mask.mean().item() == pytest.approx(1.0, abs=6 * spread / (1.0 - rate) / 301_000**0.5)
    # No row, column or neighbour is another's likeness.
    for dim, size in enumerate(mask.shape):
        means = dropped.float().mean(dim=1 - dim)
        assert means.std().item() == pytest.approx(spread / (301_000 / size) ** 0.5, rel=0.25)
    flat = dropped.flatten().double() - rate
    for lag in (1, 2, 3, 4, 8):
        assert (flat[lag:] * flat[:-lag]).mean().abs() < 5 * spread**2 / 301_000**0.5


@pytest.mark.parametrize("shape", [(0,), (1,), (3,), (4,), (5, 1), (2, 3, 7), (0, 4)])
def test_a_mask_has_any_shape(shape: tuple[int, ...]) -> None:
    for dtype in (torch.float32, torch.bfloat16, torch.float64):
        mask = kept(shape, 0.5, dtype, CPU)

        assert mask.shape == shape
        assert mask.dtype == dtype
        assert set(mask.flatten().tolist()) <= {0.0, 2.0}


def test_a_mask_is_that_of_its_seed() -> None:
    assert torch.equal(mask_of(1, 40, 7), mask_of(1, 40, 7))
    assert not torch.equal(mask_of(1, 40, 7), mask_of(2, 40, 7))
    first = mask_of(1, 40, 7)
    assert not torch.equal(kept((40, 7), 0.5, torch.float32, CPU), first)  # chance goes on


@pytest.mark.parametrize("rate", [0.9999, 1.0 - 2.0**-20])
def test_hardly_anything_is_kept_at_the_highest_rates(rate: float) -> None:
    assert (mask_of(0, 1000, 100, rate=rate) > 0).float().mean() < 2e-4


@pytest.mark.parametrize("variational", [False, True])
def test_what_is_kept_grows_so_that_the_mean_stays(variational: bool) -> None:
    torch.manual_seed(0)
    dropout = Dropout(0.3, variational)
    mask = dropout.draw(400, 100, CPU)
    dropped = dropout(torch.ones(2000, 100), mask, [400] * 5).view(5, 400, 100)

    assert sorted(dropped.unique().tolist()) == [0.0, pytest.approx(1 / 0.7)]
    assert dropped.mean().item() == pytest.approx(1.0, abs=0.02)
    stays = (dropped == dropped[0]).all(dim=0)
    assert stays.all() == variational
    assert not torch.equal(dropped[:, 0], dropped[:, 1])


@pytest.mark.parametrize("variational", [False, True])
@pytest.mark.parametrize(("rate", "training"), [(0.0, True), (0.5, False), (0.0, False)])
def test_without_a_rate_or_without_training_nothing_is_drawn(
    rate: float, training: bool, variational: bool
) -> None:
    dropout = Dropout(rate, variational).train(training)
    before = torch.get_rng_state()
    inputs = torch.arange(24.0).view(6, 4)

    assert torch.equal(dropout(inputs), inputs)
    assert dropout.draw(2, 4, CPU) is None
    assert torch.equal(torch.get_rng_state(), before)


def test_a_mask_that_was_drawn_is_the_one_used() -> None:
    torch.manual_seed(0)
    dropout = Dropout(0.5, variational=True)
    inputs = torch.randn(6, 4)

    mask = dropout.draw(3, 4, CPU)

    assert mask is not None
    assert mask.shape == (3, 4)
    expected = torch.cat([inputs[:3] * mask, inputs[3:5] * mask[:2], inputs[5:] * mask[:1]])
    assert torch.equal(dropout(inputs, mask, [3, 2, 1]), expected)
    assert dropout(inputs.bfloat16(), mask, [3, 2, 1]).dtype == torch.bfloat16
    assert Dropout(0.5, variational=False).draw(3, 4, CPU) is None


@pytest.mark.parametrize("variational", [False, True])
def test_word_dropout_takes_whole_vectors_and_keeps_the_mean(variational: bool) -> None:
    torch.manual_seed(0)
    embedding = Embedding(7, 5, Dropout(0.0, variational), word_dropout=0.3, scale=1.0)
    token_ids = torch.randint(7, (60 * 70,))
    plain = embedding.weight[token_ids]

    found = embedding(token_ids, embedding.dropout.draw(60, 5, CPU), [60] * 70)

    share = torch.where((found == 0).all(dim=1, keepdim=True), 0.0, plain / 0.7)
    torch.testing.assert_close(found, share)
    zeros = (found == 0).all(dim=1)
    assert zeros.float().mean().item() == pytest.approx(0.3, abs=0.03)
    assert torch.equal(zeros, (found == 0).any(dim=1))
    of_sentences = zeros.view(70, 60)
    assert of_sentences.any(dim=0).all()  # each loses some of its words, and not all
    assert not of_sentences.all(dim=0).any()
    assert torch.equal(embedding.eval()(token_ids), plain)


def test_element_and_word_dropout_go_together() -> None:
    torch.manual_seed(0)
    embedding = Embedding(7, 50, Dropout(0.5, variational=False), word_dropout=0.2, scale=3.0)
    token_ids = torch.randint(7, (60 * 50,))
    plain = embedding.weight[token_ids]

    found = embedding(token_ids)

    whole = (found == 0).all(dim=1)
    assert whole.float().mean().item() == pytest.approx(0.2, abs=0.03)
    assert (found[~whole] == 0).float().mean().item() == pytest.approx(0.5, abs=0.02)
    expected = torch.where(found == 0, 0.0, plain * 3.0 / 0.5 / 0.8)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(embedding.eval()(token_ids), plain * 3.0)


@torch.no_grad()
@kinds_and_places
@pytest.mark.parametrize("variational", [False, True])
def test_a_seed_decides_what_is_dropped(kind: str, place: str, variational: bool) -> None:
    model = training_model(RATES, kind, place, variational=variational)

    for forced in (None, coins(BATCH, [True, False])):
        assert torch.equal(losses(model, 1, forced), losses(model, 1, forced))
        assert not torch.isclose(losses(model, 1, forced), losses(model, 2, forced)).any()


@torch.no_grad()
@kinds_and_places
@pytest.mark.parametrize("variational", [False, True])
def test_dropout_rests_outside_training(kind: str, place: str, variational: bool) -> None:
    model = training_model(RATES, kind, place, variational=variational).eval()
    without = training_model({}, kind, place, variational=variational).eval()

    assert torch.equal(losses(model, 1), losses(without, 2))


@torch.no_grad()
@kinds_and_places
@pytest.mark.parametrize("variational", [False, True])
def test_rates_of_0_change_nothing(kind: str, place: str, variational: bool) -> None:
    model = training_model({}, kind, place, variational=variational)

    for forced in (None, coins(BATCH, [True, False])):
        in_training = losses(model.train(), 1, forced)
        assert torch.equal(torch.get_rng_state(), torch.manual_seed(1).get_state())
        assert torch.equal(losses(model.eval(), 2, forced), in_training)


@torch.no_grad()
@pytest.mark.parametrize("place", RATES)
@pytest.mark.parametrize("variational", [False, True])
def test_each_place_has_its_own_rate(place: str, variational: bool) -> None:
    """Only what a place is about has zeros, and about as many as its rate says."""
    model = training_model({place: 0.5}, variational=variational)
    [first, *above] = model.encoder.layers
    calls = {
        "source": [watched(first)],
        "target": [watched(model.decoder.lstm.layers[0])],
        "hidden": [watched(layer) for layer in [*above, *model.decoder.lstm.layers[1:]]],
        "output": [written(model.decoder)],
    }

    for seed in range(20):
        losses(model, seed)

    hit = {"embedding": {"source", "target"}, "word": {"source", "target"}}.get(place, {place})
    for name, groups in calls.items():
        for group in groups:
            share = torch.cat([call.flatten() for call in group]).eq(0).float().mean().item()
            assert share == pytest.approx(0.5 if name in hit else 0.0, abs=0.08), name


@torch.no_grad()
@kinds_and_places
@pytest.mark.parametrize("mixed", [False, True])
@pytest.mark.parametrize("variational", [False, True])
def test_variational_masks_hold_for_a_sentence_and_no_longer(
    kind: str, place: str, mixed: bool, variational: bool
) -> None:
    """In one call over the target and in the stretches of a loop over steps."""
    rates = {"embedding": 0.5, "hidden": 0.5, "output": 0.5}
    model = training_model(rates, kind, place, variational=variational)
    reads = [watched(layer) for layer in layers(model)]
    outputs = written(model.decoder)

    losses(model, 1, coins(BATCH, [True, False, False, True, True, False]) if mixed else None)

    first_inputs = [model.encoder.embedding.embedding_dim, model.decoder.embedding.embedding_dim]
    for layer, calls in zip(layers(model), reads, strict=True):
        inputs = torch.cat(calls)
        if layer in (model.encoder.layers[0], model.decoder.lstm.layers[0]):
            is_source = layer is not model.decoder.lstm.layers[0]
            inputs = inputs[:, : first_inputs[0 if is_source else 1]]  # the word, no context
        check_masks(inputs == 0, variational)
    check_masks(torch.cat(outputs) == 0, variational)


def check_masks(dropped: Tensor, variational: bool) -> None:
    """dropped: packed, (tokens, size)."""
    dropped = dropped.view(7, len(BATCH.src_ids), -1).transpose(0, 1)
    stays = (dropped == dropped[:, :1]).all(dim=1).all(dim=1)
    assert stays.tolist() == [variational] * len(dropped)
    patterns = {tuple(sentence.flatten().tolist()) for sentence in dropped}
    assert len(patterns) == len(dropped)
    assert dropped.float().mean().item() == pytest.approx(0.5, abs=0.25)


@torch.no_grad()
@kinds_and_places
def test_stretches_under_one_noise_are_the_whole_target(kind: str, place: str) -> None:
    rates = {"embedding": 0.5, "hidden": 0.4, "output": 0.3}
    model = training_model(rates, kind, place, variational=True)
    batch = small_batch(src_lens=(5, 2, 7, 3), trg_lens=(6, 6, 3, 1))
    trg = Packing.of(batch.trg_lens - 1, batch.trg_ids.size(1) - 1, CPU)
    torch.manual_seed(0)
    memories, shared, state = model.encode(batch)
    fed = trg.pack(batch.trg_ids[:, :-1])

    whole, end, _ = model.decoder(fed, trg.counts, state, memories, shared)

    pieces = []
    for start, stop in pairwise([0, 1, 4, 5, 7]):
        running = trg.counts[start:stop]
        stretch = fed[trg.starts[start] : trg.starts[stop]]
        state = state.first(running[0])
        there = [memory.first(running[0]) for memory in memories]
        piece, state, _ = model.decoder(stretch, running, state, there, shared)
        pieces.append(piece)
    torch.testing.assert_close(torch.cat(pieces), whole)
    torch.testing.assert_close(state, end.first(running[-1]))


@torch.no_grad()
def test_a_new_batch_has_new_masks() -> None:
    model = training_model({"embedding": 0.5}, variational=True)
    calls = watched(model.decoder.lstm.layers[0])

    torch.manual_seed(0)
    model(BATCH)
    model(BATCH)

    first, second = calls
    assert not torch.equal(first == 0, second == 0)


@torch.no_grad()
@kinds_and_places
@pytest.mark.parametrize("variational", [False, True])
@pytest.mark.parametrize(
    "pattern", [None, ([True],), ([True, False], [False], [True], [True, True, False])]
)
def test_r_drop_compares_a_sentence_with_itself(
    pattern: tuple[list[bool], ...] | None, variational: bool, kind: str, place: str
) -> None:
    """Nothing dropped, nothing differs, whatever the order and the lengths of the sentences."""
    batch = small_batch(src_lens=(3, 6, 1, 3), trg_lens=(2, 5, 1, 4))
    forced = coins(batch, *pattern) if pattern else None
    calm = training_model({}, kind, place, variational=variational)
    plain, count = calm(batch, forced)

    for r_drop in (1e-6, 100.0):
        loss, num_tokens = calm(batch, forced, r_drop=r_drop)

        torch.testing.assert_close(loss, plain, rtol=1e-5, atol=0.0)
        assert num_tokens == count
    wild = training_model(RATES, kind, place, variational=variational)
    fed = watched(wild.decoder.embedding)
    wild(batch, forced, r_drop=1.0)
    assert all(torch.equal(words[::2], words[1::2]) for words in fed)
    torch.manual_seed(0)
    without = wild(batch, r_drop=1e-6)[0]
    torch.manual_seed(0)
    assert wild(batch, r_drop=1.0)[0] > without * 1.001
