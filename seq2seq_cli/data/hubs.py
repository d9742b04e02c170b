"""Datasets on the Hugging Face Hub and on Kaggle, by way of their own libraries.

Both are optional and slow to import, so they are imported where they are used. They say much that
is not for our users (and on stdout, which is for data): warnings, logs and, where our own would not
show, progress bars are kept quiet.
"""

from __future__ import annotations

import contextlib
import functools
import io
import logging
import os
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePath
from typing import Any

from seq2seq_cli.config.data import DataConfig
from seq2seq_cli.console import bars_are_shown
from seq2seq_cli.data import fields
from seq2seq_cli.data.corpus import OnFault, PairSource
from seq2seq_cli.data.downloads import own_path
from seq2seq_cli.errors import DataError, DownloadError, SeqError, did_you_mean

logger = logging.getLogger("seq2seq")

_VALID_NAMES = ("validation", "valid", "dev", "val")
_TEST_NAMES = ("test",)
_BATCH_SIZE = 1000  # rows that are turned from Arrow into Python at a time

# Packages whose errors tell of the network. Some of them are no OSError.
_NETWORK_PACKAGES = {"aiohttp", "httpx", "huggingface_hub", "requests", "urllib3"}


# ---------------------------------------------------------------- Hugging Face


def hf_splits(config: DataConfig) -> tuple[str, ...]:
    """Return the splits of an `hf:` dataset: train, valid and test as far as it has them, and any
    others by their own names. Raises as `hf_source` does.
    """
    origin, found = _load(config)
    return tuple(_names_of_splits(config, origin, list(found)))


def hf_source(config: DataConfig, split: str) -> PairSource:
    """Return where the pairs of one of `hf_splits` come from; lines are rows, counted from 1.

    `$SEQ2SEQ_DATA/hf/NAME`, a folder laid out as on the hub, is read in place; else the dataset is
    fetched into the library's own cache, or found there.

    Raises DataError for a dataset, configuration or split that does not exist, for one that only
    some may read, and for data that the library cannot read; DownloadError without network.
    """
    origin, found = _load(config)
    name = _names_of_splits(config, origin, list(found))[split]
    dataset = found[name]
    label = f"{origin} {name}"

    def read(on_fault: OnFault) -> Iterator[tuple[int, str, str]]:
        codes = config.source, config.target
        wanted: tuple[str, str] | None = None
        if dataset.features is not None:
            columns = list(dataset.features.flatten())
            wanted = fields.named_columns(label, columns, config.columns, codes)
        for number, row in enumerate(_rows(dataset, label, wanted), 1):
            found = fields.flatten(row)
            if wanted is None:  # streamed files say what they hold by their first row
                wanted = fields.named_columns(label, list(found), config.columns, codes)
            pair = fields.text_fields(found, wanted)
            if isinstance(pair, str):
                on_fault(label, number, pair)
            else:
                yield number, *pair

    return PairSource(label, label, read)


def _names_of_splits(config: DataConfig, origin: str, there: list[str]) -> dict[str, str]:
    """The dataset's names of our splits."""

    def usual(names: tuple[str, ...]) -> str | None:
        return next((name for name in names if name in there and name != config.hf.train), None)

    names = {
        "train": config.hf.train,
        "valid": config.hf.valid or usual(_VALID_NAMES),
        "test": config.hf.test or usual(_TEST_NAMES),
    }
    chosen = {split: name for split, name in names.items() if name is not None}
    for split, name in chosen.items():
        if name not in there:
            raise DataError(
                f"{origin}: has no split {name!r}{did_you_mean(name, there)}; "
                f"set data.hf.{split} to one of: {', '.join(there)}"
            )
    others = {name: name for name in there if name not in chosen.values()}
    return others | chosen


def _load(config: DataConfig) -> tuple[str, Mapping[str, Any]]:
    """What to call the dataset, and its splits."""
    assert config.dataset
    name = config.dataset.removeprefix("hf:")
    folder = own_path("hf", name)
    if folder is not None and not folder.is_dir():
        logger.debug("%s is not there; using the hub's copy", folder)
        folder = None
    found = _load_dataset(name, folder, config.hf.config, config.hf.revision)
    origin = str(folder or config.dataset)
    return (f"{origin} ({config.hf.config})" if config.hf.config else origin), found


@functools.lru_cache(maxsize=1)  # each look at the hub takes seconds, and there are several
def _load_dataset(
    name: str, folder: Path | None, config_name: str | None, revision: str | None
) -> Mapping[str, Any]:
    label = str(folder) if folder else f"hf:{name}"
    with _explaining(label):
        datasets = _import_datasets(name)
        if folder is None:
            # Some names are file formats to the library: it would read all such files around here.
            if hasattr(datasets.packaged_modules, name):
                raise DataError(f"{label}: the datasets library keeps this name for itself")
            # In this form the name of a folder that happens to be here is not mistaken for it.
            place = f"hf://datasets/{name}"
        else:
            place = str(folder.resolve())
            if revision is not None:
                logger.info("%s is read as it is; data.hf.revision does not apply", folder)
                revision = None
        try:
            # A folder is streamed, for the library's cache takes no notice when a file in it is
            # changed; what comes from the hub is cached by its commit.
            builder = datasets.load_dataset_builder(place, config_name, revision=revision)
            # In CSV files `null`, `None` and `NA` would be no text, but they are words.
            options = (
                {"keep_default_na": False} if hasattr(builder.config, "keep_default_na") else {}
            )
            found: Mapping[str, Any] = datasets.load_dataset(
                place, config_name, revision=revision, streaming=folder is not None, **options
            )
        except ValueError:
            names = datasets.get_dataset_config_names(place, revision=revision)
            if config_name in names or (config_name is None and len(names) == 1):
                raise
            problem = (
                f"has no configuration {config_name!r}{did_you_mean(config_name, names)}"
                if config_name
                else "has several configurations"
            )
            raise DataError(
                f"{label}: {problem}; set data.hf.config to one of: {', '.join(names)}"
            ) from None
    return found


def _import_datasets(name: str) -> Any:
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")  # both are read by the import
    os.environ.setdefault("HF_UPDATE_DOWNLOAD_COUNTS", "0")
    try:
        import datasets
        from huggingface_hub.utils.tqdm import disable_progress_bars
    except ImportError as error:
        raise DataError(
            f"hf:{name} needs the datasets package: pip install 'seq2seq-cli[hf]'"
        ) from error
    for library in ("datasets", "huggingface_hub"):
        logging.getLogger(library).setLevel(logging.CRITICAL)  # what they report, they raise too
    if not bars_are_shown():
        datasets.utils.disable_progress_bars()
        disable_progress_bars()
    return datasets


def _rows(dataset: Any, label: str, wanted: tuple[str, str] | None) -> Iterator[dict[str, Any]]:
    """Rows with the columns that are wanted, and perhaps others."""
    number = 0
    try:
        with _quietly():
            if wanted is not None:  # other columns may be sounds or images to unpack
                dataset = dataset.select_columns(
                    [
                        name
                        for name in dataset.features
                        if any(f"{column}.".startswith(f"{name}.") for column in wanted)
                    ]
                )
        for batch in dataset.iter(batch_size=_BATCH_SIZE):
            for values in zip(*batch.values(), strict=True):
                number += 1
                yield dict(zip(batch, values, strict=True))
    except Exception as error:
        raise _explained(f"{label}, after row {number}", error) from error


# ---------------------------------------------------------------- Kaggle


def kaggle_file(config: DataConfig) -> Path:
    """Return the file on this machine that `kaggle:OWNER/NAME[/versions/N]/FILE` stands for.

    `$SEQ2SEQ_DATA/kaggle/OWNER/NAME/FILE` is taken when it is there, whatever version was asked
    for; else the file is fetched into the library's own cache, or found there.

    Raises DataError for a dataset or file that does not exist or that only some may read;
    DownloadError without network.
    """
    assert config.dataset
    owner, name, *rest = config.dataset.removeprefix("kaggle:").split("/")
    is_versioned = len(rest) > 2 and rest[0] == "versions" and rest[1].isdecimal()
    version = rest[1] if is_versioned else None
    file = "/".join(rest[2:] if version else rest)
    if PurePath(file).is_absolute() or ".." in PurePath(file).parts:
        raise DataError(f"{config.dataset}: {file} is not inside the dataset")
    own = own_path("kaggle", owner, name, file)
    if own is not None and own.is_file():
        if version:
            logger.info("%s is read as it is, whatever its version", own)
        return own
    handle = f"{owner}/{name}/versions/{version}" if version else f"{owner}/{name}"
    return _kaggle_download(handle, file)


@functools.lru_cache(maxsize=1)  # it asks for the latest version each time
def _kaggle_download(handle: str, file: str) -> Path:
    label = f"kaggle:{handle}/{file}"
    with (
        _explaining(label),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.ExitStack() as to,
    ):
        if not bars_are_shown():
            to.enter_context(contextlib.redirect_stderr(io.StringIO()))
        try:
            import kagglehub
        except ImportError as error:
            raise DataError(
                f"{label} needs the kagglehub package: pip install 'seq2seq-cli[kaggle]'"
            ) from error
        library_logger = logging.getLogger("kagglehub")
        library_logger.handlers.clear()  # they write to stdout
        library_logger.setLevel(logging.CRITICAL)
        path = Path(kagglehub.dataset_download(handle, path=file))
    if not path.is_file():
        raise DataError(f"{label}: the dataset has no such file")
    return path


# ---------------------------------------------------------------- what went wrong


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Keep the libraries' warnings, which are for programmers, from people's terminals."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextlib.contextmanager
def _explaining(label: str) -> Iterator[None]:
    """Turn whatever a library raises into an error of ours. They raise all kinds."""
    try:
        with _quietly():
            yield
    except SeqError:
        raise
    except Exception as error:
        raise _explained(label, error) from error


def _explained(label: str, error: Exception) -> SeqError:
    text = f"{label}: {_reason(error)}"
    status = getattr(getattr(error, "response", None), "status_code", None)
    if label.startswith("kaggle:") and status in (401, 403, 404):
        return DataError(
            f"{label}: Kaggle answers {status}: it does not exist, or only some may read it; for "
            "those, accept its conditions on kaggle.com, and set KAGGLE_API_TOKEN or save "
            "~/.kaggle/kaggle.json (kaggle.com/settings, API)"
        )
    if type(error).__name__ == "DatasetNotFoundError":
        return DataError(f"{text}; for one that only some may read, log in: hf auth login")
    packages = {base.__module__.partition(".")[0] for base in type(error).__mro__}
    is_network = isinstance(error, ConnectionError | TimeoutError) or packages & _NETWORK_PACKAGES
    if is_network and not isinstance(error, ValueError):  # ValueError: a name that cannot be
        if label.startswith("kaggle:"):  # the library's own text names a dozen things
            text = f"{label}: Kaggle {f'answers {status}' if status else 'cannot be reached'}"
        place = label.partition(" ")[0].replace(":", "/", 1)
        return DownloadError(
            f"{text}; a copy of your own can be used without network: "
            f"set SEQ2SEQ_DATA to a folder and put it there as {place}"
        )
    return DataError(text)


def _reason(error: BaseException) -> str:
    """The first line that says something, if need be of the error's cause."""
    cause: BaseException | None = error
    while cause is not None:
        for line in str(cause).splitlines():
            if line.strip() and line.strip() != "An error occurred while generating the dataset":
                return line.strip()
        cause = cause.__cause__
    return f"the library gives up ({type(error).__name__})"
