"""Realisation: one sentence structure, said in German and in English."""

from seq2seq_cli.data.phrasebook import english, german
from seq2seq_cli.data.phrasebook.clauses import Sentence


def realise(spec: Sentence) -> tuple[str, str]:
    """Return the sentence in (German, English)."""
    return german.sentence(spec), english.sentence(spec)
