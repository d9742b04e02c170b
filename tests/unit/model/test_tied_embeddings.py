"""One matrix for word vectors and output layer (Press & Wolf 2017), and for both languages."""

import pytest
import torch
from torch import Tensor, nn

from seq2seq_cli.config.model import ModelConfig
from seq2seq_cli.model.seq2seq import Seq2Seq
from tests.unit.model.support import (
    ATTENTIONS,
    SOURCE_SIZE,
    small_batch,
    small_config,
    small_model,
)

kinds_and_places = pytest.mark.parametrize(("kind", "place"), ATTENTIONS)
ties = pytest.mark.parametrize("tied", ["target", "all"])

DIM = 8
"""Of word vectors and of the decoder's state: then a tied model is shaped like one that is not."""


def config_of_one_size(kind: str, place: str, tied: str) -> ModelConfig:
    fields = small_config(kind, place, num_layers=3, tied=tied).model_dump()
    for side in ("encoder", "decoder"):
        fields[side]["embedding_dim"] = DIM
    return ModelConfig.model_validate(fields)


def untied_twin(tied: Seq2Seq, kind: str, place: str) -> Seq2Seq:
    """A model without shared matrices that computes the same."""
    sizes = [side.embedding.num_embeddings for side in (tied.encoder, tied.decoder)]
    twin = Seq2Seq(config_of_one_size(kind, place, "none"), *sizes)
    weights = tied.state_dict()
    shared = weights["decoder.embedding.weight"]
    weights["decoder.output.weight"] = weights.pop("decoder.output.embedding.weight")
    weights["decoder.embedding.weight"] = shared * DIM**0.5
    if tied.encoder.embedding is tied.decoder.embedding:
        weights["encoder.embedding.weight"] = shared * DIM**0.5
    twin.load_state_dict(weights)
    return twin.eval()


@ties
@kinds_and_places
def test_gradients_of_all_uses_come_together(kind: str, place: str, tied: str) -> None:
    model = small_model(config_of_one_size(kind, place, tied))
    twin = untied_twin(model, kind, place)

    losses = [each(small_batch())[0] for each in (model, twin)]
    for loss in losses:
        loss.backward()

    torch.testing.assert_close(losses[0], losses[1])
    gradients: dict[str, Tensor] = {
        name: parameter.grad
        for name, parameter in twin.named_parameters()
        if parameter.grad is not None
    }
    together = gradients["decoder.output.weight"].clone()
    together += gradients["decoder.embedding.weight"] * DIM**0.5
    if tied == "all":
        together += gradients["encoder.embedding.weight"] * DIM**0.5
    found = model.decoder.embedding.weight.grad
    torch.testing.assert_close(found, together, rtol=1e-4, atol=1e-5)


@ties
@kinds_and_places
def test_a_shared_matrix_counts_once(kind: str, place: str, tied: str) -> None:
    model = Seq2Seq(config_of_one_size(kind, place, tied), SOURCE_SIZE, SOURCE_SIZE)
    plain = Seq2Seq(config_of_one_size(kind, place, "none"), SOURCE_SIZE, SOURCE_SIZE)

    sizes = [sum(parameter.numel() for parameter in each.parameters()) for each in (model, plain)]
    saved = {"target": 1, "all": 2}[tied]
    assert sizes[1] - sizes[0] == saved * SOURCE_SIZE * DIM
    assert [sum(each.parts().values()) for each in (model, plain)] == sizes
    assert ("target embedding" in model.parts()) == (tied == "target")


@torch.no_grad()
@pytest.mark.parametrize(
    ("tied", "source_scale", "target_scale"),
    [("none", 1, 1), ("target", 1, 6**0.5), ("all", 6**0.5, 6**0.5)],
)
def test_shared_vectors_are_scaled_on_their_way_in(
    tied: str, source_scale: float, target_scale: float
) -> None:
    model = small_model(small_config(tied=tied))
    batch = small_batch(src_lens=(3, 3), trg_lens=(4, 4))
    fed: list[Tensor] = []
    bottoms = model.encoder.layers[0], model.decoder.lstm.layers[0]
    for layer in bottoms:
        layer.register_forward_pre_hook(lambda _, inputs: fed.append(inputs[0]))

    model(batch)

    source, target = fed  # both step by step, of sentences of one length
    expected = model.encoder.embedding.weight[batch.src_ids.T.flatten()] * source_scale
    torch.testing.assert_close(source, expected)
    expected = model.decoder.embedding.weight[batch.trg_ids[:, :-1].T.flatten()] * target_scale
    torch.testing.assert_close(target, expected)


@torch.no_grad()
@ties
@kinds_and_places
def test_the_output_layers_rows_are_the_word_vectors(kind: str, place: str, tied: str) -> None:
    """Of another size than the LSTM: a layer with tanh stands between them."""
    model = small_model(small_config(kind, place, tied=tied))
    vectors = model.decoder.embedding.weight
    read: list[Tensor] = []
    model.decoder.register_forward_hook(lambda _, __, result: read.append(result[0]))

    log_probs, _, _ = model.step(torch.full((5,), 2), model.encode(small_batch()))

    assert read[0].shape == (5, vectors.size(1))
    assert (read[0].abs() < 1).all()
    bias = dict(model.named_parameters())["decoder.output.bias"]
    expected = (read[0] @ vectors.T + bias).log_softmax(dim=1)
    torch.testing.assert_close(log_probs, expected)
    assert (model.encoder.embedding is model.decoder.embedding) == (tied == "all")


def test_a_change_of_the_matrix_is_seen_by_all_that_share_it() -> None:
    for tied in ("target", "all"):
        model = small_model(small_config("general", tied=tied))
        names = {name for name, _ in model.named_parameters() if "embedding" in name}
        assert len(names) == (2 if tied == "target" else 1)
        model.decoder.embedding.weight.data[7] = 0.5
        weights = model.state_dict()
        users = [name for name in weights if name.endswith("embedding.weight")]
        assert len(users) == 3
        changed = {name for name in users if (weights[name][7] == 0.5).all()}
        assert changed == {*users} - ({"encoder.embedding.weight"} if tied == "target" else set())


def test_without_ties_nothing_is_shared() -> None:
    model = small_model(small_config("general"))

    assert isinstance(model.decoder.output, nn.Linear)
    weights = [model.encoder.embedding.weight, model.decoder.embedding.weight]
    weights.append(model.decoder.output.weight)
    assert len({weight.data_ptr() for weight in weights}) == 3
