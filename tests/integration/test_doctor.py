"""`disc-stream doctor` before brokers that are in order, and before brokers with a hole each."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from disc_stream.wire.broker import Broker
from disc_stream.wire.mqtt import MqttLink
from disc_stream.wire.status import ServerStatus, State, encode_server_status
from disc_stream.wire.topics import Kind, Topics
from disc_stream_server.doctor.access import check_account, check_device_with_witness, check_strangers
from disc_stream_server.doctor.clock import check_clock
from disc_stream_server.doctor.connection import check_connection, check_encryption, check_session
from disc_stream_server.doctor.devices import check_devices
from disc_stream_server.doctor.findings import Finding
from disc_stream_server.doctor.findings import State as How
from disc_stream_server.doctor.machine import check_disk, file_system
from disc_stream_server.doctor.probe import Probe
from disc_stream_server.storage.state import StateStore
from tests.integration.conftest import StartServer
from tests.support.broker import Mosquitto, free_port
from tests.support.device import REST, Sender, constant, make_batch
from tests.support.listener import Listener
from tests.support.scripted_broker import CONNACK, CONNECT, Connection, ScriptedBroker
from tests.support.secure_broker import SecureMosquitto

pytestmark = pytest.mark.broker

TOPICS = Topics()


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecureMosquitto]:
    broker = SecureMosquitto(tmp_path_factory.mktemp("secure") / "set-up")
    broker.start()
    yield broker
    broker.discard()


def of_others(finding: dict[str, str]) -> bool:
    """Whether a finding is about the machine that tests, which may be slow or have a broker of its own."""
    with socket.socket() as plain:
        is_there = plain.connect_ex(("127.0.0.1", 1883)) == 0
    return finding["group"] == "machine" or (is_there and finding["name"] == "plain text, port 1883")


def one(findings: list[Finding], name: str) -> Finding:
    (found,) = [finding for finding in findings if finding.name == name]
    return found


def doctor(*options: str, **variables: str) -> tuple[int, dict[str, dict[str, str]], dict[str, object]]:
    """(exit code, findings by name, the rest)."""
    result = subprocess.run(
        [sys.executable, "-m", "disc_stream", "doctor", "--json", *options],
        capture_output=True, text=True, timeout=120, check=False, env={**os.environ, **variables},
    )  # fmt: skip
    told = json.loads(result.stdout)
    return result.returncode, {finding["name"]: finding for finding in told.pop("findings")}, told


# -- as it should be ------------------------------------------------------------------------------------


@pytest.mark.parametrize("certificate", [False, True], ids=["password", "certificate"])
def test_a_secure_broker_is_found_in_order(
    secure: SecureMosquitto, tmp_path: Path, certificate: bool
) -> None:
    device = secure.added(f"d{certificate:d}", certificate=certificate)
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    code, findings, told = doctor(
        "--as-device", device.url, "--state", str(state), **secure.environment("operator")
    )
    failed = [finding for finding in findings.values() if finding["state"] in {"fail", "warning"}]
    assert [finding for finding in failed if not of_others(finding)] == []
    assert told["ok"] is (code == 0)
    assert findings["largest packet"]["detail"] == "1,048,576"
    assert findings["unconfirmed messages"]["detail"] == "1,000"
    assert findings["encryption"]["detail"].startswith("TLSv1.3")
    for name in (
        "connection",
        "session",
        "anonymous",
        "forging",
        "listening",
        "round trip",
        "dropped messages",
    ):
        assert findings[name]["state"] == "ok", name
    assert findings["server"]["state"] == "skipped"


def test_an_operator_may_do_what_operators_do(secure: SecureMosquitto, tmp_path: Path) -> None:
    last = TOPICS.of("last", Kind.RAW)
    with Probe(secure.person("operator", "witness"), "any") as witness:
        assert witness.connect().accepted
        witness.subscribe(TOPICS.all_of(Kind.RAW))
        _code, findings, _told = doctor("--state", str(tmp_path), **secure.environment("operator"))
        witness.publish(last, b"")
        assert witness.wait_for(lambda message: message.topic == last)
        assert [message.topic for message in witness.heard()] == [last], "no dead letter comes of it"
    wrong = [f["name"] for f in findings.values() if f["state"] == "fail" and not of_others(f)]
    assert wrong == []
    assert findings["devices"]["state"] == "skipped"


def test_a_device_alone_is_examined_too(secure: SecureMosquitto) -> None:
    findings = check_account(secure.add("alone"), TOPICS, "doctor")
    assert one(findings, "forging").state is How.OK
    assert one(findings, "listening").state is How.OK


def test_a_server_takes_nothing_of_what_is_tried_for_a_dead_letter(
    mosquitto: Mosquitto, start_server: StartServer, sender: Sender, listener: Listener
) -> None:
    server = start_server()
    broker = Broker.parse(mosquitto.url)
    device = replace(broker, username="watch", password="x")  # noqa: S106 - whom everybody may be here
    assert one(check_account(broker, TOPICS, "doctor"), "forging").state is How.FAIL
    assert one(check_account(device, TOPICS, "doctor"), "forging").state is How.FAIL
    check_device_with_witness(broker, device, TOPICS, "doctor")
    sender.send(make_batch("watch", 0, constant(REST, 8)))
    listener.wait_for_labels(1)
    listener.wait_for_count("labels", 1)
    assert listener.status["rejected"] == {}
    assert server.stop()
    store = StateStore(server._service.state)
    assert store.dead_letters() == []
    store.close()


def test_devices_without_labels_are_named_with_the_reason(
    mosquitto: Mosquitto, start_server: StartServer, sender: Sender, listener: Listener
) -> None:
    start_server()
    broker = Broker.parse(mosquitto.url)
    assert check_devices(broker, TOPICS, "doctor")[0].state is How.OK
    sender.send(make_batch("watch", 0, constant(REST, 8), fs=5.0))
    listener.wait_for_rejected("rate", 1)
    found = check_devices(broker, TOPICS, "doctor")[0]
    assert found.state is How.WARNING
    assert found.detail.startswith("1 x rate. watch: the stream has 5 samples/s")
    sender.send(make_batch("watch", 1, constant(REST, 8)))
    listener.wait_for_labels(1)
    listener.wait(lambda: check_devices(broker, TOPICS, "doctor")[0].state is How.OK)


# -- holes ----------------------------------------------------------------------------------------------


def holed(folder: Path, *, acl: str = "", settings: str = "") -> SecureMosquitto:
    """A secure broker that somebody has made a little less so."""
    broker = SecureMosquitto(folder)
    for name in ("devices.acl",):
        file = broker.layout.broker / name
        file.write_text(file.read_text() + acl)
    broker._config.write_text(broker._config.read_text() + settings)
    return broker


@pytest.mark.parametrize(
    ("acl", "name", "says"),
    [
        ("pattern write ds/v1/+/raw\n", "forging", "/raw for any device"),
        ("pattern write ds/v1/+/meta\n", "forging", "/meta for any device"),
        ("pattern write ds/v1/$server/#\n", "forging", "$server/doctor"),
        ("pattern read ds/v1/+/label\n", "listening", "/label"),
        ("pattern read #\n", "listening", "ds/v1/doctor-"),
    ],
)
def test_a_hole_in_the_access_list_is_found(acl: str, name: str, says: str, tmp_path: Path) -> None:
    broker = holed(tmp_path / "set-up")
    device = broker.add("watch")  # this writes the list; the hole comes after it
    file = broker.layout.broker / "devices.acl"
    file.write_text(file.read_text() + acl)
    broker.start()
    try:
        findings = check_device_with_witness(broker.role("operator"), device, TOPICS, "doctor")
        finding = one(findings, name)
        assert finding.state is How.FAIL
        assert says in finding.detail
        assert "broker config" in finding.remedy
        (other,) = {"forging", "listening"} - {name}
        assert one(findings, other).state is How.OK
    finally:
        broker.discard()


def test_a_device_alone_overhears_what_is_retained(tmp_path: Path) -> None:
    broker = holed(tmp_path / "set-up")
    device, other = broker.add("watch"), broker.add("other")
    file = broker.layout.broker / "devices.acl"
    file.write_text(file.read_text() + "pattern read ds/v1/+/meta\n")
    broker.start()
    try:
        link = MqttLink(other, "x")
        link.connect()
        link.publish("ds/v1/other/meta", b"{}", retain=True)
        assert link.flush(10)
        link.close()
        finding = one(check_account(device, TOPICS, "doctor"), "listening")
        assert (finding.state, finding.detail) == (How.FAIL, "watch hears ds/v1/other/meta")
    finally:
        broker.discard()


def test_an_anonymous_and_a_plain_text_listener_are_found(tmp_path: Path) -> None:
    port = free_port()
    broker = holed(tmp_path / "set-up", settings=f"\nlistener {port} 127.0.0.1\nallow_anonymous true\n")
    broker.start()
    try:
        operator = broker.role("operator")
        assert one(check_strangers(operator, "doctor"), "anonymous").state is How.OK
        open_door = replace(operator, port=port, tls=False, ca_file=None)
        finding = one(check_strangers(open_door, "doctor"), "anonymous")
        assert finding.state is How.FAIL
        assert "reads and writes everything" in finding.detail
        plain = check_strangers(replace(operator, port=port), "doctor")
        assert one(plain, f"plain text, port {port}").state is How.FAIL
    finally:
        broker.discard()


def test_an_open_broker_fails(tmp_path: Path) -> None:
    broker = Mosquitto(tmp_path)
    broker.start()
    try:
        code, findings, told = doctor("--broker", broker.url, "--state", str(tmp_path))
    finally:
        broker.discard()
    assert (code, told["ok"]) == (1, False)
    assert findings["forging"]["state"] == "fail"
    assert findings["forging"]["remedy"]
    assert findings["anonymous"]["state"] == "warning", "on this machine alone"


# -- limits, sessions, versions ---------------------------------------------------------------------------


def test_narrow_limits_are_found(tmp_path: Path) -> None:
    broker = Mosquitto(
        tmp_path,
        "allow_anonymous true\nmax_packet_size 20000\nretain_available false\nmax_inflight_messages 5",
    )
    broker.start()
    try:
        findings, reached = check_connection(Broker.parse(broker.url), "doctor")
    finally:
        broker.discard()
    assert reached is not None
    states = {finding.name: finding.state for finding in findings}
    assert states["largest packet"] is How.FAIL
    assert states["retained messages"] is How.FAIL
    assert states["unconfirmed messages"] is How.WARNING
    assert states["wildcard subscriptions"] is How.OK


def test_a_broker_that_forgets_sessions_is_found() -> None:
    def accept(connection: Connection) -> None:
        connection.receive(CONNECT)
        connection.send(CONNACK, b"\x00\x00\x00")  # no session present
        connection.receive(14)

    with ScriptedBroker(accept, accept, accept) as broker:
        finding = check_session(Broker.parse(broker.url), "doctor")
    assert finding.state is How.FAIL
    assert "lost" in finding.detail


def test_an_older_version_will_do_with_a_warning() -> None:
    def refuse(connection: Connection) -> None:
        connection.receive(CONNECT)
        connection.send(CONNACK, b"\x00\x84\x00")  # unsupported protocol version

    def accept(connection: Connection) -> None:
        connection.receive(CONNECT)
        connection.send(CONNACK, b"\x00\x00")
        connection.receive(14)

    with ScriptedBroker(refuse, accept) as broker:
        (finding,), reached = check_connection(Broker.parse(broker.url), "doctor")
    assert finding.state is How.WARNING
    assert reached is not None
    assert reached.protocol == "3.1.1"


def test_a_broker_that_is_not_there(tmp_path: Path) -> None:
    code, findings, _ = doctor("--broker", f"mqtt://127.0.0.1:{free_port()}", "--state", str(tmp_path))
    assert code == 1
    assert "refused" in findings["connection"]["detail"]
    assert "versions" in findings, "the machine is looked at all the same"
    assert "forging" not in findings


def test_a_certificate_that_runs_out_soon_is_found(tmp_path: Path) -> None:
    from disc_stream_server.brokerconfig.authority import Authority

    broker = SecureMosquitto(tmp_path / "set-up")
    pair = Authority(broker.layout.authority).issue_broker(["localhost"], days=10)
    (broker.layout.broker / "broker.crt").write_bytes(pair.certificate)
    (broker.layout.broker / "broker.key").write_bytes(pair.key)
    broker.start()
    try:
        (finding,) = check_encryption(broker.role("operator"))
    finally:
        broker.discard()
    assert finding.state is How.WARNING
    assert finding.detail.endswith(" 9 days")


def test_no_encryption_is_a_failure_except_on_this_machine() -> None:
    assert check_encryption(Broker("10.0.0.7", 1883))[0].state is How.FAIL
    assert check_encryption(Broker("127.0.0.1", 1883))[0].state is How.OK


# -- clocks ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ahead_s", "live", "how", "says"),
    [
        (0.0, True, How.OK, "agrees within 0."),
        (90.0, True, How.WARNING, "s ahead of this machine's"),
        (-90.0, True, How.WARNING, "s behind this machine's"),
        (-600.0, False, How.WARNING, "has said nothing for 60"),
    ],
)
def test_clocks_that_differ_are_found(
    secure: SecureMosquitto, ahead_s: float, live: bool, how: How, says: str
) -> None:
    with server_that_says(secure, ahead_s, live=live):
        finding = one(check_clock(secure.role("operator"), TOPICS, "doctor"), "server")
    assert finding.state is how
    assert says in finding.detail


@contextmanager
def server_that_says(secure: SecureMosquitto, ahead_s: float, *, live: bool) -> Iterator[None]:
    """A server whose clock is ahead of ours: it says how it is once, retained, and if it lives, often."""
    link = MqttLink(secure.role("server"), "test-server")
    stop = threading.Event()

    def say() -> None:
        now_us = round((time.time() + ahead_s) * 1e6)
        status = ServerStatus(State.ONLINE, since_us=1, model="v1", updated_us=now_us)
        link.publish(TOPICS.server_status, encode_server_status(status), retain=True)

    def go_on() -> None:
        while not stop.wait(0.05):
            say()

    link.connect()
    say()
    assert link.flush(10)
    thread = threading.Thread(target=go_on)
    if live:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        if live:
            thread.join(10)
        link.close()


# -- the machine --------------------------------------------------------------------------------------------


def test_the_disk_is_looked_at_even_before_there_is_a_state_folder(tmp_path: Path) -> None:
    findings = check_disk(tmp_path / "not" / "yet")
    assert "is not there yet" in one(findings, "state folder").detail
    assert one(findings, "disk speed").state in {How.OK, How.WARNING}
    assert list(tmp_path.iterdir()) == []


def test_an_open_state_folder_earns_a_warning(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    state.chmod(0o755)
    assert one(check_disk(state), "state folder").state is How.WARNING
    state.chmod(0o700)
    assert one(check_disk(state), "state folder").state is How.OK


def test_a_state_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("")
    (finding,) = check_disk(tmp_path / "state")
    assert finding.state is How.FAIL


def test_the_kind_of_a_file_system_is_the_kernels_word() -> None:
    assert file_system(Path("/proc/self")) == "proc"
