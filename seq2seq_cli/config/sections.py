"""What sections of a config have in common: how they are read, and the types of their values."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    ValidationError,
    model_validator,
)
from pydantic_core import PydanticCustomError


class Section(BaseModel):
    """A mapping in the config: unknown keys refused, no infinities, immutable.

    A section with nothing in it (`training:` alone on its line) has its defaults.
    """

    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True
    )

    @model_validator(mode="before")
    @classmethod
    def _empty_sections(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        fields = cls.model_fields
        return {
            key: value
            for key, value in values.items()
            if value is not None
            or key not in fields
            or not isinstance(fields[key].default, Section)
        }


def whole_number(value: object) -> object:
    """Let people write 1e5 where a whole number is meant."""
    if not isinstance(value, str):
        return value
    try:
        return int(value)  # exact, where a float is not
    except ValueError:
        pass
    try:
        number = float(value)
    except ValueError:
        return value
    return int(number) if number.is_integer() else value


def by_kind(default: str) -> Discriminator:
    """Choose a section by its `kind`; without one, the default kind's keys are meant."""

    def kind(value: Any) -> str | None:
        if isinstance(value, dict):
            found = value.get("kind", default)
            return found if isinstance(found, str) else str(found)
        return getattr(value, "kind", None)

    return Discriminator(kind)


Whole = Annotated[int, BeforeValidator(whole_number)]
Count = Annotated[Whole, Field(ge=1, le=1_000_000_000)]
Size = Annotated[Whole, Field(ge=1, le=65_536)]
Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Positive = Annotated[float, Field(gt=0.0)]
Seed = Annotated[Whole, Field(ge=0, lt=2**63)]
DeviceName = Annotated[str, Field(pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$")]


def mistake(text: str, key: str | None = None) -> PydanticCustomError:
    """An error in our own words; `key` is the dotted key that it is about, where pydantic cannot
    know."""
    return PydanticCustomError("mistake", "{text}", {"text": text, "key": key})


def first_mistake(error: ValidationError) -> str:
    """`dotted.key: what is wrong`, where one mistake is enough to refuse a file."""
    first = error.errors(include_url=False)[0]
    key = ".".join(map(str, first["loc"]))
    return f"{key}: {first['msg']}" if key else first["msg"]


def _file_name(value: object) -> object:
    """Refuse what no system takes as a path, before it is opened."""
    if isinstance(value, str) and (not value or "\0" in value or not is_encodable(value)):
        raise mistake("must be the path of a file")
    return value


def shown(value: object) -> str:
    """A value as errors show it."""
    text = "nothing" if value is None else repr(value)
    return text if len(text) <= 60 else f"{text[:59]}…"


def is_encodable(text: str) -> bool:
    """Whether text is UTF-8: half a surrogate pair is not."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


FilePath = Annotated[Path, BeforeValidator(_file_name)]


def check_number(value: object, keys: str) -> None:
    """Where a number stands for a mapping of `keys`: refuse what is neither."""
    try:
        is_number = not isinstance(value, bool) and float(value) is not None  # type: ignore[arg-type]
    except (TypeError, ValueError):
        is_number = False
    if not is_number:
        raise mistake(f"must be a number, or a mapping of keys ({keys}), not {shown(value)}")
