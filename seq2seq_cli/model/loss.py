"""The output layer and the loss, as one function."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from seq2seq_cli.data.vocabulary import PAD_ID


def output_loss(
    outputs: Tensor,
    output_layer: nn.Module,
    targets: Tensor,
    label_smoothing: float = 0.0,
    reduction: str = "sum",
) -> tuple[Tensor, int]:
    """Cross entropy, in nats, of the real target tokens, and how many there are.

    outputs: (batch, time, output_size); targets: (batch, time) with <pad> where nothing is wanted.
    reduction: "sum", or "none" for one value for each real token, sentence by sentence.
    With label smoothing (Szegedy et al. 2016) that share of each target's probability is spread
    evenly over the vocabulary. Padding is left out before the output layer, where most of the work
    is.
    """
    real = targets != PAD_ID
    wanted = targets[real]
    logits = output_layer(outputs[real]).float()
    loss = F.cross_entropy(logits, wanted, reduction=reduction, label_smoothing=label_smoothing)
    return loss, wanted.numel()
