"""The exported graph: one GRU node a layer, a free batch size, torch's numbers, nothing of this machine."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

import disc_stream_export
from disc_stream.artifacts.bundle import METADATA_KEY
from disc_stream.errors import ParityError
from disc_stream.training.runs import TrainedRun, load_run
from disc_stream_export.graph import build_graph, check_structure, serialise
from disc_stream_export.twins import GRUOperator, with_twins
from tests.support.tiny_run import write_tiny_run

NETWORKS: dict[str, dict[str, Any]] = {
    "channels": {},
    "one layer, tanh": {"layers": 1, "squash": True},
    "three layers": {"layers": 3},
    "paper's reset gate": {"reset_after": False},
    "grid": {"layout": "grid", "hidden": 3},
    "grid, paper's reset gate": {"layout": "grid", "hidden": 3, "reset_after": False},
}


def export(run: TrainedRun, facts: dict[str, Any] | None = None) -> onnx.ModelProto:
    _, samples, channels = run.samples.shape
    return build_graph(run.net, input_samples=samples, n_channels=channels, facts=facts or {})


def run_graph(model: onnx.ModelProto, x: np.ndarray[Any, Any]) -> list[np.ndarray[Any, Any]]:
    session = onnxruntime.InferenceSession(serialise(model), providers=["CPUExecutionProvider"])
    outputs: list[np.ndarray[Any, Any]] = session.run(["embedding", "q", "distance"], {"x": x})
    return outputs


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> TrainedRun:
    return load_run(write_tiny_run(tmp_path_factory.mktemp("runs") / "channels"))


@pytest.fixture(scope="module")
def exported(run: TrainedRun) -> bytes:
    return serialise(export(run))


@pytest.fixture
def model(exported: bytes) -> onnx.ModelProto:
    return onnx.load_from_string(exported)


@pytest.mark.parametrize("network", NETWORKS)
def test_every_form_of_the_network_is_exported_as_it_computes(network: str, tmp_path: Path) -> None:
    run = load_run(write_tiny_run(tmp_path / "run", **NETWORKS[network]))
    model = export(run)
    layers = NETWORKS[network].get("layers", 2)
    grus = [node for node in model.graph.node if node.op_type == "GRU"]
    forms = [a.i for node in grus for a in node.attribute if a.name == "linear_before_reset"]
    assert forms == [int(NETWORKS[network].get("reset_after", True))] * layers
    assert len(model.graph.node) < 40  # 16 time steps, none of them unrolled
    assert [(o.domain, o.version) for o in model.opset_import] == [("", 18)]
    for batch in (1, 3, 300):
        x = np.random.default_rng(batch).normal(size=(batch, *run.samples.shape[1:])).astype(np.float32)
        with torch.inference_mode():
            expected = run.net(torch.from_numpy(x))
        for got, wanted in zip(run_graph(model, x), expected, strict=True):
            assert got.shape == wanted.shape
            np.testing.assert_allclose(got, wanted.numpy(), rtol=2e-4, atol=2e-6)


def test_the_graph_takes_raw_samples(run: TrainedRun, model: onnx.ModelProto) -> None:
    raw = run.samples
    scaler = run.info.scaler
    normalised = (raw - np.float32(scaler.offset)) * np.float32(scaler.scale)
    assert not np.allclose(normalised, raw)
    expected = outputs_as_trained(run, normalised)
    for got, wanted in zip(run_graph(model, raw), expected, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=2e-4, atol=2e-6)


def outputs_as_trained(run: TrainedRun, normalised: np.ndarray[Any, Any]) -> list[np.ndarray[Any, Any]]:
    """The outputs for samples that are normalised already, from the network as it was trained."""
    with torch.inference_mode():
        z = run.autoencoder.encoder(torch.from_numpy(normalised))
        distance = torch.cdist(z, run.net.centroids).square()
        t = 1 / (1 + distance)
    return [z.numpy(), (t / t.sum(1, keepdim=True)).numpy(), distance.numpy()]


def test_equal_networks_give_equal_bytes(exported: bytes, tmp_path: Path) -> None:
    again = load_run(write_tiny_run(tmp_path / "elsewhere"))
    other = load_run(write_tiny_run(tmp_path / "other", seed=1))
    assert serialise(export(again)) == exported
    assert serialise(export(other)) != exported


def test_the_file_says_what_it_is_and_nothing_of_this_machine(run: TrainedRun) -> None:
    model = export(run, {"fs": 50.0, "channels": [{"name": "acc_x", "unit": "g"}]})
    facts = {entry.key: json.loads(entry.value) for entry in model.metadata_props}
    assert facts == {METADATA_KEY: {"fs": 50.0, "channels": [{"name": "acc_x", "unit": "g"}]}}
    data = serialise(model)
    source = Path(disc_stream_export.__file__).parents[2]
    for private in (str(source), str(Path.home()), "site-packages", "stack_trace", ".py"):
        assert private.encode() not in data
    assert model.ir_version <= 10  # what onnxruntime 1.20 reads


def test_the_batch_axis_is_free_and_the_others_are_fixed(model: onnx.ModelProto) -> None:
    graph = model.graph
    shapes = {
        port.name: [d.dim_param or d.dim_value for d in port.type.tensor_type.shape.dim]
        for port in (*graph.input, *graph.output)
    }
    assert shapes == {
        "x": ["batch", 16, 6],
        "embedding": ["batch", 4],
        "q": ["batch", 5],
        "distance": ["batch", 5],
    }


def test_the_tracer_is_silent_and_leaves_the_network_as_it_was(
    run: TrainedRun, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    before = {name: value.clone() for name, value in run.net.state_dict().items()}
    with caplog.at_level(logging.WARNING):  # warnings are errors in tests anyway
        export(run)
    assert [record.getMessage() for record in caplog.records] == []
    assert capfd.readouterr() == ("", "")

    assert isinstance(run.net.recurrence, nn.GRU)
    assert before.keys() == run.net.state_dict().keys()
    assert all(torch.equal(before[name], value) for name, value in run.net.state_dict().items())


class Convolutional(nn.Module):
    """Another kind of network with the same contract: what evaluation folds away must be folded."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv1d(3, 8, 5, stride=2),
            nn.BatchNorm1d(8),
            nn.ReLU(),
            nn.Dropout(0.5),
            nn.Flatten(),
            nn.LazyLinear(4),
        )
        self.body(torch.randn(8, 3, 16))
        self.centroids = nn.Parameter(torch.randn(5, 4))

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        z = self.body(x.transpose(1, 2))
        distance = (z.unsqueeze(1) - self.centroids).square().sum(2)
        return z, torch.softmax(-distance, 1), distance


def test_another_network_is_exported_in_evaluation_mode() -> None:
    torch.manual_seed(0)
    net = Convolutional().train()
    model = build_graph(net, input_samples=16, n_channels=3, facts={})
    assert net.training
    assert not {"BatchNormalization", "Dropout"} & {node.op_type for node in model.graph.node}
    net.eval()
    x = np.random.default_rng(0).normal(size=(7, 16, 3)).astype(np.float32)
    with torch.inference_mode():
        expected = net(torch.from_numpy(x))
    for got, wanted in zip(run_graph(model, x), expected, strict=True):
        np.testing.assert_allclose(got, wanted.numpy(), rtol=1e-4, atol=1e-5)


# ── Structure that is wrong is an error, whatever the numbers say ─────────────────────────────────────


def operators(run: TrainedRun) -> list[GRUOperator]:
    return [part for part in with_twins(run.net).modules() if isinstance(part, GRUOperator)]


def test_a_lost_reset_form_is_found(run: TrainedRun, model: onnx.ModelProto) -> None:
    gru = next(node for node in model.graph.node if node.op_type == "GRU")
    kept = [a for a in gru.attribute if a.name != "linear_before_reset"]
    del gru.attribute[:]
    gru.attribute.extend(kept)
    with pytest.raises(ParityError, match=r"linear_before_reset \[0, 1\], the network needs \[1, 1\]"):
        check_structure(model, operators(run))


def test_a_lost_recurrence_is_found(run: TrainedRun, model: onnx.ModelProto) -> None:
    with pytest.raises(ParityError, match=r"\[1, 1\], the network needs \[1, 1, 1, 1\]"):
        check_structure(model, operators(run) * 2)


def test_an_unrolled_graph_is_found(run: TrainedRun, model: onnx.ModelProto) -> None:
    for i in range(300):
        model.graph.node.append(onnx.helper.make_node("Identity", ["x"], [f"copy{i}"]))
    with pytest.raises(ParityError, match="a part of it was unrolled"):
        check_structure(model, operators(run))


def test_weights_outside_the_file_are_found(run: TrainedRun, model: onnx.ModelProto, tmp_path: Path) -> None:
    onnx.save_model(
        model, tmp_path / "m.onnx", save_as_external_data=True, location="weights", size_threshold=64
    )
    external = onnx.load(tmp_path / "m.onnx", load_external_data=False)
    with pytest.raises(ParityError, match="keeps weights outside its file"):
        check_structure(external, operators(run))


def test_another_operator_set_is_found(run: TrainedRun, model: onnx.ModelProto) -> None:
    model.opset_import[0].version = 17
    with pytest.raises(ParityError, match=r"operator sets \{'': 17\}"):
        check_structure(model, operators(run))


def test_a_graph_that_is_not_onnx_is_found(run: TrainedRun, model: onnx.ModelProto) -> None:
    nodes = list(reversed(model.graph.node))
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    with pytest.raises(ParityError, match="the graph is not valid ONNX"):
        check_structure(model, operators(run))
