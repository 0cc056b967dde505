"""How much memory and work a graph asks for, from the shapes of its values alone.

A hundred bytes of graph can ask for any amount: a tensor that is concatenated with itself forty times, two
vectors whose product is a matrix. The shapes follow from the constants and the input, so this is seen before
anything runs. Each operator of ``graph.OPERATORS`` has its rule here; those of
https://onnx.ai/onnx/operators/ at operator set 18.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from disc_stream.artifacts.graph import Constant, Graph, GraphRefusedError, Node

Shape = tuple[int, ...]

BATCH = 64
"""Windows at once that the limits are checked with."""

# For one window. DISC as in its paper has about 340,000 values and 100 million multiplications.
MAX_VALUES = 1 << 23
MAX_MULTIPLICATIONS = 1 << 31

# Of what depends on no window, and is worked out when the graph is loaded: a quarter of a GiB.
MAX_CONSTANT_VALUES = 1 << 26

_MAX_RANK = 8


class Cost(NamedTuple):
    """Of ``BATCH`` windows.

    Args:
        values: elements of all intermediate values together.
        multiplications: in matrix products.
    """

    values: int
    multiplications: int


@dataclass(slots=True)
class _Values:
    """What is known of the values so far."""

    shapes: dict[str, Shape]
    constants: dict[str, Constant]
    work: int = 0
    extra: int = 0

    def shape(self, node: Node, index: int) -> Shape:
        name = node.inputs[index] if index < len(node.inputs) else ""
        if name not in self.shapes:
            raise GraphRefusedError(
                f"its operator {node.operator} reads {name!r:.80}, which nothing before it gives"
            )
        return self.shapes[name]

    def numbers(self, node: Node, index: int) -> tuple[int, ...]:
        """The integers of an input that says how large something is."""
        name = node.inputs[index] if index < len(node.inputs) else ""
        constant = self.constants.get(name)
        if constant is None or constant.integers is None:
            raise GraphRefusedError(
                f"its operator {node.operator} takes a size from {name!r:.80}, which is no small constant"
            )
        return constant.integers


Rule = Callable[[Node, _Values], list[Shape]]


def cost_of(graph: Graph, name: str, window: Shape) -> Cost:
    """Work out the shape of every value.

    Args:
        graph: as read.
        name: of its input.
        window: shape of one window.

    Raises:
        GraphRefusedError: if it asks for too much, or for a shape that cannot be.
    """
    values = _Values({c: constant.shape for c, constant in graph.constants.items()}, graph.constants)
    values.shapes[name] = (BATCH, *window)
    of_windows = {name}
    total = constant = 0
    for node in graph.nodes:
        try:
            shapes = _RULES[node.operator](node, values)
        except (IndexError, TypeError, ValueError) as error:
            if isinstance(error, GraphRefusedError):
                raise
            raise GraphRefusedError(
                f"the inputs of its operator {node.operator} do not fit: {str(error)[:160]}"
            ) from error
        for output, shape in zip(node.outputs, shapes, strict=False):
            if not output:  # an optional one that is left out
                continue
            if output in values.shapes:
                raise GraphRefusedError(f"it has two values {output!r:.80}")
            values.shapes[output] = shape
            if of_windows.isdisjoint(node.inputs):
                constant += math.prod(shape)
            else:
                total += math.prod(shape)
                of_windows.add(output)
        too_large = total + values.extra > BATCH * MAX_VALUES or constant > MAX_CONSTANT_VALUES
        if too_large or values.work > BATCH * MAX_MULTIPLICATIONS:
            raise GraphRefusedError(
                f"its operator {node.operator} asks for more memory or work than any model of disc-stream "
                f"(at most {MAX_VALUES:,} values and {MAX_MULTIPLICATIONS:,} multiplications a window)"
            )
    return Cost(total + constant + values.extra, values.work)


# -- rules ---------------------------------------------------------------------------------------------------


def _same(node: Node, values: _Values) -> list[Shape]:
    return [values.shape(node, 0)]


def _broadcast(*shapes: Shape) -> Shape:
    rank = max(map(len, shapes))
    columns = zip(*[(1,) * (rank - len(shape)) + shape for shape in shapes], strict=True)
    result = []
    for sizes in columns:
        others = {size for size in sizes if size != 1}
        if len(others) > 1:
            raise ValueError(f"the shapes {', '.join(map(str, shapes))} cannot be combined")
        result.append(others.pop() if others else 1)
    return tuple(result)


def _elementwise(node: Node, values: _Values) -> list[Shape]:
    return [_broadcast(*(values.shape(node, index) for index in range(len(node.inputs))))]


def _matmul(node: Node, values: _Values) -> list[Shape]:
    a, b = values.shape(node, 0), values.shape(node, 1)
    if len(a) < 2 or len(b) < 2 or a[-1] != b[-2]:
        raise ValueError(f"matrices {a} and {b}")
    shape = (*_broadcast(a[:-2], b[:-2]), a[-2], b[-1]) if len(a) + len(b) > 4 else (a[-2], b[-1])
    values.work += math.prod(shape) * a[-1]
    return [shape]


def _concat(node: Node, values: _Values) -> list[Shape]:
    shapes = [values.shape(node, index) for index in range(len(node.inputs))]
    axis = _axis(_attribute(node, "axis", None), len(shapes[0]))
    if len({(*shape[:axis], *shape[axis + 1 :]) for shape in shapes}) != 1:
        raise ValueError(f"shapes {', '.join(map(str, shapes))}")
    return [(*shapes[0][:axis], sum(shape[axis] for shape in shapes), *shapes[0][axis + 1 :])]


def _reduce(node: Node, values: _Values) -> list[Shape]:
    shape = values.shape(node, 0)
    named = len(node.inputs) > 1 and node.inputs[1] != ""
    axes = _axes(values.numbers(node, 1) if named else (), len(shape))
    if not axes and not _attribute(node, "noop_with_empty_axes", 0):
        axes = frozenset(range(len(shape)))
    if _attribute(node, "keepdims", 1):
        return [tuple(1 if i in axes else size for i, size in enumerate(shape))]
    return [tuple(size for i, size in enumerate(shape) if i not in axes)]


def _reshape(node: Node, values: _Values) -> list[Shape]:
    shape, asked = values.shape(node, 0), list(values.numbers(node, 1))
    if not _attribute(node, "allowzero", 0):
        asked = [shape[i] if size == 0 else size for i, size in enumerate(asked)]
    free = [i for i, size in enumerate(asked) if size == -1]
    if len(free) > 1 or min(asked, default=0) < -1 or len(asked) > _MAX_RANK:
        raise ValueError(f"a new shape {asked}")
    if free:
        known = math.prod(size for size in asked if size != -1)
        asked[free[0]] = math.prod(shape) // max(known, 1)
    if math.prod(asked) != math.prod(shape):
        raise ValueError(f"{shape} cannot become {asked}")
    return [tuple(asked)]


def _slice(node: Node, values: _Values) -> list[Shape]:
    shape = list(values.shape(node, 0))
    starts, ends = values.numbers(node, 1), values.numbers(node, 2)
    axes = values.numbers(node, 3) if len(node.inputs) > 3 else tuple(range(len(starts)))
    steps = values.numbers(node, 4) if len(node.inputs) > 4 else (1,) * len(starts)
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        place = _axis(axis, len(shape))
        shape[place] = len(range(*slice(start, end, step).indices(shape[place])))
    return [tuple(shape)]


def _squeeze(node: Node, values: _Values) -> list[Shape]:
    shape = values.shape(node, 0)
    axes = _axes(values.numbers(node, 1), len(shape))
    if any(shape[axis] != 1 for axis in axes):
        raise ValueError(f"shape {shape}, axes {sorted(axes)}")
    return [tuple(size for i, size in enumerate(shape) if i not in axes)]


def _unsqueeze(node: Node, values: _Values) -> list[Shape]:
    shape, asked = values.shape(node, 0), values.numbers(node, 1)
    rank = len(shape) + len(asked)
    if rank > _MAX_RANK:
        raise ValueError(f"{rank} dimensions")
    axes, sizes = _axes(asked, rank), iter(shape)
    return [tuple(1 if i in axes else next(sizes) for i in range(rank))]


def _transpose(node: Node, values: _Values) -> list[Shape]:
    shape = values.shape(node, 0)
    order = _attribute(node, "perm", tuple(reversed(range(len(shape)))))
    if not isinstance(order, tuple) or sorted(order) != list(range(len(shape))):
        raise ValueError(f"shape {shape}, order {order}")
    return [tuple(shape[i] for i in order)]


def _gather(node: Node, values: _Values) -> list[Shape]:
    shape, indices = values.shape(node, 0), values.shape(node, 1)
    axis = _axis(_attribute(node, "axis", 0), len(shape))
    return [(*shape[:axis], *indices, *shape[axis + 1 :])]


def _gather_nd(node: Node, values: _Values) -> list[Shape]:
    shape, indices = values.shape(node, 0), values.shape(node, 1)
    same = _attribute(node, "batch_dims", 0)
    if not isinstance(same, int) or not 0 <= same < len(indices) or same + indices[-1] > len(shape):
        raise ValueError(f"shape {shape}, indices {indices}")
    return [(*indices[:-1], *shape[same + indices[-1] :])]


def _gru(node: Node, values: _Values) -> list[Shape]:
    (steps, batch, size), recurrent = values.shape(node, 0), values.shape(node, 2)
    directions, gates, hidden = recurrent
    if (
        gates != 3 * hidden
        or values.shape(node, 1) != (directions, gates, size)
        or _attribute(node, "layout", 0)
    ):
        raise ValueError(f"input ({steps}, {batch}, {size}), recurrent weights {recurrent}")
    values.work += steps * batch * directions * gates * (size + hidden)
    values.extra += steps * batch * directions * gates  # the gates of all steps, computed at once
    return [(steps, directions, batch, hidden), (directions, batch, hidden)]


_RULES: dict[str, Rule] = {
    **dict.fromkeys(("Cast", "Clip", "IsNaN", "Log", "Reciprocal", "Sqrt", "Tanh"), _same),
    **dict.fromkeys(("Add", "Div", "Mul", "Pow", "Sub", "Where"), _elementwise),
    **dict.fromkeys(("ReduceMax", "ReduceMean", "ReduceSum"), _reduce),
    "Concat": _concat, "Gather": _gather, "GatherND": _gather_nd, "GRU": _gru, "MatMul": _matmul,
    "Reshape": _reshape, "Slice": _slice, "Squeeze": _squeeze, "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}  # fmt: skip


def _attribute(node: Node, name: str, default: object) -> object:
    return node.attributes.get(name, default)


def _axis(axis: object, rank: int) -> int:
    if not isinstance(axis, int) or not -rank <= axis < rank:
        raise ValueError(f"axis {axis} of {rank}")
    return axis % rank


def _axes(axes: tuple[int, ...], rank: int) -> frozenset[int]:
    found = frozenset(_axis(axis, rank) for axis in axes)
    if len(found) != len(axes):
        raise ValueError(f"axes {axes}")
    return found
