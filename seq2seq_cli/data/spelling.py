"""One spelling for what is the same to a tokenizer."""

from __future__ import annotations

import unicodedata

from seq2seq_cli.config.data import TokenizerConfig


def spelt(text: str, config: TokenizerConfig) -> str:
    """Text in the spelling that the config asks for."""
    if config.lowercase:
        text = text.lower()
    # After lower(), which can take a character apart (İ).
    return unicodedata.normalize("NFC", text) if config.nfc else text


def one_spaced(text: str) -> str:
    """Text with any white space as one space, and none at its ends. NUL, which would end a text
    for sentencepiece, is white space too."""
    return " ".join(text.replace("\0", " ").split())
