"""What turns gradients into steps."""

from __future__ import annotations

import torch

from seq2seq_cli.config.training import AdamConfig, AdamWConfig, OptimizerConfig
from seq2seq_cli.model.seq2seq import Seq2Seq


def clip_gradients(model: Seq2Seq, limit: float) -> torch.Tensor:
    """Scale the gradients down to the norm `limit` where theirs is larger; returns what it was.

    On the CPU, where asking costs nothing, gradients that are small enough are left alone: torch's
    own function passes over all of them to multiply by 1.
    """
    parameters = [parameter for parameter in model.parameters() if parameter.grad is not None]
    norm = torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
    if norm.device.type != "cpu" or not norm <= limit:
        torch.nn.utils.clip_grads_with_norm_(parameters, limit, norm)
    return norm


def step_if(is_finite: torch.Tensor, optimizer: torch.optim.Optimizer) -> None:
    """An update, or none where the gradients are no numbers: those would spoil all weights.

    is_finite: a boolean. Adam on a GPU heeds it by itself, as it does for torch's GradScaler:
    asking would make Python wait for it at every step. (SGD so left out at its first step begins
    with a momentum that nobody has set.)
    """
    if is_finite.device.type == "cuda" and isinstance(optimizer, torch.optim.Adam):
        optimizer.found_inf = (~is_finite).float()  # type: ignore[attr-defined]
    elif not is_finite:
        return
    optimizer.step()


def make_optimizer(config: OptimizerConfig, model: Seq2Seq) -> torch.optim.Optimizer:
    """The configured optimizer, in torch's fused form (one pass over each parameter)."""
    parameters = list(model.parameters())
    if isinstance(config, AdamConfig):
        return torch.optim.Adam(parameters, lr=config.learning_rate, fused=True)
    if isinstance(config, AdamWConfig):
        return torch.optim.AdamW(
            parameters, lr=config.learning_rate, weight_decay=config.weight_decay, fused=True
        )
    return torch.optim.SGD(
        parameters, lr=config.learning_rate, momentum=config.momentum, fused=True
    )
