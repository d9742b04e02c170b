"""How the weights are learned, and when to look how well."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, Tag, model_validator

from seq2seq_cli.config.sections import (
    Count,
    Fraction,
    Positive,
    Section,
    Whole,
    by_kind,
    mistake,
    whole_number,
)


class AdamConfig(Section):
    kind: Literal["adam"] = "adam"
    """Kingma & Ba 2015."""
    learning_rate: Positive = 0.001
    """Step size."""


class AdamWConfig(Section):
    kind: Literal["adamw"] = "adamw"
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019)."""
    learning_rate: Positive = 0.001
    """Step size."""
    weight_decay: Annotated[float, Field(ge=0.0)] = 0.01
    """Share of each weight taken off per step, times the learning rate."""


class SgdConfig(Section):
    kind: Literal["sgd"] = "sgd"
    """Plain gradient descent."""
    learning_rate: Positive = 0.7
    """Step size."""
    momentum: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    """Share of the last update that carries on."""


OptimizerConfig = Annotated[
    Annotated[AdamConfig, Tag("adam")]
    | Annotated[AdamWConfig, Tag("adamw")]
    | Annotated[SgdConfig, Tag("sgd")],
    by_kind("adam"),
]


class ConstantRate(Section):
    kind: Literal["constant"] = "constant"
    """The optimizer's learning rate throughout."""


class PlateauRate(Section):
    kind: Literal["plateau"] = "plateau"
    """Multiply the rate by `factor` when the validation metric stops improving."""
    factor: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.5
    """What to multiply by."""
    patience: Annotated[Whole, Field(ge=0)] = 1
    """Validations without improvement that are let pass first."""


class CosineRate(Section):
    kind: Literal["cosine"] = "cosine"
    """Linear warm-up, then half a cosine down over the planned steps."""
    warmup_steps: Annotated[Whole, Field(ge=0)] = 200
    """Steps from 0 to the full rate."""
    final_ratio: Fraction = 0.0
    """Share of the full rate left at the end."""


class InverseSqrtRate(Section):
    kind: Literal["inverse_sqrt"] = "inverse_sqrt"
    """Linear warm-up, then down with the inverse square root of the step (Vaswani et al. 2017)."""
    warmup_steps: Count = 200
    """Steps from 0 to the full rate."""


class HalvingRate(Section):
    kind: Literal["halving"] = "halving"
    """The full rate for some epochs, then halved again and again (Sutskever et al. 2014)."""
    after_epochs: Annotated[float, Field(ge=0.0)] = 5.0
    """Epochs at the full rate; it is halved where they end."""
    every_epochs: Positive = 0.5
    """Epochs, or a part of one, from one halving to the next."""


LearningRateScheduleConfig = Annotated[
    Annotated[ConstantRate, Tag("constant")]
    | Annotated[PlateauRate, Tag("plateau")]
    | Annotated[CosineRate, Tag("cosine")]
    | Annotated[InverseSqrtRate, Tag("inverse_sqrt")]
    | Annotated[HalvingRate, Tag("halving")],
    by_kind("constant"),
]


class _Forcing(Section):
    kind: str
    per: Literal["step", "token"] = "step"
    """One coin for a target step of the whole batch, or one for every token of every sentence."""


class ConstantForcing(_Forcing):
    kind: Literal["constant"] = "constant"
    """The same ratio throughout."""
    ratio: Fraction = 1.0
    """Probability of feeding the true token."""


class LinearForcing(_Forcing):
    kind: Literal["linear"] = "linear"
    """From `start` to `end` in equal parts over the planned steps."""
    start: Fraction = 1.0
    """Probability of feeding the true token at the first step."""
    end: Fraction = 0.5
    """The same at the last step."""


class ExponentialForcing(_Forcing):
    kind: Literal["exponential"] = "exponential"
    """k^i at step i (Bengio et al. 2015)."""
    k: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.999
    """After 1 / (1 - k) steps the probability is about a third."""


class InverseSigmoidForcing(_Forcing):
    kind: Literal["inverse_sigmoid"] = "inverse_sigmoid"
    """k / (k + exp(i / k)) at step i (Bengio et al. 2015)."""
    k: Annotated[float, Field(ge=1.0)] = 300.0
    """After k ln k steps the probability is one half."""


TeacherForcingConfig = Annotated[
    Annotated[ConstantForcing, Tag("constant")]
    | Annotated[LinearForcing, Tag("linear")]
    | Annotated[ExponentialForcing, Tag("exponential")]
    | Annotated[InverseSigmoidForcing, Tag("inverse_sigmoid")],
    by_kind("constant"),
]


class NoAveraging(Section):
    kind: Literal["none"] = "none"
    """The weights as the last step left them are validated and kept."""


class EmaAveraging(Section):
    kind: Literal["ema"] = "ema"
    """An exponential moving average over the steps is validated and kept (Polyak 1992)."""
    decay: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.999
    """Share of the old average that stays at each step; less of it in the first steps."""


class LastAveraging(Section):
    kind: Literal["last"] = "last"
    """The mean of the weights at the last validations is validated and kept."""
    checkpoints: Annotated[Whole, Field(ge=2, le=100)] = 5
    """How many validations go into the mean."""


AveragingConfig = Annotated[
    Annotated[NoAveraging, Tag("none")]
    | Annotated[EmaAveraging, Tag("ema")]
    | Annotated[LastAveraging, Tag("last")],
    by_kind("none"),
]


class TrainingConfig(Section):
    epochs: Annotated[float, Field(gt=0.0, le=1e9)] | None = 10.0
    """Passes over the training data, 7.5 as well; null: until `max_steps` or `max_minutes`."""
    max_steps: Count | None = None
    """Optimizer updates at most."""
    max_minutes: Positive | None = None
    """Minutes at most; what depends on the planned steps does not follow the clock."""
    batch_size: Count = 128
    """Sentence pairs, or padded tokens of the larger side, in a batch."""
    batch_unit: Literal["sentences", "tokens"] = "sentences"
    """What `batch_size` counts."""
    accumulate: Count = 1
    """Batches whose gradients make one step together."""
    optimizer: OptimizerConfig = AdamConfig()
    """How gradients become updates."""
    learning_rate_schedule: LearningRateScheduleConfig = ConstantRate()
    """How the learning rate changes."""
    teacher_forcing: TeacherForcingConfig = ConstantForcing()
    """How often the decoder is fed the true token instead of its own."""
    gradient_clip_norm: Positive | None = 1.0
    """Gradients with a larger global norm are scaled down to it; null: never."""
    label_smoothing: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    """Share of the probability spread evenly over the vocabulary; training lines show that loss."""
    r_drop: Annotated[float, Field(ge=0.0)] = 0.0
    """Makes what two dropout masks let the model predict for a token agree: alpha of R-Drop (Liang
    et al. 2021), whose loss is halved, as a token counts once. Each batch is read twice for it;
    training lines show that loss."""
    loss_per: Literal["token", "sentence"] = "token"
    """What the gradient is a mean over: target tokens, or pairs (Sutskever et al. 2014)."""
    averaging: AveragingConfig = NoAveraging()
    """Which mean of the weights over time is the translator."""
    log_every: Count = 10
    """Steps between two log lines."""
    save_every: Count = 500
    """Steps between two saves of last/, which is saved at validations too."""
    save_every_minutes: Positive | None = 10.0
    """Minutes after which it is saved at the latest; null: only by steps."""
    max_skipped_steps: Count = 10
    """A step whose loss or gradient is no number changes nothing; this many in a row end the
    training."""

    @model_validator(mode="after")
    def _ends(self) -> TrainingConfig:
        if self.epochs is None and self.max_steps is None and self.max_minutes is None:
            raise mistake("needs one of epochs, max_steps, max_minutes: when to stop")
        schedules = self.learning_rate_schedule.kind, self.teacher_forcing.kind
        if self.epochs is None and self.max_steps is None and {"cosine", "linear"} & {*schedules}:
            raise mistake(
                "a cosine or linear schedule needs epochs or max_steps to end at, "
                "max_minutes alone does not say where that is"
            )
        return self


def _epoch_or_steps(value: Any) -> Any:
    if value == "epoch":
        return value
    steps = whole_number(value)
    if isinstance(steps, bool) or not isinstance(steps, int) or not 1 <= steps <= 1_000_000_000:
        raise mistake("must be `epoch` or a number of steps")
    return steps


class ValidationConfig(Section):
    every: Annotated[Literal["epoch"] | int, BeforeValidator(_epoch_or_steps)] = "epoch"
    """`epoch`, or a number of steps."""
    metric: Literal["loss", "free_running_loss", "train_loss", "bleu"] = "loss"
    """What decides which model is best. `train_loss`: the mean since the last validation; `bleu`:
    that of greedy translations."""
    patience: Count | None = None
    """Stop after this many validations in a row without a new best; null: never."""
