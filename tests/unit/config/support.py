"""Configs written, loaded and refused in the folder where one stands."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from seq2seq_cli.config import Config
from seq2seq_cli.config_file import load_config, parse_override
from seq2seq_cli.errors import ConfigError

CORPUS = "data: {dataset: phrasebook, source: de, target: en}\n"


def load(text: str | bytes, *overrides: str) -> Config:
    """The config of a file c.yaml with that text."""
    data = text if isinstance(text, bytes) else text.encode()
    Path("c.yaml").write_bytes(data)
    return load_config("c.yaml", map(parse_override, overrides))


def mistakes(text: str | bytes, *overrides: str) -> list[str]:
    """The lines of the error that it is refused with."""
    with pytest.raises(ConfigError) as caught:
        load(text, *overrides)
    return str(caught.value).split("\n")


def at(config: Config, key: str) -> Any:
    """What stands at a dotted key."""
    found: Any = config
    for part in key.split("."):
        found = getattr(found, part)
    return found
