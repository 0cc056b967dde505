"""What ``deploy/compose`` describes, as plain processes: set-up, broker, server, Prometheus and its rules."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from disc_stream.wire.broker import Broker
from disc_stream_server.brokerconfig.setup import load_setup
from disc_stream_server.metrics import definitions as known
from tests.support.broker import free_port
from tests.support.commandline import CommandLine
from tests.support.device import REST, Sender, constant, make_batch
from tests.support.listener import Listener
from tests.support.prometheus import AlertReceiver, Prometheus
from tests.support.secure_broker import SecureMosquitto

pytestmark = pytest.mark.broker

ROOT = Path(__file__).parents[2]
COMPOSE, PROMETHEUS = ROOT / "deploy/compose", ROOT / "deploy/prometheus"
_FAMILIES = ("cpu_us_", "clock_", "problem_")  # metrics with a label
DASHBOARD = ROOT / "deploy/grafana/dashboards/disc-stream.json"


class SetUpMosquitto(SecureMosquitto):
    """On a set-up that somebody else made."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.plan, self.layout = load_setup(folder)
        self.port = self.plan.port
        self._config = self.layout.broker / "mosquitto.conf"
        self._process = None


def four_in_a_row() -> int:
    """The first of four free ports."""
    for _ in range(200):
        first = free_port()
        if all(_is_free(first + n) for n in (1, 2, 3)):
            return first
    pytest.fail("there are no four free ports in a row")


def _is_free(port: int) -> bool:
    import socket

    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


@dataclass
class Stack:
    """The services of the compose file.

    Args:
        folder: its volumes.
        mosquitto: the broker.
        settings: configuration file of the server.
        page_port: of the live page.
        metrics_port: of the metrics alone.
        set_up_again: does what `docker compose up` does first.
    """

    folder: Path
    mosquitto: SetUpMosquitto
    settings: Path
    page_port: int
    metrics_port: int
    set_up_again: Callable[[], None]
    server: subprocess.Popen[str] | None = None

    def serve(self, *options: str) -> dict[str, Any]:
        """Start the server and wait until it is ready."""
        words = ["serve", "--config", str(self.settings), "--json", *options]
        with (self.folder / "server.log").open("a") as log:
            self.server = subprocess.Popen(
                [sys.executable, "-m", "disc_stream", *words],
                env={**os.environ, "OMP_NUM_THREADS": "1"},
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        assert self.server.stdout is not None
        line = self.server.stdout.readline()
        assert line, (self.folder / "server.log").read_text()
        return dict(json.loads(line))

    def stop_server(self) -> None:
        server, self.server = self.server, None
        if server is not None:
            server.terminate()
            server.communicate(timeout=60)
            assert server.returncode == 0

    def get(self, port: int, path: str, token: str = "") -> tuple[int, str]:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - loopback
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    @property
    def token(self) -> str:
        return (self.folder / "credentials/page-token").read_text()


@pytest.fixture
def stack(tmp_path: Path, tiny_bundle: Path, command_line: CommandLine) -> Iterator[Stack]:
    """Set up by the compose file's own script, with a model in its registry."""
    folders = [tmp_path / name for name in ("broker", "credentials", "grafana", "models")]
    for folder in folders[1:]:
        folder.mkdir()
    port = four_in_a_row()
    environment = {
        "PATH": f"{_command_folder(tmp_path)}:{os.environ['PATH']}",
        "PYTHONPATH": ":".join(sys.path),
        "DISC_STREAM_PORT": str(port),
    }
    words = ["sh", str(COMPOSE / "setup.sh"), *map(str, folders)]
    _set_up(words, environment)
    assert command_line("models", "add", tiny_bundle, "--models", tmp_path / "models").returncode == 0
    assert command_line("models", "promote", 1, "--models", tmp_path / "models").returncode == 0
    page_port, metrics_port = free_port(), free_port()
    text = (COMPOSE / "serve.yaml").read_text()
    for there, here in {
        "mosquitto:8885": f"127.0.0.1:{port + 2}",
        "/credentials": str(tmp_path / "credentials"),
        "/var/lib/disc-stream/state": str(tmp_path / "state"),
        "models: /models": f"models: {tmp_path / 'models'}",
        "0.0.0.0:8765": f"127.0.0.1:{page_port}",
        "0.0.0.0:9464": f"127.0.0.1:{metrics_port}",
        "#status_interval_s: 2.0": "status_interval_s: 0.2",
    }.items():
        assert there in text, there
        text = text.replace(there, here)
    settings = tmp_path / "serve.yaml"
    settings.write_text(text)
    broker = SetUpMosquitto(tmp_path / "broker")
    broker.start()
    stack = Stack(tmp_path, broker, settings, page_port, metrics_port, lambda: _set_up(words, environment))
    yield stack
    if stack.server is not None:
        stack.server.kill()
        stack.server.communicate()
    broker.discard()


def _set_up(words: list[str], environment: dict[str, str]) -> None:
    done = subprocess.run(words, env=environment, check=False, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def _command_folder(tmp_path: Path) -> Path:
    """A folder with the command ``disc-stream`` of this checkout."""
    folder = tmp_path / "bin"
    folder.mkdir()
    command = folder / "disc-stream"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m disc_stream "$@"\n')
    command.chmod(0o755)
    return folder


def prometheus_config(stack: Stack, alerts: AlertReceiver, folder: Path) -> Path:
    """What we ship, with other addresses and intervals; and the rules once more, without waiting."""
    folder.mkdir()
    shutil.copy(PROMETHEUS / "rules.yml", folder)
    rules = re.sub(r"for: \w+", "for: 0s", (PROMETHEUS / "rules.yml").read_text())
    (folder / "at-once.yml").write_text(re.sub(r"(alert: )(\w+)", r"\1AtOnce\2", rules))
    config = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())
    config["global"] = {"scrape_interval": "500ms", "evaluation_interval": "500ms"}
    config["rule_files"].append("at-once.yml")
    (job,) = [job for job in config["scrape_configs"] if job["job_name"] == "disc-stream"]
    job["static_configs"][0]["targets"] = [f"127.0.0.1:{stack.metrics_port}"]
    config["scrape_configs"] = [job]
    target = f"127.0.0.1:{alerts.port}"
    config["alerting"] = {"alertmanagers": [{"static_configs": [{"targets": [target]}]}]}
    file = folder / "prometheus.yml"
    file.write_text(yaml.safe_dump(config))
    return file


def test_prometheus_scrapes_a_server_and_its_alert_fires_when_the_broker_is_gone(
    stack: Stack, tmp_path: Path
) -> None:
    ready = stack.serve()
    assert ready["model"]
    device = stack.mosquitto.added("watch-17")
    listener = Listener(stack.mosquitto.role_url("viewer"))
    listener.link.connect()
    sender = Sender(device.url)
    for seq in range(4):
        sender.send(make_batch("watch-17", seq, constant(REST, 8)))
    listener.wait_for_labels(4)
    alerts = AlertReceiver()
    prometheus = Prometheus(prometheus_config(stack, alerts, tmp_path / "prometheus"), tmp_path / "tsdb")
    try:
        prometheus.wait_for("disc_stream_labels_total", lambda labels: labels == 4)
        prometheus.wait_for("disc_stream_ready", lambda value: value == 1)
        prometheus.wait_for("count_over_time(disc_stream_labels_total[1m])", lambda scrapes: scrapes >= 3)
        assert prometheus.value('disc_stream_label_delay_seconds_count{deferred="false"}') == 4
        assert prometheus.value('disc_stream_stage_duration_seconds_count{stage="encode"}')
        _check_dashboard(prometheus)
        status, body = stack.get(stack.metrics_port, "/metrics")
        assert status == 200
        assert "watch-17" not in body
        counters = {name for name in listener.status["counters"] if not name.startswith(_FAMILIES)}
        assert counters <= set(known.COUNTERS) | set(known.LEFT_OUT), "every counter is a metric, or left out"
        assert stack.get(stack.page_port, "/metrics")[0] == 401, "on the page it needs the page's token"
        assert stack.get(stack.page_port, "/metrics", stack.token)[0] == 200
        assert [stack.get(stack.page_port, path)[0] for path in ("/healthz", "/readyz")] == [200, 200]
        sender.link.close()
        listener.link.close()
        stack.mosquitto.stop()
        fired = alerts.wait_for("AtOnceDiscStreamBrokerLost")
        assert fired["labels"]["severity"] == "critical"
        assert "no connection to the broker" in fired["annotations"]["summary"]
        # The alert that we ship has the same condition, and waits for a minute before it tells anybody.
        shipped = 'ALERTS{alertname="DiscStreamBrokerLost", alertstate="pending"}'
        prometheus.wait_for(shipped, lambda pending: pending == 1)
        assert "DiscStreamBrokerLost" not in alerts.firing
        assert stack.get(stack.page_port, "/readyz")[0] == 503
    finally:
        prometheus.stop()
        alerts.stop()


def _check_dashboard(prometheus: Prometheus) -> None:
    """Every query of the dashboard is one for Prometheus; those of what always is there find something."""
    panels = json.loads(DASHBOARD.read_text())["panels"]
    empty = []
    for panel in panels:
        for target in panel.get("targets", []):
            query = target["expr"].replace("$instance", ".*").replace("$__rate_interval", "5m")
            if not prometheus.ask("query", query=query)["result"]:
                empty.append(panel["title"])
    # Nothing has been refused, nobody has a problem, nothing retrains.
    allowed = {"Refused", "Devices with a problem", "Phase", "New since the newest version"}
    assert set(empty) <= allowed, set(empty) - allowed


def test_a_copy_of_a_stopped_servers_state_goes_on_where_it_was(stack: Stack) -> None:
    _check_credentials(stack)
    stack.serve()
    sender = Sender(stack.mosquitto.added("watch-17").url)
    listener = Listener(stack.mosquitto.role_url("viewer"))
    listener.link.connect()
    for seq in range(3):
        sender.send(make_batch("watch-17", seq, constant(REST, 8)))
    listener.wait_for_labels(3)
    stack.stop_server()
    archive, restored = stack.folder / "state.tar", stack.folder / "restored"
    subprocess.run(
        ["tar", "--create", "--file", archive, "--directory", stack.folder / "state", "."], check=True
    )
    shutil.rmtree(stack.folder / "state")
    restored.mkdir()
    subprocess.run(["tar", "--extract", "--file", archive, "--directory", restored], check=True)
    stack.serve("--state", str(restored))
    sender.send(make_batch("watch-17", 3, constant(REST, 8)))
    listener.wait_for_labels(4)
    assert [label.window for label in listener.labels] == [0, 1, 2, 3], "numbers go on: nothing twice"
    lines = (stack.folder / "server.log").read_text().splitlines()
    assert all(json.loads(line)["logger"].startswith("disc_stream") for line in lines), "log_format: json"
    stack.stop_server()
    sender.link.close()
    listener.link.close()


def _check_credentials(stack: Stack) -> None:
    """The set-up gives the server what it needs, and no more."""
    before = {path: path.read_bytes() for path in stack.folder.glob("*/*") if path.is_file()}
    stack.set_up_again()
    assert {path: path.read_bytes() for path in before} == before, "the second time it keeps what is there"
    found = sorted(path.name for path in (stack.folder / "credentials").iterdir())
    assert found == ["broker-password", "ca.crt", "page-token"], "and not the authority's key"
    for path in (stack.folder / "credentials").iterdir():
        assert path.stat().st_mode & 0o077 == 0, path.name
    assert Broker.parse(yaml.safe_load(stack.settings.read_text())["broker"]).username == "_server"
    assert len((stack.folder / "grafana/admin-password").read_text()) == 48
