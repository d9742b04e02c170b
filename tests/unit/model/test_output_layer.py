"""Rows of one length, against their equation."""

import math

import torch
from torch.nn import functional as F

from seq2seq_cli.model.output_layer import Fixnorm


def test_fixnorm_gives_all_rows_one_length() -> None:
    matrix = torch.randn(7, 5).mul_(torch.logspace(-2, 2, 7).unsqueeze(1)).requires_grad_()
    fixnorm = Fixnorm()
    fixnorm.log_length.data.fill_(math.log(3.0))

    rows = fixnorm(matrix)

    torch.testing.assert_close(rows.norm(dim=1), torch.full((7,), 3.0))
    torch.testing.assert_close(rows * matrix.norm(dim=1, keepdim=True), matrix * 3.0)


def test_a_row_of_zeros_stays_and_its_gradient_is_no_flood() -> None:
    matrix = torch.zeros(1, 5, requires_grad=True)

    rows = Fixnorm()(matrix)
    rows.sum().backward()

    assert not rows.any()
    assert matrix.grad is not None
    assert 0 < matrix.grad.abs().max() <= 1001


def test_fixnorms_gradient_is_that_of_its_equation() -> None:
    lengths = torch.tensor([1e-4, 0.1, 1.0, 30.0]).double().unsqueeze(1)
    matrix = (F.normalize(torch.randn(4, 5).double(), dim=1) * lengths).requires_grad_()
    fixnorm = Fixnorm().double()
    fixnorm.log_length.data.fill_(0.3)
    d_rows = torch.randn(4, 5).double()

    plain = F.normalize(matrix, dim=1, eps=1e-3) * fixnorm.log_length.exp()

    wanted = matrix, fixnorm.log_length
    torch.testing.assert_close(fixnorm(matrix), plain)
    torch.testing.assert_close(
        torch.autograd.grad(fixnorm(matrix), wanted, d_rows),
        torch.autograd.grad(plain, wanted, d_rows),
    )
