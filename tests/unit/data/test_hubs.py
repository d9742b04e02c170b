"""Datasets of the Hugging Face Hub and of Kaggle, as far as they can be had without network."""

import json
import logging
import sys
import types
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from seq2seq_cli.config.data import Columns, DataConfig, HubConfig
from seq2seq_cli.data import datasets, hubs
from seq2seq_cli.data.corpus import PairSource, refuse
from seq2seq_cli.errors import DataError, DownloadError, SeqError

Pairs = list[tuple[int, str, str]]
Fault = tuple[str, int, str]

JSONL = '{"de": "ja", "en": "yes"}\n{"de": "nein", "en": "no"}\n'
PAIRS = [(1, "ja", "yes"), (2, "nein", "no")]


@pytest.fixture(autouse=True)
def _fresh_caches() -> Iterator[None]:
    hubs._load_dataset.cache_clear()
    hubs._kaggle_download.cache_clear()
    yield
    hubs._load_dataset.cache_clear()
    hubs._kaggle_download.cache_clear()


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The datasets library, without network and with its caches in a folder of the test."""
    monkeypatch.setenv("HF_HUB_DISABLE_TELEMETRY", "1")
    monkeypatch.setenv("HF_UPDATE_DOWNLOAD_COUNTS", "0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        library = pytest.importorskip("datasets")
        import huggingface_hub.constants
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(library.config, "HF_HUB_OFFLINE", True)
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        monkeypatch.setattr(huggingface_hub.constants, name, str(tmp_path / "hub"), raising=False)
    for name in ("HF_DATASETS_CACHE", "HF_MODULES_CACHE"):
        monkeypatch.setattr(library.config, name, tmp_path / name)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf_home"))
    return library


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty SEQ2SEQ_DATA."""
    (tmp_path / "own").mkdir()
    monkeypatch.setenv("SEQ2SEQ_DATA", str(tmp_path / "own"))
    return tmp_path / "own"


@pytest.fixture
def make(library: Any, own: Path) -> Callable[..., Path]:
    """Makes a folder as it would be on the hub; its files by name."""

    def make(name: str, files: dict[str, str | bytes]) -> Path:
        folder = own / "hf" / name
        for file, content in files.items():
            path = folder / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.encode() if isinstance(content, str) else content)
        return folder

    return make


def config_of(
    dataset: str = "hf:owner/name",
    source: str = "de",
    target: str = "en",
    columns: Columns | None = None,
    **hf: str,
) -> DataConfig:
    return DataConfig(
        dataset=dataset, source=source, target=target, columns=columns, hf=HubConfig(**hf)
    )


def only_source(config: DataConfig, split: str = "train") -> PairSource:
    sources = datasets.pair_sources(config, split)
    assert sources is not None
    (source,) = sources
    return source


def pairs(config: DataConfig, split: str = "train") -> Pairs:
    return list(only_source(config, split).read(refuse))


def error_of(config: DataConfig, split: str = "train") -> SeqError:
    with pytest.raises(SeqError) as caught:
        pairs(config, split)
    assert "\n" not in str(caught.value)
    return caught.value


# --- Hugging Face ---


def test_a_folder_of_json_lines(make: Callable[..., Path]) -> None:
    folder = make("owner/name", {"train.jsonl": JSONL})
    assert pairs(config_of()) == PAIRS
    assert pairs(config_of(source="en", target="de")) == [
        (number, english, german) for number, german, english in PAIRS
    ]
    source = only_source(config_of())
    assert (source.source_name, source.target_name) == (f"{folder} train",) * 2
    assert list(source.read(refuse)) == list(source.read(refuse))


def test_a_folder_of_csv(make: Callable[..., Path]) -> None:
    words = "ger,English\nnull,zero\nKeine,None\nNA,nan\n"
    make("name", {"train.csv": words, "test.csv": 'ger,English\n"a\nb","c\r\nd"\n'})
    config = config_of("hf:name")
    assert pairs(config) == [(1, "null", "zero"), (2, "Keine", "None"), (3, "NA", "nan")]
    assert pairs(config, "test") == [(1, "a b", "c d")]
    assert datasets.splits(config) == ("train", "test")
    assert datasets.pair_sources(config, "valid") is None


def test_a_folder_of_parquet_with_translations(make: Callable[..., Path], tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    rows = [{"de": "ja", "en": "yes"}, {"de": None, "en": "no"}]
    table = pa.table({"id": [1, 2], "translation": rows})
    parquet.write_table(table, tmp_path / "table.parquet")
    data = (tmp_path / "table.parquet").read_bytes()
    folder = make("owner/name", {"data/train-00000-of-00001.parquet": data})
    assert pairs(config_of()) == [(1, "ja", "yes"), (2, "", "no")]
    with_card = (
        "---\ndataset_info:\n  features:\n  - name: id\n    dtype: int64\n"
        "  - name: translation\n    dtype:\n      translation:\n        languages:\n"
        "        - de\n        - en\n  splits:\n  - name: train\n    num_examples: 2\n---\n"
    )
    (folder / "README.md").write_text(with_card)
    hubs._load_dataset.cache_clear()
    assert pairs(config_of()) == [(1, "ja", "yes"), (2, "", "no")]


def test_columns_can_be_chosen(make: Callable[..., Path]) -> None:
    line = json.dumps({"a": {"b": "ja", "c": 1}, "d.e": "yes", "f": "no"}) + "\n"
    make("owner/name", {"train.jsonl": line})
    assert pairs(config_of(columns=Columns(source="a.b", target="d.e"))) == [(1, "ja", "yes")]
    by_number = config_of(columns=Columns(source=4, target=1))
    assert "its columns have names, not numbers; there are: " in str(error_of(by_number))
    _, _, there = str(error_of(config_of())).partition("there are: ")
    assert sorted(there.split(", ")) == ["a.b", "a.c", "d.e", "f"]


def test_cells_that_are_no_text(make: Callable[..., Path]) -> None:
    lines = [{"de": "ja", "en": 1}, {"de": "nein", "en": 2}]
    make("owner/name", {"train.jsonl": "".join(json.dumps(line) + "\n" for line in lines)})
    source = only_source(config_of())
    faults: list[Fault] = []
    assert list(source.read(lambda *fault: faults.append(fault))) == []
    assert faults == [(source.source_name, row, "en: not text but int") for row in (1, 2)]
    assert str(error_of(config_of())) == f"{source.source_name}:1: en: not text but int"


def test_many_rows_keep_their_order(make: Callable[..., Path]) -> None:
    lines = [json.dumps({"de": f"d{row}", "en": f"e{row}"}) + "\n" for row in range(1, 2502)]
    make("owner/name", {"a/train.jsonl": "".join(lines)})
    assert pairs(config_of()) == [(row, f"d{row}", f"e{row}") for row in range(1, 2502)]


CARD = """---
configs:
- config_name: small
  data_files:
  - split: train
    path: small/a.jsonl
  - split: {valid}
    path: small/b.jsonl
- config_name: large
  data_files:
  - split: books
    path: large/*.jsonl
---
"""


@pytest.mark.parametrize("valid", ["validation", "valid", "dev", "val"])
def test_configurations_and_splits(make: Callable[..., Path], valid: str) -> None:
    other = '{"de": "doch", "en": "oh yes"}\n'
    files = {"small/a.jsonl": JSONL, "small/b.jsonl": other, "large/1.jsonl": JSONL + other}
    folder = make("owner/name", {"README.md": CARD.format(valid=valid), **files})
    small = config_of(config="small")
    assert datasets.splits(small) == ("train", "valid")
    assert pairs(small) == PAIRS
    assert pairs(small, "valid") == [(1, "doch", "oh yes")]
    assert datasets.pair_sources(small, "test") is None
    assert only_source(small, "valid").source_name == f"{folder} (small) {valid}"
    swapped = config_of(config="small", train=valid, valid="train")
    assert pairs(swapped) == [(1, "doch", "oh yes")]
    assert pairs(swapped, "valid") == PAIRS
    assert datasets.splits(config_of(config="small", train=valid)) == ("train",)
    assert len(pairs(config_of(config="large", train="books"))) == 3


def test_splits_with_names_of_their_own(make: Callable[..., Path]) -> None:
    card = CARD.format(valid="newstest")
    make("owner/name", {"README.md": card, "small/a.jsonl": JSONL, "small/b.jsonl": JSONL})
    config = config_of(config="small")
    assert set(datasets.splits(config)) == {"train", "newstest"}
    assert pairs(config, "newstest") == PAIRS
    assert str(error_of(config, "newtest")) == (
        "unknown split of hf:owner/name: 'newtest' (did you mean newstest?); "
        "there are: train, valid, test, newstest"
    )


@pytest.mark.parametrize(
    ("hf", "message"),
    [
        ({}, ": has several configurations; set data.hf.config to one of: small, large"),
        (
            {"config": "smal"},
            ": has no configuration 'smal' (did you mean small?); "
            "set data.hf.config to one of: small, large",
        ),
        (
            {"config": "small", "test": "tset"},
            " (small): has no split 'tset'; set data.hf.test to one of: train, dev",
        ),
        (
            {"config": "large"},
            " (large): has no split 'train'; set data.hf.train to one of: books",
        ),
    ],
)
def test_what_a_dataset_does_not_have(
    make: Callable[..., Path], hf: dict[str, Any], message: str
) -> None:
    names = ("small/a.jsonl", "small/b.jsonl", "large/a.jsonl")
    files = {"README.md": CARD.format(valid="dev"), **dict.fromkeys(names, JSONL)}
    folder = make("owner/name", files)
    error = error_of(config_of(**hf))
    assert isinstance(error, DataError)
    assert str(error) == f"{folder}{message}"


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"notes": "none"}, "No (supported) data files found in"),
        ({"train.jsonl": JSONL + "{"}, "JSON parse error"),
        ({"train.csv": b"de,en\n\xff,no\n"}, "can't decode byte 0xff"),
        ({"train.csv": "de,en\na,b\nc,d,e\n"}, "Expected 2 fields in line 3, saw 3"),
        ({"train.parquet": b"PAR1 no more"}, "magic bytes not found"),
        ({"README.md": "---\nconfigs: [\n---\n", "train.jsonl": JSONL}, "while parsing"),
        ({"name.py": "raise SystemExit", "train.jsonl": JSONL}, "scripts are no longer supported"),
    ],
)
def test_folders_that_cannot_be_read(
    make: Callable[..., Path],
    capfd: pytest.CaptureFixture[str],
    files: dict[str, str | bytes],
    message: str,
) -> None:
    folder = make("owner/name", files)
    error = error_of(config_of())
    assert isinstance(error, DataError)
    assert str(error).startswith(f"{folder}")
    assert message in str(error)
    assert capfd.readouterr() == ("", "")


def test_a_file_that_changes_is_read_anew(make: Callable[..., Path], tmp_path: Path) -> None:
    make("owner/name", {"train.jsonl": JSONL})
    assert pairs(config_of()) == PAIRS
    make("owner/name", {"train.jsonl": JSONL * 2})
    hubs._load_dataset.cache_clear()  # as in another process
    assert len(pairs(config_of())) == 4
    cached = (tmp_path / "HF_DATASETS_CACHE").rglob("*.arrow")
    assert list(cached) == []  # nor is anything copied


def test_a_revision_does_not_apply_to_a_folder(
    make: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    folder = make("owner/name", {"train.jsonl": JSONL})
    with caplog.at_level(logging.INFO, "seq2seq"):
        assert pairs(config_of(revision="v1")) == PAIRS
    assert caplog.messages == [f"{folder} is read as it is; data.hf.revision does not apply"]


@pytest.mark.usefixtures("library", "own")
@pytest.mark.parametrize("name", ["name", "owner/name"])
def test_the_hub_without_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    # A folder that happens to be here is another thing.
    (tmp_path / name).mkdir(parents=True)
    (tmp_path / name / "train.jsonl").write_text(JSONL)
    monkeypatch.chdir(tmp_path)
    error = error_of(config_of(f"hf:{name}"))
    assert isinstance(error, DownloadError)
    assert str(error).startswith(f"hf:{name}: ")
    assert f"'{name}' on the Hub" in str(error)
    assert str(error).endswith(f"set SEQ2SEQ_DATA to a folder and put it there as hf/{name}")


@pytest.mark.usefixtures("library", "own")
def test_names_that_are_file_formats(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "train.csv").write_text("de,en\na,b\n")
    monkeypatch.chdir(tmp_path)
    assert str(error_of(config_of("hf:csv"))) == (
        "hf:csv: the datasets library keeps this name for itself"
    )


@pytest.mark.usefixtures("own")
def test_what_the_hub_has_is_cached_by_the_library(
    library: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def load_dataset(*args: object, **options: object) -> Any:
        calls.append((args, options))
        rows = {"translation": [{"de": "ja", "en": "yes"}], "id": [1]}
        return {"train": library.Dataset.from_dict(rows)}

    builder = types.SimpleNamespace(config=None)
    monkeypatch.setattr(library, "load_dataset_builder", lambda *args, **options: builder)
    monkeypatch.setattr(library, "load_dataset", load_dataset)
    config = config_of(config="de-en", revision="v1")
    for _ in range(2):
        assert pairs(config) == [(1, "ja", "yes")]
        assert datasets.pair_sources(config, "valid") is None
    arguments = ("hf://datasets/owner/name", "de-en")
    assert calls == [(arguments, {"revision": "v1", "streaming": False})]
    assert only_source(config).source_name == "hf:owner/name (de-en) train"


@pytest.mark.usefixtures("own")
@pytest.mark.parametrize("problem", ["gated", "absent", "timeout"])
def test_what_the_hub_refuses(library: Any, monkeypatch: pytest.MonkeyPatch, problem: str) -> None:
    errors = {
        "gated": library.exceptions.DatasetNotFoundError("It is gated.\nAsk."),
        "absent": library.exceptions.DatasetNotFoundError("It doesn't exist."),
        "timeout": TimeoutError("It takes too long."),
    }
    expected = {
        "gated": (
            DataError,
            "It is gated.; for one that only some may read, log in: hf auth login",
        ),
        "absent": (
            DataError,
            "It doesn't exist.; for one that only some may read, log in: hf auth login",
        ),
        "timeout": (
            DownloadError,
            "It takes too long.; a copy of your own can be used without network: "
            "set SEQ2SEQ_DATA to a folder and put it there as hf/owner/name",
        ),
    }

    def refuse_it(*args: object, **options: object) -> None:
        raise errors[problem]

    monkeypatch.setattr(library, "load_dataset_builder", refuse_it)
    kind, message = expected[problem]
    error = error_of(config_of())
    assert type(error) is kind
    assert str(error) == f"hf:owner/name: {message}"


@pytest.mark.usefixtures("own")
def test_without_the_datasets_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    assert str(error_of(config_of())) == (
        "hf:owner/name needs the datasets package: pip install 'seq2seq-cli[hf]'"
    )


# --- Kaggle ---


@pytest.mark.parametrize("file", ["table.csv", "some folder/table.csv"])
def test_an_own_file_of_kaggle(own: Path, file: str) -> None:
    path = own / "kaggle" / "owner" / "name" / file
    path.parent.mkdir(parents=True)
    path.write_text("de,en\nja,yes\n")
    for version in ("", "/versions/3"):
        config = config_of(f"kaggle:owner/name{version}/{file}")
        assert pairs(config) == [(2, "ja", "yes")]
        assert only_source(config).source_name == str(path)


def test_a_file_that_kagglehub_has_fetched_before(
    own: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("KAGGLEHUB_CACHE", str(tmp_path / "kaggle"))
    monkeypatch.setenv("KAGGLE_CONFIG_DIR", str(tmp_path))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pytest.importorskip("kagglehub")
    folder = tmp_path / "kaggle" / "datasets" / "owner" / "name"
    path = folder / "versions" / "3" / "sub" / "table.tsv"
    path.parent.mkdir(parents=True)
    path.write_text("de\ten\nja\tyes\n")
    from kagglehub.cache import Cache
    from kagglehub.handle import parse_dataset_handle

    Cache().mark_as_complete(parse_dataset_handle("owner/name/versions/3"), "sub/table.tsv")
    config = config_of("kaggle:owner/name/versions/3/sub/table.tsv")
    assert pairs(config) == [(2, "ja", "yes")]
    assert only_source(config).source_name == str(path)
    assert capfd.readouterr().out == ""


@pytest.fixture
def kagglehub(own: Path, monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """In place of the library."""
    module = types.ModuleType("kagglehub")
    monkeypatch.setitem(sys.modules, "kagglehub", module)
    return module


def test_what_kagglehub_is_asked_for(
    kagglehub: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "table.csv").write_text("de,en\nja,yes\n")
    calls = []

    def dataset_download(handle: str, path: str) -> str:
        calls.append((handle, path))
        print("a newer version is out")
        print("100%", file=sys.stderr)
        return str(tmp_path / "table.csv")

    kagglehub.dataset_download = dataset_download
    for config in [
        config_of("kaggle:owner/name/table.csv"),
        config_of("kaggle:owner/name/versions/12/sub/table.csv"),
        config_of("kaggle:owner/name/versions/table.csv"),
    ]:
        assert pairs(config) == [(2, "ja", "yes")]
        only_source(config)
    assert calls == [
        ("owner/name", "table.csv"),
        ("owner/name/versions/12", "sub/table.csv"),
        ("owner/name", "versions/table.csv"),
    ]
    assert capfd.readouterr() == ("", "")


class HttpError(OSError):
    """Like the one of requests, which kagglehub raises."""

    __module__ = "requests.exceptions"

    def __init__(self, status: int | None) -> None:
        super().__init__("a long text\nof many lines")
        self.response = None if status is None else types.SimpleNamespace(status_code=status)


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (HttpError(403), DataError, "Kaggle answers 403: it does not exist, or only some may"),
        (HttpError(404), DataError, "Kaggle answers 404: it does not exist, or only some may"),
        (HttpError(401), DataError, "Kaggle answers 401: it does not exist, or only some may"),
        (HttpError(500), DownloadError, "Kaggle answers 500; a copy of your own can be used"),
        (HttpError(None), DownloadError, "Kaggle cannot be reached; a copy of your own can be"),
        (ConnectionError(), DownloadError, "Kaggle cannot be reached; a copy of your own can be"),
        (ValueError("first line\nsecond"), DataError, "first line"),
        (RuntimeError(), DataError, "the library gives up (RuntimeError)"),
        (OSError(28, "No space left"), DataError, "[Errno 28] No space left"),
    ],
)
def test_failures_of_kaggle(
    kagglehub: Any, error: Exception, kind: type[SeqError], message: str
) -> None:
    def dataset_download(handle: str, path: str) -> str:
        raise error

    kagglehub.dataset_download = dataset_download
    found = error_of(config_of("kaggle:owner/name/table.csv"))
    assert type(found) is kind
    assert str(found).startswith(f"kaggle:owner/name/table.csv: {message}")
    if kind is DownloadError:
        assert str(found).endswith("put it there as kaggle/owner/name/table.csv")


def test_a_file_that_kagglehub_does_not_bring(kagglehub: Any, tmp_path: Path) -> None:
    kagglehub.dataset_download = lambda handle, path: str(tmp_path)
    assert str(error_of(config_of("kaggle:owner/name/table.csv"))) == (
        "kaggle:owner/name/table.csv: the dataset has no such file"
    )


@pytest.mark.usefixtures("kagglehub")
@pytest.mark.parametrize("file", ["../../secret.csv", "a/../../b.csv", "/etc/table.csv"])
def test_files_outside_of_the_dataset(file: str) -> None:
    config = config_of("kaggle:owner/name/table.csv").model_copy(
        update={"dataset": f"kaggle:owner/name/{file}"}
    )
    assert str(error_of(config)) == f"kaggle:owner/name/{file}: {file} is not inside the dataset"


@pytest.mark.usefixtures("own")
def test_without_the_kagglehub_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "kagglehub", None)
    assert str(error_of(config_of("kaggle:owner/name/table.csv"))) == (
        "kaggle:owner/name/table.csv needs the kagglehub package: pip install 'seq2seq-cli[kaggle]'"
    )
