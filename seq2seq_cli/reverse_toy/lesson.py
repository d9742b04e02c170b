"""One training of the toy, told step by step."""

from __future__ import annotations

import math
import re
import textwrap
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from seq2seq_cli.config.reverse_toy import (
    MAX_LENGTH,
    TASKS,
    ReverseToyConfig,
    SymbolsConfig,
)
from seq2seq_cli.config.sections import shown
from seq2seq_cli.config.training import ConstantForcing
from seq2seq_cli.console import table
from seq2seq_cli.device import resolve_device
from seq2seq_cli.errors import UsageError
from seq2seq_cli.evaluation.metrics import Score, bleu
from seq2seq_cli.reverse_toy.sequences import Sequences, draw_sequences
from seq2seq_cli.reverse_toy.task import (
    Answer,
    Progress,
    Scores,
    Task,
    answers,
    make_task,
    score,
    share_exact,
)

EXPECTED = 0.99
"""Share of exact answers that the defaults reach on a sound installation."""
_NUM_EXAMPLES = 5

Say = Callable[[str], None]


@dataclass(frozen=True)
class Lesson:
    """What came out of a training."""

    config: ReverseToyConfig
    scores: Scores
    bleu: Score | None
    """Of symbols, in sequences of four and more."""
    examples: list[Answer]
    loss_unit: str
    history: list[Progress]
    seconds: float

    @property
    def misses_target(self) -> bool:
        """Whether a training with the defaults did worse than it should."""
        own = {"seed", "device"}
        usual = TASKS[self.config.task]().model_dump(exclude=own)
        return self.config.model_dump(exclude=own) == usual and self.scores.exact_match < EXPECTED

    def as_json(self) -> dict[str, Any]:
        """As `reverse-toy --json` prints it."""
        scored = {"bleu": vars(self.bleu)} if self.bleu else {}
        examples = [
            {"source": answer.source, "target": answer.target, "output": answer.output}
            for answer in self.examples
        ]
        return {
            "task": self.config.task,
            **self.scores.as_json(),
            **scored,
            "seconds": self.seconds,
            "history": [
                {
                    "step": progress.step,
                    "teacher_forced_loss": progress.losses.loss,
                    "free_running_loss": progress.losses.free_running_loss,
                }
                for progress in self.history
            ],
            "examples": examples,
        }


def parse_sequence(text: str, digits: int) -> list[int]:
    """`3,1,4` as --sequence takes it. Raises UsageError."""
    parts = [part.strip() for part in text.split(",")]
    if not all(re.fullmatch("[0-9]{1,9}", part) and int(part) < digits for part in parts):
        raise UsageError(
            f"--sequence {shown(text)}: write whole numbers from 0 to {digits - 1} with commas "
            "between them, such as 3,1,4; --digits takes in more"
        )
    if len(parts) > MAX_LENGTH:
        raise UsageError(f"--sequence: {len(parts)} numbers; {MAX_LENGTH} are the most")
    return [int(part) for part in parts]


def give_lesson(config: ReverseToyConfig, sequence: Sequence[int] | None, say: Say) -> Lesson:
    """Train the config's model, telling of each stage.

    sequence: what is shown to be reversed; it is not trained on.

    Raises DeviceError, TrainingError.
    """
    begin = time.perf_counter()
    device = resolve_device(config.device)
    data = draw_sequences(config, sequence)
    task = make_task(config, data, device)

    say("1. Before training")
    say(_beginning(config, data))
    say(_paragraph(_shown(config, task, answers(task, [data.example])[0])))
    say("\n2. What the encoder hands over")
    say(_handover(task.handover(data.example)))
    say("\n3. Training")
    say(_plan(config, task, data))
    say("    step  teacher-forced  free-running")
    history: list[Progress] = []

    def tell(progress: Progress) -> None:
        history.append(progress)
        loss, free_running_loss = progress.losses
        say(f"{progress.step:>8,}{loss:>16.4f}{free_running_loss:>14.4f}")

    task.train(tell)
    say("\n4. After training")
    example = answers(task, [data.example])[0]
    say(_paragraph(_shown(config, task, example)))
    say("\n5. On sequences that it was never trained on")
    scores = score(task, data)
    overlap = _bleu(config, scores)
    say(_result(config, scores, overlap))
    others = [answer for answer in scores.answers if answer.source != example.source]
    spread = others[:: max(1, len(others) // _NUM_EXAMPLES)][:_NUM_EXAMPLES]
    return Lesson(
        config,
        scores,
        overlap,
        [example, *spread],
        task.unit,
        history,
        time.perf_counter() - begin,
    )


def _beginning(config: ReverseToyConfig, data: Sequences) -> str:
    source = list(data.example)
    wanted = f"{_listed(source[::-1])} is wanted; with the weights as they were drawn comes:"
    if not isinstance(config, SymbolsConfig):
        return _paragraph(
            f"An encoder LSTM of {config.hidden_size} cells reads {_listed(source)}, one number a "
            "step. A decoder LSTM as large writes one number a step, and reads the one before: its "
            f"own, and at first 0.0. {wanted}"
        )
    backwards = (
        f", from its end: {_listed(source[::-1])}, which makes it copying"
        if config.reverse_source
        else ""
    )
    return _paragraph(
        f"An encoder LSTM of {config.hidden_size} cells reads {_listed(source)}, one symbol's "
        f"vector a step{backwards}. A decoder LSTM as large writes one symbol a step, the "
        f"likeliest, and reads the one before, until it writes that this is the end. {wanted}"
    )


def _handover(shapes: dict[str, tuple[int, ...]]) -> str:
    axes = {"memory": "batch, symbols with <sos> and <eos>, size"}
    lines = [
        f"   {name:<8}{shape!s:<18}{axes.get(name, 'layers, batch, cells')}"
        for name, shape in shapes.items()
    ]
    context = sum(math.prod(shape) for name, shape in shapes.items() if name != "memory")
    meaning = (
        f"This is all that the decoder ever knows of the source, its context vector: {context} "
        "numbers, however long the source is."
    )
    if "memory" in shapes:
        meaning = (
            "With attention each step of the decoder looks back at the memory too, which is as "
            "long as the source."
        )
    return "\n".join([*lines, _paragraph(meaning)])


def _plan(config: ReverseToyConfig, task: Task, data: Sequences) -> str:
    forcing = config.teacher_forcing
    unit = "number" if config.task == "numbers" else "symbol"
    fed = f"the true {unit}, whatever it wrote itself (teacher forcing)"
    if not (isinstance(forcing, ConstantForcing) and forcing.ratio == 1.0):
        ratio = f"{forcing.ratio:g}" if isinstance(forcing, ConstantForcing) else forcing.kind
        fed = f"the true {unit} or, by a coin, its own (teacher forcing: {ratio})"
    held_out = sum(len(rows) for rows in data.held_out.values())
    return _paragraph(
        f"{config.steps:,} steps of {config.batch_size:,} sequences each, of "
        f"{data.num_distinct:,} different ones of length {config.length}. At each step the decoder "
        f"reads {fed}. The errors, in {task.unit}, are those of {held_out:,} sequences held out: "
        "teacher-forced, and free-running, reading its own output as it must when nobody knows the "
        "answer."
    )


def _result(config: ReverseToyConfig, scores: Scores, overlap: Score | None) -> str:
    lines = []
    by_length = scores.by_length()
    if len(by_length) > 1:
        rows = [("   length", "sequences", "exact")]
        for length, (count, share) in by_length.items():
            is_trained = length in config.length.as_range()
            name = f"   {length}" if is_trained else f"   {length}, not trained on"
            rows.append((name, f"{count}", f"{100 * share:.1f} %"))
        lines.append(table(rows))
    trained, others = _by_training(config, scores)
    for group, of_lengths in ((trained, "trained on"), (others, "not trained on")):
        if group:
            which = f" of lengths {of_lengths}" if others else ""
            lines.append(
                f"   {100 * share_exact(group):.1f} % of {len(group):,} sequences{which} are "
                "exact, free-running."
            )
    if overlap:
        lines.append(f"   BLEU {overlap.score:.2f}  {overlap.signature}")
    if reason := _shortfall(config, scores):
        lines.append(_paragraph(reason))
    return "\n".join(lines)


def _by_training(config: ReverseToyConfig, scores: Scores) -> tuple[list[Answer], list[Answer]]:
    """Answers to sequences of lengths trained on, and of others."""
    groups: tuple[list[Answer], list[Answer]] = [], []
    for answer in scores.answers:
        groups[len(answer.source) not in config.length.as_range()].append(answer)
    return groups


def _shortfall(config: ReverseToyConfig, scores: Scores) -> str | None:
    """Why the lengths trained on did not come out better; None where they did well."""
    usual = TASKS[config.task]()
    trained, _ = _by_training(config, scores)
    if not trained or share_exact(trained) >= EXPECTED:
        return None
    # With other changes than these, the reason may be any of them.
    unrelated = {"seed", "device", "length", "test_length"}
    before, after = usual.model_dump(exclude=unrelated), config.model_dump(exclude=unrelated)
    changed = {key for key in after if after[key] != before[key]}
    if not changed <= {"steps", "hidden_size", "reverse_source"}:
        return None
    if config.steps < usual.steps:
        return f"{config.steps:,} steps are few: without --steps it is {usual.steps:,}."
    is_narrow = config.hidden_size < usual.hidden_size
    is_long = config.length.longest > usual.length.longest
    if not (is_narrow or is_long):
        return None
    wider = max(usual.hidden_size, 4 * config.hidden_size)
    return (
        "Everything about the source has to pass through the context vector, and "
        f"{config.hidden_size} cells are too narrow for sequences of length {config.length}. This "
        "bottleneck is what attention was invented to avoid (Bahdanau et al. 2015). Compare "
        f"--hidden-size {wider}, or --sweep."
    )


def _paragraph(text: str) -> str:
    return textwrap.fill(
        text, 79, initial_indent="   ", subsequent_indent="   ", break_on_hyphens=False
    )


def _shown(config: ReverseToyConfig, task: Task, answer: Answer) -> str:
    """`[3, 1, 4] -> [4.0, 1.0, 3.0], rounded [4, 1, 3]`, or symbols."""
    if isinstance(config, SymbolsConfig):
        return f"{_listed(answer.source)} -> {_listed(answer.output)}"
    numbers = ", ".join(f"{number:z.1f}" for number in answer.output)
    rounded = _listed(task.answer(answer.output))
    return f"{_listed(answer.source)} -> [{numbers}], rounded {rounded}"


def _listed(items: Sequence[Any]) -> str:
    return f"[{', '.join(map(str, items))}]"


def _bleu(config: ReverseToyConfig, scores: Scores) -> Score | None:
    """BLEU of symbols as they are; None of numbers, and where no answer has the four symbols in a
    row that it counts."""
    if not isinstance(config, SymbolsConfig) or config.tested_lengths.longest < 4:
        return None
    written = [" ".join(map(str, answer.output)) for answer in scores.answers]
    wanted = [" ".join(map(str, answer.target)) for answer in scores.answers]
    return bleu(written, [wanted], "none")
