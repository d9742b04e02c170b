"""What can go wrong, as one tree.

SeqError                 anything this program reports in its own words
├── UsageError           the command line asks for something that cannot be
├── ConfigError          a config file or a --set value
├── DataError            a corpus or text file
├── ModelFileError       a translator file
├── DeviceError          a device or precision that this machine does not have
├── RunDirectoryError    a run directory that is in the way, in use, damaged, or not there
├── DownloadError        a download that failed (a failure while running, not a mistake)
├── TrainingError        training that cannot go on, or came to less than it should
├── SaveError            what training has done cannot be written
└── Interrupted          Ctrl-C or SIGTERM, with the work saved

Library code raises these; only the command line prints them and ends the process.
"""

import difflib
from collections.abc import Iterable


def did_you_mean(given: str, names: Iterable[str]) -> str:
    """` (did you mean x?)`, or nothing when no name is close."""
    close = difflib.get_close_matches(given, list(names), n=1)
    return f" (did you mean {close[0]}?)" if close else ""


class SeqError(Exception):
    """An error whose text is meant for the person at the terminal: what, where, and the way out."""

    exit_code = 2


class UsageError(SeqError):
    """The command line asks for something that cannot be."""


class ConfigError(SeqError):
    """A config that cannot be read or does not fit the schema; one line for each mistake."""


class DataError(SeqError):
    """A corpus that cannot be read as text pairs."""


class ModelFileError(SeqError):
    """A file that is not a translator this version can load."""


class DeviceError(SeqError):
    """A device or precision that this machine does not have."""


class RunDirectoryError(SeqError):
    """A run directory that holds a run already, is in use, or has nothing whole to go on from."""


class DownloadError(SeqError):
    """A download that did not succeed."""

    exit_code = 1


class TrainingError(SeqError):
    """Training cannot go on, its loss being no number; or the toy learned too little."""

    exit_code = 1


class SaveError(SeqError):
    """A file of a training that cannot be written; what was saved before is there."""

    exit_code = 1


class Interrupted(SeqError):
    """A signal asked the program to stop; the work so far is saved, where there is any to save."""

    def __init__(
        self, number: int, text: str = "stopped; the work so far is saved, --resume goes on"
    ) -> None:
        super().__init__(text)
        self.exit_code = 128 + number
