"""What the readers of lines make of people's files, the broken ones included."""

import gzip
import io
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from seq2seq_cli.config.data import ParallelFiles
from seq2seq_cli.data import corpus
from seq2seq_cli.data.corpus import (
    PairSource,
    expand,
    iter_lines,
    parallel_source,
    parallel_sources,
    read_lines,
    read_parallel,
    refuse,
)
from seq2seq_cli.errors import DataError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

LONG = "x" * 2_000_000
# Everything str.splitlines() would split on, but for "\n".
INNER_BREAKS = "a\u2028b\u2029c\x85d\x0be\x0cf\x1cg\x1dh\x1ei\rj"
PACKERS: dict[str, Callable[[bytes], bytes]] = {".gz": gzip.compress, ".zst": zstd.compress}


def make(path: Path, content: str | bytes = "") -> Path:
    data = content.encode() if isinstance(content, str) else content
    path.write_bytes(PACKERS.get(path.suffix.lower(), bytes)(data))
    return path


def error_of(path: Path) -> str:
    """The message of the error that reading the whole file ends in."""
    with pytest.raises(DataError) as caught:
        list(read_lines(path))
    message = str(caught.value)
    assert "\n" not in message
    return message


class Faults(list[tuple[str, int, str]]):
    """Faults that were told of, none of them a reason to stop."""

    def __call__(self, file: str, line: int, text: str) -> None:
        self.append((file, line, text))


# ---------------------------------------------------------------- lines


@pytest.mark.parametrize("name", ["file.txt", "file.txt.gz", "file.txt.zst", "FILE.ZST"])
@pytest.mark.parametrize(
    ("content", "lines"),
    [
        ("", []),
        ("\n", [""]),
        ("a", ["a"]),
        ("a\n", ["a"]),
        ("a\n\n", ["a", ""]),
        ("a\nb", ["a", "b"]),
        ("a\r\n\r\nb\r\n", ["a", "", "b"]),
        ("a\r\r\n", ["a\r"]),
        ("a\rb", ["a\rb"]),
        (" a \t\n", [" a \t"]),
        ("a\0b\n", ["a\0b"]),
        (INNER_BREAKS + "\nlast\n", [INNER_BREAKS, "last"]),
        ("\ufeffa\nb\n", ["a", "b"]),
        ("\ufeff", []),
        ("\ufeff\n", [""]),
        ("a\n\ufeffb\n", ["a", "\ufeffb"]),
        (LONG + "\n" + LONG, [LONG, LONG]),
    ],
    ids=lambda value: repr(value)[:25],
)
def test_lines(tmp_path: Path, name: str, content: str, lines: list[str]) -> None:
    assert list(read_lines(make(tmp_path / name, content))) == lines


BAD_BYTES = [
    (b"a\nb\xe4r\n", "2: byte 0xE4 at column 2 of the line (byte 4 of the file)"),
    ("äö\n".encode() + b"\xff", "2: byte 0xFF at column 1 of the line (byte 6 of the file)"),
    ("äö".encode() + b"\xff", "1: byte 0xFF at column 3 of the line (byte 5 of the file)"),
    (b"\xef\xbb\xbfa\xe4", "1: byte 0xE4 at column 2 of the line (byte 5 of the file)"),
    (b"a\r\n\xc3\r\n", "2: byte 0xC3 at column 1 of the line (byte 4 of the file)"),
    (b"\xed\xa0\x80\n", "1: byte 0xED at column 1 of the line (byte 1 of the file)"),
]


@pytest.mark.parametrize(("content", "message"), BAD_BYTES)
@pytest.mark.parametrize("name", ["file.txt", "file.txt.gz", "file.txt.zst"])
def test_bad_utf8_is_named_to_the_byte(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    path = make(tmp_path / name, content)
    told = f"{message} is not valid UTF-8; save the file as UTF-8"
    assert error_of(path) == f"{path}:{told}"

    faults = Faults()
    lines = list(read_lines(path, faults))
    number, _, text = told.partition(": ")
    assert faults == [(str(path), int(number), text)]
    assert ["\ufffd" in line for line in lines] == [
        place == int(number) for place in range(1, len(lines) + 1)
    ]


def test_a_line_that_is_not_utf8_keeps_what_can_be_read() -> None:
    faults = Faults()
    stream = io.BytesIO(b"\xef\xbb\xbfa\xe4b\nc\n\xff\xfed\r\n")
    assert list(iter_lines(stream, "-", faults)) == ["a\ufffdb", "c", "\ufffd\ufffdd"]
    assert [(file, line) for file, line, _ in faults] == [("-", 1), ("-", 3)]


def test_refuse_stops_at_a_fault() -> None:
    with pytest.raises(DataError, match=r"^file:3: what is wrong$"):
        refuse("file", 3, "what is wrong")


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf16_is_recognised(tmp_path: Path, encoding: str) -> None:
    path = make(tmp_path / "file.txt", "\ufeffHallo\n".encode(encoding))
    assert error_of(path) == f"{path}: looks like UTF-16; save the file as UTF-8"
    with pytest.raises(DataError, match="looks like UTF-16"):
        list(read_lines(path, Faults()))


@pytest.mark.parametrize("suffix", ["", ".gz", ".zst"])
def test_files_that_cannot_be_opened(tmp_path: Path, suffix: str) -> None:
    missing = tmp_path / f"missing{suffix}"
    assert error_of(missing) == f"{missing}: cannot be read: No such file or directory"
    folder = tmp_path / f"folder{suffix}"
    folder.mkdir()
    assert error_of(folder) == f"{folder}: cannot be read: Is a directory"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission(tmp_path: Path) -> None:
    path = make(tmp_path / "file.txt", "a\n")
    path.chmod(0)
    assert error_of(path) == f"{path}: cannot be read: Permission denied"


@pytest.mark.parametrize(("suffix", "kind"), [(".gz", "gzip"), (".zst", "zstd")])
def test_damaged_compressed_files(tmp_path: Path, suffix: str, kind: str) -> None:
    text = "".join(f"line {i}\n" for i in range(1000)).encode()
    if suffix == ".gz":
        whole = gzip.compress(text)
    else:
        whole = zstd.compress(text, options={zstd.CompressionParameter.checksum_flag: 1})
    path = tmp_path / f"file{suffix}"
    damaged = f"{path}: damaged or cut off {kind} file: "
    for size in (0, 1, 3, 5, 15, len(whole) // 2, len(whole) - 9, len(whole) - 1):
        path.write_bytes(whole[:size])
        assert error_of(path).startswith(damaged), size
    for position in (0, 2, len(whole) // 20, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 0x7F]) + whole[position + 1 :])
        assert error_of(path).startswith(damaged), position
    path.write_bytes(whole + b"something else")
    assert error_of(path).startswith(damaged)
    path.write_bytes(b"plain text\n")
    assert error_of(path).startswith(damaged)


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_compressed_parts_one_after_the_other_are_one_text(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"file{suffix}"
    path.write_bytes(PACKERS[suffix](b"a\nb") + PACKERS[suffix](b"c\nd\n"))
    assert list(read_lines(path)) == ["a", "bc", "d"]


def test_lines_of_a_stream_carry_the_given_name() -> None:
    assert list(iter_lines(io.BytesIO(b"a\r\nb"), "-")) == ["a", "b"]
    with pytest.raises(DataError, match=re.escape("standard input:1: byte 0xE4")):
        list(iter_lines(io.BytesIO(b"\xe4"), "standard input"))


def test_lines_are_read_as_they_are_asked_for() -> None:
    stream = io.BytesIO(b"a\nb\n\xff\n")
    lines = iter_lines(stream, "-")
    assert [next(lines), next(lines)] == ["a", "b"]


# ---------------------------------------------------------------- parallel files


@pytest.mark.parametrize("suffix", ["", ".gz", ".zst"])
def test_parallel_files(tmp_path: Path, suffix: str) -> None:
    source = make(tmp_path / f"train.de{suffix}", "eins\n\nzwei\u2028drei\r\n")
    target = make(tmp_path / "train.en", "one\nempty\ntwo")
    pairs = [(1, "eins", "one"), (2, "", "empty"), (3, "zwei\u2028drei", "two")]
    assert list(read_parallel(source, target)) == pairs
    origin = parallel_source(source, target)
    assert (origin.source_name, origin.target_name) == (str(source), str(target))
    assert list(origin.read(refuse)) == list(origin.read(refuse)) == pairs


def test_faults_of_either_side_are_told_with_its_file(tmp_path: Path) -> None:
    source = make(tmp_path / "s", b"a\n\xff\nc\n")
    target = make(tmp_path / "t", b"x\ny\n\xff\n")
    faults = Faults()
    pairs = list(parallel_source(source, target).read(faults))
    assert pairs == [(1, "a", "x"), (2, "\ufffd", "y"), (3, "c", "\ufffd")]
    assert [(file, line) for file, line, _ in faults] == [(str(source), 2), (str(target), 3)]


@pytest.mark.parametrize(("num_source", "num_target"), [(3, 1), (1, 3), (0, 2), (1, 0), (2, 1234)])
def test_unequal_line_counts(tmp_path: Path, num_source: int, num_target: int) -> None:
    source = make(tmp_path / "s", "a\n" * num_source)
    target = make(tmp_path / "t", "b\n" * num_target)
    pairs = read_parallel(source, target, Faults())
    for number in range(min(num_source, num_target)):
        assert next(pairs) == (number + 1, "a", "b")
    with pytest.raises(DataError) as caught:
        next(pairs)
    assert str(caught.value) == (
        f"{source} has {num_source:,} lines but {target} has {num_target:,}; "
        "line i of one has to translate line i of the other"
    )


def files_of(origins: list[PairSource]) -> list[tuple[str, str]]:
    return [(Path(one.source_name).name, Path(one.target_name).name) for one in origins]


def test_several_parallel_files_go_together_in_their_order(tmp_path: Path) -> None:
    for name in ("b.de", "a.de", "c.de", "a.en", "c.en", "b.en"):
        make(tmp_path / name, f"{name}\n")
    in_order = [("a.de", "a.en"), ("b.de", "b.en"), ("c.de", "c.en")]
    globbed = parallel_sources(ParallelFiles(source=tmp_path / "*.de", target=tmp_path / "*.en"))
    assert files_of(globbed) == in_order
    assert [pair for one in globbed for pair in one.read(refuse)] == [
        (1, *names) for names in in_order
    ]
    listed = ParallelFiles(
        source=(tmp_path / "b.de", tmp_path / "a.de"), target=(tmp_path / "b.en", tmp_path / "a.en")
    )
    assert files_of(parallel_sources(listed)) == [("b.de", "b.en"), ("a.de", "a.en")]
    both = ParallelFiles(source=tmp_path / "[ab].de", target=(tmp_path / "a.en", tmp_path / "b.en"))
    assert files_of(parallel_sources(both)) == in_order[:2]


def test_as_many_files_of_one_side_as_of_the_other(tmp_path: Path) -> None:
    for name in ("a.de", "b.de", "a.en"):
        make(tmp_path / name)
    with pytest.raises(DataError) as caught:
        parallel_sources(ParallelFiles(source=tmp_path / "*.de", target=tmp_path / "*.en"))
    assert str(caught.value) == (
        f"2 source files but 1 target files: {tmp_path / 'a.de'} ... and {tmp_path / 'a.en'} ..."
    )


# ---------------------------------------------------------------- patterns


@pytest.mark.parametrize(
    ("patterns", "names"),
    [
        (["a1.tsv"], ["a1.tsv"]),
        (["missing.tsv"], ["missing.tsv"]),
        (["a*.tsv"], ["a1.tsv", "a10.tsv", "a2.tsv"]),
        (["a?.tsv"], ["a1.tsv", "a2.tsv"]),
        (["a[2-9].tsv"], ["a2.tsv"]),
        (["b.tsv", "a?.tsv", "a10.tsv"], ["b.tsv", "a1.tsv", "a2.tsv", "a10.tsv"]),
        (["*/*.tsv"], ["sub/c.tsv"]),
        (["**/[bc].tsv"], ["b.tsv", "sub/c.tsv"]),
        (["sub/../b*.tsv"], ["sub/../b.tsv"]),
        (["[x].tsv"], ["[x].tsv"]),
        (["[xy].tsv"], ["x.tsv"]),
    ],
    ids=str,
)
@pytest.mark.parametrize("stands", ["absolute", "relative"])
def test_patterns_stand_for_files(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    stands: str,
    patterns: list[str],
    names: list[str],
) -> None:
    (tmp_path / "sub").mkdir()
    for name in ("a2.tsv", "b.tsv", "a10.tsv", "a1.tsv", "sub/c.tsv", "[x].tsv", "x.tsv"):
        make(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    folder = tmp_path if stands == "absolute" else Path()
    paths = tuple(folder / pattern for pattern in patterns)
    assert expand(paths) == [folder / name for name in names]
    if len(paths) == 1:
        assert expand(paths[0]) == expand(paths)


def test_a_pattern_without_a_file(tmp_path: Path) -> None:
    make(tmp_path / "a.tsv")
    for files in (tmp_path / "b*.tsv", (tmp_path / "a*.tsv", tmp_path / "b*.tsv")):
        with pytest.raises(DataError) as caught:
            expand(files)
        assert str(caught.value) == f"{tmp_path / 'b*.tsv'}: no file has a name like this"


def test_patterns_leave_out_folders_and_hidden_files(tmp_path: Path) -> None:
    for name in ("a.tsv", ".hidden.tsv", "._a.tsv"):
        make(tmp_path / name, "x")
    (tmp_path / "folder.tsv").mkdir()
    assert expand(tmp_path / "*.tsv") == [tmp_path / "a.tsv"]


def test_brackets_in_the_name_of_a_folder_are_no_pattern(tmp_path: Path) -> None:
    folder = tmp_path / "dir [1]"
    folder.mkdir()
    make(folder / "p-1.tsv", "x")
    assert expand(folder / "p-*.tsv") == [folder / "p-1.tsv"]


@pytest.mark.parametrize("name", ["a**b.csv", f"{'x' * 300}*.csv"])
def test_patterns_that_cannot_be_looked_for(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError):
        expand(tmp_path / name)


@pytest.mark.parametrize(
    ("sources", "targets", "patterns", "fits"),
    [
        (["a.de", "b.de"], ["a.en", "b.en"], ("*.de", "*.en"), True),
        (["de-1.txt", "de-2.txt"], ["en-1.txt", "en-2.txt"], ("de-*.txt", "en-*.txt"), True),
        (["a.de", "c.de"], ["a.en", "b.en"], ("*.de", "*.en"), False),
        (["p1.de"], ["p2.en"], ("p?.de", "p[0-9].en"), False),
        (["all.de"], ["p1.en"], ("all.de", "p*.en"), True),
    ],
)
def test_patterns_of_both_sides_must_match_the_same_names(
    tmp_path: Path, sources: list[str], targets: list[str], patterns: tuple[str, str], fits: bool
) -> None:
    for name in (*sources, *targets):
        make(tmp_path / name, "x\n")
    files = ParallelFiles(source=tmp_path / patterns[0], target=tmp_path / patterns[1])
    if fits:
        pairs = list(zip(sources, targets, strict=True))
        assert [
            (Path(found.source_name).name, Path(found.target_name).name)
            for found in parallel_sources(files)
        ] == pairs
    else:
        with pytest.raises(DataError, match="do not seem to belong together"):
            parallel_sources(files)


def test_patterns_in_folders_must_match_the_same_names_too(tmp_path: Path) -> None:
    for folder, name in [("a", "t.de"), ("b", "t.de"), ("b", "t.en"), ("c", "t.en")]:
        (tmp_path / folder).mkdir(exist_ok=True)
        make(tmp_path / folder / name, "x\n")
    files = ParallelFiles(source=tmp_path / "*" / "t.de", target=tmp_path / "*" / "t.en")
    with pytest.raises(DataError, match="do not seem to belong together"):
        parallel_sources(files)


@pytest.mark.parametrize("name", ["file.txt", "file.txt.gz", "file.txt.zst"])
def test_a_line_without_end_is_refused(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(corpus, "MAX_LINE_BYTES", 1000)
    path = make(tmp_path / name, "short\n" + "x" * 998 + "\n" + "y" * 5000)
    with pytest.raises(DataError) as caught:
        list(read_lines(path))
    assert str(caught.value) == f"{path}:3: longer than 1,000 bytes: no line of text is"
