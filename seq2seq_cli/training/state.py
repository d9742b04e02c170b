"""Where a training stands, and state.json, which keeps it."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import Annotated, Any

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from seq2seq_cli.config.sections import first_mistake
from seq2seq_cli.config.training import LearningRateScheduleConfig
from seq2seq_cli.errors import RunDirectoryError

FORMAT_VERSION = 2
"""Of last/. The first one had no checksums."""

_HexDigest = Annotated[str, Field(pattern="^[0-9a-f]+$", max_length=128)]
_Count = Annotated[int, Field(ge=0)]
_Seconds = Annotated[float, Field(ge=0.0)]


@dataclasses.dataclass
class TrainingState:
    """Where training stands. `epoch` and `batch` name the batch that comes next."""

    step: _Count = 0
    """Updates done, those skipped for a gradient that is no number among them."""
    epoch: Annotated[int, Field(ge=1)] = 1
    batch: _Count = 0
    best_score: float | None = None
    """The best value of validation.metric so far."""
    best_step: _Count = 0
    num_without_best: _Count = 0
    """Validations since the best one."""
    num_rate_drops: _Count = 0
    """How often a plateau has lowered the learning rate."""
    num_without_drop: _Count = 0
    """Validations without a new best since then."""
    train_loss_sum: float = 0.0
    """Training loss since the last validation, in nats, summed over target tokens."""
    train_tokens: _Count = 0
    """These tokens."""
    validated_step: _Count = 0
    """Step of the last validation."""
    skipped_steps: _Count = 0
    """Steps that changed nothing, their loss or gradient being no number."""
    skipped_in_a_row: _Count = 0
    """Of these, how many were the last ones."""
    logged_loss_sum: float = 0.0
    """Training loss since the last log line."""
    logged_tokens: _Count = 0
    """These tokens."""
    logged_seconds: _Seconds = 0.0
    """What their steps took."""
    seconds: _Seconds = 0.0
    """Spent in training steps."""
    validation_seconds: _Seconds = 0.0
    """Spent validating."""
    metrics_bytes: _Count = 0
    """Size of metrics.jsonl at this point; what comes after is cut off on resume."""
    config: dict[str, Any] = dataclasses.field(default_factory=dict)
    """What training has followed so far."""
    data_digests: dict[str, _HexDigest] = dataclasses.field(default_factory=dict)
    """Of the training and the validation data."""
    machine: dict[str, str | int] = dataclasses.field(default_factory=dict)
    """What the last bits of the weights depend on, beside config and data."""

    __pydantic_config__ = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    def take_score(self, score: float, metric: str, schedule: LearningRateScheduleConfig) -> bool:
        """Count a validation; returns whether its score, of validation.metric, is the best so far
        (which no infinity is)."""
        best = self.best_score
        if math.isfinite(score) and (
            best is None or (score > best if metric == "bleu" else score < best)
        ):
            self.best_score, self.best_step = score, self.step
            self.num_without_best = self.num_without_drop = 0
            return True
        self.num_without_best += 1
        self.num_without_drop += 1
        if schedule.kind == "plateau" and self.num_without_drop > schedule.patience:
            self.num_rate_drops += 1
            self.num_without_drop = 0
        return False

    def to_json(self) -> str:
        """state.json's text."""
        values = {"format_version": FORMAT_VERSION, **dataclasses.asdict(self)}
        return json.dumps(values, indent=2, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> TrainingState:
        """Raises ValueError for what `to_json` never wrote, RunDirectoryError for another format's,
        which is no damage."""
        try:
            values = json.loads(text)
        except RecursionError as error:
            raise ValueError("state.json is nested too deep") from error
        if not isinstance(values, dict):
            raise ValueError("state.json holds no object")
        check_version(values.pop("format_version", 1))
        try:
            return _SCHEMA.validate_json(json.dumps(values))
        except ValidationError as error:
            raise ValueError(f"state.json: {first_mistake(error)}") from error


_SCHEMA = TypeAdapter(TrainingState)


class OtherFormatError(RunDirectoryError):
    """A save that this version does not read, though nothing is wrong with it."""


def check_version(version: object) -> None:
    """Raises OtherFormatError, ValueError for what is no version."""
    if isinstance(version, bool) or not isinstance(version, int) or version < 1:
        raise ValueError("state.json: format_version: must be a whole number from 1 on")
    if version > FORMAT_VERSION:
        raise OtherFormatError(
            f"the save has format version {version}, this program reads {FORMAT_VERSION}: a newer "
            "seq2seq has written it, and that one goes on with it"
        )
    if version < FORMAT_VERSION:
        raise OtherFormatError(
            f"the save has format version {version}, this program goes on from {FORMAT_VERSION}: "
            "its translator is of use as it is, to train on takes the seq2seq that wrote it"
        )
