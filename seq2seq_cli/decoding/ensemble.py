"""Several models that decode as one; search knows no other interface."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from functools import reduce

import torch
from torch import Tensor

from seq2seq_cli.data.batching import Batch
from seq2seq_cli.data.vocabulary import PAD_ID
from seq2seq_cli.model.scoring import Losses, corpus_losses, evaluating
from seq2seq_cli.model.seq2seq import Decoding, Seq2Seq


class Ensemble:
    """One model, or several over one target vocabulary whose probabilities are averaged.

    Each reads the source in its own tokens: where a batch is asked for, there is one for each
    model, of the same sentences in the same order.
    """

    def __init__(self, models: Sequence[Seq2Seq]) -> None:
        self.models = list(models)

    def encode(self, batches: Sequence[Batch]) -> list[Decoding]:
        """Where decoding begins, for each model."""
        return [model.encode(batch) for model, batch in zip(self.models, batches, strict=True)]

    def step(
        self, token_ids: Tensor, decodings: Sequence[Decoding]
    ) -> tuple[Tensor, list[Decoding], Tensor | None]:
        """As `Seq2Seq.step`. The attention weights are those of the first model."""
        after, looks = [], []

        def steps() -> Iterator[Tensor]:
            for model, decoding in zip(self.models, decodings, strict=True):
                log_probs, stepped, look = model.step(token_ids, decoding)
                after.append(stepped)
                looks.append(look)
                yield log_probs

        return self._average(steps()), after, looks[0]

    def token_log_probs(self, batches: Sequence[Batch]) -> Tensor:
        """Log-probability of each real target token, <eos> counted, sentence by sentence."""
        return self._average(
            -model(batch, reduction="none")[0]
            for model, batch in zip(self.models, batches, strict=True)
        )

    def losses(self, batches: Iterable[Sequence[Batch]], device: torch.device) -> Losses:
        """Both losses of a corpus; batches: one for each model, on the CPU."""
        if len(self.models) == 1:
            return corpus_losses(self.models[0], (only for (only,) in batches), device)
        sums, num_tokens = [0.0, 0.0], 0
        for group in batches:
            on_device = [batch.to(device) for batch in group]
            with torch.inference_mode(), evaluating(self.models):
                sums[0] -= self.token_log_probs(on_device).sum().item()
                sums[1] += self._free_running(on_device).item()
            num_tokens += group[0].num_target_tokens
        return Losses(*(total / num_tokens for total in sums))

    def _free_running(self, batches: Sequence[Batch]) -> Tensor:
        """Summed loss when every step is fed the ensemble's own best guess."""
        decodings = self.encode(batches)
        trg_ids = batches[0].trg_ids
        fed, loss = trg_ids[:, 0], torch.zeros((), device=trg_ids.device)
        for wanted in trg_ids[:, 1:].unbind(dim=1):
            log_probs, decodings, _ = self.step(fed, decodings)
            real = wanted != PAD_ID
            loss -= log_probs[real, wanted[real]].sum()
            fed = log_probs.argmax(dim=1)
        return loss

    def _average(self, log_probs: Iterable[Tensor]) -> Tensor:
        """Of each model's, taken in one by one: over large vocabularies they are large."""
        total = reduce(torch.logaddexp, log_probs)
        return total - math.log(len(self.models)) if len(self.models) > 1 else total
