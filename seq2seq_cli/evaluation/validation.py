"""What training asks for at each validation: BLEU, sample translations, curves."""

from __future__ import annotations

import logging
from pathlib import Path

import torch

from seq2seq_cli.decoding.translator import TranslationOptions, Translator
from seq2seq_cli.evaluation.metrics import bleu
from seq2seq_cli.evaluation.plots import draw_curves
from seq2seq_cli.files import problem
from seq2seq_cli.model.model_file import TranslatorFile
from seq2seq_cli.training.metrics_log import Event, read_metrics
from seq2seq_cli.training.schedules import Plan

logger = logging.getLogger("seq2seq")

NUM_SAMPLES = 3


class Validator:
    """The trainer's `on_validation`."""

    def __init__(
        self, pairs: list[tuple[str, str]], run_dir: Path, device: torch.device, plan: Plan
    ) -> None:
        """pairs: the validation texts; none where the config does without."""
        self._sources = [source for source, _ in pairs]
        self._references = [target for _, target in pairs]
        # The same sentences each time, from all over the set, so that people see them improve.
        spread = max(1, len(pairs) // NUM_SAMPLES)
        self._samples = range(0, len(pairs), spread)[:NUM_SAMPLES]
        self._run_dir = run_dir
        self._device = device
        self._plan = plan

    def __call__(self, translator: TranslatorFile, event: Event) -> dict[str, float]:
        """Translate the set, if there is one, and draw curves.png; returns {"bleu": score}."""
        scores = {"bleu": self._bleu(translator)} if self._sources else {}
        events = [*read_metrics(self._run_dir / "metrics.jsonl"), {**event, **scores}]
        try:
            draw_curves(self._run_dir / "curves.png", events, translator.config.name, self._plan)
        except OSError as error:  # a picture less is no reason to stop
            logger.warning("%s; the picture stays as it was", problem(error))
        return scores

    def _bleu(self, translator: TranslatorFile) -> float:
        """BLEU of greedy translations, of lower-cased text for a model that lower-cases; logs some
        of them."""
        greedy = TranslationOptions(beam_size=1)
        lines = Translator([translator], self._device).translate(self._sources, greedy)
        hypotheses = [translation.best.text for translation in lines]
        lowercase = translator.config.data.tokenizer.lowercase
        score = bleu(hypotheses, [self._references], lowercase=lowercase).score
        for index in self._samples:
            logger.info("  source      %s", self._sources[index])
            logger.info("  reference   %s", self._references[index])
            logger.info("  translation %s", hypotheses[index])
        return score
