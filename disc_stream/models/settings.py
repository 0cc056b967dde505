"""Base of the settings of networks and trainings: checked once, frozen, nothing unknown allowed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal, Self, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel, ConfigDict, ModelWrapValidatorHandler, ValidationError, model_validator
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from disc_stream.errors import ConfigError

_KINDS = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "string_type": "a word",
    "tuple_type": "a list",
    "model_type": "settings by name",
}
_OUT_OF_RANGE = {"greater_than", "greater_than_equal", "less_than", "less_than_equal"}


class Settings(BaseModel):
    """Hyper-parameters by name.

    A value of the wrong kind is refused, not converted: ``True`` is no number, ``"3"`` neither. A whole
    number serves as a number, and a list as a tuple. Every way to make one raises ``ConfigError``, in one
    line.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    @model_validator(mode="wrap")
    @classmethod
    def _in_words(cls, values: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        if not isinstance(values, dict):
            return handler(values)  # one of several kinds that a field may have: pydantic goes on to the next
        try:
            return handler(values)
        except ValidationError as error:
            raise _problem(cls, error) from None

    def but(self, **changes: Any) -> Self:
        """The same settings with some values replaced, all of them checked.

        Raises:
            ConfigError: naming the field, its value and what is possible.
        """
        values = {name: getattr(self, name) for name in type(self).model_fields}
        return type(self)(**{**values, **changes})

    def to_dict(self) -> dict[str, Any]:
        """Plain values by name, as JSON and YAML take them; ``model_validate`` of it gives the same again."""
        return self.model_dump(mode="json")


def unknown_setting(name: str, known: Iterable[str], owner: str = "") -> ConfigError:
    """The error for a setting that is not there.

    Args:
        name: as given.
        known: the settings there are.
        owner: the method or network that lacks it; empty where that is clear.
    """
    message = f"{owner} has no setting {name!r}" if owner else f"there is no setting {name!r}"
    return ConfigError(message, remedy=f"Use one of: {', '.join(sorted(known))}")


def _problem(cls: type[BaseModel], error: ValidationError) -> ConfigError:
    problem = error.errors(include_url=False)[0]
    place = [part for part in problem["loc"] if isinstance(part, str) and part in cls.model_fields]
    if problem["type"] == "extra_forbidden":
        return unknown_setting(str(problem["loc"][0]), cls.model_fields)
    if not place:
        return ConfigError(f"settings must be given by name, got {problem['input']!r}")
    if problem["type"] == "missing":
        return ConfigError(f"the setting {place[0]!r} is missing", remedy="Give it a value")
    return ConfigError(_words(place[0], cls.model_fields[place[0]], problem))


def _words(name: str, field: FieldInfo, problem: ErrorDetails) -> str:
    kind, found, inside = problem["type"], problem["input"], len(problem["loc"]) > 1
    if kind == "literal_error":
        return f"{name} must be one of {', '.join(_choices(field.annotation))}, got {found!r}"
    if kind in _OUT_OF_RANGE:
        wanted = _range(field.metadata) if not inside else _range_of(problem)
    elif kind == "too_short":
        return f"{name} must have at least one value"
    else:
        wanted = _KINDS.get(kind, problem["msg"])
    return f"{name} must be {'a list, each value ' * inside}{wanted}, got {found!r}"


def _choices(annotation: Any) -> list[str]:
    if get_origin(annotation) is Literal:
        return [str(value) for value in get_args(annotation)]
    return [choice for part in get_args(annotation) for choice in _choices(part)]


def _range(metadata: Iterable[Any]) -> str:
    """The limits of a field, as text."""
    low, high = "", ""
    open_low = open_high = False
    for limit in metadata:
        match limit:
            case Ge(ge=value):
                low = f"{value:g}"
            case Gt(gt=value):
                low, open_low = f"{value:g}", True
            case Le(le=value):
                high = f"{value:g}"
            case Lt(lt=value):
                high, open_high = f"{value:g}", True
            case _:
                pass
    if low and high and open_low == open_high:
        return f"between {low} and {high}"
    least = f"{'above' if open_low else 'at least'} {low}" if low else ""
    most = f"{'below' if open_high else 'at most'} {high}" if high else ""
    return " and ".join(part for part in (least, most) if part)


def _range_of(problem: ErrorDetails) -> str:
    """The limit that a value inside a list has passed."""
    words = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}
    return " and ".join(f"{words[k]} {v:g}" for k, v in problem.get("ctx", {}).items() if k in words)
