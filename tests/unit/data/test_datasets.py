"""Named corpora: what there is, where it is looked for, and what is refused."""

import contextlib
import gzip
import hashlib
import io
import os
import re
import struct
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from seq2seq_cli import __version__
from seq2seq_cli.config.data import CORPUS_LANGUAGES, DataConfig
from seq2seq_cli.data import datasets, phrasebook, tatoeba
from seq2seq_cli.data.corpus import PairSource, refuse
from seq2seq_cli.errors import DataError, DownloadError
from tests.unit.data.test_downloads import Server, answer, hang_up, serving

Pairs = list[tuple[int, str, str]]
Fault = tuple[str, int, str]


def named(dataset: str, source: str = "de", target: str = "en") -> DataConfig:
    return DataConfig(dataset=dataset, source=source, target=target)


def only_source(config: DataConfig, split: str = "train") -> PairSource:
    sources = datasets.pair_sources(config, split)
    assert sources is not None
    (source,) = sources
    return source


def pairs(config: DataConfig, split: str = "train") -> Pairs:
    return list(only_source(config, split).read(refuse))


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    with serving(monkeypatch) as server:
        monkeypatch.setattr(datasets, "_MULTI30K_URL", server.url)
        monkeypatch.setattr(tatoeba, "_URL", server.url)
        yield server


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, no SEQ2SEQ_DATA."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("SEQ2SEQ_DATA", raising=False)
    return tmp_path / "cache" / "seq2seq"


@pytest.fixture
def own(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty SEQ2SEQ_DATA."""
    monkeypatch.setenv("SEQ2SEQ_DATA", str(tmp_path / "own"))
    for corpus in ("multi30k", "tatoeba"):
        (tmp_path / "own" / corpus).mkdir(parents=True)
    return tmp_path / "own"


@pytest.fixture
def multi30k(server: Server, monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """A Multi30k of one pair, on the local server."""
    files = {"val.de.gz": gzip.compress(b"Hallo\n"), "val.fr.gz": gzip.compress(b"Bonjour\n")}
    server.answers = [lambda handler: answer(files[handler.path[1:]])(handler)]
    digests = {
        "val.de.gz": f"sha256:{hashlib.sha256(files['val.de.gz']).hexdigest()}",
        "val.fr.gz": f"md5:{hashlib.md5(files['val.fr.gz']).hexdigest()}",
    }
    monkeypatch.setattr(datasets, "_MULTI30K_DIGESTS", digests)
    return files


# --- what there is ---


def test_what_there_is() -> None:
    assert datasets.splits(named("phrasebook")) == ("train", "valid", "test", "test_novel")
    assert datasets.splits(named("multi30k")) == ("train", "valid", "test")
    assert datasets.splits(named("tatoeba")) == ("train",)
    assert datasets.splits(named("kaggle:owner/name/file.csv")) == ("train",)


def test_every_file_of_multi30k_has_a_checksum() -> None:
    names = {
        f"{stem}.{language}.gz"
        for stem in ("train", "val", "test_2016_flickr")
        for language in CORPUS_LANGUAGES["multi30k"]
    }
    assert set(datasets._MULTI30K_DIGESTS) == names
    for digest in datasets._MULTI30K_DIGESTS.values():
        assert re.fullmatch(r"sha256:[0-9a-f]{64}|md5:[0-9a-f]{32}", digest)


@pytest.mark.parametrize("split", ["valid", "test"])
def test_phrasebook(split: str) -> None:
    found = pairs(named("phrasebook"), split)
    assert [pair for _, *pair in found] == [[*p] for p in phrasebook.load(split, "de", "en")]
    assert [number for number, *_ in found] == list(range(1, len(found) + 1))
    swapped = [(number, target, source) for number, source, target in found]
    assert pairs(named("phrasebook", "en", "de"), split) == swapped
    source = only_source(named("phrasebook"), split)
    assert (source.source_name, source.target_name) == (f"phrasebook {split}",) * 2


@pytest.mark.parametrize(
    ("dataset", "split", "message"),
    [
        (
            "multi30k",
            "val",
            "unknown split of multi30k: 'val' (did you mean valid?); there are: train, valid, test",
        ),
        (
            "phrasebook",
            "novel",
            "unknown split of phrasebook: 'novel' (did you mean test_novel?); "
            "there are: train, valid, test, test_novel",
        ),
        ("tatoeba", "dev", "unknown split of tatoeba: 'dev'; there are: train, valid, test"),
    ],
)
def test_asking_for_a_split_there_is_not(dataset: str, split: str, message: str) -> None:
    with pytest.raises(DataError) as caught:
        datasets.pair_sources(named(dataset), split)
    assert str(caught.value) == message


@pytest.mark.parametrize("dataset", ["tatoeba", "kaggle:owner/name/file.csv"])
@pytest.mark.parametrize("split", ["valid", "test"])
def test_corpora_without_splits_of_their_own(dataset: str, split: str) -> None:
    assert datasets.pair_sources(named(dataset), split) is None


# --- where Multi30k is looked for ---


def test_multi30k_is_fetched_once(multi30k: dict[str, bytes], server: Server, cache: Path) -> None:
    for _ in range(2):
        assert pairs(named("multi30k", "de", "fr"), "valid") == [(1, "Hallo", "Bonjour")]
    assert server.requested == ["/val.de.gz", "/val.fr.gz"]
    folder = cache / "multi30k"
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == multi30k
    source = only_source(named("multi30k", "de", "fr"), "valid")
    assert source.source_name == str(folder / "val.de.gz")
    assert source.target_name == str(folder / "val.fr.gz")


def test_a_damaged_file_in_the_cache_is_fetched_again(
    multi30k: dict[str, bytes], server: Server, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = cache / "multi30k"
    folder.mkdir(parents=True)
    (folder / "val.de.gz").write_bytes(multi30k["val.de.gz"][:-1])
    (folder / "val.fr.gz").write_bytes(multi30k["val.fr.gz"])
    assert pairs(named("multi30k", "fr", "de"), "valid") == [(1, "Bonjour", "Hallo")]
    assert server.requested == ["/val.de.gz"]
    assert (folder / "val.de.gz").read_bytes() == multi30k["val.de.gz"]
    assert caplog.messages == [f"{folder / 'val.de.gz'} is damaged; fetching it again"]


def test_own_files_come_first_and_as_they_are(
    multi30k: dict[str, bytes], server: Server, cache: Path, own: Path
) -> None:
    folder = own / "multi30k"
    (folder / "val.de.gz").write_bytes(gzip.compress(b"Servus\n"))
    (folder / "val.fr").write_bytes(b"Salut\n")
    assert pairs(named("multi30k", "de", "fr"), "valid") == [(1, "Servus", "Salut")]
    assert server.requested == []
    (folder / "val.fr").unlink()
    assert pairs(named("multi30k", "de", "fr"), "valid") == [(1, "Servus", "Bonjour")]
    assert server.requested == ["/val.fr.gz"]
    assert not (cache / "multi30k" / "val.de.gz").exists()


def test_without_network_the_error_says_what_to_do(
    multi30k: dict[str, bytes], server: Server, cache: Path
) -> None:
    server.answers = [hang_up]
    with pytest.raises(DownloadError) as caught:
        datasets.pair_sources(named("multi30k", "de", "fr"), "valid")
    assert str(caught.value) == (
        f"{server.url}val.de.gz: cannot be fetched: Remote end closed connection without response; "
        "it can be fetched by hand too: set SEQ2SEQ_DATA to a folder "
        "and save it there as multi30k/val.de.gz"
    )
    assert caught.value.exit_code == 1
    assert not cache.exists()


def test_a_cache_that_cannot_be_written(multi30k: dict[str, bytes], cache: Path) -> None:
    cache.parent.mkdir(parents=True)
    cache.write_text("a file where the folder should be")
    with pytest.raises(DownloadError, match=r"val\.de\.gz: cannot be written: "):
        datasets.pair_sources(named("multi30k", "de", "fr"), "valid")


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is closed to root")
@pytest.mark.parametrize("dataset", ["multi30k", "tatoeba"])
def test_an_own_folder_that_is_closed(own: Path, dataset: str) -> None:
    (own / dataset).chmod(0)
    try:
        with pytest.raises(
            DataError, match=f"{own / dataset}.*: cannot be read: Permission denied"
        ):
            datasets.pair_sources(named(dataset), "train")
    finally:
        (own / dataset).chmod(0o700)


# --- Tatoeba ---

TEXT = "Go.\tVa !\tCC-BY 2.0 (France)\nHi.\tSalut !\n\nI see.\tJe vois.\tCC-BY\n"
PAIRS = [(1, "Go.", "Va !"), (2, "Hi.", "Salut !"), (4, "I see.", "Je vois.")]
EN_FR = named("tatoeba", "en", "fr")


def zipped(
    *members: tuple[str, str | bytes], method: int = zipfile.ZIP_DEFLATED, **header: int
) -> bytes:
    """A zip file; `header` changes what its directory says of its members."""
    buffer = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(buffer, "w", method) as archive:
        warnings.simplefilter("ignore")  # one name given twice
        for name, content in members:
            archive.writestr(name, content)
        for name, value in header.items():
            for info in archive.infolist():
                setattr(info, name, value)
    return buffer.getvalue()


GOOD = zipped(("_about.txt", "about"), ("fra.txt", TEXT))


def with_flipped_bit(data: bytes, sought: bytes) -> bytes:
    at = data.index(sought)
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def lying_bomb(num_bytes: int) -> bytes:
    """A text of this size that says, in both places, that it has 100 bytes."""
    text = b"a\tb\n" * (num_bytes // 4)
    data = zipped(("fra.txt", text))
    return data.replace(struct.pack("<L", len(text)), struct.pack("<L", 100))


STORED = zipped(("fra.txt", TEXT), method=zipfile.ZIP_STORED)
DAMAGED = {
    "a page": (b"<html>please log in</html>", "damaged, or no zip file: File is not a zip file"),
    "nothing": (b"", "damaged, or no zip file: File is not a zip file"),
    "cut off": (GOOD[:-30], "damaged, or no zip file: File is not a zip file"),
    "beginning cut off": (GOOD[100:], ""),
    "flipped bit": (
        with_flipped_bit(STORED, b"Salut"),
        "damaged, or no zip file: Bad CRC-32 for file 'fra.txt'",
    ),
    "wrong member": (zipped(("deu.txt", TEXT)), "holds fra.txt 0 times, not once"),
    "in a folder": (zipped(("x/fra.txt", TEXT)), "holds fra.txt 0 times, not once"),
    "above the folder": (zipped(("../fra.txt", TEXT)), "holds fra.txt 0 times, not once"),
    "anywhere": (zipped(("/tmp/fra.txt", TEXT)), "holds fra.txt 0 times, not once"),
    "a zip inside": (zipped(("fra.zip", zipped(("fra.txt", TEXT)))), "holds fra.txt 0 times"),
    "a folder of its name": (zipped(("fra.txt/", "")), "holds fra.txt 0 times, not once"),
    "a link": (
        zipped(("fra.txt", "/etc/passwd"), external_attr=0o120777 << 16),
        "fra.txt, line 1: not a sentence, a tab and its translation",
    ),
    "two members": (
        zipped(("fra.txt", TEXT), ("fra.txt", TEXT)),
        "holds fra.txt 2 times, not once",
    ),
    "many members": (
        zipped(("fra.txt", TEXT), *((f"{i}", "") for i in range(20))),
        "has 21 members; 20 would be many",
    ),
    "encrypted": (zipped(("fra.txt", TEXT), flag_bits=1), "fra.txt is encrypted"),
    "another method": (
        zipped(("fra.txt", TEXT), method=zipfile.ZIP_LZMA),
        "fra.txt is compressed by an unusual method",
    ),
    "lying header": (lying_bomb(200_000), "damaged, or no zip file: Bad CRC-32 for file 'fra.txt'"),
    "bomb": (
        zipped(("fra.txt", "a\tb\n" * 50_000)),
        "fra.txt unpacks to more than a text of sentence pairs",
    ),
    "one long line": (
        zipped(("fra.txt", "a\t" + "b" * 60_000)),
        "fra.txt unpacks to more than a text of sentence pairs",
    ),
    "too large": (
        zipped(("fra.txt", os.urandom(200_000)), method=zipfile.ZIP_STORED),
        "larger than 100,000 bytes",
    ),
    "not UTF-8": (
        zipped(("fra.txt", b"Go.\tVa !\nHi.\tSal\xfct\n")),
        "fra.txt, line 2: byte 0xFC at column 8 of the line (byte 17 of the file) "
        "is not valid UTF-8; save the file as UTF-8",
    ),
    "UTF-16": (
        zipped(("fra.txt", TEXT.encode("utf-16"))),
        "fra.txt: looks like UTF-16; save the file as UTF-8",
    ),
    "empty": (zipped(("fra.txt", "")), "fra.txt is empty"),
    "blank": (zipped(("fra.txt", "\n\n")), "fra.txt is empty"),
    "not pairs": (
        zipped(("fra.txt", "Go.\tVa !\nHi.\n")),
        "fra.txt, line 2: not a sentence, a tab and its translation",
    ),
    "no text": (
        zipped(("fra.txt", "Go.\t \t\n")),
        "fra.txt, line 1: not a sentence, a tab and its translation",
    ),
}


@pytest.fixture
def small_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tatoeba, "_MAX_ZIP_BYTES", 100_000)
    monkeypatch.setattr(tatoeba, "_MAX_TEXT_BYTES", 150_000)
    monkeypatch.setattr(tatoeba, "_MAX_LINE_BYTES", 50_000)


def test_tatoeba_is_fetched_once(server: Server, cache: Path) -> None:
    server.answers = [answer(GOOD)]
    for _ in range(2):
        assert pairs(EN_FR) == PAIRS
    assert server.requested == ["/fra-eng.zip"]
    assert server.user_agents == [f"seq2seq-cli/{__version__}"]
    path = cache / "tatoeba" / "fra-eng.zip"
    assert path.read_bytes() == GOOD
    source = only_source(EN_FR)
    assert (source.source_name, source.target_name) == (f"{path}:fra.txt",) * 2


@pytest.mark.parametrize(
    ("source", "target"), [("fr", "en"), ("fra", "eng"), ("fre", "en"), ("fr-CA", "en")]
)
def test_tatoeba_in_the_other_direction(own: Path, source: str, target: str) -> None:
    (own / "tatoeba" / "fra-eng.zip").write_bytes(GOOD)
    swapped = [(number, french, english) for number, english, french in PAIRS]
    assert pairs(named("tatoeba", source, target)) == swapped


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_both_usual_methods_are_read(own: Path, method: int) -> None:
    text = "\ufeff" + TEXT.replace("\n", "\r\n")
    path = own / "tatoeba" / "fra-eng.zip"
    path.write_bytes(zipped(("fra.txt", text), method=method))
    assert pairs(EN_FR) == PAIRS


def test_own_tatoeba_files_come_first(server: Server, own: Path) -> None:
    folder = own / "tatoeba"
    (folder / "fra.txt").write_text("Go.\tVas-y !\n", encoding="utf-8")
    assert pairs(EN_FR) == [(1, "Go.", "Vas-y !")]
    assert only_source(EN_FR).source_name == str(folder / "fra.txt")
    (folder / "fra-eng.zip").write_bytes(GOOD)
    assert pairs(EN_FR) == PAIRS
    assert server.requested == []


@pytest.mark.parametrize("name", ["fra.txt", "fra-eng.zip"])
def test_lines_of_tatoeba_that_are_no_pairs_are_told_of(own: Path, name: str) -> None:
    good_lines = "a\tb\n" * 10
    text = good_lines + "alone\none\ttwo\tthree\tfour\nlast\tone\n"
    path = own / "tatoeba" / name
    path.write_bytes(zipped(("fra.txt", text)) if name.endswith(".zip") else text.encode())
    source = only_source(EN_FR)
    faults: list[Fault] = []
    found = list(source.read(lambda *fault: faults.append(fault)))
    assert found[9:] == [(10, "a", "b"), (13, "last", "one")]
    assert faults == [
        (source.source_name, 11, "cells in this line: 1, there should be 2 or 3"),
        (source.source_name, 12, "cells in this line: 4, there should be 2 or 3"),
    ]
    with pytest.raises(DataError, match=re.escape(f"{source.source_name}:11: cells in this line")):
        pairs(EN_FR)


def test_a_language_that_tatoeba_does_not_have(server: Server, cache: Path) -> None:
    server.answers = [answer(b"", 404)]
    with pytest.raises(DownloadError) as caught:
        datasets.pair_sources(named("tatoeba", "en", "tlh"), "train")
    assert server.requested == ["/tlh-eng.zip"]
    assert str(caught.value) == (
        f"{server.url}tlh-eng.zip: cannot be fetched: the server answers 404 Not Found; "
        "manythings.org offers no pairs of English and 'tlh': those it has are listed at "
        f"{server.url}"
    )


@pytest.mark.parametrize("code", ["../../x", "a/b", "x"])
def test_codes_that_are_no_language_beside_english(server: Server, cache: Path, code: str) -> None:
    with pytest.raises(DataError, match="tatoeba has no language"):
        datasets.pair_sources(named("tatoeba", "en", code), "train")
    assert server.requested == []


def test_tatoeba_without_network(server: Server, cache: Path) -> None:
    server.answers = [hang_up]
    with pytest.raises(DownloadError, match=r"save it there as tatoeba/fra-eng\.zip") as caught:
        datasets.pair_sources(EN_FR, "train")
    assert len(server.requested) == 3
    assert "manythings.org offers no" not in str(caught.value)


@pytest.mark.parametrize(("data", "problem"), DAMAGED.values(), ids=DAMAGED)
@pytest.mark.usefixtures("small_bounds")
def test_damaged_zips(
    server: Server,
    cache: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    data: bytes,
    problem: str,
) -> None:
    cached = cache / "tatoeba" / "fra-eng.zip"

    # One that is fetched does not get its name in the cache.
    server.answers = [answer(data)]
    with pytest.raises(DownloadError) as in_download:
        datasets.pair_sources(EN_FR, "train")
    assert problem in str(in_download.value).replace(" bytes; not fetched", " bytes")
    assert not cached.exists()

    # One that is in the cache already is fetched again.
    cached.parent.mkdir(parents=True)
    cached.write_bytes(data)
    server.answers = [answer(GOOD)]
    assert pairs(EN_FR) == PAIRS
    assert cached.read_bytes() == GOOD
    (warning,) = caplog.messages
    assert warning.startswith(f"{cached} is damaged ({problem}")

    # A person's own is theirs to mend.
    monkeypatch.setenv("SEQ2SEQ_DATA", str(tmp_path / "own"))
    mine = tmp_path / "own" / "tatoeba" / "fra-eng.zip"
    mine.parent.mkdir(parents=True)
    mine.write_bytes(data)
    with pytest.raises(DataError) as in_own:
        datasets.pair_sources(EN_FR, "train")
    assert str(in_own.value).startswith(f"{mine}: {problem}")
    assert mine.read_bytes() == data


def test_a_zip_that_changes_after_it_was_looked_at(own: Path) -> None:
    path = own / "tatoeba" / "fra-eng.zip"
    path.write_bytes(GOOD)
    source = only_source(EN_FR)
    path.write_bytes(GOOD[:-30])
    with pytest.raises(DataError, match=re.escape(f"{path}: damaged, or no zip file")):
        list(source.read(refuse))
    path.unlink()
    with pytest.raises(DataError, match=re.escape(f"{path}: cannot be read: No such file")):
        list(source.read(refuse))


def test_a_failed_download_leaves_the_damaged_zip(server: Server, cache: Path) -> None:
    path = cache / "tatoeba" / "fra-eng.zip"
    path.parent.mkdir(parents=True)
    path.write_bytes(GOOD[:-30])
    server.answers = [hang_up]
    with pytest.raises(DownloadError):
        datasets.pair_sources(EN_FR, "train")
    assert path.read_bytes() == GOOD[:-30]
    assert list(path.parent.iterdir()) == [path]


def test_no_flipped_byte_of_a_zip_is_more_than_an_error_of_ours(own: Path) -> None:
    path = own / "tatoeba" / "fra-eng.zip"
    for position in range(len(GOOD)):
        for flip in (0x01, 0x80):
            data = bytearray(GOOD)
            data[position] ^= flip
            path.write_bytes(data)
            with contextlib.suppress(DataError):
                assert pairs(EN_FR) == PAIRS
