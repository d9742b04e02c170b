"""Products in 8-bit integers, against exact ones."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from seq2seq_cli.model.deferred import shared_linear
from seq2seq_cli.model.lstm import LSTMState, layer_weight, run_layer
from seq2seq_cli.model.quantized import Int8Matrix, int8_products, wants_int8


@pytest.fixture(autouse=True)
def right_sums(monkeypatch: pytest.MonkeyPatch) -> None:
    """As they are where int8 is not refused."""
    monkeypatch.setattr(torch, "_int_mm", lambda one, other: one.int() @ other.int())


def drawn(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_a_matrix_of_whole_steps_is_multiplied_exactly() -> None:
    matrix = torch.randint(-127, 128, (5, 16), generator=torch.Generator().manual_seed(1)).float()
    inputs = torch.randint(-127, 128, (3, 16), generator=torch.Generator().manual_seed(2)).float()
    matrix[:, 0], inputs[:, 0] = 127.0, -127.0
    sizes = torch.tensor([1.0, 2.0, 0.5, 64.0, 2.0**-20]).unsqueeze(1)

    found = Int8Matrix(matrix * sizes).product(inputs)

    assert torch.equal(found, inputs @ (matrix * sizes).t())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_each_output_is_within_what_rounding_can_do(dtype: torch.dtype) -> None:
    """Rows of very different sizes: the steps are each row's own."""
    sizes = 10.0 ** torch.arange(-6, 6).unsqueeze(1)
    matrix, inputs = drawn(12, 40) * sizes, (drawn(12, 40, seed=2) * sizes).to(dtype)

    found = Int8Matrix(matrix).product(inputs)

    exact = inputs.double() @ matrix.double().t()
    steps = [rows.double().abs().amax(dim=1) / 127 for rows in (inputs, matrix)]
    of_inputs = steps[0].unsqueeze(1) / 2 * matrix.double().abs().sum(dim=1)
    of_matrix = inputs.double().abs().sum(dim=1, keepdim=True) * steps[1] / 2
    both = 40 * steps[0].unsqueeze(1) * steps[1] / 4
    assert found.dtype == torch.float32
    assert ((found - exact).abs() <= (of_inputs + of_matrix + both) * 1.001).all()


def test_zeros_stay_zeros_and_what_is_no_number_stays_none() -> None:
    inputs = torch.stack([torch.zeros(8), drawn(8)])
    matrix = drawn(2, 8, seed=2)
    matrix[1, 3] = torch.nan

    found = Int8Matrix(matrix).product(inputs)

    assert found[0, 0] == 0.0
    assert found[1, 0].isfinite()
    assert found[:, 1].isnan().all()


def test_a_layer_is_rounded_inside_the_block_only() -> None:
    layer = nn.Linear(24, 9)
    inputs = drawn(7, 24)
    with torch.inference_mode():
        exact = layer(inputs)
        plain = shared_linear(layer)
        with int8_products():
            assert wants_int8()
            rounded = shared_linear(layer)
    assert not wants_int8()
    assert plain is not None
    assert rounded is not None

    assert torch.allclose(plain.linear(inputs), exact, atol=1e-6)
    found = rounded.linear(inputs)
    assert not torch.allclose(found, exact, atol=1e-6)
    assert (found - exact).abs().max() < 0.02 * exact.abs().max()


@pytest.mark.parametrize("directions", [1, 2])
@torch.inference_mode()
def test_an_lstm_layer(directions: int) -> None:
    torch.manual_seed(1)
    layers = [nn.LSTM(12, 16) for _ in range(directions)]
    counts = [5, 5, 3, 1]
    inputs = drawn(directions, sum(counts), 12)
    state = LSTMState(drawn(directions, 5, 16, seed=2), drawn(directions, 5, 16, seed=3))
    exact, after = run_layer(layers, inputs, counts, state, layer_weight(layers))

    with int8_products():
        weight = layer_weight(layers)
    found, rounded_after = run_layer(layers, inputs, counts, state, weight)

    assert not torch.allclose(found, exact, atol=1e-6)
    assert (found - exact).abs().max() < 0.02
    for one, other in zip(after, rounded_after, strict=True):
        assert (one - other).abs().max() < 0.03
