"""Properties of the encoder-decoder: sizes, padding, batches, teacher forcing, steps."""

import itertools
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from seq2seq_cli.config.model import (
    DecoderConfig,
    EncoderConfig,
    InitConfig,
    ModelConfig,
    NormalInit,
    UniformInit,
    XavierInit,
)
from seq2seq_cli.data.batching import Batch, make_batch
from seq2seq_cli.data.vocabulary import PAD_ID
from seq2seq_cli.model.seq2seq import Seq2Seq, initialise
from tests.unit.model.support import (
    ARCHITECTURES,
    SOURCE_SIZE,
    TARGET_SIZE,
    row,
    sentences,
    small_batch,
    small_model,
    widened,
)

architectures = pytest.mark.parametrize("config", ARCHITECTURES.values(), ids=ARCHITECTURES.keys())


def coins(batch: Batch, *rows: Sequence[bool]) -> Tensor:
    """For each step after the first, whether the true token is fed; rows go on and on."""
    width = batch.trg_ids.size(1) - 2
    return torch.tensor([list(itertools.islice(itertools.cycle(row), width)) for row in rows])


def step_by_step_loss(model: Seq2Seq, batch: Batch, forced: Tensor | None) -> Tensor:
    """The plain loop: one token a step, each step's loss added by hand."""
    _, state = model.encode(batch)
    total = torch.zeros(())
    fed = batch.trg_ids[:, 0]
    for step in range(batch.trg_ids.size(1) - 1):
        log_probs, state = model.step(fed, state)
        wanted = batch.trg_ids[:, step + 1]
        total = total - log_probs[wanted != PAD_ID, wanted[wanted != PAD_ID]].sum()
        guess = log_probs.argmax(dim=1)
        if step + 2 < batch.trg_ids.size(1):
            fed = wanted if forced is None else torch.where(forced[:, step], wanted, guess)
    return total


def test_tutorial_sizes_have_13_898_757_parameters() -> None:
    config = ModelConfig(
        encoder=EncoderConfig(embedding_dim=256, hidden_size=512, num_layers=2),
        decoder=DecoderConfig(embedding_dim=256, hidden_size=512, num_layers=2),
    )
    with torch.device("meta"):
        model = Seq2Seq(config, 7854, 5893)

    assert sum(parameter.numel() for parameter in model.parameters()) == 13_898_757
    assert sum(model.parts().values()) == 13_898_757


@architectures
def test_parts_cover_all_parameters(config: ModelConfig) -> None:
    model = small_model(config)

    assert sum(model.parts().values()) == sum(p.numel() for p in model.parameters())


@architectures
def test_a_bridge_stands_only_where_shapes_differ(config: ModelConfig) -> None:
    model = small_model(config)
    _, state = model.encode(small_batch())

    encoder_shape = config.encoder.num_layers, model.encoder.output_size
    decoder_shape = config.decoder.num_layers, config.decoder.hidden_size
    assert (model.bridge is None) == (encoder_shape == decoder_shape)
    assert state.hidden.shape == state.cell.shape == (decoder_shape[0], 5, decoder_shape[1])


@architectures
def test_padding_never_changes_a_result(config: ModelConfig) -> None:
    model = small_model(config)
    batch = small_batch()

    wide = widened(batch, 4)
    for pattern in (None, [False], [True, False, True, False, False, True]):
        loss, count = model(batch, coins(batch, pattern) if pattern else None)
        wide_loss, wide_count = model(wide, coins(wide, pattern) if pattern else None)
        torch.testing.assert_close(wide_loss, loss)
        assert wide_count == count
    encoded, state = model.encode(batch)
    wide_encoded, wide_state = model.encode(widened(batch, 4))
    torch.testing.assert_close(wide_state, state)
    torch.testing.assert_close(wide_encoded.memory[:, : encoded.memory.size(1)], encoded.memory)
    assert not wide_encoded.memory[~wide_encoded.mask].any()


@architectures
def test_a_batch_is_the_sum_of_its_sentences(config: ModelConfig) -> None:
    model = small_model(config)
    batch = small_batch()

    rows = [[True, False], [False], [True], [False, True, True], [True, False, False]]
    for each in (None, [[False]] * 5, rows):
        loss, count = model(batch, coins(batch, *each) if each else None)
        alone = [
            model(one, coins(one, each[index]) if each else None)
            for index, one in enumerate(row(batch, index) for index in range(5))
        ]
        torch.testing.assert_close(sum(part for part, _ in alone), loss)
        assert sum(number for _, number in alone) == count == batch.num_target_tokens


@architectures
def test_the_order_of_a_batch_does_not_matter(config: ModelConfig) -> None:
    model = small_model(config)
    batch = small_batch()
    order = torch.tensor([3, 1, 4, 0, 2])
    mixed = Batch(batch.src_ids[order], batch.src_lens[order], batch.trg_ids[order])

    _, state = model.encode(batch)
    _, mixed_state = model.encode(mixed)

    torch.testing.assert_close(mixed_state.hidden, state.hidden[:, order])
    torch.testing.assert_close(mixed_state.cell, state.cell[:, order])


@architectures
def test_whole_target_is_the_same_as_step_by_step(config: ModelConfig) -> None:
    model = small_model(config)
    batch = small_batch()

    loss, _ = model(batch)

    torch.testing.assert_close(loss, step_by_step_loss(model, batch, None))


@architectures
def test_any_mix_of_forced_and_free_steps_is_the_plain_loop(config: ModelConfig) -> None:
    model = small_model(config)
    batch = small_batch(trg_lens=(3, 2, 3, 1, 3))

    losses = set()
    for steps in itertools.product([True, False], repeat=3):
        forced = coins(batch, steps)
        loss, _ = model(batch, forced)
        torch.testing.assert_close(loss, step_by_step_loss(model, batch, forced))
        losses.add(round(loss.item(), 4))
    assert len(losses) > 1  # else feeding itself never changed what the model was fed


@architectures
def test_coins_for_each_token_are_the_plain_loop(config: ModelConfig) -> None:
    model = small_model(config)
    batch = small_batch()
    random = torch.Generator().manual_seed(1)
    for ratio in (0.2, 0.5, 0.95):
        forced = torch.rand(5, batch.trg_ids.size(1) - 2, generator=random) < ratio
        torch.testing.assert_close(model(batch, forced)[0], step_by_step_loss(model, batch, forced))


def test_sentences_with_the_same_coins_may_share_them() -> None:
    model = small_model(ARCHITECTURES["deep"])
    batch = small_batch()
    pattern = [True, False, False]
    shared, repeated = coins(batch, pattern), coins(batch, *[pattern] * 5)
    assert torch.equal(model(batch, shared)[0], model(batch, repeated)[0])


def test_all_forced_is_teacher_forcing() -> None:
    model = small_model(ARCHITECTURES["deep"])
    batch = small_batch()

    assert torch.equal(model(batch, coins(batch, [True]))[0], model(batch)[0])


def test_gradients_of_a_mixed_unroll_are_those_of_the_plain_loop() -> None:
    model = small_model(ARCHITECTURES["deep"])
    batch = small_batch()
    forced = coins(batch, [True, False, True, True, False, False])
    parameters = dict(model.named_parameters())

    ours = torch.autograd.grad(model(batch, forced)[0], [*parameters.values()])
    plain = torch.autograd.grad(step_by_step_loss(model, batch, forced), [*parameters.values()])

    for name, mine, theirs in zip(parameters, ours, plain, strict=True):
        torch.testing.assert_close(mine, theirs, msg=name)


def test_label_smoothing_mixes_in_the_mean_over_the_vocabulary() -> None:
    model = small_model(ARCHITECTURES["one layer"])
    batch = small_batch(src_lens=(4,), trg_lens=(3,))
    _, state = model.encode(batch)
    smoothed = 0.0
    for step in range(batch.trg_ids.size(1) - 1):
        log_probs, state = model.step(batch.trg_ids[:, step], state)
        log_probs = log_probs[0]
        smoothed -= (0.8 * log_probs[batch.trg_ids[0, step + 1]] + 0.2 * log_probs.mean()).item()

    loss, _ = model(batch, label_smoothing=0.2)

    assert loss.item() == pytest.approx(smoothed, rel=1e-5)


def test_probabilities_of_a_step_sum_to_one() -> None:
    model = small_model(ARCHITECTURES["deep"])
    _, state = model.encode(small_batch())

    log_probs, _ = model.step(torch.full((5,), 2), state)

    assert log_probs.shape == (5, TARGET_SIZE)
    torch.testing.assert_close(log_probs.exp().sum(dim=1), torch.ones(5))


def test_a_reversed_source_is_another_input() -> None:
    model = small_model(ARCHITECTURES["one layer"])
    sources = sentences([4, 6], SOURCE_SIZE)
    forwards = make_batch(sources, reverse_source=False)
    backwards = make_batch([ids[::-1] for ids in sources], reverse_source=True)

    torch.testing.assert_close(model.encode(forwards)[1], model.encode(backwards)[1])
    reversed_state = model.encode(make_batch(sources, reverse_source=True))[1]
    assert not torch.allclose(reversed_state.hidden, model.encode(forwards)[1].hidden)


def test_dropout_acts_in_training_only() -> None:
    config = ARCHITECTURES["deep"].model_copy(update={"dropout": 0.5})
    model = small_model(config)
    batch = small_batch()
    assert torch.equal(model(batch)[0], model(batch)[0])

    model.train()
    torch.manual_seed(1)
    first = model(batch)[0]
    torch.manual_seed(2)
    assert not torch.equal(model(batch)[0], first)
    torch.manual_seed(1)
    assert torch.equal(model(batch)[0], first)


@pytest.mark.parametrize("config", [UniformInit(), NormalInit(), XavierInit()])
def test_weights_start_as_configured(config: InitConfig) -> None:
    model = Seq2Seq(ARCHITECTURES["bridge over sizes"], 400, 300)
    initialise(model, config, 1)
    again = Seq2Seq(ARCHITECTURES["bridge over sizes"], 400, 300)
    initialise(again, config, 1)
    other = Seq2Seq(ARCHITECTURES["bridge over sizes"], 400, 300)
    initialise(other, config, 2)

    weights = dict(model.named_parameters())
    assert all(torch.equal(p, weights[name]) for name, p in again.named_parameters())
    assert not torch.equal(other.encoder.embedding.weight, model.encoder.embedding.weight)
    embedding = weights["encoder.embedding.weight"]
    if isinstance(config, UniformInit):
        assert all(parameter.abs().max() <= config.scale for parameter in model.parameters())
        assert embedding.std().item() == pytest.approx(config.scale / 3**0.5, rel=0.05)
    else:
        assert not any(p.any() for name, p in weights.items() if "bias" in name)
        std = config.std if isinstance(config, NormalInit) else 5**-0.5
        assert embedding.std().item() == pytest.approx(std, rel=0.05)
    if isinstance(config, XavierInit):
        gate = weights["decoder.lstm.layers.0.weight_ih_l0"].chunk(4)[0]
        assert gate.abs().max() <= (6 / sum(gate.shape)) ** 0.5
