"""What the configs make of few pairs: 5,000 of Multi30k, and a table of 5,000 short sentences.

    python -m tests.benchmarks.few_pairs --run-dir runs/few-pairs
    python -m tests.benchmarks.few_pairs --run-dir runs/few-pairs --split test

`SEQ2SEQ_DATA` names the folder with `multi30k/` and `english-french/english_french.csv`. A training
that was finished before is read from its run, one that was interrupted goes on. BLEU is lower-cased
and by a beam of 5, minutes are of training without its validations.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from seq2seq_cli.console import table
from tests.benchmarks.variants import bleu, place, train, validations

TABLE = Path(os.environ.get("SEQ2SEQ_DATA", ".")) / "english-french" / "english_french.csv"
CORPORA = {
    "Multi30k de-en": {
        "data.dataset": "multi30k",
        "data.train": "null",
        "data.source": "de",
        "data.target": "en",
        "data.limit": "5000",
    },
    "English-French": {
        "data.dataset": "null",
        "data.train": str(TABLE),
        "data.source": "en",
        "data.target": "fr",
    },
}
CONFIGS = ("multi30k-tutorial", "multi30k-attention", "small-corpus")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run-dir", type=Path, default=Path("runs/few-pairs"))
    parser.add_argument("--corpora", nargs="+", choices=CORPORA, default=[*CORPORA])
    parser.add_argument("--configs", nargs="+", choices=CONFIGS, default=CONFIGS)
    parser.add_argument("--split", choices=["valid", "test"], default="valid")
    arguments = parser.parse_args()
    rows = []
    for corpus in arguments.corpora:
        for config in arguments.configs:
            run_dir = place(arguments.run_dir, f"{corpus} {config}", config, CORPORA[corpus])
            train(run_dir, config, CORPORA[corpus])
            score = bleu(run_dir, arguments.split, "--lowercase", "--beam-size", "5")
            minutes = validations(run_dir)[-1]["seconds"] / 60
            rows.append([corpus, config, f"{score:.1f}", f"{minutes:.0f}"])
    print(table([["corpus", "config", f"BLEU, {arguments.split}", "minutes"], *rows]))


if __name__ == "__main__":
    main()
