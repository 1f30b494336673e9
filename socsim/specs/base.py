"""What all descriptions share: frozen, no unknown fields, errors in one line, and overrides by dotted path."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Self, TypeVar, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

from socsim.errors import SocsimError, did_you_mean


def no_truth(value: Any) -> Any:
    """Refuse true and false where a number should be, which pydantic takes as 1 and 0."""
    if isinstance(value, bool):
        raise PydanticCustomError("number", "Input should be a number")
    return value


Positive = Annotated[float, Field(gt=0, allow_inf_nan=False), BeforeValidator(no_truth)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False), BeforeValidator(no_truth)]
Factor = Annotated[float, Field(ge=1, le=1000), BeforeValidator(no_truth)]
Fraction = Annotated[float, Field(ge=0, le=1), BeforeValidator(no_truth)]
Count = Annotated[int, Field(gt=0), BeforeValidator(no_truth)]
NonNegativeCount = Annotated[int, Field(ge=0), BeforeValidator(no_truth)]

ProcessorName = Literal["cpu", "gpu", "npu"]
DataType = Literal["int8", "fp16", "fp32"]


class Spec(BaseModel):
    """Base of every description: immutable, unknown fields refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=(), defer_build=True)

    def override(self, values: Mapping[str, Any], where: str) -> Self:
        """Return a copy with fields replaced by dotted path, validated again.

        Parameters
        ----------
        values
            Dotted field path to new value, such as ``{"processors.npu.launch_overhead_s": 2e-5}``.
        where
            What to call this description in error messages, such as ``--set soc``.

        Raises
        ------
        SocsimError
            A path names no field, or the value is not allowed.
        """
        if not values:
            return self
        data = self.model_dump(mode="json")
        assign(data, values, where)
        return validate(type(self), data, where)

    def check_value(self, path: str, value: Any, where: str, given: Mapping[str, Any] | None = None) -> None:
        """Check one value for a dotted path by itself: rules that tie it to other fields do not count.

        `given` are values by dotted path that are set before.

        Raises
        ------
        SocsimError
            The path names no field, or the field takes no such value.
        """
        data = self.model_dump(mode="json")
        assign(data, given or {}, where)
        assign(data, {path: value}, where)
        try:
            type(self).model_validate(data)
        except ValidationError as error:
            own = [each for each in error.errors(include_url=False) if f"{_field_path(each['loc'])}.".startswith(f"{path}.")]
            if own:
                raise SocsimError(f"{where}: {_one_line(type(self), own)}") from None


SpecT = TypeVar("SpecT", bound=Spec)


def validate(spec: type[SpecT], data: Mapping[str, Any], where: str) -> SpecT:
    """Build a description from plain data; a `SocsimError` names file, field, value and what was allowed."""
    try:
        return spec.model_validate(data)
    except ValidationError as error:
        raise SocsimError(f"{where}: {_one_line(spec, error.errors(include_url=False))}") from None


def assign(data: dict[str, Any], values: Mapping[str, Any], where: str) -> None:
    """Put values at dotted paths of nested tables and lists; whether a last name is allowed is left to validation.

    Raises
    ------
    SocsimError
        A path leads nowhere.
    """
    for path, value in values.items():
        node: Any = data
        *parents, last = path.split(".")
        for depth, key in enumerate(parents):
            node = _child(node, key, parents[:depth], where)
        if isinstance(node, list):
            _child(node, last, parents, where)
            node[int(last)] = _copied(value)
        elif isinstance(node, dict):
            node[last] = _copied(value)
        else:
            _child(node, last, parents, where)


def _copied(value: Any) -> Any:
    """Return a value whose tables and lists are its own, with tuples as lists: paths may lead into it, and change it."""
    if isinstance(value, Mapping):
        return {key: _copied(child) for key, child in value.items()}
    return [_copied(child) for child in value] if isinstance(value, (list, tuple)) else value


def _child(node: Any, key: str, seen: list[str], where: str) -> Any:
    """Step into one level of nested tables and lists, or say which names there are."""
    if isinstance(node, dict) and key in node:
        return node[key]
    if isinstance(node, list) and key.isdigit() and int(key) < len(node):
        return node[int(key)]
    path, parent = ".".join([where, *seen, key]), ".".join([where.rpartition(": ")[2], *seen])
    if isinstance(node, dict):
        raise SocsimError(f"{path}: no such field{did_you_mean(key, node)}; allowed: {', '.join(sorted(node))}")
    if isinstance(node, list):
        raise SocsimError(f"{path}: {parent} is a list of {len(node)}; allowed: 0 to {len(node) - 1}")
    raise SocsimError(f"{path}: {parent} has no fields of its own")


def _one_line(spec: type[BaseModel], found: Sequence[ErrorDetails]) -> str:
    """Describe the first problem of a validation, and how many more fields have one."""
    # A misspelled name makes two problems: that it is unknown says more than that the right one is missing.
    problems = sorted(found, key=lambda problem: problem["type"] != "extra_forbidden")
    first = problems[0]
    path = _field_path(first["loc"])
    others = {_field_path(problem["loc"]) for problem in problems} - {path}
    more = f" (and {len(others)} more)" if others else ""
    if first["type"] == "extra_forbidden":
        names = _fields_at(spec, first["loc"][:-1])
        hint = did_you_mean(first["loc"][-1], names)
        return f"unknown field '{path}'{hint}; allowed: {', '.join(sorted(names))}{more}"
    if first["type"] == "missing":
        return f"field '{path}' is missing{more}"
    if first["type"] == "value_error":
        return f"{path + ': ' if path else ''}{first['msg'].removeprefix('Value error, ')}{more}"
    # A field of several types has a problem for each of them.
    alternatives = [problem for problem in problems if _field_path(problem["loc"]) == path and problem["loc"][-1:] != ("[key]",)]
    alternatives = alternatives if first["loc"][-1:] != ("[key]",) else [first]
    messages = ", or ".join(_lower(problem["msg"]) for problem in alternatives)
    value = first["input"]
    literals = [name for problem in alternatives if problem["type"] == "literal_error" for name in _quoted(problem["ctx"]["expected"])]
    hint = did_you_mean(value, literals) if isinstance(value, str) else ""
    shown = repr(value) if not isinstance(value, (dict, list)) else "a table or list"
    return f"field '{path}': {messages}, not {shown}{hint}{more}"


def _field_path(location: tuple[int | str, ...]) -> str:
    """Return an error location as a dotted path, without the marks for dictionary keys and alternatives of a type."""
    types = {"bool", "int", "float", "str", *(spec.__name__ for spec in Spec.__subclasses__())}
    return ".".join(str(part) for part in location if not (str(part) in types or "[" in str(part) or str(part).startswith("constrained-")))


def _lower(message: str) -> str:
    return message[:1].lower() + message[1:]


def _quoted(text: str) -> list[str]:
    """Return the words in single quotes of a message such as "'cpu', 'gpu' or 'npu'"."""
    return text.split("'")[1::2]


def _fields_at(spec: type[BaseModel], path: tuple[int | str, ...]) -> list[str]:
    """Return the field names of the model found by following an error location from a spec."""
    model: type[BaseModel] = spec
    for part in path:
        field = model.model_fields.get(str(part))
        if field is not None:
            found = _models_in(field.annotation)
            if not found:
                return []
            model = found[0]
    return list(model.model_fields)


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    """Return the model classes that an annotation mentions, depth first."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in get_args(annotation) for model in _models_in(argument)]
