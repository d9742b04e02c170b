"""The command `seq2seq reverse-toy`. What it needs is imported when it runs."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated

import typer

from seq2seq_cli.command_line import AsJson, Debug, Device, Quiet, Verbose, command, import_torch
from seq2seq_cli.config.reverse_toy import NUMBERS_SWEEP_LENGTH, TASKS, ReverseToyConfig
from seq2seq_cli.console import json_line, print_above_bars
from seq2seq_cli.errors import TrainingError, UsageError
from seq2seq_cli.text_io import check_output

logger = logging.getLogger("seq2seq")


def _usual(key: str) -> str:
    """`else 16, for symbols 64`: what reverse-toy does without the option."""
    numbers, symbols = (getattr(schema(), key) for schema in TASKS.values())
    return f"else {numbers}" + ("" if numbers == symbols else f", for symbols {symbols}")


def reverse_toy(
    task: Annotated[
        str | None,
        typer.Option(metavar="TASK", help="numbers (floats; the default) or symbols (embeddings)."),
    ] = None,
    hidden_size: Annotated[
        str | None, typer.Option(metavar="N", help=f"Cells of each LSTM; {_usual('hidden_size')}.")
    ] = None,
    length: Annotated[
        str | None,
        typer.Option(metavar="N|A-B", help=f"Lengths to train on; {_usual('length')}."),
    ] = None,
    test_length: Annotated[
        str | None,
        typer.Option(metavar="N|A-B", help="Lengths to test on; else those trained on."),
    ] = None,
    digits: Annotated[
        str | None,
        typer.Option(metavar="N", help=f"How many different digits; {_usual('digits')}."),
    ] = None,
    steps: Annotated[
        str | None, typer.Option(metavar="N", help=f"Updates; {_usual('steps')}.")
    ] = None,
    seed: Annotated[
        str | None,
        typer.Option(metavar="N", help=f"Of everything that is drawn; {_usual('seed')}."),
    ] = None,
    teacher_forcing: Annotated[
        str | None,
        typer.Option(
            metavar="RATIO", help="Share of steps at which the decoder is fed the true digit."
        ),
    ] = None,
    attention: Annotated[
        str | None, typer.Option(metavar="KIND", help="For symbols: none, dot, general, additive.")
    ] = None,
    reverse_source: Annotated[
        bool | None,
        typer.Option(
            "--reverse-source/--no-reverse-source", help="For symbols: read the source backwards."
        ),
    ] = None,
    sequence: Annotated[
        str | None, typer.Option(metavar="3,1,4", help="What is shown to be reversed.")
    ] = None,
    sweep: Annotated[
        bool,
        typer.Option(
            "--sweep",
            help="Train hidden sizes from 4 to 64 (numbers on lengths "
            f"{NUMBERS_SWEEP_LENGTH}), test to twice the length and draw what each can hold.",
        ),
    ] = False,
    plot: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.png", help="Draw the errors; of a sweep: else reverse-toy-sweep.png."
        ),
    ] = None,
    config_path: Annotated[
        Path | None,
        typer.Option(
            "--config", metavar="FILE", help="Options of model and training, and more, as YAML."
        ),
    ] = None,
    device_name: Device = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    debug: Debug = False,
) -> None:
    """Train a tiny encoder-decoder to reverse digits, and see how it works.

    Also a test of the installation: with the defaults, exit code 1 says that it learned too little.
    """
    advice = "lower batch_size, pairs, hidden_size or length"
    with command(quiet, verbose, debug, advice):
        from seq2seq_cli.config_file import Override, load_reverse_toy_config

        given = {
            "task": task,
            "hidden_size": hidden_size,
            "length": length,
            "test_length": test_length,
            "digits": digits,
            "steps": steps,
            "seed": seed,
            "teacher_forcing": teacher_forcing,
            "attention": attention,
            "reverse_source": None if reverse_source is None else str(reverse_source).lower(),
            "device": device_name,
        }
        overrides = [
            Override(key, value, f"--{key.replace('_', '-')}")
            for key, value in given.items()
            if value is not None
        ]
        for _, value, option in overrides:
            if not value.strip():  # of a shell variable that is not set, say
                raise UsageError(f"{option}: has no value")
        config = load_reverse_toy_config(config_path, overrides)
        if sweep and sequence is not None:
            raise UsageError("--sequence has no effect with --sweep")
        if plot or sweep:
            plot = plot or Path("reverse-toy-sweep.png")
            check_output("--plot", str(plot))
            from seq2seq_cli.evaluation.pictures import picture_format

            picture_format(plot)
        import_torch()
        if sweep:
            assert plot
            _reverse_toy_sweep(config, plot, as_json)
        else:
            _reverse_toy_lesson(config, sequence, plot, as_json)


def _reverse_toy_lesson(
    config: ReverseToyConfig, sequence: str | None, picture: Path | None, as_json: bool
) -> None:
    from seq2seq_cli.reverse_toy.lesson import EXPECTED, give_lesson, parse_sequence

    shown = None if sequence is None else parse_sequence(sequence, config.digits)
    lesson = give_lesson(config, shown, (lambda line: None) if as_json else print_above_bars)
    if as_json:
        print(json_line(lesson.as_json()))
    if picture:
        from seq2seq_cli.reverse_toy.plots import draw_lesson

        draw_lesson(picture, lesson)
        logger.info("drew %s", picture)
    if lesson.misses_target:
        raise TrainingError(
            f"{100 * lesson.scores.exact_match:.1f} % are exact; with the defaults it is "
            f"{100 * EXPECTED:.0f} % or more where everything works as it should"
        )


def _reverse_toy_sweep(config: ReverseToyConfig, picture: Path, as_json: bool) -> None:
    from seq2seq_cli.reverse_toy.plots import draw_sweep
    from seq2seq_cli.reverse_toy.sweep import run_sweep

    sweep = run_sweep(config)
    print(json_line(sweep.as_json()) if as_json else sweep.as_table())
    draw_sweep(picture, sweep)
    logger.info("drew %s", picture)
