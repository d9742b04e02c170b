"""Means of the weights over training: what is validated and kept in place of the last weights."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor

from seq2seq_cli.config.training import AveragingConfig, EmaAveraging, LastAveraging
from seq2seq_cli.model.seq2seq import Seq2Seq

_Weights = dict[str, Tensor]


class WeightAverage:
    """The configured mean of a model's weights; without one, the weights as they are.

    ema: after step t, mean <- d * mean + (1 - d) * weights, d = min(decay, (1 + t) / (10 + t)), so
    that the first steps are soon forgotten. last: the mean of the weights at the last validations
    (checkpoint averaging); they are kept in main memory, of which there is more than on a GPU.
    """

    def __init__(self, config: AveragingConfig, model: Seq2Seq) -> None:
        self._config = config
        self._model = model
        kept = config.checkpoints if isinstance(config, LastAveraging) else 1
        self._means: deque[_Weights] = deque(maxlen=kept)
        if isinstance(config, EmaAveraging):
            self._means.append(_copied(self._weights))

    @torch.no_grad()
    def after_step(self, step: int) -> None:
        """Take in the weights after an update; step: updates done."""
        if isinstance(self._config, EmaAveraging):
            decay = min(self._config.decay, (1 + step) / (10 + step))
            # Both name the parameters in the model's order.
            means, weights = list(self._means[0].values()), list(self._weights.values())
            torch._foreach_lerp_(means, weights, 1.0 - decay)

    def before_validation(self) -> None:
        """Take in the weights that a validation is about to look at."""
        if isinstance(self._config, LastAveraging):
            self._means.append(_copied(self._weights, "cpu"))

    @contextmanager
    def validating(self) -> Iterator[None]:
        """As `applied`, after `before_validation`; a block that raises undoes both."""
        before = list(self._means)
        self.before_validation()
        try:
            with self.applied():
                yield
        except BaseException:
            self._means.clear()
            self._means.extend(before)
            raise

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Inside the block, the model's weights are the mean."""
        if not self._means:
            yield
            return
        own = _copied(self._weights, "cpu")
        self._set({name: self._mean(name) for name in own})
        try:
            yield
        finally:
            self._set(own)

    def tensors(self) -> _Weights:
        """What to keep in order to go on."""
        return {
            f"{index}.{name}": tensor
            for index, weights in enumerate(self._means)
            for name, tensor in weights.items()
        }

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Go on from what `tensors` gave. Raises ValueError when they do not fit."""
        weights = self._weights
        count = {"none": 0, "ema": 1}.get(self._config.kind, len(tensors) // len(weights))
        means = [{name: f"{index}.{name}" for name in weights} for index in range(count)]
        wanted = {
            mean[name]: (weight.shape, weight.dtype)
            for mean in means
            for name, weight in weights.items()
        }
        if {name: (tensor.shape, tensor.dtype) for name, tensor in tensors.items()} != wanted:
            raise ValueError("they do not fit the model and training.averaging")
        for mean in means:
            saved = {name: tensors[mean[name]] for name in weights}
            is_ema = isinstance(self._config, EmaAveraging)
            self._means.append(_copied(saved, self._device if is_ema else "cpu"))

    @property
    def _device(self) -> torch.device:
        return next(self._model.parameters()).device

    @property
    def _weights(self) -> _Weights:
        return {name: parameter.detach() for name, parameter in self._model.named_parameters()}

    def _mean(self, name: str) -> Tensor:
        total = self._means[0][name].clone()
        for weights in list(self._means)[1:]:
            total += weights[name]
        return total / len(self._means)

    @torch.no_grad()
    def _set(self, values: _Weights) -> None:
        for name, weight in self._weights.items():
            weight.copy_(values[name])


def _copied(weights: _Weights, device: torch.device | str | None = None) -> _Weights:
    """A copy, on a device of its own where one is named."""
    return {name: weight.to(device or weight.device, copy=True) for name, weight in weights.items()}
