"""Graphs without a recurrence, run by numpy alone: for devices on which onnxruntime is too large.

The operators are those that the export of disc-plus writes, as they are at operator set 18
(https://onnx.ai/onnx/operators/). Everything is float32, as in the graph.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from disc_stream.artifacts.bundle import INPUT, METADATA_KEY, Bundle
from disc_stream.artifacts.graph import Constant, GraphRefusedError, Node, metadata_of, read_graph
from disc_stream.artifacts.runtimes.buckets import run_each_size
from disc_stream.artifacts.runtimes.failures import unloadable
from disc_stream.artifacts.runtimes.session import FLOAT, OUTPUTS, GraphFacts, Outputs, Port
from disc_stream.errors import BundleError

Array = npt.NDArray[Any]
Operator = Callable[[Node, Sequence[Array]], Array]

_TYPES: dict[int, np.dtype[Any]] = {1: np.dtype(np.float32), 7: np.dtype(np.int64), 9: np.dtype(np.bool_)}


class NumpySession:
    """A graph as a list of steps. Batches of any size run alike, so none is padded.

    Args:
        bundle: whose graph to run.

    Raises:
        BundleError: if the graph has an operator that is not here, such as a recurrence.
    """

    provider: Literal["numpy"] = "numpy"
    buckets: Sequence[int] = ()

    def __init__(self, bundle: Bundle) -> None:
        try:
            graph = read_graph(bundle.model_bytes)
            self._constants = {name: _array(name, one) for name, one in graph.constants.items()}
            self._metadata = metadata_of(bundle.model_bytes).get(METADATA_KEY)
        except GraphRefusedError as error:
            raise unloadable(bundle, error, "disc-stream") from error
        if missing := sorted({node.operator for node in graph.nodes} - _OPERATORS.keys()):
            raise BundleError(
                f"model {bundle.version} has {', '.join(missing)}, which the provider numpy does not run",
                remedy="Use --provider cpu, or a model of disc-plus",
            )
        self._nodes = graph.nodes
        manifest = bundle.manifest
        self._shape = (manifest.window.input_samples, len(manifest.channels))

    def facts(self) -> GraphFacts:
        """See ``Session``; outputs are as two windows of zeros have them."""
        found = self.run(np.zeros((2, *self._shape), dtype=np.float32))
        outputs = [
            Port(name, FLOAT, [None, *one.shape[1:]]) for name, one in zip(OUTPUTS, found, strict=True)
        ]
        return GraphFacts([Port(INPUT, FLOAT, [None, *self._shape])], outputs, self._metadata)

    def warm_up(self, shape: tuple[int, int], most: int) -> None:
        """See ``Session``."""
        run_each_size(self, shape, most)

    def run(self, x: npt.NDArray[np.float32]) -> Outputs:
        """See ``Session``."""
        values: dict[str, Array] = {**self._constants, INPUT: x}
        with np.errstate(all="ignore"):  # as in any runtime, what is not finite is in the result
            for node in self._nodes:
                inputs = [values[name] for name in node.inputs if name]
                values[node.outputs[0]] = _OPERATORS[node.operator](node, inputs)
        embedding, q, distance = (np.array(values[name], dtype=np.float32) for name in OUTPUTS)
        return embedding, q, distance


def _array(name: str, constant: Constant) -> Array:
    if constant.floats is not None:
        return np.frombuffer(constant.floats, dtype="<f4").reshape(constant.shape)
    if constant.integers is None:
        raise GraphRefusedError(f"its tensor {name!r:.80} is stored in a form that no export writes")
    return np.array(constant.integers, dtype=np.int64).reshape(constant.shape)


def _numbers(inputs: Sequence[Array], place: int) -> tuple[int, ...]:
    return tuple(int(one) for one in inputs[place].ravel())


def _attribute(node: Node, name: str, default: Any = None) -> Any:
    value = node.attributes.get(name)
    return default if value is None else value


def _reduce(how: Callable[..., Any]) -> Operator:
    def reduce(node: Node, inputs: Sequence[Array]) -> Array:
        axes = _numbers(inputs, 1) if len(inputs) > 1 else None
        found: Array = how(inputs[0], axis=axes, keepdims=bool(_attribute(node, "keepdims", 1)))
        return found

    return reduce


def _slice(_node: Node, inputs: Sequence[Array]) -> Array:
    x, begins, ends = inputs[0], _numbers(inputs, 1), _numbers(inputs, 2)
    axes = _numbers(inputs, 3) if len(inputs) > 3 else tuple(range(len(begins)))
    steps = _numbers(inputs, 4) if len(inputs) > 4 else (1,) * len(begins)
    parts = [slice(None)] * x.ndim
    for axis, begin, end, step in zip(axes, begins, ends, steps, strict=True):
        parts[axis] = slice(begin, end, step)
    return x[tuple(parts)]


def _squeeze(_node: Node, inputs: Sequence[Array]) -> Array:
    return np.squeeze(inputs[0], axis=_numbers(inputs, 1) if len(inputs) > 1 else None)


def _gather_nd(node: Node, inputs: Sequence[Array]) -> Array:
    if _attribute(node, "batch_dims", 0):
        raise GraphRefusedError("its operator GatherND has batch dimensions, which no export writes")
    x, indices = inputs
    found: Array = x[tuple(np.moveaxis(indices, -1, 0))]
    return found


def _clip(_node: Node, inputs: Sequence[Array]) -> Array:
    return np.clip(inputs[0], *inputs[1:])


def _power(_node: Node, inputs: Sequence[Array]) -> Array:
    x, exponent = inputs
    if exponent.ndim == 0 and exponent == 2:
        return x * x
    found: Array = np.power(x, exponent)
    return found


def _plain(function: Callable[..., Any]) -> Operator:
    return lambda _node, inputs: function(*inputs)


_OPERATORS: dict[str, Operator] = {
    "Add": _plain(np.add),
    "Sub": _plain(np.subtract),
    "Mul": _plain(np.multiply),
    "Div": _plain(np.divide),
    "Pow": _power,
    "Log": _plain(np.log),
    "Sqrt": _plain(np.sqrt),
    "Tanh": _plain(np.tanh),
    "IsNaN": _plain(np.isnan),
    "Where": _plain(np.where),
    "MatMul": _plain(np.matmul),
    "Reciprocal": _plain(np.reciprocal),
    "ReduceMean": _reduce(np.mean),
    "ReduceSum": _reduce(np.sum),
    "ReduceMax": _reduce(np.max),
    "Clip": _clip,
    "Slice": _slice,
    "Squeeze": _squeeze,
    "Unsqueeze": lambda _node, inputs: np.expand_dims(inputs[0], _numbers(inputs, 1)),
    "Reshape": lambda _node, inputs: inputs[0].reshape(_numbers(inputs, 1)),
    "Concat": lambda node, inputs: np.concatenate(inputs, axis=_attribute(node, "axis", 0)),
    "Transpose": lambda node, inputs: np.transpose(inputs[0], _attribute(node, "perm")),
    "Gather": lambda node, inputs: np.take(inputs[0], inputs[1], axis=_attribute(node, "axis", 0)),
    "GatherND": _gather_nd,
    "Cast": lambda node, inputs: inputs[0].astype(_TYPES[_attribute(node, "to")]),
}
