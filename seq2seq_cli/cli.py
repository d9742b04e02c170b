"""The command line: parses, calls, prints. Nothing heavy is imported before a command runs."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import sys
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from seq2seq_cli import __version__
from seq2seq_cli.config import DECODING_BATCH_SIZE
from seq2seq_cli.console import (
    configure_logging,
    harmless,
    json_line,
    log_to,
)
from seq2seq_cli.errors import DataError, SeqError, UsageError
from seq2seq_cli.locate import RUNS_DIR, check_can_hold_run, locate_model

if TYPE_CHECKING:
    from seq2seq_cli.config import Config
    from seq2seq_cli.decoding.translator import Translation
    from seq2seq_cli.training.dry_run import DryRun

logger = logging.getLogger("seq2seq")

app = typer.Typer(
    help="Train, use and score LSTM encoder-decoder translation models.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Only warnings and errors on stderr.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="More on stderr.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
ConfigName = Annotated[
    str, typer.Option("--config", metavar="FILE|NAME", help="A YAML file, or a shipped config.")
]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Replace a key: training.epochs=5."),
]
Device = Annotated[
    str | None, typer.Option("--device", metavar="D", help="auto, cpu, cuda, cuda:N or mps.")
]
DecodingDevice = Annotated[
    str, typer.Option("--device", metavar="D", help="auto, cpu, cuda, cuda:N or mps.")
]
Model = Annotated[
    str | None,
    typer.Option(
        "--model",
        metavar="RUN|FILE",
        help="A run (directory, or name under runs/) or model file; "
        "else $SEQ2SEQ_MODEL, else the latest run.",
    ),
]


def main() -> None:
    """The `seq2seq` command."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            # Translations are UTF-8 whatever the terminal's locale says.
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")
    with _reporting():
        try:
            app()
        finally:
            sys.stdout.flush()  # what cannot be written is found out here, not at exit


@contextmanager
def _reporting(debug: bool = False) -> Iterator[None]:
    """Turn an error inside the block into its lines on stderr and an exit code."""
    try:
        yield
    except SeqError as error:
        _fail(str(error), error.exit_code, debug)
    except KeyboardInterrupt:
        _fail("interrupted", 130, debug)
    except BrokenPipeError:
        # The reader of our output has gone (`seq2seq translate ... | head`): nothing is wrong.
        _drop_output()
        sys.exit(0)
    except (MemoryError, RuntimeError) as error:
        # torch has an OutOfMemoryError for GPUs only, and a RuntimeError for the rest.
        if not isinstance(error, MemoryError) and "memory" not in str(error):
            raise
        _fail(
            "out of memory: lower training.batch_size (or --batch-size) or the sizes of the "
            "model; `seq2seq train --dry-run` measures what a config takes",
            1,
            debug,
        )
    except OSError as error:
        try:
            sys.stdout.flush()
        except OSError:  # it was stdout that failed
            _drop_output()
        _fail(f"{error.filename or 'output'}: {error.strerror or error}", 1, debug)


def _fail(text: str, exit_code: int, debug: bool) -> None:
    if debug:
        traceback.print_exc()
    for line in text.split("\n"):
        print(f"error: {harmless(line)}", file=sys.stderr)
    sys.exit(exit_code)


def _drop_output() -> None:
    """Let what is left in stdout's buffer go nowhere, else Python complains of it at exit."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextmanager
def _command(quiet: bool, verbose: bool, debug: bool) -> Iterator[None]:
    """Log to stderr inside the block, at the level asked for; report errors."""
    configure_logging(logging.DEBUG if verbose else logging.WARNING if quiet else logging.INFO)
    with _reporting(debug):
        yield


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"seq2seq {__version__}")
        raise typer.Exit


@app.callback()
def _app(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    pass


@app.command()
def train(
    config_name: ConfigName,
    overrides: Overrides = None,
    run_dir: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where the run is kept; else runs/<name>.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last save.")] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the run that is there.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check everything, measure a few steps, keep nothing.")
    ] = False,
    as_json: AsJson = False,
    device_name: Device = None,
    quiet: Quiet = False,
    verbose: Verbose = False,
    debug: Debug = False,
) -> None:
    """Train a model as a config says."""
    with _command(quiet, verbose, debug):
        if resume and overwrite:
            raise UsageError("--resume goes on with a run, --overwrite replaces it: choose one")
        if resume and dry_run:
            raise UsageError("--dry-run measures a training from its start, without --resume")
        if as_json and not dry_run:
            raise UsageError(
                "--json goes with --dry-run; a training's figures are in its run's metrics.jsonl"
            )
        from seq2seq_cli.config_file import Override, load_config, parse_override

        laid_over = [parse_override(text) for text in overrides or []]
        if device_name is not None:
            laid_over.append(Override("device", device_name, "--device"))
        config = load_config(config_name, laid_over)
        run_dir = run_dir or RUNS_DIR / config.name
        check_can_hold_run(run_dir)
        with _missing_data_explained(config_name):
            if dry_run:
                report = _dry_run(config)
                print(json_line(report.as_json()) if as_json else report.as_table())
            else:
                _train(config, run_dir, resume, overwrite)


@contextmanager
def _missing_data_explained(config_name: str) -> Iterator[None]:
    """Some shipped configs are for data that people have to bring."""
    from seq2seq_cli.config_file import shipped_configs

    try:
        yield
    except DataError as error:
        if config_name in shipped_configs() and isinstance(error.__cause__, FileNotFoundError):
            raise DataError(f"{error}; it is yours to bring: --set data.train=FILE") from error
        raise


def _dry_run(config: Config) -> DryRun:
    from seq2seq_cli.device import resolve_device, resolve_precision
    from seq2seq_cli.training.dry_run import dry_run
    from seq2seq_cli.training.runs import new_trainer

    device = resolve_device(config.device)
    return dry_run(new_trainer(config, device, resolve_precision(config.precision, device)))


def _train(config: Config, run_dir: Path, resume: bool, overwrite: bool) -> None:
    from seq2seq_cli.device import resolve_device, resolve_precision
    from seq2seq_cli.evaluation.validation import Validator
    from seq2seq_cli.training import runs
    from seq2seq_cli.training.stopping import stop_on_signals

    device = resolve_device(config.device)
    precision = resolve_precision(config.precision, device)
    if resume:
        trainer = runs.resumed_trainer(run_dir, config, device, precision)
    else:
        if not overwrite:
            runs.check_is_free(run_dir)
        trainer = runs.new_trainer(config, device, precision)
        # Only now, with everything checked and read, is anything written or replaced.
        runs.begin_run(run_dir, config)
    with log_to(run_dir / "train.log"), stop_on_signals() as stop:
        trainer.log_start()
        validator = Validator(trainer.data.valid_texts, run_dir, device, trainer.plan)
        trainer.run(run_dir, validator, stop)
        logger.info('try it: seq2seq translate --model %s "..."', run_dir)


@app.command()
def check_data(
    config_name: ConfigName,
    overrides: Overrides = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    debug: Debug = False,
) -> None:
    """Look over a config's data before training on it. Exit code 1: something would hurt."""
    with _command(quiet, verbose, debug):
        from seq2seq_cli.checking.check import check_data
        from seq2seq_cli.checking.report import as_json as report_as_json
        from seq2seq_cli.checking.report import as_text
        from seq2seq_cli.config_file import load_config, parse_override

        config = load_config(config_name, [parse_override(text) for text in overrides or []])
        with _missing_data_explained(config_name):
            report = check_data(config.data)
        # What is wider than a terminal is cut there; a file or a pipe gets all of it.
        width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
        print(json_line(report_as_json(report)) if as_json else as_text(report, width))
    if report.harmful:
        raise typer.Exit(1)


@app.command()
def translate(
    texts: Annotated[
        list[str] | None, typer.Argument(metavar="[TEXT]...", help="What to translate.")
    ] = None,
    model: Model = None,
    input_name: Annotated[
        str | None,
        typer.Option("--input", metavar="FILE|-", help="Translate a file's lines; - is stdin."),
    ] = None,
    output_name: Annotated[
        str, typer.Option("--output", metavar="FILE|-", help="Where to write; - is stdout.")
    ] = "-",
    device_name: DecodingDevice = "cpu",
    batch_size: Annotated[
        int, typer.Option(min=1, metavar="N", help="Sentences translated at a time.")
    ] = DECODING_BATCH_SIZE,
    max_length: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Tokens a translation may have; else by the config."),
    ] = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    debug: Debug = False,
) -> None:
    """Translate text: the arguments, a file, or what is piped in. One line out for each line in."""
    with _command(quiet, verbose, debug):
        lines = _input_lines(texts or [], input_name)
        _check_output(output_name)
        location = locate_model(model)
        from seq2seq_cli.decoding.translator import Translator
        from seq2seq_cli.device import resolve_device

        translator = Translator.load(location.file, resolve_device(device_name))
        translations = _counted(translator.translate(lines, batch_size, max_length))
        shown = (
            json_line(_translation_json(translation)) if as_json else translation.text
            for translation in translations
        )
        _write_lines(shown, output_name)


def _check_output(name: str) -> None:
    """Before the work, not after it. Raises UsageError."""
    path = Path(name)
    if name != "-" and (path.is_dir() or not path.parent.is_dir()):
        raise UsageError(f"--output {name}: is a folder, or lies in none")
    if name != "-" and not os.access(path if path.exists() else path.parent, os.W_OK):
        raise UsageError(f"--output {name}: may not be written")


def _input_lines(texts: list[str], input_name: str | None) -> Iterable[str]:
    from seq2seq_cli.data.corpus import bounded_lines, iter_lines, read_lines

    if texts and input_name:
        raise UsageError("give text to translate, or --input, not both")
    if texts:
        return _argument_lines(texts)
    if sys.stdin is None or (input_name is None and sys.stdin.isatty()):
        raise UsageError('nothing to translate: seq2seq translate "text", --input FILE, or a pipe')
    if input_name in (None, "-"):
        name = "standard input"
        return iter_lines(bounded_lines(sys.stdin.buffer, name), name)
    return read_lines(Path(str(input_name)))


def _argument_lines(texts: list[str]) -> list[str]:
    try:
        # What was not UTF-8 on the command line arrives as lone surrogates.
        return [line for text in texts for line in text.encode().decode().split("\n")]
    except UnicodeEncodeError as error:
        raise UsageError("the text to translate is not valid UTF-8") from error


def _counted(translations: Iterable[Translation]) -> Iterator[Translation]:
    """Pass translations on; at the end, say how many lines had something done to them."""
    truncated = capped = 0
    for translation in translations:
        truncated += "truncated" in translation.flags
        capped += "length_capped" in translation.flags
        yield translation
    if truncated:
        logger.warning("%d lines were longer than data.max_length and cut to it", truncated)
    if capped:
        logger.warning("%d translations were ended at the length limit", capped)


def _translation_json(translation: Translation) -> dict[str, Any]:
    return {
        "source": translation.source,
        "translation": translation.text,
        "score": translation.score,
        "tokens": translation.tokens,
        "flags": translation.flags,
    }


def _write_lines(lines: Iterable[str], output_name: str) -> None:
    if output_name == "-":
        for line in lines:
            sys.stdout.write(line + "\n")
        sys.stdout.flush()
        return
    from seq2seq_cli.files import atomic_write

    path = Path(output_name)
    # A pipe or a device is written to; only a file can be replaced as a whole.
    replaced = not path.exists() or path.is_file()
    with (
        atomic_write(path) if replaced else contextlib.nullcontext(path) as target,
        target.open("wb") as file,
    ):
        file.writelines(line.encode() + b"\n" for line in lines)


@app.command()
def evaluate(
    bleu: Annotated[bool, typer.Option("--bleu", help="BLEU.")] = False,
    chrf: Annotated[bool, typer.Option("--chrf", help="chrF.")] = False,
    ter: Annotated[bool, typer.Option("--ter", help="Translation edit rate.")] = False,
    loss: Annotated[
        bool, typer.Option("--loss", help="Loss and perplexity, teacher-forced and free-running.")
    ] = False,
    model: Model = None,
    split: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Which split of the run's data; else its test split."),
    ] = None,
    source: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Score on this text instead.")
    ] = None,
    references: Annotated[
        list[Path] | None,
        typer.Option("--reference", metavar="FILE", help="Its translation; several are allowed."),
    ] = None,
    bleu_tokenize: Annotated[
        str | None, typer.Option(metavar="T", help="sacreBLEU tokenizer: 13a, intl, none, zh ...")
    ] = None,
    lowercase: Annotated[bool, typer.Option("--lowercase", help="Score without case.")] = False,
    output: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the translations there.")
    ] = None,
    as_json: AsJson = False,
    device_name: DecodingDevice = "cpu",
    quiet: Quiet = False,
    verbose: Verbose = False,
    debug: Debug = False,
) -> None:
    """Score a model on test data. With no metric named: BLEU, chrF and loss."""
    with _command(quiet, verbose, debug):
        if (source is None) != (not references):
            raise UsageError("--source and --reference go together")
        if source and split:
            raise UsageError("--split is for the run's own data, not with --source")
        _check_output(str(output) if output else "-")
        chosen = {"bleu": bleu, "chrf": chrf, "ter": ter, "loss": loss}
        wanted = [name for name, is_set in chosen.items() if is_set] or ["bleu", "chrf", "loss"]
        location = locate_model(model)
        from seq2seq_cli.decoding.translator import Translator
        from seq2seq_cli.device import resolve_device
        from seq2seq_cli.evaluation.evaluate import check_tokenizer, evaluate, results_table

        if bleu_tokenize is not None:
            if "bleu" not in wanted:
                raise UsageError("--bleu-tokenize is for BLEU, which was not asked for")
            check_tokenizer(bleu_tokenize)
        if source:
            sources, reference_lines = _read_files(source, references or [])
        else:
            sources, reference_lines = _read_split(location.run_dir, split or "test")
        translator = Translator.load(location.file, resolve_device(device_name))
        if translator.file.config.data.tokenizer.lowercase and not lowercase:
            logger.warning("the model writes lower case; --lowercase scores without case")
        evaluation = evaluate(
            translator,
            sources,
            reference_lines,
            wanted,
            bleu_tokenize=bleu_tokenize,
            lowercase=lowercase,
            keep_hypotheses=output is not None,
        )
        if evaluation.num_truncated:
            logger.warning("%d sources were cut to data.max_length", evaluation.num_truncated)
        results = {
            "model": str(location.file),
            "split": None if source else split or "test",
            **evaluation.results,
        }
        print(json_line(results) if as_json else results_table(results))
        if output:
            _write_lines(evaluation.hypotheses, str(output))


def _read_files(source: Path, references: list[Path]) -> tuple[list[str], list[list[str]]]:
    from seq2seq_cli.data.corpus import read_parallel

    columns = [
        list(zip(*read_parallel(source, reference), strict=True)) for reference in references
    ]
    if not all(columns):
        raise DataError(f"{source}: has no lines")
    return list(columns[0][1]), [list(targets) for _, _, targets in columns]


def _read_split(run_dir: Path | None, split: str) -> tuple[list[str], list[list[str]]]:
    if run_dir is None:
        raise UsageError(
            "a model file on its own has no test data: give --source FILE --reference FILE, "
            "or name the run's directory with --model"
        )
    from seq2seq_cli.config_file import load_config
    from seq2seq_cli.data.splits import read_split

    pairs = list(read_split(load_config(str(run_dir / "config.yaml")).data, split))
    return [source for source, _ in pairs], [[target for _, target in pairs]]
