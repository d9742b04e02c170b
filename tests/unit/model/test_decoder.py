"""The decoder against its equations, for every kind and place of attention."""

import pytest
import torch

from seq2seq_cli.config.model import ModelConfig
from seq2seq_cli.data.vocabulary import PAD_ID
from seq2seq_cli.model.attention import shared_memory
from seq2seq_cli.model.packing import Packing
from tests.unit.model.reference import Written, read, write
from tests.unit.model.support import (
    ATTENTIONS,
    KINDS,
    PLACES,
    PLAIN_AND_FULL,
    coins,
    row,
    small_batch,
    small_config,
    small_model,
)

architectures = pytest.mark.parametrize(
    "config", PLAIN_AND_FULL.values(), ids=PLAIN_AND_FULL.keys()
)
kinds_and_places = pytest.mark.parametrize(("kind", "place"), ATTENTIONS[1:])


def write_reference(config: ModelConfig, index: int) -> Written:
    sentence = row(small_batch(), index)
    weights = small_model(config).state_dict()
    encoded = read(weights, config, sentence.src_ids[0].tolist())
    return write(weights, config, encoded, sentence.trg_ids[0, :-1].tolist())


@torch.no_grad()
@architectures
def test_a_whole_target_is_written_as_the_equations_say(config: ModelConfig) -> None:
    batch = small_batch()

    losses, _ = small_model(config)(batch, reduction="none")

    expected = []
    for index in range(5):
        wanted = row(batch, index).trg_ids[0, 1:]
        log_probs = write_reference(config, index).log_probs
        expected.append(-log_probs[torch.arange(len(wanted)), wanted])
    torch.testing.assert_close(losses, torch.cat(expected))


@torch.no_grad()
@architectures
def test_every_step_is_as_the_equations_say(config: ModelConfig) -> None:
    model = small_model(config)
    batch = small_batch()
    decoding = model.encode(batch)
    references = [write_reference(config, index) for index in range(5)]

    for step in range(batch.trg_ids.size(1) - 1):
        log_probs, decoding, looks = model.step(batch.trg_ids[:, step], decoding)
        for index, (expected, attention) in enumerate(references):
            if step >= len(expected):
                continue
            # Scores of some ten nats: what is left after the softmax has fewer digits.
            torch.testing.assert_close(log_probs[index], expected[step], rtol=1e-5, atol=1e-5)
            if looks is None:
                assert config.decoder.attention.kind == "none"
            else:
                src_len = int(batch.src_lens[index])
                torch.testing.assert_close(looks[index, :src_len], attention[step])


@torch.no_grad()
@architectures
def test_a_step_looks_at_real_tokens_only(config: ModelConfig) -> None:
    model = small_model(config)
    batch = small_batch()
    decoding = model.encode(batch)
    if not decoding.memories:
        assert config.decoder.attention.kind == "none"
        return
    mask = batch.src_ids != PAD_ID
    others = []
    for memory in decoding.memories:
        assert torch.equal(memory.mask, mask)
        values, keys = (torch.where(mask.unsqueeze(2), part, 1e4) for part in memory[:2])
        others.append(shared_memory(values, keys, mask))

    other = decoding._replace(memories=others)
    for fed in batch.trg_ids[:, :-1].unbind(1):
        log_probs, decoding, weights = model.step(fed, decoding)
        other_log_probs, other, other_weights = model.step(fed, other)
        assert weights is not None
        torch.testing.assert_close(weights.sum(dim=1), torch.ones(5))
        assert not weights[~mask].any()
        torch.testing.assert_close(other_weights, weights)
        torch.testing.assert_close(other_log_probs, log_probs)


@torch.no_grad()
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("kind", ["general", "additive"])
def test_keys_are_made_once_for_each_batch_of_sentences(kind: str, place: str) -> None:
    model = small_model(small_config(kind, place))
    batch = small_batch()
    calls: list[object] = []
    count = 2 if place == "every_layer" else 1
    assert len(model.decoder.attentions) == count
    for attention in model.decoder.attentions:
        assert attention.key is not None
        attention.key.register_forward_hook(lambda *_: calls.append(None))

    model(batch)
    assert len(calls) == count
    model(batch, coins(batch, [False]))
    assert len(calls) == 2 * count
    decoding = model.encode(batch)
    for fed in batch.trg_ids.unbind(1):
        decoding = model.step(fed, decoding)[1]
    rows = torch.tensor([1, 1, 4])
    decoding = decoding.select(rows, rows)
    model.step(torch.tensor([4, 5, 6]), decoding)
    assert len(calls) == 3 * count


@architectures
def test_a_gradient_reaches_every_weight_and_no_padding(config: ModelConfig) -> None:
    model = small_model(config)
    batch = small_batch()

    model(batch)[0].backward()

    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        if "embedding" not in name:
            assert (parameter.grad != 0).all(), name
    fed = {"encoder": batch.src_ids, "decoder": batch.trg_ids[:, :-1][batch.trg_ids[:, 1:] != 0]}
    if config.tied_embeddings != "none":
        del fed["decoder"]  # every row is the output layer's too
    for side, token_ids in fed.items():
        gradient = model.get_parameter(f"{side}.embedding.weight").grad
        assert gradient is not None
        touched = gradient.any(dim=1).nonzero().squeeze(1).tolist()
        assert touched == sorted({*token_ids.flatten().tolist()} - {PAD_ID})


@torch.no_grad()
@kinds_and_places
def test_the_place_decides_what_the_first_weights_may_depend_on(kind: str, place: str) -> None:
    """`before` looks with the last state: the word that is fed comes too late for its weights."""
    model = small_model(small_config(kind, place))
    decoding = model.encode(small_batch())

    (_, _, one), (_, _, other) = (model.step(torch.full((5,), token), decoding) for token in (5, 6))

    assert one is not None
    assert other is not None
    assert torch.equal(one, other) == (place == "before")


@torch.no_grad()
@kinds_and_places
def test_only_input_feeding_hands_on_what_the_output_layer_read(kind: str, place: str) -> None:
    for tied, size in [("none", 8), ("target", 6)]:
        model = small_model(small_config(kind, place, tied=tied))
        decoding = model.encode(small_batch())
        feeds = place == "input_feeding"
        assert decoding.state.feed.shape == (5, size if feeds else 0)
        assert not decoding.state.feed.any()

        read: list[torch.Tensor] = []
        model.decoder.register_forward_hook(lambda _, __, result, kept=read: kept.append(result[0]))
        _, decoding, _ = model.step(torch.full((5,), 7), decoding)

        if feeds:
            assert torch.equal(decoding.state.feed, read[0])


@torch.no_grad()
@kinds_and_places
@pytest.mark.parametrize("num_layers", [1, 3])
def test_one_call_over_the_target_is_the_same_as_steps(
    kind: str, place: str, num_layers: int
) -> None:
    model = small_model(small_config(kind, place, num_layers=num_layers))
    batch = small_batch(trg_lens=(6, 6, 4, 2, 1))
    trg = Packing.of(batch.trg_lens - 1, batch.trg_ids.size(1) - 1, batch.trg_ids.device)
    fed = trg.pack(batch.trg_ids[:, :-1])
    memories, shared, state = model.encode(batch)

    outputs, end, weights = model.decoder(fed, trg.counts, state, memories, shared)

    steps = []
    for token_ids, count in zip(torch.split(fed, trg.counts), trg.counts, strict=True):
        running = [memory.first(count) for memory in memories]
        step, state, look = model.decoder(token_ids, [count], state.first(count), running, shared)
        assert look is not None
        assert look.shape == (count, batch.src_ids.size(1))
        steps.append(step)
    torch.testing.assert_close(outputs, torch.cat(steps))
    torch.testing.assert_close(end.first(trg.counts[-1]), state)
    assert (weights is None) == (place in ("deep", "every_layer"))


@pytest.mark.parametrize("place", ["deep", "every_layer"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_layer_runs_over_the_whole_target_at_once(kind: str, place: str) -> None:
    model = small_model(small_config(kind, place, num_layers=3))
    batch = small_batch()
    calls: list[object] = []
    for layer in model.decoder.lstm.layers:
        layer.register_forward_hook(lambda *_: calls.append(None))

    model(batch)

    assert len(calls) == 3
