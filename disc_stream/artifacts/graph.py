"""What an ONNX graph consists of, read without running or loading it, and what of it a bundle may hold.

onnxruntime does what a graph says: it reads files that a tensor names, loops without an end, and takes as
much memory as a shape asks for. A bundle comes from somebody else. So its graph is read first, with
``protobuf.read_fields``, and only what `disc-stream export` writes is let through: operators of one list,
floats and integers inside the file, no subgraphs, functions, sparse tensors or tensors in attributes.

Neither ``onnx`` nor ``protobuf`` are used: the base install has neither, a bundle is opened without them
(``data export``), and a library takes for granted what is to be refused here.
Fields: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass, field

from disc_stream.artifacts.protobuf import Budget, Fields, MalformedError, integers, read_fields

OPERATORS = frozenset(
    {
        "Add", "Cast", "Clip", "Concat", "Div", "Gather", "GatherND", "GRU", "IsNaN", "Log", "MatMul", "Mul",
        "Pow", "Reciprocal", "ReduceMax", "ReduceMean", "ReduceSum", "Reshape", "Slice", "Sqrt", "Squeeze",
        "Sub", "Tanh", "Transpose", "Unsqueeze", "Where",
    }
)  # fmt: skip
"""Every operator that the exporter writes, for any method, and that the load tests' model has."""

OPSET = 18
"""The operator set of bundles: the lowest that the tracer writes without a conversion, and the widest
understood. Any runtime of the last years reads it, and onnxruntime's CUDA GRU goes up to 21."""

MAX_NODES = 200
"""Of a graph; a recurrence that was unrolled has thousands."""

MAX_GRAPH_BYTES = 256 << 20
_MAX_FIELDS = 100_000
_MAX_DIMENSIONS = 8
_KEPT = 64  # elements of an integer tensor that are kept: shapes and axes
_FLOAT, _INT64 = 1, 7
_ITEM_BYTES = {_FLOAT: 4, _INT64: 8}
_ORT_MAGIC = b"ORTM"  # at offset 4: onnxruntime's own form of models, which is no protobuf

_MODEL: Fields = {
    1: ("ir_version", "int"), 2: ("producer_name", "bytes"), 3: ("producer_version", "bytes"),
    4: ("domain", "bytes"), 5: ("model_version", "int"), 6: ("doc_string", "bytes"), 7: ("graph", "bytes"),
    8: ("opset_import", "many bytes"), 14: ("metadata_props", "many bytes"),
    20: ("training_info", "many bytes"), 25: ("functions", "many bytes"),
}  # fmt: skip
_GRAPH: Fields = {
    1: ("node", "many bytes"), 2: ("name", "bytes"), 5: ("initializer", "many bytes"),
    10: ("doc_string", "bytes"), 11: ("input", "many bytes"), 12: ("output", "many bytes"),
    13: ("value_info", "many bytes"), 15: ("sparse_initializer", "many bytes"),
}  # fmt: skip
_NODE: Fields = {
    1: ("input", "many bytes"), 2: ("output", "many bytes"), 3: ("name", "bytes"), 4: ("op_type", "bytes"),
    5: ("attribute", "many bytes"), 6: ("doc_string", "bytes"), 7: ("domain", "bytes"),
    8: ("overload", "bytes"),
}  # fmt: skip
_ATTRIBUTE: Fields = {
    1: ("name", "bytes"), 2: ("f", "float"), 3: ("i", "int"), 4: ("s", "bytes"), 5: ("t", "bytes"),
    6: ("g", "bytes"), 7: ("floats", "floats"), 8: ("ints", "ints"), 9: ("strings", "many bytes"),
    10: ("tensors", "many bytes"), 11: ("graphs", "many bytes"), 13: ("doc_string", "bytes"),
    20: ("type", "int"), 21: ("ref_attr_name", "bytes"), 22: ("sparse_tensor", "bytes"),
    23: ("sparse_tensors", "many bytes"),
}  # fmt: skip
_TENSOR: Fields = {
    1: ("dims", "ints"), 2: ("data_type", "int"), 4: ("float_data", "floats"), 7: ("int64_data", "ints"),
    8: ("name", "bytes"), 9: ("raw_data", "bytes"), 12: ("doc_string", "bytes"),
    13: ("external_data", "many bytes"), 14: ("data_location", "int"),
}  # fmt: skip
_METADATA: Fields = {1: ("key", "bytes"), 2: ("value", "bytes")}
_OPSET_ID: Fields = {1: ("domain", "bytes"), 2: ("version", "int")}

_REFUSED = {
    "training_info": "training steps", "functions": "functions", "sparse_initializer": "sparse tensors",
    "overload": "functions", "t": "a tensor in an attribute", "tensors": "tensors in an attribute",
    "g": "a subgraph", "graphs": "subgraphs", "ref_attr_name": "functions",
    "sparse_tensor": "a sparse tensor", "sparse_tensors": "sparse tensors",
}  # fmt: skip

AttributeValue = int | str | tuple[int, ...] | None


class GraphRefusedError(ValueError):
    """The bytes are not a graph, or it holds what a bundle may not hold; the text says what, for a person."""


@dataclass(frozen=True, slots=True)
class Node:
    """One operator.

    Args:
        operator: its type.
        inputs: names of values; "" where an optional one is left out.
        outputs: likewise.
        attributes: name -> integer, text or integers; None for floats and texts that nobody here needs.
    """

    operator: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, AttributeValue]


@dataclass(frozen=True, slots=True)
class Constant:
    """One tensor that is stored in the graph.

    Args:
        shape: its sizes.
        integers: its elements, if it holds few integers; else None.
        floats: its bytes, little-endian float32, if they are stored as such; a view of the graph's.
    """

    shape: tuple[int, ...]
    integers: tuple[int, ...] | None
    floats: memoryview | None = None


@dataclass(frozen=True, slots=True)
class Graph:
    """What a graph computes with.

    Args:
        nodes: in the order of computation.
        constants: by name.
    """

    nodes: tuple[Node, ...]
    constants: dict[str, Constant]


def read_graph(data: bytes) -> Graph:
    """Read a graph and refuse what a bundle may not hold.

    Args:
        data: the bytes of ``model.onnx``.

    Raises:
        GraphRefusedError: saying what is wrong with it.
    """
    if len(data) > MAX_GRAPH_BYTES:
        raise GraphRefusedError(f"it has more than {MAX_GRAPH_BYTES >> 20} MiB")
    if data[4:8] == _ORT_MAGIC:
        raise GraphRefusedError("it is in onnxruntime's own form, not in ONNX's")
    try:
        return _read_model(memoryview(data), Budget(_MAX_FIELDS))
    except MalformedError as error:
        raise GraphRefusedError(f"it is no graph that can be read: {error}") from error


def metadata_of(data: bytes) -> dict[str, str]:
    """The texts that a graph carries beside itself, by name.

    Raises:
        GraphRefusedError: if the bytes are no graph.
    """
    found: dict[str, str] = {}
    budget = Budget(_MAX_FIELDS)
    try:
        for name, value in read_fields(memoryview(data), _MODEL, "the model", budget):
            if name == "metadata_props" and isinstance(value, memoryview):
                entry = dict(read_fields(value, _METADATA, "a text beside the graph", budget))
                found[_text(entry.get("key", 0), "a name")] = _text(entry.get("value", 0), "a text")
    except MalformedError as error:
        raise GraphRefusedError(f"it is no graph that can be read: {error}") from error
    return found


def _read_model(data: memoryview, budget: Budget) -> Graph:
    graph: Graph | None = None
    sets: list[tuple[str, int]] = []
    for name, value in read_fields(data, _MODEL, "the model", budget):
        _refuse(name)
        match name, value:
            case "graph", memoryview():
                graph = _read_graph(value, budget)
            case "opset_import", memoryview():
                sets.append(_read_opset(value, budget))
    if graph is None:
        raise GraphRefusedError("it is empty")
    if sets != [("", OPSET)]:
        found = ", ".join(f"{domain or 'ai.onnx'} {version}" for domain, version in sets) or "none"
        raise GraphRefusedError(f"it uses the operator sets {found}, and not ai.onnx {OPSET} alone")
    return graph


def _read_opset(data: memoryview, budget: Budget) -> tuple[str, int]:
    domain, version = "", 0
    for name, value in read_fields(data, _OPSET_ID, "an operator set", budget):
        if name == "domain":
            domain = _text(value, "the domain of an operator set")
        elif isinstance(value, int):
            version = value
    return domain, version


def _read_graph(data: memoryview, budget: Budget) -> Graph:
    nodes: list[Node] = []
    constants: dict[str, Constant] = {}
    for name, value in read_fields(data, _GRAPH, "the graph", budget):
        _refuse(name)
        match name, value:
            case "node", memoryview():
                nodes.append(_read_node(value, budget))
                if len(nodes) > MAX_NODES:
                    raise GraphRefusedError(f"it has more than {MAX_NODES} nodes")
            case "initializer", memoryview():
                tensor, constant = _read_tensor(value, budget)
                if tensor in constants:
                    raise GraphRefusedError(f"it has two tensors {tensor!r}")
                constants[tensor] = constant
    return Graph(tuple(nodes), constants)


def _read_node(data: memoryview, budget: Budget) -> Node:
    operator, domain = "", ""
    inputs: list[str] = []
    outputs: list[str] = []
    attributes: dict[str, AttributeValue] = {}
    holds = ""
    for name, value in read_fields(data, _NODE, "a node", budget):
        match name, value:
            case "op_type", _:
                operator = _text(value, "an operator")
            case "domain", _:
                domain = _text(value, "the domain of an operator")
            case "input", _:
                inputs.append(_text(value, "the input of a node"))
            case "output", _:
                outputs.append(_text(value, "the output of a node"))
            case "attribute", memoryview():
                key, meaning, refused = _read_attribute(value, budget)
                holds = holds or refused
                if key in attributes:
                    raise GraphRefusedError(f"a node of it has two attributes {key!r}")
                attributes[key] = meaning
            case _:
                holds = holds or _REFUSED.get(name, "")
    # The operator first: that a loop is one says more than that it has a subgraph.
    if operator not in OPERATORS or domain:
        raise GraphRefusedError(
            f"it uses the operator {operator!r:.80} of the domain {domain or 'ai.onnx'!r:.80}, "
            "which no export writes"
        )
    if holds:
        raise GraphRefusedError(f"its operator {operator!r} holds {holds}")
    return Node(operator, tuple(inputs), tuple(outputs), attributes)


def _read_attribute(data: memoryview, budget: Budget) -> tuple[str, AttributeValue, str]:
    """Name and value, and what it holds that it may not hold."""
    key, refused = "", ""
    found: AttributeValue = None
    numbers: list[int] = []
    for name, value in read_fields(data, _ATTRIBUTE, "an attribute", budget):
        match name, value:
            case "name", _:
                key = _text(value, "an attribute")
            case "i", int():
                found = integers(value, "an attribute", budget)[0]
            case "s", memoryview():
                found = _text(value, "the text of an attribute")
            case "ints", _:
                numbers += integers(value, "an attribute", budget)
            case _:
                refused = refused or _REFUSED.get(name, "")
    return key, tuple(numbers) if numbers else found, refused


@dataclass(slots=True)
class _Tensor:
    """The fields of one tensor."""

    name: str = ""
    kind: int = 0
    shape: list[int] = field(default_factory=list)
    raw: memoryview | None = None
    integers: list[int] = field(default_factory=list)
    n_floats: int = 0
    external: bool = False

    def take(self, name: str, value: int | memoryview, budget: Budget) -> None:
        """One field."""
        match name, value:
            case "dims", _:
                self.shape += integers(value, "the shape of a tensor", budget)
            case "data_type", int():
                self.kind = value
            case "name", _:
                self.name = _text(value, "the name of a tensor")
            case "raw_data", memoryview():
                self.raw = value
            case "int64_data", _:
                self.integers += integers(value, "a tensor", budget)
            case "float_data", memoryview():
                self.n_floats += len(value) // _ITEM_BYTES[_FLOAT]
            case "external_data", _:
                self.external = True
            case "data_location", int():
                self.external = self.external or value != 0


def _read_tensor(data: memoryview, budget: Budget) -> tuple[str, Constant]:
    tensor = _Tensor()
    for name, value in read_fields(data, _TENSOR, "a tensor", budget):
        tensor.take(name, value, budget)
    what = f"its tensor {tensor.name!r:.80}"
    if tensor.external:
        raise GraphRefusedError(f"{what} lies in another file, and everything must be in the graph")
    if tensor.kind not in _ITEM_BYTES:
        raise GraphRefusedError(f"{what} is of kind {tensor.kind}, not of floats or integers")
    stored = len(tensor.integers) if tensor.kind == _INT64 else tensor.n_floats
    if tensor.raw is not None:
        stored, rest = divmod(len(tensor.raw), _ITEM_BYTES[tensor.kind])
        if rest or tensor.integers or tensor.n_floats:
            raise GraphRefusedError(f"{what} has its elements in two forms")
    _check_shape(what, tensor.shape, stored)
    kept = None
    if tensor.kind == _INT64 and stored <= _KEPT:
        raw = tensor.raw
        kept = tuple(struct.unpack(f"<{stored}q", raw) if raw is not None else tensor.integers)
    floats = tensor.raw if tensor.kind == _FLOAT else None
    return tensor.name, Constant(tuple(tensor.shape), kept, floats)


def _check_shape(what: str, shape: list[int], stored: int) -> None:
    claims = math.prod(shape) if len(shape) <= _MAX_DIMENSIONS and min(shape, default=0) >= 0 else -1
    if claims != stored:
        raise GraphRefusedError(f"{what} claims the shape {shape!r:.80} and has {stored} elements")


def _refuse(field: str) -> None:
    if field in _REFUSED:
        raise GraphRefusedError(f"it holds {_REFUSED[field]}")


def _text(value: int | memoryview, what: str) -> str:
    try:
        return bytes(value).decode() if isinstance(value, memoryview) else ""
    except UnicodeDecodeError as error:
        raise MalformedError(f"{what} is not text") from error
