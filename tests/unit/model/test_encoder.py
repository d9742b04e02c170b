"""The encoder against its equations, and what it makes of padding."""

import pytest
import torch
from torch import Tensor

from seq2seq_cli.config.model import ModelConfig
from tests.unit.model.reference import read
from tests.unit.model.support import row, small_batch, small_config, small_model, widened


def encoders(kind: str, *, word_vectors: bool = False) -> dict[str, ModelConfig]:
    return {
        f"{num_layers} layers{', both ways' * both}{', residual' * residual}{', norm' * norm}": (
            small_config(
                kind,
                num_layers=num_layers,
                bidirectional=both,
                residual=residual,
                layer_norm=norm,
                tied="all" if norm else "none",
                word_vectors=word_vectors,
            )
        )
        for num_layers, residual in [(1, False), (3, False), (3, True)]
        for both in (False, True)
        for norm in (False, True)
    }


READ, UNREAD = encoders("additive", word_vectors=True), encoders("none")
"""By attention; without it only the states matter."""


@torch.no_grad()
@pytest.mark.parametrize("config", READ.values(), ids=READ.keys())
def test_a_batch_is_read_as_the_equations_say(config: ModelConfig) -> None:
    model = small_model(config)
    batch = small_batch()

    encoded = model.encoder(batch.src_ids, batch.src_lens)

    assert encoded.memory is not None
    assert encoded.word_vectors is not None
    assert not encoded.memory[~encoded.mask].any()
    assert not encoded.word_vectors[~encoded.mask].any()
    for index, length in enumerate(batch.src_lens.tolist()):
        src_ids = row(batch, index).src_ids[0].tolist()
        memory, vectors, hidden, cell = read(model.state_dict(), config, src_ids)
        torch.testing.assert_close(encoded.memory[index, :length], torch.stack(memory))
        torch.testing.assert_close(encoded.word_vectors[index, :length], torch.stack(vectors))
        torch.testing.assert_close(encoded.state.hidden[:, index], torch.stack(hidden))
        torch.testing.assert_close(encoded.state.cell[:, index], torch.stack(cell))


@torch.no_grad()
@pytest.mark.parametrize("config", UNREAD.values(), ids=UNREAD.keys())
def test_there_are_states_alone_where_nobody_reads_the_output(config: ModelConfig) -> None:
    model = small_model(config)
    batch = small_batch()

    encoded = model.encoder(batch.src_ids, batch.src_lens)

    assert encoded.memory is encoded.word_vectors is None
    for index in range(5):
        src_ids = row(batch, index).src_ids[0].tolist()
        _, _, hidden, cell = read(model.state_dict(), config, src_ids)
        torch.testing.assert_close(encoded.state.hidden[:, index], torch.stack(hidden))
        torch.testing.assert_close(encoded.state.cell[:, index], torch.stack(cell))


@torch.no_grad()
@pytest.mark.parametrize("config", READ.values(), ids=READ.keys())
def test_padding_never_changes_what_is_read(config: ModelConfig) -> None:
    model = small_model(config)
    batch = small_batch()
    wide = widened(batch, 4)

    encoded = model.encoder(batch.src_ids, batch.src_lens)
    wide_encoded = model.encoder(wide.src_ids, wide.src_lens)

    torch.testing.assert_close(wide_encoded.state, encoded.state)
    assert wide_encoded.mask.sum(dim=1).tolist() == batch.src_lens.tolist()
    torch.testing.assert_close(wide_encoded.memory[wide_encoded.mask], encoded.memory[encoded.mask])


@torch.no_grad()
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("variational", [False, True])
def test_dropout_stands_between_the_layers(variational: bool, bidirectional: bool) -> None:
    dropout = {"embedding": 0.0, "hidden": 0.5, "variational": variational}
    config = small_config(
        "dot", num_layers=3, residual=True, bidirectional=bidirectional, dropout=dropout
    )
    encoder = small_model(config).encoder.train()
    reads: list[Tensor] = []
    written: list[Tensor] = []
    for layer in encoder.layers:
        layer.register_forward_pre_hook(lambda _, args: reads.append(args[0]))
        layer.register_forward_hook(lambda _, __, result: written.append(result[0]))
    batch = small_batch(src_lens=(6, 6, 6), trg_lens=(1, 1, 1))
    torch.manual_seed(0)

    encoded = encoder(batch.src_ids, batch.src_lens)

    def by_step(packed: Tensor) -> Tensor:
        return packed.view(8, 3, -1)

    for inputs in reads[1:]:
        dropped = by_step(inputs) == 0
        assert 0.2 < dropped.float().mean().item() < 0.8
        assert (dropped == dropped[0]).all().item() == variational
    outputs = [by_step(output) for output in written]
    assert encoded.memory is not None  # the residual path loses nothing
    torch.testing.assert_close(encoded.memory.transpose(0, 1), sum(outputs))
