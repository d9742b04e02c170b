"""Properties of the encoder-decoder: sizes, padding, batches, steps, first weights."""

import pytest
import torch

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
from seq2seq_cli.model.seq2seq import Seq2Seq, initialise
from tests.unit.model.support import (
    ARCHITECTURES,
    EVERY_PART,
    PLAIN_AND_FULL,
    SOURCE_SIZE,
    TARGET_SIZE,
    assert_same_decoding,
    coins,
    row,
    sentences,
    small_batch,
    small_config,
    small_model,
    step_by_step_losses,
    widened,
)

MODELS = ARCHITECTURES | PLAIN_AND_FULL
architectures = pytest.mark.parametrize("config", MODELS.values(), ids=MODELS.keys())


def num_parameters(model: Seq2Seq) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def test_tutorial_sizes_have_13_898_757_parameters() -> None:
    config = ModelConfig(
        encoder=EncoderConfig(embedding_dim=256, hidden_size=512, num_layers=2),
        decoder=DecoderConfig(embedding_dim=256, hidden_size=512, num_layers=2),
    )
    with torch.device("meta"):
        model = Seq2Seq(config, 7854, 5893)

    assert num_parameters(model) == 13_898_757
    assert sum(model.parts().values()) == 13_898_757


def test_parts_cover_all_parameters() -> None:
    for label, config in (ARCHITECTURES | EVERY_PART).items():
        target_size = SOURCE_SIZE if config.tied_embeddings == "all" else TARGET_SIZE
        with torch.device("meta"):
            model = Seq2Seq(config, SOURCE_SIZE, target_size)
        parts = model.parts()

        assert sum(parts.values()) == num_parameters(model), label
        assert parts["source embedding"] == SOURCE_SIZE * config.encoder.embedding_dim
        assert ("target embedding" in parts) == (config.tied_embeddings != "all"), label
        assert ("bridge" in parts) == (model.bridge is not None), label
        attends = config.decoder.attention.kind != "none"
        assert ("attention" in parts) == attends, label
        if config.tied_embeddings != "none" and attends:
            assert parts["output layer"] == target_size + config.fixnorm  # biases and a length


@architectures
def test_a_bridge_stands_only_where_shapes_differ(config: ModelConfig) -> None:
    model = small_model(config)
    state = model.encode(small_batch()).state.lstm

    encoder_shape = config.encoder.num_layers, model.encoder.output_size
    decoder_shape = config.decoder.num_layers, config.decoder.hidden_size
    assert (model.bridge is None) == (encoder_shape == decoder_shape)
    assert state.hidden.shape == state.cell.shape == (decoder_shape[0], 5, decoder_shape[1])


@torch.no_grad()
@architectures
def test_padding_never_changes_a_result(config: ModelConfig) -> None:
    model = small_model(config)
    batch = small_batch()

    wide = widened(batch, 4)
    for pattern in (None, [False], [True, False, True, False, False, True]):
        losses, count = model(batch, coins(batch, pattern) if pattern else None, reduction="none")
        wide_losses, wide_count = model(
            wide, coins(wide, pattern) if pattern else None, reduction="none"
        )
        torch.testing.assert_close(wide_losses, losses)
        assert wide_count == count
    decoding, wide_decoding = model.encode(batch), model.encode(wide)
    torch.testing.assert_close(wide_decoding.state, decoding.state)
    for _ in range(4):
        log_probs, decoding, weights = model.step(torch.arange(5, 10), decoding)
        wide_log_probs, wide_decoding, wide_weights = model.step(torch.arange(5, 10), wide_decoding)
        torch.testing.assert_close(wide_log_probs, log_probs)
        if weights is not None:
            assert wide_weights is not None
            torch.testing.assert_close(wide_weights[:, : weights.size(1)], weights)


@torch.no_grad()
@architectures
def test_a_batch_is_its_sentences(config: ModelConfig) -> None:
    model = small_model(config)
    batch = small_batch()

    rows = [[True, False], [False], [True], [False, True, True], [True, False, False]]
    for each in (None, [[False]] * 5, rows):
        losses, count = model(batch, coins(batch, *each) if each else None, reduction="none")
        alone = [
            model(one, coins(one, each[index]) if each else None, reduction="none")
            for index, one in enumerate(row(batch, index) for index in range(5))
        ]
        torch.testing.assert_close(torch.cat([part for part, _ in alone]), losses)
        assert sum(number for _, number in alone) == count == batch.num_target_tokens


@torch.no_grad()
@architectures
def test_the_order_of_a_batch_does_not_matter(config: ModelConfig) -> None:
    model = small_model(config)
    batch = small_batch()
    order = torch.tensor([3, 1, 4, 0, 2])
    mixed = Batch(*(part[order] for part in batch))

    decoding, mixed_decoding = model.encode(batch), model.encode(mixed)

    assert_same_decoding(mixed_decoding, decoding.select(order, order))


@torch.no_grad()
@pytest.mark.parametrize("config", EVERY_PART.values(), ids=EVERY_PART.keys())
def test_whole_target_is_the_same_as_step_by_step(config: ModelConfig) -> None:
    model = small_model(config)
    batch = small_batch(src_lens=(3, 6, 1), trg_lens=(2, 4, 1))

    losses, _ = model(batch, reduction="none")

    torch.testing.assert_close(losses, step_by_step_losses(model, batch))


@torch.no_grad()
@architectures
def test_losses_of_tokens_add_up_to_the_sum(config: ModelConfig) -> None:
    model = small_model(config)
    batch = small_batch()

    for smoothing in (0.0, 0.1):
        total, count = model(batch, label_smoothing=smoothing)
        losses, _ = model(batch, label_smoothing=smoothing, reduction="none")
        assert losses.shape == (count,)
        torch.testing.assert_close(losses.sum(), total)


@torch.no_grad()
def test_label_smoothing_mixes_in_the_mean_over_the_vocabulary() -> None:
    model = small_model(ARCHITECTURES["one layer"])
    batch = small_batch(src_lens=(4,), trg_lens=(3,))
    decoding = model.encode(batch)
    smoothed = 0.0
    for step in range(batch.trg_ids.size(1) - 1):
        log_probs, decoding, _ = model.step(batch.trg_ids[:, step], decoding)
        log_probs = log_probs[0]
        smoothed -= (0.8 * log_probs[batch.trg_ids[0, step + 1]] + 0.2 * log_probs.mean()).item()

    loss, _ = model(batch, label_smoothing=0.2)

    assert loss.item() == pytest.approx(smoothed, rel=1e-5)


@torch.no_grad()
@architectures
def test_probabilities_of_a_step_sum_to_one(config: ModelConfig) -> None:
    model = small_model(config)
    decoding = model.encode(small_batch())

    log_probs, _, weights = model.step(torch.full((5,), 2), decoding)

    assert log_probs.shape == (5, TARGET_SIZE)
    torch.testing.assert_close(log_probs.exp().sum(dim=1), torch.ones(5))
    assert (weights is None) == (config.decoder.attention.kind == "none")


@torch.no_grad()
@architectures
def test_a_step_changes_nothing_that_came_before(config: ModelConfig) -> None:
    """Search may go on twice from one point."""
    model = small_model(config)
    start = model.encode(small_batch())
    first = model.step(torch.full((5,), 2), start)

    model.step(torch.full((5,), 7), first[1])
    again = model.step(torch.full((5,), 2), start)

    torch.testing.assert_close(again[0], first[0], rtol=0, atol=0)
    assert_same_decoding(again[1], first[1], rtol=0, atol=0)
    torch.testing.assert_close(again[2], first[2], rtol=0, atol=0)


@torch.no_grad()
@architectures
def test_selected_rows_go_on_as_they_would_have(config: ModelConfig) -> None:
    model = small_model(config)
    batch = small_batch()
    decoding = model.step(batch.trg_ids[:, 0], model.encode(batch))[1]
    rows = torch.tensor([4, 1, 1, 3])
    selected = decoding.select(rows, rows)

    for fed in batch.trg_ids[:, 1:4].unbind(1):
        log_probs, decoding, weights = model.step(fed, decoding)
        some_log_probs, selected, some_weights = model.step(fed[rows], selected)
        torch.testing.assert_close(some_log_probs, log_probs[rows])
        if weights is not None:
            torch.testing.assert_close(some_weights, weights[rows])


@torch.no_grad()
@architectures
def test_hypotheses_of_a_sentence_trade_places(config: ModelConfig) -> None:
    """Two hypotheses side by side for each of two sentences look at one memory; rows of their own
    copies of it do the same."""
    model = small_model(config)
    start = model.encode(small_batch((5, 3), (1, 1)))
    twice, fed = torch.tensor([0, 0, 1, 1]), torch.tensor([5, 6, 7, 8])
    decoding = model.step(fed, start.select(twice))[1]
    apart = model.step(fed, start.select(twice, twice))[1]
    rows = torch.tensor([1, 0, 3, 3])

    traded = decoding.select(rows)

    assert traded.memories is decoding.memories is start.memories
    assert not torch.equal(traded.state.lstm.hidden, decoding.state.lstm.hidden)
    log_probs, after, weights = model.step(fed, traded)
    expected, expected_after, expected_weights = model.step(fed, apart.select(rows, rows))
    torch.testing.assert_close(log_probs, expected)
    torch.testing.assert_close(after.state, expected_after.state)
    torch.testing.assert_close(weights, expected_weights)


def test_without_attention_nothing_of_the_source_is_kept_but_the_state() -> None:
    decoding = small_model(small_config()).encode(small_batch())

    assert not decoding.memories
    assert not decoding.select(torch.tensor([0]), torch.tensor([0])).memories


@torch.no_grad()
def test_a_reversed_source_is_another_input() -> None:
    model = small_model(ARCHITECTURES["one layer"])
    sources = sentences([4, 6], SOURCE_SIZE)
    forwards = make_batch(sources, reverse_source=False)
    backwards = make_batch([ids[::-1] for ids in sources], reverse_source=True)

    assert_same_decoding(model.encode(forwards), model.encode(backwards))
    reversed_state = model.encode(make_batch(sources, reverse_source=True)).state.lstm
    assert not torch.allclose(reversed_state.hidden, model.encode(forwards).state.lstm.hidden)


INITS = [UniformInit(), NormalInit(), XavierInit()]
STARTING = {
    name: PLAIN_AND_FULL[name] if name in PLAIN_AND_FULL else ARCHITECTURES[name]
    for name in ("bridge over sizes", "additive deep full", "general input_feeding plain")
} | {"tied all": small_config("additive", "before", tied="all", layer_norm=True)}


@pytest.mark.parametrize("name", STARTING)
@pytest.mark.parametrize("init", INITS)
def test_weights_start_as_configured(init: InitConfig, name: str) -> None:
    first, again, other = (Seq2Seq(STARTING[name], 400, 400) for _ in range(3))
    torch.manual_seed(5)
    initialise(first, init, 1)
    torch.manual_seed(6)
    initialise(again, init, 1)
    initialise(other, init, 2)

    weights, others = dict(first.named_parameters()), dict(other.named_parameters())
    assert all(torch.equal(p, weights[name]) for name, p in again.named_parameters())
    for name, parameter in weights.items():
        if ".norms." in name:
            assert (parameter == (1.0 if name.endswith("weight") else 0.0)).all(), name
        elif ".fixnorm." in name or (not isinstance(init, UniformInit) and "bias" in name):
            assert not parameter.any(), name
        else:
            assert not torch.isclose(parameter, others[name]).all(), name
    norms = (".norms.", ".fixnorm.")
    drawn = {name: p for name, p in weights.items() if not any(norm in name for norm in norms)}
    embedding = first.encoder.embedding.weight
    if isinstance(init, UniformInit):
        assert all(parameter.abs().max() <= init.scale for parameter in drawn.values())
        assert embedding.std().item() == pytest.approx(init.scale / 3**0.5, rel=0.05)
    else:
        std = init.std if isinstance(init, NormalInit) else embedding.size(1) ** -0.5
        assert embedding.std().item() == pytest.approx(std, rel=0.05)
    if isinstance(init, XavierInit):
        for name, parameter in drawn.items():
            if "bias" in name or "embedding" in name:
                continue
            is_lstm = "weight_ih" in name or "weight_hh" in name
            for matrix in parameter.chunk(4) if is_lstm else [parameter]:
                bound = (6 / sum(matrix.shape)) ** 0.5
                near = 0.8 if is_lstm else 0.5  # a gate's bound, not that of the four together
                assert near * bound < matrix.abs().max() <= bound, name


@pytest.mark.parametrize(("kind", "num_norms"), [("none", 5), ("general", 6)])
def test_there_are_norms_for_every_output_that_is_read(kind: str, num_norms: int) -> None:
    for layer_norm in (False, True):
        model = small_model(small_config(kind, num_layers=3, layer_norm=layer_norm))
        names = {name for name, _ in model.named_parameters() if ".norms." in name}
        parts = {name.rpartition(".")[0] for name in names}
        assert len(parts) == (num_norms if layer_norm else 0)
