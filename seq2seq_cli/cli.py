"""The command line: parses, calls, prints. Nothing heavy is imported before a command runs."""

from __future__ import annotations

import logging
import math
import shutil
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice, tee
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from seq2seq_cli import __version__
from seq2seq_cli.command_line import (
    AsJson,
    Debug,
    Device,
    Precision,
    Quiet,
    Verbose,
    command,
    import_torch,
    reporting,
)
from seq2seq_cli.config import DECODING_HYPOTHESES, SCORING_BATCH_SIZE
from seq2seq_cli.console import json_line, log_to
from seq2seq_cli.errors import DataError, UsageError
from seq2seq_cli.locate import RUNS_DIR, check_can_hold_run, config_of_run, locate_models
from seq2seq_cli.reverse_toy.command import reverse_toy
from seq2seq_cli.text_io import InputLine, check_output, input_lines, lines_beside, write_lines

if TYPE_CHECKING:
    from seq2seq_cli.config import Config
    from seq2seq_cli.decoding.translator import Translation, Translator
    from seq2seq_cli.training.dry_run import DryRun

logger = logging.getLogger("seq2seq")

app = typer.Typer(
    help="Train, use and score LSTM encoder-decoder translation models.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

ConfigName = Annotated[
    str, typer.Option("--config", metavar="FILE|NAME", help="A YAML file, or a shipped config.")
]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Replace a key: training.epochs=5."),
]
DecodingDevice = Annotated[
    str, typer.Option("--device", metavar="D", help="auto, cpu, cuda, cuda:N or mps.")
]
Models = Annotated[
    list[str] | None,
    typer.Option(
        "--model",
        metavar="RUN|FILE",
        help="A run (directory, or name under runs/) or model file, or several for an ensemble; "
        "else $SEQ2SEQ_MODEL, else the latest run.",
    ),
]
BeamSize = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=10_000,
        metavar="N",
        help="Hypotheses kept; 1: greedy; else by the model's config.",
    ),
]


def main() -> None:
    """The `seq2seq` command."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            # Translations are UTF-8 whatever the terminal's locale says.
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")
    with reporting():
        try:
            app()
        finally:
            sys.stdout.flush()  # what cannot be written is found out here, not at exit


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
    config_name: Annotated[
        str | None,
        typer.Option(
            "--config",
            metavar="FILE|NAME",
            help="A YAML file, or a shipped config; with --resume --run-dir, else the run's own.",
        ),
    ] = None,
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
    with command(quiet, verbose, debug):
        if resume and overwrite:
            raise UsageError("--resume goes on with a run, --overwrite replaces it: choose one")
        if resume and dry_run:
            raise UsageError("--dry-run measures a training from its start, without --resume")
        if as_json and not dry_run:
            raise UsageError(
                "--json goes with --dry-run; a training's figures are in its run's metrics.jsonl"
            )
        if config_name is None and not (resume and run_dir):
            raise UsageError(
                "--config FILE|NAME says what to train; --resume --run-dir DIR goes on with a run "
                "as its own config says"
            )
        from seq2seq_cli.config_file import Override, load_config, parse_override

        laid_over = [parse_override(text) for text in overrides or []]
        if device_name is not None:
            laid_over.append(Override("device", device_name, "--device"))
        config = load_config(config_name or str(config_of_run(run_dir or Path())), laid_over)
        run_dir = run_dir or RUNS_DIR / config.name
        check_can_hold_run(run_dir)
        if resume:
            config_of_run(run_dir)
        import_torch()
        with _missing_data_explained(config_name):
            if dry_run:
                report = _dry_run(config)
                print(json_line(report.as_json()) if as_json else report.as_table())
            else:
                _train(config, run_dir, resume, overwrite)


@contextmanager
def _missing_data_explained(config_name: str | None) -> Iterator[None]:
    """Some shipped configs are for data that people have to bring."""
    from seq2seq_cli.config_file import shipped_configs

    try:
        yield
    except DataError as error:
        if config_name in shipped_configs() and isinstance(error.__cause__, FileNotFoundError):
            raise DataError(
                f"{error}; it is yours to bring: put it beside a copy of the config, or name it "
                "with --set data.train=..."
            ) from error
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
    from seq2seq_cli.files import locked
    from seq2seq_cli.training import runs
    from seq2seq_cli.training.loop import train
    from seq2seq_cli.training.stopping import stop_on_signals

    device = resolve_device(config.device)
    precision = resolve_precision(config.precision, device)
    with locked(run_dir), log_to(run_dir / "train.log") as begin_log:
        if resume:
            trainer = runs.resumed_trainer(run_dir, config, device, precision)
        else:
            if not overwrite:
                runs.check_is_free(run_dir)
            trainer = runs.new_trainer(config, device, precision)
            # Only now, with everything checked and read, is anything written or replaced.
            runs.begin_run(run_dir, config)
        begin_log()
        with stop_on_signals() as stop:
            trainer.log_start()
            validator = Validator(trainer.data.valid_texts, run_dir, device, trainer.plan)
            train(trainer, run_dir, validator, stop)
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
    with command(quiet, verbose, debug):
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
    models: Models = None,
    input_name: Annotated[
        str | None,
        typer.Option("--input", metavar="FILE|-", help="Translate a file's lines; - is stdin."),
    ] = None,
    output_name: Annotated[
        str | None, typer.Option("--output", metavar="FILE|-", help="Where to write; else stdout.")
    ] = None,
    beam_size: BeamSize = None,
    n_best: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=10_000,
            metavar="N",
            help="The N best translations of each line; from 2 on, as a Moses n-best list.",
        ),
    ] = None,
    length_penalty: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            max=10.0,
            metavar="A",
            help="Rank by score / length^A; else by the model's config.",
        ),
    ] = None,
    max_length: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Tokens a translation may have; else by the config."),
    ] = None,
    no_repeat_ngram: Annotated[
        int | None,
        typer.Option(min=0, metavar="N", help="No N tokens in a row come twice; 0: they may."),
    ] = None,
    temperature: Annotated[
        float | None,
        typer.Option(metavar="T", help="Draw translations instead; below 1, likelier ones."),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, metavar="N", help="Of --temperature's draws; else 1.")
    ] = None,
    replace_unk: Annotated[
        bool,
        typer.Option(
            "--replace-unk", help="For <unk>, the source word that the model looked at most."
        ),
    ] = False,
    dictionary: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="With --replace-unk: WORD, tab, TRANSLATION in a line."),
    ] = None,
    targets: Annotated[
        Path | None,
        typer.Option(
            "--score", metavar="TARGETS", help="Print how probable these translations are."
        ),
    ] = None,
    nbest_list: Annotated[
        Path | None,
        typer.Option(
            "--rescore", metavar="NBEST", help="Choose again from another system's Moses list."
        ),
    ] = None,
    rescore_weight: Annotated[
        float | None,
        typer.Option(
            min=0.0, max=1.0, metavar="W", help="The model's share in --rescore's totals; else .5."
        ),
    ] = None,
    attention: Annotated[
        Path | None,
        typer.Option(metavar="FILE.png", help="Draw where the model looked, for one sentence."),
    ] = None,
    interactive: Annotated[
        bool, typer.Option("--interactive", help="A prompt: type a sentence, see its translation.")
    ] = False,
    device_name: DecodingDevice = "cpu",
    precision: Precision = "float32",
    batch_size: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=1_000_000,
            metavar="N",
            help=f"Sentences at a time; otherwise what has {DECODING_HYPOTHESES} hypotheses, or "
            f"{SCORING_BATCH_SIZE} pairs to score.",
        ),
    ] = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    debug: Debug = False,
) -> None:
    """Translate text: the arguments, a file, or what is piped in. One line out for each line in.

    Several models translate as an ensemble.
    """
    with command(quiet, verbose, debug):
        given = {
            "TEXT": texts,
            "--input": input_name,
            "--output": output_name,
            "--beam-size": beam_size,
            "--n-best": n_best,
            "--length-penalty": length_penalty,
            "--max-length": max_length,
            "--no-repeat-ngram": no_repeat_ngram,
            "--temperature": temperature,
            "--seed": seed,
            "--replace-unk": replace_unk,
            "--dictionary": dictionary,
            "--score": targets,
            "--rescore": nbest_list,
            "--rescore-weight": rescore_weight,
            "--attention": attention,
            "--interactive": interactive,
            "--batch-size": batch_size,
            "--json": as_json,
        }
        _check_translate_options(
            [
                name
                for name, value in given.items()
                if not (value is None or value is False or value == [])
            ]
        )
        if temperature is not None and not 0.0 < temperature < math.inf:
            raise UsageError(f"--temperature {temperature:g}: must be a number above 0")
        if attention:
            check_output("--attention", str(attention))
            from seq2seq_cli.evaluation.pictures import picture_format

            picture_format(attention)
        output = "-" if output_name is None else output_name
        check_output("--output", output)
        lines = iter(() if interactive else input_lines(texts or [], input_name))
        locations = locate_models(models or [])
        import_torch()
        from seq2seq_cli.decoding.output import rescored_lines, score_lines, translation_lines
        from seq2seq_cli.decoding.translator import TranslationOptions, Translator
        from seq2seq_cli.device import resolve_device, resolve_precision

        device = resolve_device(device_name)
        files = [location.file for location in locations]
        translator = Translator.load(files, device, resolve_precision(precision, device))
        if targets:
            pairs, scored = tee(lines_beside(targets, lines))
            texts_only = ((line.text, target) for line, target in scored)
            scores = translator.score(texts_only, batch_size)
            write_lines(score_lines(pairs, scores, as_json=as_json), output)
            return
        if nbest_list:
            from seq2seq_cli.decoding.nbest import read_nbest, rescored

            lines, counted, read = tee(lines, 3)
            weight = 0.5 if rescore_weight is None else rescore_weight
            groups = read_nbest(nbest_list, counted)
            sources = (line.text for line in read)
            found = rescored(translator, sources, groups, weight, batch_size)
            shown = rescored_lines(lines, found, n_best=n_best or 1, as_json=as_json)
            write_lines(shown, output)
            return
        options = TranslationOptions(
            beam_size=beam_size,
            length_penalty=length_penalty,
            no_repeat_ngram_size=no_repeat_ngram,
            max_length=max_length,
            n_best=n_best or 1,
            temperature=temperature,
            seed=1 if seed is None else seed,
            with_attention=attention is not None or (as_json and translator.has_attention),
            replacements=_replacements(translator, dictionary) if replace_unk else None,
            batch_size=batch_size,
        )
        if interactive:
            from seq2seq_cli.interactive import run_prompt

            run_prompt(translator, options)
            return
        if attention:
            lines = iter(_one_sentence(lines))
        # Memory stays bounded: both are read together, but for the lines in work.
        lines, read = tee(lines)
        translations = translator.translate((line.text for line in read), options)
        if attention:
            translations = _drawn(translations, attention)
        shown = translation_lines(lines, translations, n_best=options.n_best, as_json=as_json)
        write_lines(shown, output)


def _check_translate_options(given: list[str]) -> None:
    """Refuse options that would have no effect. Raises UsageError."""
    searching = {"--beam-size", "--length-penalty", "--max-length", "--no-repeat-ngram"}
    drawing = {"--temperature", "--seed"}
    replacing = {"--replace-unk", "--dictionary"}
    without = {
        "--score": searching | drawing | replacing | {"--n-best", "--rescore", "--attention"},
        "--rescore": searching | drawing | replacing | {"--attention"},
        "--interactive": {"TEXT", "--input", "--output", "--json", "--score", "--rescore"}
        | {"--n-best", "--attention", "--batch-size"},
        "--temperature": {"--beam-size"},
    }
    needed = {
        "--seed": "--temperature",
        "--dictionary": "--replace-unk",
        "--rescore-weight": "--rescore",
    }
    for mode, useless in without.items():
        clash = [option for option in given if option in useless]
        if mode in given and clash:
            raise UsageError(f"{clash[0]} has no effect with {mode}")
    for option, other in needed.items():
        if option in given and other not in given:
            raise UsageError(f"{option} goes with {other}")


def _replacements(translator: Translator, dictionary: Path | None) -> dict[str, str]:
    from seq2seq_cli.decoding.unknown_words import read_dictionary

    if dictionary is None:
        return {}
    tokenizer = translator.file.config.data.tokenizer
    if tokenizer.kind in ("bpe", "unigram", "characters"):
        raise UsageError(
            f"--dictionary: the model reads {tokenizer.kind} tokens, and a dictionary has words"
        )
    return read_dictionary(dictionary, lowercase=tokenizer.lowercase)


def _one_sentence(lines: Iterable[InputLine]) -> list[InputLine]:
    first = list(islice(lines, 2))
    if len(first) != 1 or not first[0].text.strip():
        raise UsageError("--attention draws one sentence: give one line of text, not blank")
    return first


def _drawn(translations: Iterable[Translation], path: Path) -> Iterator[Translation]:
    from seq2seq_cli.evaluation.heatmap import draw_attention

    for translation in translations:
        best = translation.best
        if not best.tokens:
            raise UsageError("--attention: the translation is empty, there is nothing to draw")
        draw_attention(path, translation.source_tokens, best.tokens, best.attention or [])
        logger.info("drew %s", path)
        yield translation


@app.command()
def evaluate(
    bleu: Annotated[bool, typer.Option("--bleu", help="BLEU.")] = False,
    chrf: Annotated[bool, typer.Option("--chrf", help="chrF.")] = False,
    ter: Annotated[bool, typer.Option("--ter", help="Translation edit rate.")] = False,
    loss: Annotated[
        bool, typer.Option("--loss", help="Loss and perplexity, teacher-forced and free-running.")
    ] = False,
    models: Models = None,
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
    beam_size: BeamSize = None,
    output: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the translations there.")
    ] = None,
    as_json: AsJson = False,
    device_name: DecodingDevice = "cpu",
    precision: Precision = "float32",
    quiet: Quiet = False,
    verbose: Verbose = False,
    debug: Debug = False,
) -> None:
    """Score a model on test data. With no metric named: BLEU, chrF and loss."""
    with command(quiet, verbose, debug):
        if (source is None) != (not references):
            raise UsageError("--source and --reference go together")
        if source and split:
            raise UsageError("--split is for the run's own data, not with --source")
        check_output("--output", str(output) if output else "-")
        chosen = {"bleu": bleu, "chrf": chrf, "ter": ter, "loss": loss}
        wanted = [name for name, is_set in chosen.items() if is_set] or ["bleu", "chrf", "loss"]
        if beam_size is not None and wanted == ["loss"] and output is None:
            raise UsageError("--beam-size has no effect with --loss alone: nothing is translated")
        locations = locate_models(models or [])
        import_torch()
        from seq2seq_cli.decoding.translator import TranslationOptions, Translator
        from seq2seq_cli.device import resolve_device, resolve_precision
        from seq2seq_cli.evaluation.evaluate import check_tokenizer, evaluate, results_table

        if bleu_tokenize is not None:
            if "bleu" not in wanted:
                raise UsageError("--bleu-tokenize is for BLEU, which was not asked for")
            check_tokenizer(bleu_tokenize)
        if source:
            sources, reference_lines = _read_files(source, references or [])
        else:
            sources, reference_lines = _read_split(locations[0].run_dir, split or "test")
        files = [location.file for location in locations]
        device = resolve_device(device_name)
        translator = Translator.load(files, device, resolve_precision(precision, device))
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
            options=TranslationOptions(beam_size=beam_size),
        )
        if evaluation.num_truncated:
            logger.warning("%d sources were cut to data.max_length", evaluation.num_truncated)
        results = {
            "model": ", ".join(map(str, files)),
            "split": None if source else split or "test",
            **evaluation.results,
        }
        print(json_line(results) if as_json else results_table(results))
        if output:
            write_lines(evaluation.hypotheses, str(output))


app.command()(reverse_toy)


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
