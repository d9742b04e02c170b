"""What each part of the recipe brings: small-corpus on 5,000 pairs of Multi30k with one thing
changed, scored on its validation pairs.

    python -m tests.benchmarks.ledger --seeds 1 2 3 --only "the recipe"
    python -m tests.benchmarks.ledger

Each row is a training of its own, its learning rate brought down to zero within --steps: by the
default 26 times through the pairs, where the recipe's validation perplexity has begun to rise
again. (In half of that, dropout lowers perplexity and does not raise BLEU yet.) One that was
finished before is read from its run, one that was interrupted goes on; the table has all that were
finished with the config as it is now, whichever this call asked for. Figures are means over the
seeds, with the lowest and highest BLEU behind: BLEU of beam search, perplexity of the same weights
(by the row's own tokens), minutes of training without its validations.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

from seq2seq_cli.console import table
from tests.benchmarks.few_pairs import CORPORA
from tests.benchmarks.variants import bleu, place, train, validations

CONFIG = "small-corpus"
CORPUS = CORPORA["Multi30k de-en"]
ATTENTION = "model.decoder.attention"
CHANGES: dict[str, dict[str, str]] = {
    "the recipe": {},
    # Taken out.
    "attention after the bottom layer only": {
        ATTENTION: "{kind: additive, place: deep, word_vectors: true}"
    },
    "no word vectors in the context": {ATTENTION: "{kind: additive, place: every_layer}"},
    "no residual connections": {
        "model.encoder.residual": "false",
        "model.decoder.residual": "false",
    },
    "no tied embeddings": {"model.tied_embeddings": "none"},
    "no fixnorm": {"model.fixnorm": "false"},
    "no dropout": {"model.dropout": "0"},
    "no dropout before the output layer": {"model.dropout.output": "0"},
    "no label smoothing": {"training.label_smoothing": "0"},
    "no averaging": {"training.averaging": "{kind: none}"},
    "a constant learning rate": {"training.learning_rate_schedule": "{kind: constant}"},
    # Another choice.
    "dot attention": {ATTENTION: "{kind: dot, place: every_layer, word_vectors: true}"},
    "attention before the step": {ATTENTION: "{kind: additive, place: before, word_vectors: true}"},
    "input feeding": {ATTENTION: "{kind: additive, place: input_feeding, word_vectors: true}"},
    "batches of 128, four times the pairs": {"training.batch_size": "128"},
    "4,000 subwords": {"data.tokenizer": "{kind: bpe, size: 4000}"},
    "2,000 subwords": {"data.tokenizer": "{kind: bpe, size: 2000}"},
    "words": {"data.tokenizer": "{kind: words}", "data.vocabulary.min_freq": "2"},
    "twice the learning rate": {"training.optimizer": "{kind: adam, learning_rate: 2e-3}"},
    "twice the LSTMs' size": {
        "model.encoder.hidden_size": "256",
        "model.decoder.hidden_size": "512",
    },
    "three layers": {"model.encoder.num_layers": "3", "model.decoder.num_layers": "3"},
    "dropout of .4": {"model.dropout": "{embedding: 0.4, hidden: 0.4, output: 0.4}"},
    "dropout of .5": {"model.dropout": "{embedding: 0.5, hidden: 0.5, output: 0.5}"},
    # Put in.
    "word dropout of .1": {"model.dropout.word": "0.1"},
    "BPE-dropout of .1": {"data.tokenizer": "{kind: bpe, size: 8000, dropout: 0.1}"},
    "variational dropout": {"model.dropout.variational": "true"},
    "layer normalisation": {"model.layer_norm": "true"},
    "R-Drop of weight 2": {"training.r_drop": "2"},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run-dir", type=Path, default=Path("runs/ledger"))
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--only", nargs="+", metavar="ROW", default=[*CHANGES])
    arguments = parser.parse_args()
    if unknown := {*arguments.only} - CHANGES.keys():
        parser.error(f"no such row: {', '.join(unknown)}; there are: {', '.join(CHANGES)}")
    common = CORPUS | {"training.max_steps": str(arguments.steps)}
    folders = {
        name: place(arguments.run_dir, name, CONFIG, common | changes)
        for name, changes in CHANGES.items()
    }
    try:
        for name in arguments.only:
            for seed in arguments.seeds:
                settings = common | CHANGES[name] | {"seed": str(seed)}
                measure(folders[name] / str(seed), settings)
    finally:
        rows = [row(name, folder) for name, folder in folders.items()]
        header = ["", "BLEU", "range", "perplexity", "minutes", "seeds"]
        print(table([header, *filter(None, rows)]))


def measure(run_dir: Path, settings: dict[str, str]) -> None:
    """Train and score, unless that was done before."""
    result = run_dir / "ledger.json"
    if result.exists():
        return
    train(run_dir, CONFIG, settings)
    events = validations(run_dir)
    best = max(events, key=lambda event: event["bleu"])
    figures = {
        "bleu": bleu(run_dir, "valid"),
        "perplexity": best["perplexity"],
        "minutes": events[-1]["seconds"] / 60,
    }
    result.write_text(json.dumps(figures), encoding="utf-8")


def row(name: str, folder: Path) -> Sequence[str] | None:
    """What was measured; None where nothing was."""
    results = folder.glob("*/ledger.json")
    figures = [json.loads(result.read_text(encoding="utf-8")) for result in results]
    if not figures:
        return None
    scores, perplexities, minutes = (
        [each[key] for each in figures] for key in ("bleu", "perplexity", "minutes")
    )
    spread = f"{min(scores):.1f}-{max(scores):.1f}" if len(scores) > 1 else ""
    means = f"{fmean(scores):.1f}", spread, f"{fmean(perplexities):.2f}", f"{fmean(minutes):.0f}"
    return name, *means, str(len(scores))


if __name__ == "__main__":
    main()
