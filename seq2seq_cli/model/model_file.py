"""The model file: a translator in one safetensors file.

It holds the weights (`model.*`), tokenizers and vocabularies as bytes (uint8 tensors), and one
metadata entry `seq2seq` with sorted JSON: format version, config without any path, whether the
languages share a vocabulary, and a checksum. Equal content gives equal bytes.

Files come from anywhere, so nothing inside is believed: loading runs no code of the file's, and
what it holds is counted before it is made into objects.

Versions: this program reads files of its own format version and of all before; newer ones it
refuses by their number. Version 1 had no checksum.
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.torch
import torch
from pydantic import ValidationError
from torch import Tensor
from torch.overrides import TorchFunctionMode

from seq2seq_cli.config import TranslatorConfig
from seq2seq_cli.config.sections import first_mistake, shown
from seq2seq_cli.data.tokenizers import load_tokenizer
from seq2seq_cli.data.vocabulary import SPECIAL_TOKENS, TextCodec, Vocabulary
from seq2seq_cli.errors import ModelFileError
from seq2seq_cli.files import atomic_write, sum_of_arrays
from seq2seq_cli.model.seq2seq import Seq2Seq

FORMAT_VERSION = 2
_METADATA_KEY = "seq2seq"
_SUM = "sha256"
_NO_SUM = "0" * 64  # stands for the sum while it is made

# Far more than any translator needs, and little enough for any computer to look at.
_MAX_FILE_BYTES = 64 << 30
_MAX_HEADER_BYTES = 16 << 20
_MAX_TEXT_BYTES = 128 << 20
_MAX_VERSION = 1_000_000


_Shapes = Mapping[str, tuple[str, tuple[int, ...]]]
"""Type and shape of each tensor, by its name."""


@dataclass(frozen=True)
class TranslatorFile:
    """What a model file holds."""

    config: TranslatorConfig
    source: TextCodec
    target: TextCodec
    model: Seq2Seq


def save_translator(path: Path, translator: TranslatorFile) -> None:
    """Write the file whole or not at all. Raises OSError."""
    # The tokenizers of a shared vocabulary may be two, for two languages: their bytes are equal.
    shared = translator.source.vocabulary is translator.target.vocabulary
    # A matrix that two parts of the model share is named, and kept, once.
    tensors: dict[str, Tensor] = {
        f"model.{name}": tensor for name, tensor in translator.model.named_parameters()
    }
    codecs = {"source": translator.source} if shared else _sides(translator)
    for side, codec in codecs.items():
        tensors[f"tokenizer.{side}"] = _to_tensor(codec.tokenizer.to_bytes())
        tensors[f"vocabulary.{side}"] = _to_tensor(codec.vocabulary.to_bytes())
    metadata = {
        "format_version": FORMAT_VERSION,
        "config": translator.config.model_dump(mode="json"),
        "vocabularies": "shared" if shared else "separate",
        _SUM: _NO_SUM,
    }
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in sorted(tensors.items())}
    metadata[_SUM] = _sum(_to_json(metadata), plain)
    save_tensors(path, plain, {_METADATA_KEY: _to_json(metadata)})


def save_tensors(
    path: Path, tensors: Mapping[str, Tensor], metadata: dict[str, str] | None = None
) -> None:
    """Write a safetensors file whole or not at all. Raises OSError."""
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with atomic_write(path) as temporary:
        try:
            safetensors.torch.save_file(plain, temporary, metadata=metadata)
        except safetensors.SafetensorError as error:  # what it makes of a disk that is full, say
            number = re.search(r"os error (\d+)", str(error))
            if number is None:
                raise
            code = int(number[1])
            raise OSError(code, os.strerror(code), str(path)) from error


def load_translator(path: Path, device: torch.device) -> TranslatorFile:
    """Read a model file; the model comes in evaluation mode.

    Raises ModelFileError for a file that is missing, damaged, foreign, or of a newer format.
    """
    try:
        _check_sizes(path)
        with safetensors.safe_open(path, framework="pt") as file:
            return _read(file, device)
    except FileNotFoundError as error:
        raise ModelFileError(f"{path}: no such file") from error
    except OSError as error:
        raise ModelFileError(f"{path}: cannot be read: {error.strerror or error}") from error
    except safetensors.SafetensorError as error:
        reason = _in_short(str(error))
        raise ModelFileError(f"{path}: damaged, or not a model file: {reason}") from error
    except RecursionError as error:  # its metadata is nested without end
        raise ModelFileError(f"{path}: not a model file of this program") from error
    except ModelFileError as error:
        raise ModelFileError(f"{path}: {error}") from error


def _check_sizes(path: Path) -> None:
    """What has to be known before anything of the file is taken into memory."""
    mode = path.stat().st_mode
    if stat.S_ISDIR(mode):
        raise ModelFileError("not a model file: it is a folder")
    if not stat.S_ISREG(mode):  # to open a pipe would wait for whoever writes to it
        raise ModelFileError("not a model file: it is no regular file")
    with path.open("rb") as file:
        num_bytes = os.fstat(file.fileno()).st_size
        header_bytes = int.from_bytes(file.read(8), "little")
    if num_bytes > _MAX_FILE_BYTES:
        raise ModelFileError(f"not a model file: larger than {_MAX_FILE_BYTES:,} bytes")
    if header_bytes > min(_MAX_HEADER_BYTES, num_bytes - 8):
        raise ModelFileError(
            f"damaged, or not a model file: its {num_bytes:,} bytes hold no whole header"
        )


def _read(file: Any, device: torch.device) -> TranslatorFile:
    """file: as safetensors opens it; it has made sure that the tensors fill the file."""
    entries = file.metadata() or {}
    metadata = _read_metadata(entries)
    config = _read_config(metadata)
    shared = config.data.vocabulary.shared
    if metadata["vocabularies"] != ("shared" if shared else "separate"):
        raise ModelFileError("the vocabularies inside do not fit the config inside")
    shapes = {name: _shape(file.get_slice(name)) for name in file.keys()}  # noqa: SIM118
    source, target = _read_codecs(config, file, shapes)
    # Shapes only: nothing is allocated before they are checked.
    with torch.device("meta"), _Undrawn():
        model = Seq2Seq(config.model, len(source.vocabulary), len(target.vocabulary))
    _check_shapes(shapes, model, shared)
    # Copies stand where products are fastest, and give the same sums as a model just made.
    tensors = {name: file.get_tensor(name).clone() for name in shapes}
    # What the checks before this one find, they say more exactly.
    found = metadata.get(_SUM)
    if found is not None and found != _sum(entries[_METADATA_KEY].replace(found, _NO_SUM), tensors):
        raise ModelFileError(
            "damaged: its content is not what was written, the checksum differs; copy it again"
        )
    weights = {
        name.removeprefix("model."): tensor
        for name, tensor in tensors.items()
        if name.startswith("model.")
    }
    for name, tensor in weights.items():
        if not all(bound.isfinite() for bound in tensor.aminmax()):
            raise ModelFileError(f"some of the weights inside are no numbers: {name}")
    model.load_state_dict(weights, assign=True, strict=False)  # of shared ones, one name will do
    return TranslatorFile(config, source, target, model.to(device).eval())


def _read_metadata(entries: dict[str, str]) -> dict[str, Any]:
    try:
        metadata = json.loads(
            entries[_METADATA_KEY], object_pairs_hook=_each_once, parse_constant=_refuse_constant
        )
        version = metadata["format_version"]
    except (KeyError, TypeError, ValueError) as error:
        raise ModelFileError("not a model file of this program") from error
    if type(version) is not int or not 1 <= version <= _MAX_VERSION:
        raise ModelFileError(
            f"has format version {shown(version)}, which no seq2seq has ever written"
        )
    if version > FORMAT_VERSION:
        raise ModelFileError(
            f"has format version {version}, this program reads up to {FORMAT_VERSION}; a newer "
            "seq2seq has written it: update with pip install --upgrade seq2seq-cli"
        )
    keys = {"format_version", "config", "vocabularies"} | ({_SUM} if version > 1 else set())
    _check_names("the {} inside", keys, metadata.keys())
    _check_names("the metadata entry {}", {_METADATA_KEY}, entries.keys())
    found = metadata.get(_SUM, _NO_SUM)
    if not isinstance(found, str) or not re.fullmatch("[0-9a-f]{64}", found):
        raise ModelFileError(f"the checksum inside is none: {shown(found)}")
    return dict(metadata)


def _read_config(metadata: dict[str, Any]) -> TranslatorConfig:
    try:
        # As JSON, so that a section may be a mapping even where types are strict.
        return TranslatorConfig.model_validate_json(json.dumps(metadata["config"]), strict=True)
    except ValidationError as error:
        reason = _in_short(first_mistake(error))
        raise ModelFileError(f"the config inside does not fit: {reason}") from error


def _check_names(text: str, wanted: Set[str], found: Set[str]) -> None:
    """text: what an error says before `is missing`, {} being the name."""
    for name in sorted(wanted - found):
        raise ModelFileError(f"{text.format(name)} is missing")
    for name in sorted(found - wanted):
        raise ModelFileError(f"{text.format(_in_short(name))} should not be there")


class _Undrawn(TorchFunctionMode):
    """Leaves out the first values of weights: without memory to put them in, torch imports its
    compiler for them, which takes longer than torch itself."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if getattr(func, "__module__", None) == "torch.nn.init":
            return None
        return func(*args, **(kwargs or {}))


def _check_shapes(shapes: _Shapes, model: Seq2Seq, shared: bool) -> None:
    wanted = {f"model.{name}": tuple(tensor.shape) for name, tensor in model.named_parameters()}
    sides = ("source",) if shared else ("source", "target")
    texts = {f"{what}.{side}" for what in ("tokenizer", "vocabulary") for side in sides}
    misfit = "the tensors inside do not fit the config inside: {}"
    _check_names(misfit, wanted.keys() | texts, shapes.keys())
    for name, shape in wanted.items():
        kind, found = shapes[name]
        if (kind, found) != ("F32", shape):
            is_this = f"{kind.replace('F', 'float')} {_in_short(str(found))}"
            reason = f"{name} is {is_this}, it should be float32 {shape}"
            raise ModelFileError(misfit.format(reason))


def _sides(translator: TranslatorFile) -> dict[str, TextCodec]:
    return {"source": translator.source, "target": translator.target}


def _read_codecs(
    config: TranslatorConfig, file: Any, shapes: _Shapes
) -> tuple[TextCodec, TextCodec]:
    def text(name: str) -> bytes:
        kind, shape = shapes.get(name, ("", ()))
        if kind != "U8" or len(shape) != 1:
            raise ModelFileError(f"{name} inside is missing")
        if shape[0] > _MAX_TEXT_BYTES:
            raise ModelFileError(f"{name} inside is larger than {_MAX_TEXT_BYTES:,} bytes")
        return bytes(file.get_tensor(name).numpy())

    def vocabulary(side: str, max_size: int | None) -> Vocabulary:
        words = text(f"vocabulary.{side}")
        # Words become objects, which are larger than what is in the file: no more than fit it.
        matrices = [shape for kind, shape in shapes.values() if kind == "F32" and len(shape) == 2]
        most_rows = max((rows for rows, columns in matrices if columns), default=0)
        if words.count(b"\n") >= most_rows:
            raise ModelFileError("the vocabulary inside has more words than the weights inside")
        found = Vocabulary.from_bytes(words)
        num_words = len(found) - len(SPECIAL_TOKENS)
        if max_size is not None and num_words > max_size:
            raise ModelFileError(
                f"the vocabulary inside has {num_words:,} words, the config inside {max_size:,}"
            )
        return found

    sizes, shared = config.data.vocabulary.max_size, config.data.vocabulary.shared
    sides = ("source", "source") if shared else ("source", "target")
    first, second = (
        load_tokenizer(config.data.tokenizer, text(f"tokenizer.{side}"), language)
        for side, language in zip(sides, (config.data.source, config.data.target), strict=True)
    )
    words = vocabulary("source", sizes.source)
    other = words if shared else vocabulary("target", sizes.target)
    return TextCodec(first, words), TextCodec(second, other)


def _shape(part: Any) -> tuple[str, tuple[int, ...]]:
    return part.get_dtype(), tuple(part.get_shape())


def _sum(metadata: str, tensors: Mapping[str, Tensor]) -> str:
    """Of all that a file holds; in the metadata, the sum itself is _NO_SUM."""
    arrays = {name: tensor.numpy() for name, tensor in tensors.items()}
    return sum_of_arrays(arrays | {_METADATA_KEY: np.frombuffer(metadata.encode(), np.uint8)}, _SUM)


def _to_json(metadata: dict[str, Any]) -> str:
    return json.dumps(metadata, sort_keys=True, ensure_ascii=False)


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key is there twice")
    return found


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _in_short(text: str) -> str:
    """Text that whoever made the file may have made endless."""
    return text if len(text) <= 200 else f"{text[:199]}…"


def _to_tensor(data: bytes) -> Tensor:
    return torch.from_numpy(np.frombuffer(data, dtype=np.uint8).copy())
