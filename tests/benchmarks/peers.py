"""What is compared: our own command line, the loop that tutorials teach, JoeyNMT 2.3.0 and
OpenNMT-py 3.5.1, on Multi30k.

Every side runs as whole processes, on the same text (`multi30k/*.lc.norm.tok.*` in the folder that
`SEQ2SEQ_DATA` names, words between white space) and the same words (at most 10,000, seen at least
twice), 128 sentences a step, Adam. The models with attention have the same sizes: a bidirectional
LSTM encoder of 2 layers x 256 a direction, a decoder of 2 x 512, embeddings of 256, additive
attention, dropout .3.

Training speed is the target tokens of the steps that a long run has more than a short one, over
the seconds it takes longer, so that neither start-up nor the file written at the end counts.
Tokens are the words and one <eos> a sentence, without padding, as each tool itself recorded them
for just these steps: batches of similar lengths (ours, OpenNMT-py) differ so much in tokens that
the mean of the corpus would be wrong by several percent. JoeyNMT has no such batches: it draws
sentences of any length and pads them, and that is part of its speed.

Translation speed is that of test_2016_flickr's 1,000 sentences (200 of them for the tutorial's
loop; three times over for ours, which is done too soon to be timed), 128 at a time for JoeyNMT, as
ours with a beam of 5: the whole process less one that translates a single sentence. It depends on
how long translations are, so every side first learns for some quick steps (`learn`: 120 for the
peers, 300 for ours, which needs them), so that its translations end by themselves, and none may be
longer than 50 words. How long they are still differs from side to side: compare tokens a second.
"""

from __future__ import annotations

import gzip
import json
import os
import re
import subprocess
import sys
import time
import venv
from abc import ABC, abstractmethod
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
import yaml

from seq2seq_cli.data.vocabulary import SPECIAL_TOKENS, Vocabulary

TORCH = "torch==2.13.0"
JOEYNMT = ("joeynmt==2.3.0", "importlib_metadata==10.2.0")
OPENNMT = "OpenNMT-py==3.5.1"
# OpenNMT-py itself asks for torch below 2.3, so it is installed without what it asks for.
OPENNMT_NEEDS = (
    "configargparse==1.9.0",
    "ctranslate2==4.8.5",
    "fasttext-wheel==0.9.2",
    "flask==3.1.3",
    "numpy==2.4.6",
    "pyahocorasick==2.3.1",
    "pyonmttok==1.38.1",
    "pyyaml==6.0.3",
    "rapidfuzz==3.14.6",
    "sacrebleu==2.6.0",
    "sentencepiece==0.2.3",
    "six==1.17.0",
    "spacy==3.8.18",
    "tensorboard==2.21.0",
    "waitress==3.0.2",
)
INSTALLATIONS = {
    "joey": ((TORCH,), JOEYNMT),
    "onmt": ((TORCH,), ("--no-deps", OPENNMT), OPENNMT_NEEDS),
}
"""Arguments of the calls of pip, one after the other, for each environment."""

BATCH_SIZE = 128
DROPOUT = 0.3
# As many sentences as seq2seq translates at a time with a beam of 5.
TRANSLATION_BATCH_SIZE, MAX_LENGTH = 128, 50
LEARNING_BATCH_SIZE, LEARNING_RATE = 32, 2e-3
NEVER = 1_000_000


class PeerError(Exception):
    """A side cannot be installed or run; the text says why."""


def install(folder: Path) -> None:
    """Make the peers' environments `folder`/joey and `folder`/onmt where they are not there yet.

    Raises PeerError when the package index does not give what they need."""
    for name, calls in INSTALLATIONS.items():
        installed = folder / name / "installed"
        wanted = repr(calls)
        if installed.exists() and installed.read_text(encoding="utf-8") == wanted:
            continue
        print(f"installing {folder / name} (some minutes, once) ...", flush=True)
        if not _python(folder / name).exists():
            venv.create(folder / name, with_pip=True)
        for arguments in calls:
            print(f"  pip install {' '.join(arguments)}", flush=True)
            pip = [str(_python(folder / name)), "-m", "pip", "install", "--quiet", *arguments]
            result = subprocess.run(pip, capture_output=True, text=True, check=False)
            if result.returncode:
                raise PeerError(
                    f"pip could not install {' '.join(arguments)} into {folder / name}; with a "
                    f"network and room for 3 GB, try again:\n{result.stderr.strip()[-2000:]}"
                )
        installed.write_text(wanted, encoding="utf-8")


def _python(environment: Path) -> Path:
    return environment / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


@dataclass(frozen=True)
class Texts:
    """The corpus in the plain files that all sides read."""

    folder: Path
    num_pairs: int

    def path(self, name: str, language: str) -> Path:
        """`name`: train, test, one (its first sentence), some (200 of them), often (test three
        times over) or vocabulary."""
        return self.folder / f"{name}.{language}"


def write_texts(folder: Path) -> Texts:
    """Multi30k, German to English, and its vocabularies as files in `folder`.

    Raises PeerError when `SEQ2SEQ_DATA` does not lead to it."""
    folder.mkdir(parents=True, exist_ok=True)
    texts = Texts(folder, 0)
    for language in ("de", "en"):
        train, test = (_corpus(stem, language) for stem in ("train", "test_2016_flickr"))
        counts = Counter(word for line in train for word in line.split())
        words = Vocabulary.from_counts(counts, min_freq=2, max_size=10_000).tokens
        files = {
            "train": train,
            "test": test,
            "one": test[:1],
            "some": test[:200],
            "often": test * 3,
            "vocabulary": words[len(SPECIAL_TOKENS) :],
        }
        for name, lines in files.items():
            text = "".join(line + "\n" for line in lines)
            texts.path(name, language).write_text(text, encoding="utf-8", newline="\n")
    return Texts(folder, len(train))


def _corpus(stem: str, language: str) -> list[str]:
    """Its lines, with one space between two words (JoeyNMT takes two for an empty word)."""
    path = Path(os.environ.get("SEQ2SEQ_DATA", ".")) / "multi30k" / f"{stem}.lc.norm.tok.{language}"
    zipped = path.with_name(path.name + ".gz")
    if not path.exists() and not zipped.exists():
        raise PeerError(
            f"there is no {zipped}: SEQ2SEQ_DATA names the folder in which multi30k/ has the files "
            "of https://github.com/multi30k/dataset, data/task1/tok"
        )
    data = path.read_bytes() if path.exists() else gzip.decompress(zipped.read_bytes())
    return [" ".join(line.split()) for line in data.decode().removesuffix("\n").split("\n")]


@dataclass(frozen=True)
class Training:
    """A training from its command to its end."""

    seconds: float
    num_tokens: int
    """Target words and <eos> of all its steps."""
    peak_bytes: int
    """The most memory that the process had."""


def training_speed(short: Training, long: Training) -> float:
    """Target tokens a second in the steps that `long` has more than `short`."""
    return (long.num_tokens - short.num_tokens) / (long.seconds - short.seconds)


@dataclass(frozen=True)
class Translation:
    """A translation of the test set, and one of a single sentence, from command to end."""

    whole_seconds: float
    one_seconds: float
    num_sentences: int
    num_tokens: int
    """Words and <eos> of the translations, but for the single sentence's."""

    @property
    def seconds(self) -> float:
        """Without start-up."""
        return self.whole_seconds - self.one_seconds

    @property
    def sentences_per_second(self) -> float:
        return self.num_sentences / self.seconds

    @property
    def tokens_per_second(self) -> float:
        return self.num_tokens / self.seconds

    @property
    def mean_length(self) -> float:
        """Words and <eos> of a translation."""
        return self.num_tokens / self.num_sentences


@dataclass(frozen=True)
class Recipe:
    """What differs from one training of a side to another."""

    num_steps: int
    batch_size: int
    learning_rate: float


class Side(ABC):
    """A tool whose trainings and translations are processes that can be timed."""

    variables: ClassVar[dict[str, str]] = {}
    """Of the processes' environment, beside those of this one."""
    learning_steps: ClassVar[int] = 120
    """Steps after which its translations end."""
    test: ClassVar[str] = "test"
    """The text that it translates."""

    def __init__(self, name: str, texts: Texts, folder: Path) -> None:
        """folder: for what it writes; no other side may have it."""
        self.name = name
        self.texts = texts
        self.folder = folder.absolute()
        self.folder.mkdir(parents=True, exist_ok=True)

    def train(self, num_steps: int) -> Training:
        """Raises PeerError, as all that follow, when the tool fails."""
        run_dir = self.folder / "train"
        seconds = self._train(run_dir, Recipe(num_steps, BATCH_SIZE, 1e-3))
        return Training(seconds, self._num_trained_tokens(run_dir), self._peak_bytes)

    def learn(self) -> None:
        """Train the model that `translate` takes."""
        recipe = Recipe(self.learning_steps, LEARNING_BATCH_SIZE, LEARNING_RATE)
        self._train(self.folder / "learn", recipe)

    def translate(self, beam_size: int) -> Translation:
        """Translate the test set; 1 is greedy."""
        seconds, num_tokens = {}, {}
        for name in ("one", self.test):
            output = self.folder / f"{name}.{beam_size}.txt"
            source = self.texts.path(name, "de")
            seconds[name] = self._translate(self.folder / "learn", source, output, beam_size)
            lines = output.read_text(encoding="utf-8").removesuffix("\n").split("\n")
            num_tokens[name] = sum(len(line.split()) + 1 for line in lines)
        num_sentences = len(lines) - 1
        return Translation(
            seconds[self.test],
            seconds["one"],
            num_sentences,
            num_tokens[self.test] - num_tokens["one"],
        )

    @abstractmethod
    def _train(self, run_dir: Path, recipe: Recipe) -> float:
        """Train from scratch; the seconds that took."""

    @abstractmethod
    def _num_trained_tokens(self, run_dir: Path) -> int:
        """Target words and <eos> of all steps of the training there."""

    @abstractmethod
    def _translate(self, run_dir: Path, source: Path, output: Path, beam_size: int) -> float:
        """Translate a file with the model trained there; the seconds that took."""

    def _run(
        self,
        log: Path,
        *command: str | Path,
        source: Path | None = None,
        output: Path | None = None,
    ) -> float:
        """Run a command with `source` as its input; the seconds that took.

        What it prints goes to `log`, but where there is an `output`, stdout goes there."""
        begin = time.perf_counter()
        with (
            log.open("wb") as errors,
            (source or Path(os.devnull)).open("rb") as stdin,
            (output or Path(os.devnull)).open("wb") as stdout,
        ):
            process = subprocess.Popen(
                command,
                stdin=stdin,
                stdout=stdout if output else errors,
                stderr=errors,
                env=os.environ | self.variables,
            )
            _, status, usage = os.wait4(process.pid, 0)
        code = process.returncode = os.waitstatus_to_exitcode(status)
        self._peak_bytes = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
        seconds = time.perf_counter() - begin
        if code:
            last = log.read_text(encoding="utf-8", errors="replace")[-2000:]
            raise PeerError(f"{self.name} failed (exit code {code}, {log}):\n{last}")
        return seconds

    def _write_yaml(self, name: str, content: dict[str, Any]) -> Path:
        path = self.folder / name
        path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
        return path


TUTORIAL_SIZES = {"embedding_dim": 256, "hidden_size": 512, "num_layers": 2}
TUTORIAL_MODEL = {"encoder": TUTORIAL_SIZES, "decoder": TUTORIAL_SIZES, "dropout": 0.5}


def attention_model(place: str) -> dict[str, Any]:
    """place: of the attention, `deep` or `input_feeding`."""
    sizes = {"embedding_dim": 256, "num_layers": 2}
    attention = {"kind": "additive", "place": place}
    return {
        "encoder": {**sizes, "hidden_size": 256, "bidirectional": True},
        "decoder": {**sizes, "hidden_size": 512, "attention": attention},
        "dropout": {"embedding": DROPOUT, "hidden": DROPOUT, "output": DROPOUT},
    }


class Ours(Side):
    """`python -m seq2seq_cli`."""

    # After 120 quick steps, 44 % of its greedy translations run to the cap; after 300, .3 %.
    learning_steps: ClassVar[int] = 300
    # The test set alone takes it no longer than to start does.
    test: ClassVar[str] = "often"

    def __init__(
        self,
        name: str,
        texts: Texts,
        folder: Path,
        model: dict[str, Any],
        *,
        precision: str = "auto",
        device: str = "cpu",
        forcing: float = 1.0,
    ) -> None:
        super().__init__(name, texts, folder)
        self._model = model
        self._precision = precision
        self._device = device
        self._forcing = forcing

    def _train(self, run_dir: Path, recipe: Recipe) -> float:
        train = {
            side: str(self.texts.path("train", language))
            for side, language in (("source", "de"), ("target", "en"))
        }
        config = {
            "precision": self._precision,
            "data": {
                "train": train,
                "valid": "none",
                # Else it would be cut from the training data.
                "test": "none",
                "tokenizer": {"kind": "whitespace"},
                "vocabulary": {"max_size": 10_000, "min_freq": 2},
            },
            "model": self._model,
            "training": {
                "epochs": None,
                "batch_size": recipe.batch_size,
                "optimizer": {"kind": "adam", "learning_rate": recipe.learning_rate},
                "teacher_forcing": {"kind": "constant", "ratio": self._forcing},
                "gradient_clip_norm": 1.0,
                "log_every": recipe.num_steps,
                "save_every": NEVER,
            },
            "validation": {"metric": "train_loss", "every": NEVER},
        }
        path = self._write_yaml("train.yaml", config)
        steps = f"training.max_steps={recipe.num_steps}"
        options = ("--config", path, "--set", steps, "--run-dir", run_dir, "--overwrite", "--quiet")
        command = (sys.executable, "-m", "seq2seq_cli", "train", "--device", self._device)
        return self._run(self.folder / "train.log", *command, *options)

    def _num_trained_tokens(self, run_dir: Path) -> int:
        lines = (run_dir / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
        [event] = [event for event in map(json.loads, lines) if event["event"] == "train"]
        speed, seconds = float(event["target_tokens_per_second"]), float(event["seconds"])
        return round(speed * seconds)

    def _translate(self, run_dir: Path, source: Path, output: Path, beam_size: int) -> float:
        options: list[str | Path] = ["--model", run_dir, "--input", source, "--output", output]
        options += ["--precision", self._precision, "--device", self._device]
        options += _arguments({"--beam-size": beam_size, "--max-length": MAX_LENGTH})
        log = self.folder / "translate.log"
        return self._run(log, sys.executable, "-m", "seq2seq_cli", "translate", *options)


class Tutorial(Side):
    """The loop of `tests/benchmarks/tutorial.py`."""

    # It takes one step after the other, so its speed does not hang on how many there are.
    learning_steps: ClassVar[int] = 5
    test: ClassVar[str] = "some"

    def __init__(
        self, texts: Texts, folder: Path, *, device: str = "cpu", forcing: float = 1.0
    ) -> None:
        super().__init__("the tutorial's loop", texts, folder)
        self._forcing = forcing
        self._device = device

    def _train(self, run_dir: Path, recipe: Recipe) -> float:
        run_dir.mkdir(exist_ok=True)
        numbers = [str(recipe.num_steps), str(recipe.batch_size), str(self._forcing)]
        return self._call("train", run_dir, *numbers)

    def _num_trained_tokens(self, run_dir: Path) -> int:
        return int((run_dir / "tokens").read_text(encoding="utf-8"))

    def _translate(self, run_dir: Path, source: Path, output: Path, beam_size: int) -> float:
        if beam_size != 1:
            raise PeerError("tutorials translate greedily")
        return self._call("translate", run_dir, source, output, str(MAX_LENGTH))

    def _call(self, verb: str, *arguments: str | Path) -> float:
        command = (sys.executable, "-m", "tests.benchmarks.tutorial", self._device, verb)
        return self._run(self.folder / f"{verb}.log", *command, self.texts.folder, *arguments)


class JoeyNMT(Side):
    """environment: the folder in which JoeyNMT is installed."""

    def __init__(self, texts: Texts, folder: Path, environment: Path) -> None:
        super().__init__("JoeyNMT 2.3.0", texts, folder)
        self._command = (_python(environment.absolute()), "-m", "joeynmt")

    def _config(self, run_dir: Path, recipe: Recipe, beam_size: int) -> dict[str, Any]:
        def language(code: str) -> dict[str, Any]:
            words = str(self.texts.path("vocabulary", code))
            return {"lang": code, "level": "word", "voc_file": words, "max_length": 100}

        recurrent = {
            "type": "recurrent",
            "rnn_type": "lstm",
            "embeddings": {"embedding_dim": 256},
            "num_layers": 2,
            "dropout": DROPOUT,
        }
        return {
            "name": "benchmark",
            "model_dir": str(run_dir),
            "use_cuda": False,
            "random_seed": 1,
            "data": {
                "train": str(self.texts.folder / "train"),
                "dev": str(self.texts.folder / "one"),
                "dataset_type": "plain",
                "src": language("de"),
                "trg": language("en"),
            },
            "training": {
                "batch_size": recipe.batch_size,
                "batch_type": "sentence",
                "optimizer": "adam",
                "learning_rate": recipe.learning_rate,
                "learning_rate_min": 1e-8,
                # The plateau scheduler, its usual one, crashes on current torch.
                "scheduling": "exponential",
                "clip_grad_norm": 1.0,
                "normalization": "tokens",
                "epochs": NEVER,
                "updates": recipe.num_steps,
                "logging_freq": NEVER,
                "validation_freq": NEVER,
                "overwrite": True,
            },
            "testing": {
                "beam_size": beam_size,
                "beam_alpha": 1.0,
                "batch_size": TRANSLATION_BATCH_SIZE,
                "max_output_length": MAX_LENGTH,
            },
            "model": {
                "encoder": {**recurrent, "hidden_size": 256, "bidirectional": True},
                "decoder": {
                    **recurrent,
                    "hidden_size": 512,
                    "hidden_dropout": DROPOUT,
                    "input_feeding": True,
                    "init_hidden": "bridge",
                    "attention": "bahdanau",
                },
            },
        }

    def _train(self, run_dir: Path, recipe: Recipe) -> float:
        path = self._write_yaml("train.yaml", self._config(run_dir, recipe, 1))
        log = self.folder / "train.log"
        return self._run(log, *self._command, "train", path, "--skip-test")

    def _num_trained_tokens(self, run_dir: Path) -> int:
        state = torch.load(run_dir / "latest.ckpt", weights_only=True, mmap=True)
        return int(state["stats_state"]["total_tokens"])

    def _translate(self, run_dir: Path, source: Path, output: Path, beam_size: int) -> float:
        recipe = Recipe(self.learning_steps, LEARNING_BATCH_SIZE, LEARNING_RATE)
        path = self._write_yaml("translate.yaml", self._config(run_dir, recipe, beam_size))
        log = self.folder / "translate.log"
        # Its --output-path crashes, so the translation is what it prints.
        command = (*self._command, "translate", path)
        return self._run(log, *command, source=source, output=output)


class OpenNMT(Side):
    """environment: the folder in which OpenNMT-py is installed."""

    # Current torch does not read its model files without being told to trust them.
    variables: ClassVar[dict[str, str]] = {"TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "1"}

    def __init__(
        self, texts: Texts, folder: Path, environment: Path, *, input_feeding: bool
    ) -> None:
        suffix = "input feeding" if input_feeding else "no input feeding"
        super().__init__(f"OpenNMT-py 3.5.1, {suffix}", texts, folder)
        self._python = _python(environment.absolute())
        self._input_feeding = input_feeding

    def _train(self, run_dir: Path, recipe: Recipe) -> float:
        files = {
            f"path_{side}": str(self.texts.path("train", language)) for side, language in _SIDES
        }
        vocabularies = {
            f"{side}_vocab": str(self.texts.path("vocabulary", language))
            for side, language in _SIDES
        }
        config = {
            "data": {"corpus": {**files, "transforms": [], "weight": 1}},
            **vocabularies,
            "vocab_size_multiple": 1,
            "save_model": str(run_dir / "model"),
            "train_steps": recipe.num_steps,
            "save_checkpoint_steps": NEVER,
            "valid_steps": NEVER,
            "report_every": 1,
            "seed": 1,
            "encoder_type": "brnn",
            "decoder_type": "rnn",
            "rnn_type": "LSTM",
            "layers": 2,
            "word_vec_size": 256,
            "hidden_size": 512,
            "global_attention": "mlp",
            "input_feed": int(self._input_feeding),
            "dropout": [DROPOUT],
            "optim": "adam",
            "learning_rate": recipe.learning_rate,
            "max_grad_norm": 1.0,
            "batch_size": recipe.batch_size,
            "batch_type": "sents",
            "normalization": "tokens",
            # It sorts a bucket by length; one larger than the corpus would hold every pair several
            # times, and those of one batch it leaves out.
            "bucket_size": self.texts.num_pairs,
            # Its two loaders would prepare hundreds of batches during the first steps.
            "num_workers": 0,
        }
        path = self._write_yaml("train.yaml", config)
        command = (self._python, "-m", "onmt.bin.train", "-config", path)
        log = self.folder / f"{run_dir.name}.log"
        return self._run(log, *command)

    def _num_trained_tokens(self, run_dir: Path) -> int:
        log = (self.folder / f"{run_dir.name}.log").read_text(encoding="utf-8")
        return sum(map(int, re.findall(r"bsz: +\d+/ *(\d+)/", log)))

    def _translate(self, run_dir: Path, source: Path, output: Path, beam_size: int) -> float:
        model = run_dir / f"model_step_{self.learning_steps}.pt"
        numbers = {
            "-beam_size": beam_size,
            "-batch_size": TRANSLATION_BATCH_SIZE,
            "-max_length": MAX_LENGTH,
            # It would cap lengths by that of the source as well.
            "-max_length_ratio": 0,
        }
        options: list[str | Path] = ["-model", model, "-src", source, "-output", output]
        options += _arguments(numbers)
        return self._run(
            self.folder / "translate.log", self._python, "-m", "onmt.bin.translate", *options
        )


def _arguments(numbers: dict[str, int]) -> list[str]:
    return [text for option, number in numbers.items() for text in (option, str(number))]


_SIDES = (("src", "de"), ("tgt", "en"))
