"""The model file: a translator in one safetensors file.

It holds the weights (`model.*`), tokenizers and vocabularies as bytes (uint8 tensors), and one
metadata entry `seq2seq` with sorted JSON: format version, config without any path, and whether the
languages share a vocabulary. Loading runs no code of the file's. Equal content gives equal bytes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
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
from seq2seq_cli.data.tokenizers import load_tokenizer
from seq2seq_cli.data.vocabulary import TextCodec, Vocabulary
from seq2seq_cli.errors import ModelFileError
from seq2seq_cli.files import atomic_write
from seq2seq_cli.model.seq2seq import Seq2Seq

FORMAT_VERSION = 1
_METADATA_KEY = "seq2seq"


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
    }
    with atomic_write(path) as temporary:
        safetensors.torch.save_file(
            {name: tensor.detach().cpu().contiguous() for name, tensor in sorted(tensors.items())},
            temporary,
            metadata={_METADATA_KEY: json.dumps(metadata, sort_keys=True, ensure_ascii=False)},
        )


def load_translator(path: Path, device: torch.device) -> TranslatorFile:
    """Read a model file; the model comes in evaluation mode.

    Raises ModelFileError for a file that is missing, damaged, foreign, or of a newer format.
    """
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = _check_metadata(path, file.metadata() or {})
            # Copies stand where products are fastest, and give the same sums as a model just made.
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError as error:
        raise ModelFileError(f"{path}: no such file") from error
    except OSError as error:
        raise ModelFileError(f"{path}: cannot be read: {error.strerror or error}") from error
    except safetensors.SafetensorError as error:
        raise ModelFileError(f"{path}: damaged, or not a model file: {error}") from error
    try:
        return _assemble(metadata, tensors, device)
    except ModelFileError as error:
        raise ModelFileError(f"{path}: {error}") from error


def _check_metadata(path: Path, entries: dict[str, str]) -> dict[str, Any]:
    try:
        metadata = json.loads(entries[_METADATA_KEY])
        version = metadata["format_version"]
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise ModelFileError(f"{path}: not a model file of this program") from error
    if version != FORMAT_VERSION:
        raise ModelFileError(
            f"{path}: has format version {version}, this program reads {FORMAT_VERSION}; "
            "a newer seq2seq may have written it"
        )
    return dict(metadata)


def _assemble(
    metadata: dict[str, Any], tensors: dict[str, Tensor], device: torch.device
) -> TranslatorFile:
    try:
        config = TranslatorConfig.model_validate(metadata.get("config"))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        raise ModelFileError(f"the config inside does not fit: {key}: {first['msg']}") from error
    shared = metadata.get("vocabularies") == "shared"
    if shared != config.data.vocabulary.shared:
        raise ModelFileError("the vocabularies inside do not fit the config inside")
    source, target = _read_codecs(config, tensors, shared)
    # Shapes only: nothing is allocated before they are checked.
    with torch.device("meta"), _Undrawn():
        model = Seq2Seq(config.model, len(source.vocabulary), len(target.vocabulary))
    weights = {
        name.removeprefix("model."): tensor
        for name, tensor in tensors.items()
        if name.startswith("model.")
    }
    wanted = dict(model.named_parameters())
    if weights.keys() != wanted.keys():
        odd = sorted(weights.keys() ^ wanted.keys())[0]
        raise ModelFileError(f"the weights inside do not fit the config inside: {odd}")
    for name, tensor in weights.items():
        if tensor.shape != wanted[name].shape or tensor.dtype != torch.float32:
            raise ModelFileError(
                f"the weights inside do not fit the config inside: {name} is {tensor.dtype} "
                f"{tuple(tensor.shape)}, it should be float32 {tuple(wanted[name].shape)}"
            )
    model.load_state_dict(weights, assign=True, strict=False)  # of shared ones, one name will do
    return TranslatorFile(config, source, target, model.to(device).eval())


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


def _sides(translator: TranslatorFile) -> dict[str, TextCodec]:
    return {"source": translator.source, "target": translator.target}


def _read_codecs(
    config: TranslatorConfig, tensors: dict[str, Tensor], shared: bool
) -> tuple[TextCodec, TextCodec]:
    text = config.data
    sides = ("source", "source") if shared else ("source", "target")
    first, second = (
        load_tokenizer(text.tokenizer, _to_bytes(tensors, f"tokenizer.{side}"), language)
        for side, language in zip(sides, (text.source, text.target), strict=True)
    )
    vocabulary = Vocabulary.from_bytes(_to_bytes(tensors, "vocabulary.source"))
    if shared:
        return TextCodec(first, vocabulary), TextCodec(second, vocabulary)
    other = Vocabulary.from_bytes(_to_bytes(tensors, "vocabulary.target"))
    return TextCodec(first, vocabulary), TextCodec(second, other)


def _to_tensor(data: bytes) -> Tensor:
    return torch.from_numpy(np.frombuffer(data, dtype=np.uint8).copy())


def _to_bytes(tensors: dict[str, Tensor], name: str) -> bytes:
    if name not in tensors or tensors[name].dtype != torch.uint8:
        raise ModelFileError(f"{name} is missing inside")
    return tensors[name].numpy().tobytes()
