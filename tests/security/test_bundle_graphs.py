"""A bundle from somebody else: its graph reads no file, runs no endless loop and asks for no gigabytes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from disc_stream.artifacts.bundle import Bundle, content_version
from disc_stream.artifacts.graph import MAX_NODES, OPERATORS
from disc_stream.artifacts.runtime import OnnxEncoder
from disc_stream.errors import BundleError
from disc_stream.training.runs import load_run
from disc_stream_export.graph import build_graph, serialise
from tests.support.hostile_bundle import replace_graph
from tests.support.tiny_bundle import write_tiny_bundle
from tests.support.tiny_run import write_tiny_run

Change = Callable[[onnx.ModelProto], object]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_tiny_bundle(tmp_path / "tiny")
    return tmp_path / "tiny"


def refusal(folder: Path, change: Change) -> str:
    """The one line with which a bundle is refused whose hashes are all right and whose graph is changed."""
    model = onnx.load_from_string((folder / "model.onnx").read_bytes())
    change(model)
    replace_graph(folder, model.SerializeToString())
    with pytest.raises(BundleError) as caught:
        Bundle.open(folder)
    assert "\n" not in str(caught.value)
    assert str(folder) in str(caught.value)
    return str(caught.value)


def external(tensor: TensorProto, location: str) -> None:
    """Say that the elements of a tensor lie in a file."""
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)


# -- files ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("location", ["shadow", "../shadow", "/etc/shadow", "*/_ORT_MEM_ADDR_/*"])
def test_a_tensor_in_another_file_is_refused(location: str, folder: Path) -> None:
    line = refusal(folder, lambda model: external(model.graph.initializer[0], location))
    assert "its tensor 'centroids' lies in another file" in line


def test_without_that_check_onnxruntime_still_finds_no_file(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = np.full((3, 3), 42.0, np.float32)
    (tmp_path / "shadow").write_bytes(secret.tobytes())
    monkeypatch.chdir(tmp_path)
    sound = Bundle.open(folder)
    model = onnx.load_from_string(sound.model_bytes)
    external(model.graph.initializer[0], "shadow")
    unchecked = Bundle(folder, sound.manifest, model.SerializeToString(), sound.catalogue)
    with pytest.raises(BundleError, match="cannot be loaded"):
        OnnxEncoder(unchecked, provider="cpu")


def test_only_the_claim_of_another_file_is_enough(folder: Path) -> None:
    def claim(model: onnx.ModelProto) -> None:
        model.graph.initializer[0].external_data.add(key="location", value="shadow")

    assert "lies in another file" in refusal(folder, claim)


def test_a_location_that_another_parser_would_overwrite_is_refused(folder: Path) -> None:
    """protobuf takes the last of two values; whoever looks at the other one sees an inner tensor."""
    tensor = onnx.load_from_string((folder / "model.onnx").read_bytes()).graph.initializer[0]
    twice = tensor.SerializeToString() + b"\x70\x01" + b"\x70\x00"
    graph = b"\x2a" + bytes([len(twice)]) + twice
    replace_graph(folder, (folder / "model.onnx").read_bytes() + b"\x3a" + bytes([len(graph)]) + graph)
    with pytest.raises(BundleError, match="'graph' twice"):
        Bundle.open(folder)


def test_a_model_in_the_form_of_onnxruntime_is_refused(folder: Path) -> None:
    """It is no protobuf, so nothing of it would have been looked at."""
    polyglot = b"\x12\x06ab" + b"ORTM" + (folder / "model.onnx").read_bytes()
    assert onnx.load_from_string(polyglot).producer_name == "abORTM"
    replace_graph(folder, polyglot)
    with pytest.raises(BundleError, match="onnxruntime's own form"):
        Bundle.open(folder)


# -- what a graph may consist of ---------------------------------------------------------------------------


def loop(model: onnx.ModelProto) -> None:
    """A loop whose condition is always true."""
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["on"]), helper.make_node("Identity", ["was"], ["is"])],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("was", TensorProto.FLOAT, None),
        ],
        [
            helper.make_tensor_value_info("on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("is", TensorProto.FLOAT, None),
        ],
    )
    model.graph.initializer.append(numpy_helper.from_array(np.array(True), "forever"))
    model.graph.node.insert(0, helper.make_node("Loop", ["", "forever", "x"], ["y"], body=body))
    model.graph.node[1].input[0] = "y"


def foreign_domain(model: onnx.ModelProto) -> None:
    model.graph.node[0].domain = "com.microsoft"
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))


def constant_node(model: onnx.ModelProto) -> None:
    tensor = numpy_helper.from_array(np.zeros(3, np.float32), "inner")
    external(tensor, "shadow")
    model.graph.node.insert(0, helper.make_node("Constant", [], ["c"], value=tensor))


def tensor_in_an_attribute(model: onnx.ModelProto) -> None:
    tensor = numpy_helper.from_array(np.zeros(3, np.float32), "inner")
    model.graph.node[0].attribute.append(helper.make_attribute("value", tensor))


def sparse(model: onnx.ModelProto) -> None:
    values = numpy_helper.from_array(np.ones(1, np.float32), "sparse")
    indices = numpy_helper.from_array(np.zeros(1, np.int64), "")
    external(values, "shadow")
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [10**12]))


def function(model: onnx.ModelProto) -> None:
    nodes = [helper.make_node("Neg", ["a"], ["b"])]
    sets = [helper.make_opsetid("", 18)]
    model.functions.append(helper.make_function("mine", "Add", ["a"], ["b"], nodes, sets))


def training(model: onnx.ModelProto) -> None:
    model.training_info.add().algorithm.name = "g"


def many_nodes(model: onnx.ModelProto) -> None:
    for n in range(MAX_NODES):
        model.graph.node.append(helper.make_node("Sqrt", ["x"], [f"s{n}"]))


def huge_claim(model: onnx.ModelProto) -> None:
    model.graph.initializer.append(
        TensorProto(name="huge", data_type=TensorProto.FLOAT, dims=[2**40], raw_data=b"\0" * 4)
    )


def text_tensor(model: onnx.ModelProto) -> None:
    model.graph.initializer.append(helper.make_tensor("words", TensorProto.STRING, [1], [b"x"]))


def newer_set(model: onnx.ModelProto) -> None:
    model.opset_import[0].version = 999


WHAT_NO_EXPORT_WRITES: list[tuple[Change, str]] = [
    (loop, "the operator 'Loop' of the domain 'ai.onnx', which no export writes"),
    (foreign_domain, "the operator 'ReduceMean' of the domain 'com.microsoft'"),
    (constant_node, "the operator 'Constant' of the domain 'ai.onnx'"),
    (tensor_in_an_attribute, "'ReduceMean' holds a tensor in an attribute"),
    (sparse, "it holds sparse tensors"),
    (function, "it holds functions"),
    (training, "it holds training steps"),
    (many_nodes, f"more than {MAX_NODES} nodes"),
    (huge_claim, "its tensor 'huge' claims the shape [1099511627776] and has 1 elements"),
    (text_tensor, "a tensor has a field 6"),
    (newer_set, "the operator sets ai.onnx 999, and not ai.onnx 18 alone"),
]


@pytest.mark.parametrize(
    ("change", "says"), WHAT_NO_EXPORT_WRITES, ids=lambda value: getattr(value, "__name__", "")
)
def test_what_no_export_writes_is_refused(change: Change, says: str, folder: Path) -> None:
    assert says in refusal(folder, change)


def test_what_onnxruntime_says_of_a_graph_does_not_reach_the_terminal(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    sound = Bundle.open(folder)
    model = onnx.load_from_string(sound.model_bytes)
    model.graph.node[0].output[0] = "\x1b[2Jgone"  # what later nodes read is nowhere
    hostile = Bundle(folder, sound.manifest, model.SerializeToString(), sound.catalogue)
    with pytest.raises(BundleError, match="cannot be loaded") as caught:
        OnnxEncoder(hostile, provider="cpu")
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("old", [b"centroids", b"disc_stream"], ids=["name", "metadata"])
def test_names_that_are_no_text_are_refused(old: bytes, folder: Path) -> None:
    graph = (folder / "model.onnx").read_bytes()
    replace_graph(folder, graph.replace(old, b"\xff" * len(old)))
    with pytest.raises(BundleError, match=r"text|UTF-8"):
        OnnxEncoder(Bundle.open(folder), provider="cpu")


# -- memory and work ---------------------------------------------------------------------------------------


def doubled(model: onnx.ModelProto) -> None:
    """A tensor beside itself, forty times: 2^40 times its size."""
    for n in range(40):
        name = "x" if n == 0 else f"d{n - 1}"
        model.graph.node.append(helper.make_node("Concat", [name, name], [f"d{n}"], axis=1))


def outer_product(model: onnx.ModelProto) -> None:
    long = np.zeros((100_000, 1), np.float32)
    model.graph.initializer.append(numpy_helper.from_array(long, "tall"))
    model.graph.initializer.append(numpy_helper.from_array(long.T, "wide"))
    model.graph.node.append(helper.make_node("Mul", ["tall", "wide"], ["plane"]))


def long_product(model: onnx.ModelProto) -> None:
    """Three products of thin matrices, each small: their product is 20,000 squared times 20,000."""
    thin = np.zeros((20_000, 1), np.float32)
    model.graph.initializer.append(numpy_helper.from_array(thin, "thin"))
    model.graph.initializer.append(numpy_helper.from_array(thin.T, "flat"))
    model.graph.node.append(helper.make_node("MatMul", ["thin", "flat"], ["plane"]))
    model.graph.node.append(helper.make_node("MatMul", ["plane", "plane"], ["again"]))


@pytest.mark.parametrize("change", [doubled, outer_product, long_product])
def test_a_small_graph_that_asks_for_gigabytes_is_refused(change: Change, folder: Path) -> None:
    assert "asks for more memory or work than any model of disc-stream" in refusal(folder, change)


def test_shapes_that_cannot_be_are_refused(folder: Path) -> None:
    def unfit(model: onnx.ModelProto) -> None:
        model.graph.node.append(helper.make_node("Concat", ["x", "centroids"], ["c"], axis=1))

    assert "the inputs of its operator Concat do not fit" in refusal(folder, unfit)


# -- what must stay possible -------------------------------------------------------------------------------

EXPORTABLE: dict[str, dict[str, Any]] = {
    "channels": {},
    "squashed": {"layers": 1, "squash": True},
    "three layers": {"layers": 3},
    "paper's reset gate": {"reset_after": False},
    "grid": {"layout": "grid", "hidden": 3},
    "frames": {"frame": 4, "context_norm": True},
}


@pytest.mark.parametrize("network", EXPORTABLE)
def test_what_the_exporter_writes_is_opened(network: str, tmp_path: Path) -> None:
    from disc_stream.artifacts.graph import read_graph
    from disc_stream.artifacts.graphcost import BATCH, cost_of

    run = load_run(write_tiny_run(tmp_path / "run", **EXPORTABLE[network]))
    _, samples, channels = run.samples.shape
    model = build_graph(run.net, input_samples=samples, n_channels=channels, facts={})
    assert {node.op_type for node in model.graph.node} <= OPERATORS
    graph = read_graph(serialise(model))
    assert [node.operator for node in graph.nodes] == [node.op_type for node in model.graph.node]
    assert graph.constants.keys() == {tensor.name for tensor in model.graph.initializer}
    cost = cost_of(graph, "x", (samples, channels))
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
    fixed = [
        [dim.dim_value or BATCH for dim in info.type.tensor_type.shape.dim]
        for info in (*inferred.graph.value_info, *inferred.graph.output)
    ]
    assert cost.values >= sum(int(np.prod(shape)) for shape in fixed) > 0


def test_a_graph_with_other_names_in_the_manifest_is_still_whole(folder: Path) -> None:
    """The helper of these attacks makes a bundle that is right in everything but its graph."""
    replace_graph(folder, (folder / "model.onnx").read_bytes() + b"\x32\x01x")
    bundle = Bundle.open(folder)
    assert bundle.version == content_version(bundle.model_bytes)
    assert OnnxEncoder(bundle, provider="cpu").encode(np.zeros((1, 8, 3), np.float32)).labels.tolist() == [0]
