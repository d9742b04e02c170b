"""The output layer and the loss, as one function."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from seq2seq_cli.data.vocabulary import PAD_ID


def output_loss(
    outputs: Tensor, output_layer: nn.Linear, targets: Tensor, label_smoothing: float = 0.0
) -> tuple[Tensor, int]:
    """Summed cross entropy, in nats, of the real target tokens, and how many there are.

    outputs: (batch, time, hidden_size); targets: (batch, time) with <pad> where nothing is wanted.
    With label smoothing (Szegedy et al. 2016) that share of each target's probability is spread
    evenly over the vocabulary. Padding is left out before the output layer, where most of the work
    is.
    """
    real = targets != PAD_ID
    wanted = targets[real]
    logits = output_layer(outputs[real]).float()
    loss_sum = F.cross_entropy(logits, wanted, reduction="sum", label_smoothing=label_smoothing)
    return loss_sum, wanted.numel()
