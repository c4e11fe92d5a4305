"""Frozen dataclasses from JSON and back: a field that is missing, or of another type, is one clear line."""

import dataclasses
import types
import typing
from typing import Any, TypeVar

from builder.core.errors import BuildError

_Class = TypeVar("_Class")
_CALLED = {str: "a string", int: "a whole number", float: "a number", bool: "true or false"}


class WrongValue(BuildError):
    """What was read is not of the form that it should have."""


def load(cls: type[_Class], value: Any, place: str = "") -> _Class:
    """A dataclass of what JSON has. Fields that it does not know are left out: a newer version's.

    :param place: of the value in a file, as ``base.``.
    :raises WrongValue: a field is missing, or its value of another type.
    """
    if not isinstance(value, dict):
        raise WrongValue(f"{place.rstrip('.') or 'its content'} is no object with fields")
    hints = typing.get_type_hints(cls)
    found = {}
    for field in dataclasses.fields(cls):  # type: ignore[arg-type]
        name = f"{place}{field.name}"
        if field.name in value:
            found[field.name] = _value(hints[field.name], value[field.name], name)
        elif field.default is field.default_factory is dataclasses.MISSING:
            raise WrongValue(f"the field {name} is missing")
    return cls(**found)


def _value(wanted: Any, value: Any, name: str) -> Any:
    origin, arguments = typing.get_origin(wanted), typing.get_args(wanted)
    if origin in (types.UnionType, typing.Union):
        return None if value is None else _value(next(one for one in arguments if one), value, name)
    if dataclasses.is_dataclass(wanted):
        return load(typing.cast(type[Any], wanted), value, f"{name}.")
    if origin is list and isinstance(value, list):
        return [_value(arguments[0], one, f"{name}[{number}]") for number, one in enumerate(value)]
    if origin is dict and isinstance(value, dict):
        return {key: _value(arguments[1], one, f"{name}.{key}") for key, one in value.items()}
    if wanted is float and type(value) is int:
        return float(value)
    if origin or type(value) is not wanted:
        called = {list: "a list", dict: "an object"}.get(origin or wanted) or _CALLED[wanted]
        raise WrongValue(f"{name} is {value!r:.60}, and should be {called}")
    return value


def as_dict(value: Any) -> Any:
    """What JSON has of a dataclass: all but the fields that have their defaults."""
    if isinstance(value, list):
        return [as_dict(one) for one in value]
    if not dataclasses.is_dataclass(value):
        return value
    return {
        field.name: as_dict(getattr(value, field.name))
        for field in dataclasses.fields(value)
        if field.default is dataclasses.MISSING or getattr(value, field.name) != field.default
    }
