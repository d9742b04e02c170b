"""Configs as files: found, read, --set values laid over them, mistakes turned into lines."""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Iterable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from seq2seq_cli import __version__
from seq2seq_cli.config import Config
from seq2seq_cli.config.reverse_toy import (
    TASKS,
    NumbersConfig,
    ReverseToyConfig,
    SymbolsConfig,
)
from seq2seq_cli.config.sections import Section, shown
from seq2seq_cli.errors import ConfigError, did_you_mean
from seq2seq_cli.yaml_document import MAX_DEPTH, Document, KeyPath, dotted, parse

MAX_BYTES = 1 << 18
"""YAML is read slowly: a megabyte of it would take seconds."""

_Schema = TypeVar("_Schema", bound=Section)


class Override(NamedTuple):
    """A value laid over a file's."""

    key: str
    """Dotted."""
    value: str
    """YAML."""
    origin: str
    """What errors call the place it came from."""


def parse_override(text: str) -> Override:
    """`dotted.key=VALUE`, as --set takes it. Raises ConfigError."""
    key, separator, value = text.partition("=")
    if not separator or not all(key.split(".")):
        raise ConfigError(f"--set {text}: write it as key=VALUE, say training.epochs=5")
    if key.count(".") >= MAX_DEPTH:
        raise ConfigError(f"--set {key[:40]}: nested deeper than {MAX_DEPTH} levels")
    return Override(key, value, f"--set {key}")


def load_config(path_or_name: str, overrides: Iterable[Override] = ()) -> Config:
    """Read a config file, or a config shipped with the program by its name.

    Each override replaces what the file says at its key. Paths in the file are taken from the
    file's folder, paths in overrides from the current one.

    Raises ConfigError with one line for each mistake.
    """
    path = _find(path_or_name)
    document = _read(path)
    _lay_over(document, overrides)
    if document.tree.get("name") is None:
        document.tree["name"] = re.sub(r"[^\w.+-]+", "-", path.stem).lstrip(".+-") or "model"
    return _validate(document, Config)


def load_reverse_toy_config(path: Path | None, overrides: Iterable[Override]) -> ReverseToyConfig:
    """Read a file of the reversal toy's keys, if there is one; each override replaces a key.

    Raises ConfigError with one line for each mistake.
    """
    document = _read(path, needs_nothing=True) if path else Document("defaults")
    if {"data", "model", "training"} & set(document.tree):
        raise ConfigError(f"{path}: this is a config of `seq2seq train`, not of the toy")
    _lay_over(document, overrides)
    task = document.tree.get("task", "numbers")
    # A task that there is not may be either: the symbols' keys are those of both.
    return _validate(document, TASKS.get(str(task), SymbolsConfig))


def _read(path: Path, *, needs_nothing: bool = False) -> Document:
    document = Document(f"{path}:1")
    tree = parse(_read_text(path), (), str(path), document)
    if tree is None and needs_nothing:  # nothing but comments
        tree = {}
    if not isinstance(tree, dict):
        raise ConfigError(f"{path}:1: a config is a mapping of keys to values")
    document.put((), tree, path.absolute().parent)
    return document


def _lay_over(document: Document, overrides: Iterable[Override]) -> None:
    for key, value, origin in overrides:
        keys = tuple(key.split("."))
        inner = Document(origin)
        parsed = parse(value, keys, origin, inner)
        document.mistakes += inner.mistakes
        document.put(keys, parsed, Path.cwd(), origin)


class _Dumper(yaml.SafeDumper):
    """Writes text with line ends of Unicode in it so that it is read as it was."""


def _represent_text(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    style = '"' if re.search("[\x85\u2028\u2029]", text) else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style)


_Dumper.add_representer(str, _represent_text)


def dump_config(config: Config) -> str:
    """The resolved config as YAML that `load_config` reads back to an equal config."""
    values = config.model_dump(mode="json", exclude_none=False)
    body = yaml.dump(values, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)
    return f"# Resolved by seq2seq {__version__}: every key with its value.\n{body}"


def changed_keys(old: BaseModel, new: BaseModel) -> dict[str, tuple[object, object]]:
    """Dotted keys whose values differ, with the old and the new value."""

    def leaves(value: object, prefix: str) -> dict[str, object]:
        if isinstance(value, dict):
            return {
                key: leaf
                for name, inner in value.items()
                for key, leaf in leaves(inner, f"{prefix}.{name}" if prefix else name).items()
            }
        return {prefix: value}

    before, after = leaves(old.model_dump(mode="json"), ""), leaves(new.model_dump(mode="json"), "")
    keys = [*before, *(key for key in after if key not in before)]
    return {
        key: (before.get(key), after.get(key)) for key in keys if before.get(key) != after.get(key)
    }


# ---------------------------------------------------------------- finding and reading


def shipped_configs() -> dict[str, Path]:
    """Configs that come with the program, by name."""
    package = Path(str(resources.files("seq2seq_cli")))
    # In a wheel they lie inside the package, in a checkout beside it.
    inside = package / "configs"
    folder = inside if inside.is_dir() else package.parent / "configs"
    return {file.stem: file for file in sorted(folder.glob("*.yaml"))}


def _find(path_or_name: str) -> Path:
    path = Path(path_or_name)
    try:
        is_folder = path.is_dir()
        if is_folder and (path / "config.yaml").is_file():
            return path / "config.yaml"
        is_file = path.exists() and not is_folder
    except OSError as error:  # a name longer than any file's, say
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    shipped = shipped_configs()
    if not is_file and path_or_name in shipped:
        return shipped[path_or_name]
    if is_file or is_folder or path.suffix in {".yaml", ".yml"} or len(path.parts) > 1:
        return path
    raise ConfigError(
        f"{path_or_name}: no such file, and no config of that name comes with the program; "
        f"there are {', '.join(sorted(shipped))}{did_you_mean(path_or_name, shipped)}"
    )


def _read_text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    if len(data) > MAX_BYTES:
        raise ConfigError(f"{path}: larger than {MAX_BYTES:,} bytes, which no config is")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{path}:{line}: byte 0x{data[error.start]:02X} is not UTF-8") from error


# ---------------------------------------------------------------- validation


def _validate(document: Document, schema: type[_Schema]) -> _Schema:
    mistakes = list(document.mistakes)
    try:
        config = schema.model_validate(document.tree)
    except ValidationError as error:
        # A number that stands for several keys is one mistake.
        mistakes += dict.fromkeys(
            _error_line(details, document, schema) for details in error.errors()
        )
    if mistakes:
        raise ConfigError("\n".join(sorted(mistakes, key=_by_line)))
    return config


def _by_line(mistake: str) -> tuple[bool, int]:
    """Order of the file; what was said on the command line comes last."""
    line = re.match(r"(?!--).*?:(\d+): ", mistake)
    return mistake.startswith("--"), int(line[1]) if line else 0


def _error_line(details: ErrorDetails, document: Document, schema: type[Section]) -> str:
    keys, section = _locate(details["loc"], schema)
    message = _message(details, keys, section, schema)
    if details["type"] == "union_tag_invalid":
        keys = (*keys, "kind")
    keys = document.written(keys)
    if key := details.get("ctx", {}).get("key"):
        keys = tuple(key.split("."))
    if keys == ("name",) and keys not in document.places:
        message += "; it is the file's own name: set another with name: ..."
    place = document.place(keys)
    if place == f"--{dotted(keys[:1]).replace('_', '-')}":  # an option that is the key
        keys = keys[1:]
    if not keys:
        return f"{place}: {message}"
    return f"{place}: {dotted(keys)}: {message}"


def _locate(
    location: tuple[int | str, ...], schema: type[Section]
) -> tuple[KeyPath, type[Section]]:
    """Dotted key without the tags of unions, and the section that the last key stands in."""
    section: Any = schema
    holder = schema
    keys: list[str] = []
    for part in map(str, location):
        if isinstance(section, Mapping):  # the tag that chose among a union's sections
            section = section[part]
            continue
        keys.append(part)
        holder = section or holder
        field = section.model_fields.get(part) if section else None
        section = section_of(field.annotation) if field else None
    return tuple(keys), holder


def section_of(annotation: Any) -> Any:
    """The section a field holds, {tag: section} for a choice of several, None for a value."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return annotation
    if typing.get_origin(annotation) is typing.Annotated:
        arguments = typing.get_args(annotation)
        tag = next((meta.tag for meta in arguments[1:] if hasattr(meta, "tag")), None)
        inner = section_of(arguments[0])
        return {tag: inner} if tag else inner
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        options = [section_of(option) for option in typing.get_args(annotation)]
        merged = {
            tag: s for option in options if isinstance(option, dict) for tag, s in option.items()
        }
        if merged:
            return merged
        return next((section for section in options if section is not None), None)
    return None


def _message(
    details: ErrorDetails, keys: KeyPath, section: type[Section], schema: type[Section]
) -> str:
    kind, value, context = details["type"], details["input"], details.get("ctx", {})
    given = shown(value)
    if isinstance(value, str) and re.fullmatch(r"[-+\d.e_]{1,60}", value):
        given = value
    if kind == "extra_forbidden":
        if section is NumbersConfig and keys[-1] in SymbolsConfig.model_fields:
            return "goes with task symbols, not with numbers"
        of_kind = section.model_fields.get("kind")
        of = f" of kind {of_kind.default}" if of_kind else ""
        return f"unknown key{of}{did_you_mean(keys[-1], section.model_fields)}"
    if kind == "missing":
        return "is missing"
    if kind == "union_tag_invalid":
        names = [name.strip("' ") for name in str(context["expected_tags"]).split(",")]
        tag = str(context["tag"])
        return f"must be one of {', '.join(names)}, not {tag!r}{did_you_mean(tag, names)}"
    if kind == "literal_error":
        names = [
            name.strip("' ") for name in str(context["expected"]).replace(" or ", ",").split(",")
        ]
        return f"must be one of {', '.join(names)}, not {given}{did_you_mean(str(value), names)}"
    if kind in {"int_parsing", "int_type", "int_from_float"}:
        return f"must be a whole number, not {given}"
    if kind == "int_parsing_size":
        return f"is far too large a number: {given}"
    if kind in {"float_parsing", "float_type", "finite_number"}:
        return f"must be a number, not {given}"
    if kind in {"bool_parsing", "bool_type"}:
        return f"must be true or false, not {given}"
    if kind == "string_type":
        return f"must be text, not {given}"
    if kind == "path_type" and keys[-1] in {"source", "target"}:
        return f"must be the path of a file, not {given}"
    if kind == "path_type":
        return f"must be a file or {{source: FILE, target: FILE}}, not {given}"
    if kind in {"model_type", "model_attributes_type", "dict_type", "union_tag_not_found"}:
        names = _keys_at(keys, schema)
        hint = f"; write {{kind: {value}}}" if names[0] == "kind" and isinstance(value, str) else ""
        return f"must be a mapping of keys ({', '.join(names)}), not {given}{hint}"
    if kind == "string_pattern_mismatch":
        wanted = {"device": "auto, cpu, cuda, cuda:N or mps"}.get(
            keys[-1], "letters, digits, - _ . + only"
        )
        return f"must be {wanted}, not {given}"
    if kind == "too_short":
        return "must name at least one file"
    if kind == "mistake":
        return str(details["msg"])
    text = str(details["msg"]).replace("Input should", "must").replace("String should", "must")
    text = text.replace("greater than or equal to", "at least")
    return text.replace("less than or equal to", "at most") + f", not {given}"


def _keys_at(keys: KeyPath, schema: type[Section]) -> list[str]:
    section: Any = schema
    for key in keys:
        section = section_of(section.model_fields[key].annotation)
        if isinstance(section, Mapping):
            return ["kind", "..."]
    return list(section.model_fields)
