"""Options that several commands have in common, declared once as the fields of a dataclass."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import MISSING, Field, fields, is_dataclass
from typing import Any, get_type_hints

Command = Callable[..., None]


def spread(command: Command) -> Command:
    """Let a command take each field of a parameter that is a dataclass as an option of its own.

    The fields' types are Typer's, ``Annotated[T, typer.Option(…)]``, and their defaults the options'.
    The command itself is given the dataclass.

    Raises:
        TypeError: if two parameters have one name.
    """
    signature = inspect.signature(command, eval_str=True)
    groups: dict[str, type[Any]] = {}
    options: list[inspect.Parameter] = []
    for name, parameter in signature.parameters.items():
        kind = parameter.annotation
        if isinstance(kind, type) and is_dataclass(kind):
            groups[name] = kind
            hints = get_type_hints(kind, include_extras=True)
            options += [_option(one, hints[one.name]) for one in fields(kind)]
        else:
            options.append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY))
    names = [one.name for one in options]
    if len(set(names)) < len(names):
        raise TypeError(f"two options of {command.__name__} have one name: {sorted(names)}")

    @functools.wraps(command)
    def run(**given: Any) -> None:
        for name, kind in groups.items():
            given[name] = kind(**{one.name: given.pop(one.name) for one in fields(kind)})
        command(**given)

    run.__signature__ = inspect.Signature(options, return_annotation=None)  # type: ignore[attr-defined]
    run.__annotations__ = {one.name: one.annotation for one in options}
    return run


def _option(one: Field[Any], annotation: Any) -> inspect.Parameter:
    default = inspect.Parameter.empty if one.default is MISSING else one.default
    return inspect.Parameter(one.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
