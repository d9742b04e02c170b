"""What the README says is so. `python -m tests.unit.test_readme` prints its tables of keys anew."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pydantic.fields import FieldInfo

from seq2seq_cli.config import Config
from seq2seq_cli.config.reverse_toy import (
    TASKS,
    Lengths,
    NumbersConfig,
    ReverseToyConfig,
    SymbolsConfig,
)
from seq2seq_cli.config.sections import Section
from seq2seq_cli.config_file import (
    load_config,
    load_reverse_toy_config,
    section_of,
    shipped_configs,
)

README = Path(__file__).parents[2] / "README.md"


def key_rows(section: type[Section], prefix: str = "") -> Iterator[str]:
    for name, field in section.model_fields.items():
        key = f"{prefix}{name}"
        inner = section_of(field.annotation)
        if isinstance(inner, dict) and hasattr(field.default, "kind"):
            yield from kind_rows(key, field, inner)
        elif inner is not None and field.default is not None:
            if field.metadata:  # a number may stand for the whole section
                yield f"| `{key}` | | {described(field)} |"
            yield from key_rows(inner, f"{key}.")
        else:
            yield f"| `{key}` | `{json.dumps(field.default)}` | {described(field)} |"


def described(field: FieldInfo) -> str:
    return " ".join(str(field.description).split())


def kind_rows(key: str, field: FieldInfo, kinds: dict[str, type[Section]]) -> Iterator[str]:
    """The choice with the options that all its kinds have, then a row for each kind."""
    first, *others = kinds.values()
    shared = {
        name: option
        for name, option in first.model_fields.items()
        if name != "kind"
        and all(
            name in kind.model_fields and kind.model_fields[name].default == option.default
            for kind in others
        )
    }
    yield (
        f"| `{key}` | `kind: {field.default.kind}`{shown(shared)} "
        f"| {' '.join([described(field), *meanings(shared)])} |"
    )
    told: set[str] = set()  # what several kinds have in common is explained once
    for name, kind in kinds.items():
        own = {k: f for k, f in kind.model_fields.items() if k != "kind" and k not in shared}
        new = [meaning for meaning in meanings(own) if meaning not in told]
        told |= {*new}
        about = [described(kind.model_fields["kind"]), *new]
        yield f"| | `kind: {name}`{shown(own)} | {' '.join(about)} |"


def shown(options: dict[str, FieldInfo]) -> str:
    return "".join(f", `{name}: {json.dumps(f.default)}`" for name, f in options.items())


def meanings(options: dict[str, FieldInfo]) -> list[str]:
    return [f"`{name}`: {described(field)}" for name, field in options.items()]


def key_table() -> str:
    return "\n".join(["| key | default | meaning |", "|---|---|---|", *key_rows(Config)])


def toy_table() -> str:
    """The keys of both tasks of reverse-toy, those of one task with a dash for the other."""
    numbers, symbols = (schema() for schema in TASKS.values())
    rows = ["| key | numbers | symbols | meaning |", "|---|---|---|---|"]
    keys = {**NumbersConfig.model_fields, **SymbolsConfig.model_fields}
    for key in keys:
        defaults = [
            f"`{toy_default(getattr(config, key))}`" if hasattr(config, key) else "-"
            for config in (numbers, symbols)
        ]
        base = ReverseToyConfig.model_fields.get(key)
        field = base if base and base.description else SymbolsConfig.model_fields[key]
        rows.append(f"| `{key}` | {' | '.join(defaults)} | {described(field)} |")
    return "\n".join(rows)


def toy_default(value: object) -> str:
    if isinstance(value, Lengths):
        return str(value)
    if isinstance(value, Section):
        return ", ".join(f"{key}: {option}" for key, option in value.model_dump().items())
    return json.dumps(value)


@pytest.mark.parametrize("table", [key_table, toy_table])
def test_the_tables_of_keys_are_the_schema(table: Callable[[], str]) -> None:
    assert table() in README.read_text(encoding="utf-8")


def test_every_shipped_config_is_named() -> None:
    text = README.read_text(encoding="utf-8")
    assert all(f"`{name}`" in text for name in shipped_configs())


EXAMPLES = re.findall(r"```yaml\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)


def test_there_are_yaml_examples() -> None:
    assert len(EXAMPLES) >= 4


@pytest.mark.parametrize("example", EXAMPLES)
def test_the_yaml_examples_load(example: str, tmp_path: Path) -> None:
    path = tmp_path / "example.yaml"
    path.write_text(example, encoding="utf-8")

    if "task:" in example:
        assert load_reverse_toy_config(path, [])
    else:
        data = load_config(str(path)).data
        assert data.train or data.dataset


def test_the_pictures_are_there() -> None:
    pictures = re.findall(r"!\[[^]]*\]\(([^)]+)\)", README.read_text(encoding="utf-8"))
    assert pictures
    assert all((README.parent / picture).is_file() for picture in pictures)


if __name__ == "__main__":
    print(key_table(), toy_table(), sep="\n\n")
