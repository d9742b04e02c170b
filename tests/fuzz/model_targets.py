"""Model files with anything changed in them."""

from __future__ import annotations

import functools
import json
import struct
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import safetensors.torch
import torch
from safetensors import SafetensorError

from seq2seq_cli.config import TranslatorConfig
from seq2seq_cli.config.model import NormalInit
from seq2seq_cli.data.tokenizers import learn_tokenizers
from seq2seq_cli.data.vocabulary import make_codecs
from seq2seq_cli.decoding.translator import TranslationOptions, Translator
from seq2seq_cli.model import model_file
from seq2seq_cli.model.model_file import TranslatorFile, load_translator, save_translator
from seq2seq_cli.model.seq2seq import Seq2Seq, initialise
from tests.fuzz.cases import Case, folder, write

_CPU = torch.device("cpu")
_TEXTS = (["ein Hund läuft", "der Hund, das Haus"] * 4, ["a dog runs", "the dog, the house"] * 4)

_SMALL = {"embedding_dim": 4, "hidden_size": 4, "num_layers": 1}
_ATTENDING = {"encoder": _SMALL, "decoder": {**_SMALL, "attention": {"kind": "general"}}}
_PLAIN = {"encoder": {**_SMALL, "bidirectional": True}, "decoder": _SMALL}
_DECODING = {"beam_size": 2}
_BPE = {"kind": "bpe", "size": 40, "lowercase": True}

# Languages, as joining words follows them; a cut at few tokens, as cases have few.
_DATA = {"source": "de", "target": "en", "max_length": 12}
CONFIGS: list[dict[str, Any]] = [
    {"data": _DATA, "model": _ATTENDING},
    {"data": {"tokenizer": _BPE, "vocabulary": {"shared": True}}, "model": _PLAIN},
    {"data": {**_DATA, "tokenizer": {"kind": "characters"}}, "model": _ATTENDING},
    {"data": {**_DATA, "tokenizer": {"kind": "whitespace"}, "reverse_source": True}},
]


@functools.cache
def translator(index: int) -> TranslatorFile:
    """An untrained one, of two words and a few; which words it finds likely differs a lot."""
    config = TranslatorConfig.model_validate(
        {"model": _ATTENDING, "decoding": _DECODING, **CONFIGS[index]}
    )
    tokenizers = learn_tokenizers(config.data, lambda side: _TEXTS[side])
    counts = [
        Counter(token for text in texts for token in tokenizer.tokenize(text))
        for tokenizer, texts in zip(tokenizers, _TEXTS, strict=True)
    ]
    source, target = make_codecs(config.data, tokenizers, (counts[0], counts[1]))
    model = Seq2Seq(config.model, len(source.vocabulary), len(target.vocabulary))
    initialise(model, NormalInit(std=1.0), seed=1)
    return TranslatorFile(config, source, target, model.eval())


@functools.cache
def model_path(index: int) -> Path:
    path = folder() / f"whole-{index}.safetensors"
    save_translator(path, translator(index))
    return path


@functools.cache
def model_bytes(index: int) -> bytes:
    return model_path(index).read_bytes()


# ---------------------------------------------------------------- model files

HEADER_PIECES = [
    *(b"{", b"}", b"[", b"]", b'"', b":", b",", b"\\", b"\0", b"\xff", b"[" * 500, b'{"a":' * 200),
    *(b'"F32"', b'"U8"', b'"F64"', b'"I64"', b'"BF16"', b"0", b"-1", b"9" * 30, b"1e9", b"null"),
    *(b'"shape":[]', b'"shape":[0]', b'"data_offsets":[0,0]', b'"__metadata__":{}', b"   "),
    *(struct.pack("<Q", size) for size in (0, 1, 7, 8, 1 << 20, 1 << 32, 1 << 60, (1 << 64) - 1)),
]


def changed_model_file(data: bytes) -> None:
    """Bytes of a model file changed anywhere, but most of all in its header."""
    case = Case(data)
    whole = model_bytes(case.number(2))
    end = 8 + int.from_bytes(whole[:8], "little")
    kind = case.number(8)
    if kind == 7:  # nothing of it is left
        whole = case.text(HEADER_PIECES)
    elif kind == 6:  # cut off
        whole = whole[: case.number(len(whole))]
    elif kind == 5:  # a length of its own
        whole = case.pick(HEADER_PIECES[-8:]) + whole[8:]
    elif kind == 4:
        whole = whole[:end] + case.edited(whole[end:], HEADER_PIECES, 1 + case.number(4))
    else:
        header = case.edited(whole[8:end], HEADER_PIECES, 1 + case.number(4))
        length = whole[:8] if kind == 3 else struct.pack("<Q", len(header))
        whole = length + header + whole[end:]
    _use(write("case.safetensors", whole))


class StoredTensor(NamedTuple):
    """A tensor as safetensors keeps it."""

    dtype: str
    shape: list[Any]
    data: bytes


class Parts(NamedTuple):
    """What a model file is made of."""

    metadata: dict[str, Any]
    tensors: dict[str, StoredTensor]


def parts_of(whole: bytes) -> Parts:
    """Without its checksum, in whose place one can be put."""
    entries, tensors = read_parts(whole)
    metadata = json.loads(entries["seq2seq"])
    metadata["sha256"] = model_file._NO_SUM
    return Parts(metadata, tensors)


def read_parts(whole: bytes) -> tuple[dict[str, str], dict[str, StoredTensor]]:
    """Metadata and tensors of a safetensors file."""
    end = 8 + int.from_bytes(whole[:8], "little")
    header = json.loads(whole[8:end])
    entries = header.pop("__metadata__", {})
    tensors = {}
    for name, entry in header.items():
        start, stop = entry["data_offsets"]
        tensors[name] = StoredTensor(
            entry["dtype"], entry["shape"], whole[end + start : end + stop]
        )
    return entries, tensors


def rebuilt(parts: Parts, written: str | None = None) -> bytes:
    """A file of these parts with a checksum that is right, where it has one; written: the
    metadata's text."""
    if written is None:
        written = json.dumps(parts.metadata, sort_keys=True, ensure_ascii=False)
    unsealed = container(parts.tensors, {"seq2seq": written})
    try:
        found = model_file._sum(written, safetensors.torch.load(unsealed))
    except (SafetensorError, ValueError, KeyError, TypeError, RuntimeError):  # no file at all
        return unsealed
    return container(parts.tensors, {"seq2seq": written.replace(model_file._NO_SUM, found)})


def container(tensors: dict[str, StoredTensor], entries: dict[str, str]) -> bytes:
    """A safetensors file of these tensors and this metadata, whether or not they fit."""
    header: dict[str, Any] = {"__metadata__": entries} if entries else {}
    data = b""
    for name, (dtype, shape, content) in tensors.items():
        offsets = [len(data), len(data) + len(content)]
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": offsets}
        data += content
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + data


_NESTED: list[Any] = []
for _ in range(100):
    _NESTED = [_NESTED]

_ODD: list[Any] = [
    *(None, True, False, 0, 1, -1, 2, 3, 4, 5, 64, 65_536, 1 << 40, 1 << 70, 0.5, 1e300, -1e-300),
    *(
        float("nan"),
        float("inf"),
        "",
        "x",
        "none",
        "0",
        "1e9",
        "9" * 5000,
        "\0",
        "\ud800",
        "\u2028",
    ),
    *("de", "xx", "en-GB", "zh", "spacy", "words", "bpe", "unigram", "whitespace", "characters"),
    *("dot", "general", "additive", "before", "input_feeding", "deep", "every_layer", "all"),
    *("target", "shared", "separate", [], [1], {}, {"kind": "none"}, {"kind": "bpe"}, {"kind": []}),
    *({"": {}}, _NESTED, "a" * 300, ["de"], {"source": 1, "target": 2}),
]
_DTYPES = ("F32", "F64", "F16", "BF16", "U8", "I8", "I64", "BOOL", "F8_E4M3", "C64", "F4", "X", "")
_SIZES: tuple[Any, ...] = (0, 1, 2, 4, 5, 7, 16, 1 << 20, 1 << 40, 1 << 62, -1, 1.5, None, "4", [4])
_WORD_PIECES = [
    *(b"\n", b"\n\n", b"<unk>", b"<eos>", b"<pad>", b"Hund", b"\r", b"\0", b"\xff", b" ", b"\t"),
    *("\u2028\u2581\u0301\x85\x1c\x1d".encode(), b"\xed\xa0\x80", b"a" * 2000, b"\x0a\x00\x12\xff"),
]
_WEIGHTS = [
    struct.pack("<f", value)
    for value in (float("nan"), float("inf"), -float("inf"), 3e38, -3e38, 1e-45, 0.0, 1e9)
]


_KINDS = (*["metadata"] * 4, "text", *["tensor"] * 3, *["words"] * 3)


def rebuilt_model_file(data: bytes) -> None:
    """A model file whose parts are changed, but which is whole as a file: its checks see it."""
    case = Case(data)
    parts = parts_of(model_bytes(case.number(3)))
    written = None
    for _ in range(1 + case.number(3)):
        kind = case.pick(_KINDS)
        if kind == "metadata":
            change_tree(case, parts.metadata)
        elif kind == "text":
            whole = json.dumps(parts.metadata, sort_keys=True).encode()
            edited = case.edited(whole, HEADER_PIECES, 1 + case.number(2))
            written = edited.decode(errors="replace")
        elif kind == "tensor":
            change_tensor(case, parts.tensors, sorted(parts.tensors))
        else:
            name = case.pick(
                [name for name in sorted(parts.tensors) if "model." not in name] or [""]
            )
            old = parts.tensors.get(name, StoredTensor("U8", [0], b""))
            new = case.edited(old.data, _WORD_PIECES, 1 + case.number(3))
            parts.tensors[name] = StoredTensor(old.dtype, [len(new)], new)
    _use(write("case.safetensors", rebuilt(parts, written)))


def change_tree(case: Case, tree: Any) -> None:
    """Change one value, key or branch of a JSON object."""
    places: list[tuple[Any, Any]] = []

    def collect(node: Any) -> None:
        for key in node if isinstance(node, dict) else range(len(node)):
            places.append((node, key))
            if isinstance(node[key], dict | list):
                collect(node[key])

    collect(tree)
    if not places:
        return
    node, key = case.pick(places)
    kind = case.number(5)
    if kind == 0:
        del node[key]
    elif kind == 1 and isinstance(node, dict):
        node[case.pick(("x", "", "kind", "source", "size", str(key) + "s"))] = node[key]
    elif kind == 2:
        other, other_key = case.pick(places)
        # As a copy: no tree inside itself.
        node[key] = json.loads(json.dumps(other[other_key] if other_key in list(other) else None))
    else:
        node[key] = case.pick(_ODD)


def change_tensor(case: Case, tensors: dict[str, StoredTensor], names: list[str]) -> None:
    """Change one tensor's name, type, shape or content, or have it twice or not at all."""
    if not names:
        return
    name = case.pick(names)
    dtype, shape, content = tensors[name]
    kind = case.number(7)
    if kind == 0:
        del tensors[name]
    elif kind == 1:
        tensors[case.pick((name, *names, "x", "", "model.", "__metadata__"))] = tensors.pop(name)
    elif kind == 2:
        tensors[name] = StoredTensor(case.pick(_DTYPES), shape, content)
    elif kind == 3:
        sizes = [case.pick(_SIZES) for _ in range(case.number(4))]
        tensors[name] = StoredTensor(dtype, sizes, content)
    elif kind == 4:  # as large as it says
        sizes = [case.number(6) for _ in range(case.number(3))]
        tensors[name] = StoredTensor("U8" if case.flag() else "F32", sizes, bytes(4 * 6**3))
        num_bytes = (1 if tensors[name].dtype == "U8" else 4) * functools.reduce(
            lambda product, size: product * size, sizes, 1
        )
        tensors[name] = tensors[name]._replace(data=bytes(num_bytes))
    elif kind == 5:
        place = 4 * case.number(max(1, len(content) // 4))
        new = (content[:place] + case.pick(_WEIGHTS) + content[place + 4 :])[: len(content)]
        tensors[name] = StoredTensor(dtype, shape, new)
    else:
        tensors[name] = tensors[case.pick(names)] if case.flag() else StoredTensor(dtype, [0], b"")


def _use(path: Path) -> None:
    """What loads translates: a line for a line."""
    loaded = Translator([load_translator(path, _CPU)], _CPU)
    options = TranslationOptions(beam_size=1, max_length=2)
    lines = ["ein Hund läuft", "", "x"]
    assert len(list(loaded.translate(lines, options))) == len(lines)
