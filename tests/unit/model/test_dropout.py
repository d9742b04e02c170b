"""Dropout by place: when it acts, on what, and for how long."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from seq2seq_cli.data.batching import Batch
from seq2seq_cli.model.dropout import Dropout, Embedding
from seq2seq_cli.model.seq2seq import Seq2Seq
from tests.unit.model.support import ATTENTIONS, coins, small_batch, small_config, small_model

RATES = {"embedding": 0.5, "hidden": 0.4, "output": 0.3, "word": 0.2}
BATCH = small_batch(src_lens=(5, 5, 5, 5), trg_lens=(6, 6, 6, 6))

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


def layers(model: Seq2Seq) -> list[nn.Module]:
    """All LSTMs of encoder and decoder."""
    return [module for module in model.modules() if isinstance(module, nn.LSTM)]


@pytest.mark.parametrize("variational", [False, True])
def test_what_is_kept_grows_so_that_the_mean_stays(variational: bool) -> None:
    torch.manual_seed(0)
    dropped = Dropout(0.3, variational)(torch.ones(400, 5, 100))

    assert sorted(dropped.unique().tolist()) == [0.0, pytest.approx(1 / 0.7)]
    assert dropped.mean().item() == pytest.approx(1.0, abs=0.02)
    stays = (dropped == dropped[:, :1]).all(dim=1)
    assert stays.all() == variational
    assert not torch.equal(dropped[0], dropped[1])


@pytest.mark.parametrize("variational", [False, True])
@pytest.mark.parametrize(("rate", "training"), [(0.0, True), (0.5, False), (0.0, False)])
def test_without_a_rate_or_without_training_nothing_is_drawn(
    rate: float, training: bool, variational: bool
) -> None:
    dropout = Dropout(rate, variational).train(training)
    before = torch.get_rng_state()
    inputs = torch.arange(24.0).view(2, 3, 4)

    assert torch.equal(dropout(inputs), inputs)
    assert dropout.draw(2, 4, inputs.device) is None
    assert torch.equal(torch.get_rng_state(), before)


def test_a_mask_that_was_drawn_is_the_one_used() -> None:
    torch.manual_seed(0)
    dropout = Dropout(0.5, variational=True)
    inputs = torch.randn(3, 4, 6)

    mask = dropout.draw(3, 6, inputs.device)

    assert mask is not None
    assert mask.shape == (3, 1, 6)
    assert torch.equal(dropout(inputs, mask), inputs * mask)
    assert Dropout(0.5, variational=False).draw(3, 6, inputs.device) is None


@pytest.mark.parametrize("variational", [False, True])
def test_word_dropout_takes_whole_vectors_and_keeps_the_mean(variational: bool) -> None:
    torch.manual_seed(0)
    embedding = Embedding(7, 5, Dropout(0.0, variational), word_dropout=0.3, scale=1.0)
    token_ids = torch.randint(7, (60, 70))
    plain = embedding.weight[token_ids]

    kept = embedding(token_ids)

    share = torch.where((kept == 0).all(dim=2, keepdim=True), 0.0, plain / 0.7)
    torch.testing.assert_close(kept, share)
    zeros = (kept == 0).all(dim=2)
    assert zeros.float().mean().item() == pytest.approx(0.3, abs=0.03)
    assert torch.equal(zeros, (kept == 0).any(dim=2))
    assert zeros.any(dim=1).all()  # each sentence loses some of its words, and not all
    assert not zeros.all(dim=1).any()
    assert torch.equal(embedding.eval()(token_ids), plain)


def test_element_and_word_dropout_go_together() -> None:
    torch.manual_seed(0)
    embedding = Embedding(7, 50, Dropout(0.5, variational=False), word_dropout=0.2, scale=3.0)
    token_ids = torch.randint(7, (60, 50))
    plain = embedding.weight[token_ids]

    kept = embedding(token_ids)

    whole = (kept == 0).all(dim=2)
    assert whole.float().mean().item() == pytest.approx(0.2, abs=0.03)
    assert (kept[~whole] == 0).float().mean().item() == pytest.approx(0.5, abs=0.02)
    expected = torch.where(kept == 0, 0.0, plain * 3.0 / 0.5 / 0.8)
    torch.testing.assert_close(kept, expected)
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
        "source": [watched(first[0])],  # type: ignore[index]
        "target": [watched(model.decoder.lstm.layers[0])],
        "hidden": [watched(layer[0]) for layer in above]  # type: ignore[index]
        + [watched(layer) for layer in model.decoder.lstm.layers[1:]],
        "output": [watched(model.decoder.output)],
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
    written: list[Tensor] = []
    model.decoder.register_forward_hook(lambda _, __, result: written.append(result[0]))

    losses(model, 1, coins(BATCH, [True, False, False, True, True, False]) if mixed else None)

    first_inputs = [model.encoder.embedding.embedding_dim, model.decoder.embedding.embedding_dim]
    for layer, calls in zip(layers(model), reads, strict=True):
        inputs = torch.cat(calls, dim=1)
        if layer in (model.encoder.layers[0][0], model.decoder.lstm.layers[0]):  # type: ignore[index]
            is_source = layer is not model.decoder.lstm.layers[0]
            inputs = inputs[:, :, : first_inputs[0 if is_source else 1]]  # the word, no context
        check_masks(inputs == 0, variational)
    check_masks(torch.cat(written, dim=1) == 0, variational)


def check_masks(dropped: Tensor, variational: bool) -> None:
    """dropped: (batch, time, size)."""
    assert dropped.size(1) == 7
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
    torch.manual_seed(0)
    memory, state = model.encode(BATCH)
    fed = BATCH.trg_ids[:, :-1]
    noise = model.decoder.draw(len(fed), fed.device)

    whole, end, _ = model.decoder(fed, state, memory, noise)

    pieces = []
    for stretch in fed.tensor_split((1, 4, 5), dim=1):
        piece, state, _ = model.decoder(stretch, state, memory, noise)
        pieces.append(piece)
    torch.testing.assert_close(torch.cat(pieces, dim=1), whole)
    torch.testing.assert_close(state, end)


@torch.no_grad()
def test_a_new_batch_has_new_masks() -> None:
    model = training_model({"embedding": 0.5}, variational=True)
    calls = watched(model.decoder.lstm.layers[0])

    torch.manual_seed(0)
    model(BATCH)
    model(BATCH)

    first, second = calls
    assert not torch.equal(first == 0, second == 0)
