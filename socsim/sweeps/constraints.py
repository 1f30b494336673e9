"""Constraints of a sweep: simple expressions over axes and fields, computed for many points at once."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from socsim.errors import SocsimError

Values = Mapping[str, Any]
"""Values of axes and fields by name: one for all points, or an array of them."""

_BINARY: Mapping[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
}
_COMPARE: Mapping[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
_CALLS: Mapping[str, Callable[..., Any]] = {"min": np.minimum, "max": np.maximum, "abs": np.abs}
ALLOWED = "names, numbers, 'text', + - * / // % **, comparisons, and, or, not, min(a, b), max(a, b), abs(a)"
DEEPEST = 100
"""Levels of a nested expression; far fewer than Python can go down."""
TOO_DEEP = f"is nested too deeply: a sum of n terms has n levels; allowed: {DEEPEST} levels, or several constraints"
SHOWN = 80
"""Characters of a constraint that an error shows."""


class Constraint:
    """One expression, such as ``npu_speed <= 2 and engine.chunk_tokens <= run.prompt_tokens``.

    Raises
    ------
    SocsimError
        It is no expression, or has something in it that is not allowed.
    """

    def __init__(self, text: str, where: str) -> None:
        self.text, self._where = text, where
        try:
            self._tree = ast.parse(text.strip(), mode="eval").body
        except (SyntaxError, ValueError):
            raise self._error("is no expression; allowed: " + ALLOWED) from None
        except (RecursionError, MemoryError):
            raise self._error(TOO_DEEP) from None
        level: list[ast.AST] = [self._tree]
        for _ in range(DEEPEST):
            level = [child for node in level for child in ast.iter_child_nodes(node)]
        if level:
            raise self._error(TOO_DEEP)
        self.names = sorted(self._names(self._tree))

    def holds(self, values: Values, count: int) -> NDArray[np.bool_]:
        """Return for which of some points it holds, of shape (count,).

        It is computed in float64: whole numbers do not wrap around, and what is divided by 0 is infinite or no number, which is neither
        below nor above another one. Behind ``and`` and ``or``, as in Python, only points are computed for which it matters.

        Raises
        ------
        SocsimError
            It compares what cannot be compared, or is neither true nor false.
        """
        try:
            with np.errstate(all="ignore"):
                value = np.asarray(self._value(self._tree, {name: _as_floats(each) for name, each in values.items()}, count))
        except TypeError:
            raise self._error("cannot be computed: a text or an empty field stands where a number should") from None
        except (ValueError, OverflowError) as error:
            raise self._error(f"cannot be computed: {error}") from None
        if value.dtype != np.bool_:
            raise self._error("should be true or false, such as 'a <= 2 * b'")
        return np.broadcast_to(value, (count,))

    def _error(self, problem: str) -> SocsimError:
        return SocsimError(f"{self._where}: constraint '{shortened(self.text)}' {problem}")

    def _names(self, node: ast.expr) -> set[str]:
        """Return the names in a part of the expression, which is checked on the way."""
        name = _dotted(node)
        if name is not None:
            return {name}
        match node:
            case ast.Constant(value=bool() | int() | float() | str()):
                return set()
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _BINARY:
                return self._names(left) | self._names(right)
            case ast.UnaryOp(op=ast.Not() | ast.USub() | ast.UAdd(), operand=operand):
                return self._names(operand)
            case ast.BoolOp(values=values):
                return set[str]().union(*(self._names(value) for value in values))
            case ast.Compare(left=left, ops=ops, comparators=others) if all(type(op) in _COMPARE for op in ops):
                return self._names(left).union(*(self._names(other) for other in others))
            case ast.Call(func=ast.Name(id=function), args=arguments, keywords=[]) if function in _CALLS:
                if len(arguments) == (1 if function == "abs" else 2):
                    return set[str]().union(*(self._names(argument) for argument in arguments))
        raise self._error(f"has '{shortened(ast.unparse(node))}' in it; allowed: {ALLOWED}")

    def _value(self, node: ast.expr, values: Values, count: int) -> Any:
        """Compute a part of the expression, which `_names` has checked."""
        name = _dotted(node)
        if name is not None:
            return values[name]
        match node:
            case ast.Constant(value=value):
                return _as_floats(value)
            case ast.BinOp(left=left, op=op, right=right):
                return _BINARY[type(op)](_number(self._value(left, values, count)), _number(self._value(right, values, count)))
            case ast.UnaryOp(op=op, operand=operand):
                value = self._value(operand, values, count)
                return (
                    np.logical_not(_truth(value)) if isinstance(op, ast.Not) else _number(value) * (-1 if isinstance(op, ast.USub) else 1)
                )
            case ast.BoolOp(op=op, values=parts):
                return self._joined(parts, isinstance(op, ast.And), values, count)
            case ast.Compare(left=left, ops=ops, comparators=others):
                operands = [self._value(each, values, count) for each in (left, *others)]
                pairs = [_truth(_COMPARE[type(op)](a, b)) for op, a, b in zip(ops, operands, operands[1:], strict=False)]
                return np.logical_and.reduce(np.broadcast_arrays(*pairs))
            case ast.Call(func=ast.Name(id=function), args=arguments):
                return _CALLS[function](*(_number(self._value(argument, values, count)) for argument in arguments))
        raise AssertionError(ast.dump(node))  # pragma: no cover (everything else was refused)

    def _joined(self, parts: list[ast.expr], going_on: bool, values: Values, count: int) -> NDArray[np.bool_]:
        """Join parts by ``and`` or ``or``: each is computed where all before were true, or false."""
        result = np.full(count, going_on)
        for part in parts:
            open_ = result == going_on
            chosen = {name: each[open_] if np.ndim(each) else each for name, each in values.items()}
            if open_.any() or not count:
                result[open_] = _truth(self._value(part, chosen, int(open_.sum())))
        return result


def shortened(text: str) -> str:
    """Return a text, or the beginning of a long one."""
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."


def _as_floats(value: Any) -> Any:
    """Return whole numbers as floats, and all else as it is."""
    if isinstance(value, np.ndarray):
        return value.astype(np.float64) if value.dtype == np.int64 else value
    return np.float64(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else value


def _number(value: Any) -> Any:
    """Return true as 1 and false as 0, and all else as it is."""
    return np.asarray(value, dtype=np.float64) if np.asarray(value).dtype == np.bool_ else value


def _truth(value: Any) -> NDArray[np.bool_]:
    """Return what is true or false as an array of that type."""
    array = np.asarray(value)
    if array.dtype != np.bool_:
        raise ValueError("a number or a text stands where something true or false should")
    return array


def _dotted(node: ast.expr) -> str | None:
    """Return a name, with its dots, or None if the node is none; parts such as ``8`` of ``a.8`` are no names."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        parent = _dotted(node.value)
        return None if parent is None else f"{parent}.{node.attr}"
    return None
