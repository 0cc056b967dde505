"""Against a Mosquitto that `broker config` set up, with real certificates: who gets what, who does not."""

from __future__ import annotations

import json
import re
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from typer.testing import CliRunner

from disc_stream.cli.app import app
from disc_stream.errors import ConfigError
from disc_stream.phones.gateway import Gateway, Listeners
from disc_stream.phones.run import PhoneSettings, phone_sender
from disc_stream.wire.broker import Broker, Protocol
from disc_stream.wire.topics import Topics
from disc_stream_edge.publisher import Publisher
from disc_stream_server.brokerconfig.authority import Authority
from disc_stream_server.brokerconfig.devices import let_label, remove_device
from disc_stream_server.doctor.probe import NOT_AUTHORIZED, Heard, Probe
from tests.support.feed import Feed
from tests.support.phones import golden
from tests.support.secure_broker import SecureMosquitto
from tests.support.tls_client import hand_shake, shown_certificate

pytestmark = pytest.mark.broker

ACCEPTED = {0x00, 0x10}  # success; success, and nobody listens
KINDS = pytest.mark.parametrize("certificate", [False, True], ids=["password", "certificate"])


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecureMosquitto]:
    broker = SecureMosquitto(tmp_path_factory.mktemp("secure") / "set-up")
    broker.start()
    yield broker
    broker.discard()


@pytest.fixture
def server(secure: SecureMosquitto) -> Iterator[Probe]:
    """The server, which hears everything under the prefix."""
    with Probe(secure.role("server"), "disc-stream-server") as probe:
        assert probe.connect().accepted
        assert probe.subscribe("ds/v1/#") in {0, 1}
        yield probe


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """A device id of the test's own."""
    return f"d{abs(hash(request.node.nodeid)):x}"


def about(topic: str) -> Callable[[Heard], bool]:
    def matches(heard: Heard) -> bool:
        return heard.topic == topic and not heard.retained

    return matches


# -- devices ------------------------------------------------------------------------------------------


@KINDS
def test_a_device_writes_its_own_topics_and_no_others(
    secure: SecureMosquitto, server: Probe, name: str, certificate: bool
) -> None:
    forbidden = [
        "ds/v1/victim/raw", "ds/v1/victim/meta", "ds/v1/victim/status", "ds/v1/victim/label",
        "ds/v1/victim/problem", f"ds/v1/{name}/problem",
        f"ds/v1/{name}/label", f"ds/v1/{name}/raw/x", f"ds/v1/{name}", "ds/v1/$server/status",
        "ds/v1/$server/model", "ds/v1/$server/fence", "other", "$SYS/broker/uptime",
    ]  # fmt: skip
    with Probe(secure.add(name, certificate=certificate), "any") as device:
        assert device.connect().accepted
        for topic in forbidden:
            assert device.publish(topic, b"forged") == NOT_AUTHORIZED, topic
        for kind in ("meta", "status", "raw"):
            assert device.publish(f"ds/v1/{name}/{kind}", b"own") in ACCEPTED
    assert server.wait_for(about(f"ds/v1/{name}/raw"))  # sent after the forged ones
    assert {heard.payload for heard in server.heard() if not heard.retained} == {b"own"}


@KINDS
def test_a_device_reads_its_own_label_and_problem_and_the_announcements_only(
    secure: SecureMosquitto, server: Probe, name: str, certificate: bool
) -> None:
    with Probe(secure.add("neighbour-" + name), "any") as neighbour:
        assert neighbour.connect().accepted
        neighbour.publish(f"ds/v1/neighbour-{name}/meta", b"secret", retain=True)
        server.publish(f"ds/v1/neighbour-{name}/label", b"secret", retain=True)
        with Probe(secure.add(name, certificate=certificate), "any") as device:
            assert device.connect().accepted
            for topic in ("#", "ds/v1/#", "ds/v1/+/label", f"ds/v1/neighbour-{name}/raw", "$SYS/#"):
                device.subscribe(topic)  # Mosquitto 2.0 grants all, and then delivers by its access list
            neighbour.publish(f"ds/v1/neighbour-{name}/raw", b"secret")
            server.publish(f"ds/v1/neighbour-{name}/label", b"secret")
            server.publish(f"ds/v1/neighbour-{name}/problem", b"secret")
            device.publish(f"ds/v1/{name}/raw", b"its own, which it need not hear")
            server.publish("ds/v1/$server/status", b"public")
            server.publish(f"ds/v1/{name}/problem", b"own problem")
            server.publish(f"ds/v1/{name}/label", b"own")
            assert device.wait_for(about(f"ds/v1/{name}/label"))
            assert {heard.payload for heard in device.heard()} == {b"public", b"own", b"own problem"}
        server.publish(f"ds/v1/neighbour-{name}/label", b"", retain=True)
        neighbour.publish(f"ds/v1/neighbour-{name}/meta", b"", retain=True)


@KINDS
def test_a_device_that_labels_itself_writes_its_own_labels_and_embeddings_and_no_more(
    secure: SecureMosquitto, server: Probe, name: str, certificate: bool
) -> None:
    """The right comes and goes without a new credential, and is no right over others."""
    broker = secure.add(name, certificate=certificate)
    own, forbidden = f"ds/v1/{name}", [
        f"{kind}/{what}" for kind in ("ds/v1/victim", "ds/v1/$server") for what in ("label", "embedding")
    ]  # fmt: skip
    with Probe(broker, "any") as device:
        assert device.connect().accepted
        assert device.publish(f"{own}/embedding", b"forged") == NOT_AUTHORIZED
        with secure.reloading():
            let_label(secure.folder, name, labels=True)
    with Probe(broker, "any") as device:
        assert device.connect().accepted
        for topic in (*forbidden, f"{own}/problem", f"{own}/activity", f"{own}/event", f"{own}/label/x"):
            assert device.publish(topic, b"forged") == NOT_AUTHORIZED, topic
        for kind in ("raw", "label", "embedding"):
            assert device.publish(f"{own}/{kind}", b"own") in ACCEPTED, kind
        assert server.wait_for(about(f"{own}/embedding"))
        renewed = secure.added(name, renew=True)
        assert renewed.labels, "a new credential changes no right"
    with secure.reloading():
        let_label(secure.folder, name, labels=False)
    with Probe(Broker.parse(renewed.url), "any") as device:
        assert device.connect().accepted
        assert device.publish(f"{own}/label", b"forged") == NOT_AUTHORIZED
        assert device.publish(f"{own}/raw", b"own") in ACCEPTED
    assert {heard.payload for heard in server.heard() if not heard.retained} == {b"own"}


def test_a_device_that_is_shut_out_and_let_in_again_has_no_old_right(
    secure: SecureMosquitto, name: str
) -> None:
    assert secure.added(name, labels=True).labels
    with secure.reloading():
        remove_device(secure.folder, name)
    again = secure.added(name)
    assert not again.labels
    with Probe(Broker.parse(again.url), "any") as device:
        assert device.connect().accepted
        assert device.publish(f"ds/v1/{name}/label", b"forged") == NOT_AUTHORIZED
    with pytest.raises(ConfigError, match="no credential"):
        let_label(secure.folder, "nobody", labels=True)


@KINDS
def test_a_last_will_obeys_the_same_rules(
    secure: SecureMosquitto, server: Probe, name: str, certificate: bool
) -> None:
    broker = secure.add(name, certificate=certificate)
    forged = Probe(broker, "any", will=("ds/v1/victim/status", b"forged"))
    if forged.connect().accepted:  # 2.0 accepts the connection, and publishes nothing
        forged.vanish()
    honest = Probe(broker, "any", will=(f"ds/v1/{name}/status", b"gone"))
    assert honest.connect().accepted
    honest.vanish()
    assert server.wait_for(about(f"ds/v1/{name}/status"))
    assert not [heard for heard in server.heard() if heard.payload == b"forged"]


@KINDS
@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_a_device_may_leave_out_its_client_id_as_plain_mosquitto_pub_does(
    secure: SecureMosquitto, server: Probe, name: str, certificate: bool, protocol: Protocol
) -> None:
    broker = replace(secure.add(name, certificate=certificate), protocol=protocol)
    with Probe(broker, "") as device:
        assert device.connect().accepted
        assert device.publish(f"ds/v1/{name}/raw", b"x") in ACCEPTED
        assert server.wait_for(about(f"ds/v1/{name}/raw"))


@KINDS
def test_a_device_cannot_take_over_the_servers_session(
    secure: SecureMosquitto, server: Probe, name: str, certificate: bool
) -> None:
    with Probe(secure.add(name, certificate=certificate), "disc-stream-server") as device:
        assert device.connect().accepted
        assert device.publish(f"ds/v1/{name}/raw", b"x") in ACCEPTED
        assert server.wait_for(about(f"ds/v1/{name}/raw")), "the server was thrown out"
        assert not server.closed


def test_a_device_publishes_and_follows_the_model_on_one_connection(
    secure: SecureMosquitto, server: Probe, name: str
) -> None:
    """The user name is the client id here: a second connection would throw out the first, again and again."""
    heard, feed = threading.Event(), Feed(name)
    publisher = Publisher(secure.add(name))
    publisher.hear_model(lambda payload: heard.set() if payload == b"{}" else None)
    running = threading.Thread(target=publisher.run, args=([feed],))
    running.start()
    feed.push()
    assert server.wait_for(about(f"ds/v1/{name}/raw"))
    server.publish("ds/v1/$server/model", b"{}")
    assert heard.wait(30)
    feed.push()
    feed.end()
    running.join(30)
    assert not running.is_alive()
    status = f"ds/v1/{name}/status"
    assert server.wait_for(lambda h: h.topic == status and b"offline" in h.payload)
    states = [json.loads(h.payload)["state"] for h in server.heard() if h.topic == status]
    assert states == ["online", "offline"]


def test_phones_behind_a_gateway_send_as_themselves(
    secure: SecureMosquitto, server: Probe, name: str, tmp_path: Path
) -> None:
    """The gateway's own account may send no samples; each phone has a credential of its own."""
    secure.add(name)
    account = secure.person("gateway", "of-" + name)
    settings = PhoneSettings(devices=(name,), broker_setup=secure.folder, outbox=tmp_path)
    silent = Listeners(lambda *_: None, lambda _: None, lambda _: None)
    gateway = Gateway(account, Topics(), (name,), silent, partial(phone_sender, settings, account))
    gateway.connect()
    try:
        for message in golden("devicemotion-ios.jsonl"):
            gateway.take(gateway.phones[0], "page", message)
        assert server.wait_for(about(f"ds/v1/{name}/raw"))
        with pytest.raises(ConfigError, match="has no credential"):
            gateway.add("nobody")
        with pytest.raises(ConfigError, match="of their own"):
            phone_sender(replace(settings, broker_setup=None), account, name)
    finally:
        gateway.close()


# -- roles --------------------------------------------------------------------------------------------


def test_a_viewer_sees_labels_and_problems_and_no_samples(
    secure: SecureMosquitto, server: Probe, name: str
) -> None:
    with (
        Probe(secure.role("viewer"), "viewer") as viewer,
        Probe(secure.add(name), "any") as device,
    ):
        assert viewer.connect().accepted
        assert device.connect().accepted
        viewer.subscribe("ds/v1/#")
        for kind in ("label", "problem", "raw"):
            assert viewer.publish(f"ds/v1/{name}/{kind}", b"forged") == NOT_AUTHORIZED
        assert viewer.publish("ds/v1/$server/status", b"forged") == NOT_AUTHORIZED
        device.publish(f"ds/v1/{name}/raw", b"samples")
        device.publish(f"ds/v1/{name}/status", b"online")
        server.publish(f"ds/v1/{name}/problem", b"problem")
        server.publish(f"ds/v1/{name}/label", b"label")
        assert viewer.wait_for(about(f"ds/v1/{name}/label"))
        heard = {heard.payload for heard in viewer.heard() if name in heard.topic}
        assert heard == {b"online", b"label", b"problem"}


def test_a_gateway_hears_labels_and_what_apps_publish_and_writes_problems_alone(
    secure: SecureMosquitto, server: Probe, name: str
) -> None:
    with (
        Probe(secure.person("gateway", name), "any") as gateway,
        Probe(secure.add(name), "any") as device,
    ):
        assert gateway.connect().accepted
        assert device.connect().accepted
        gateway.subscribe("ds/v1/#")
        for kind in ("raw", "meta", "status", "label", "embedding"):
            assert gateway.publish(f"ds/v1/{name}/{kind}", b"forged") == NOT_AUTHORIZED
        for topic in ("ds/v1/$server/status", "sensor-logger", "android/sensor/x"):
            assert gateway.publish(topic, b"forged") == NOT_AUTHORIZED
        assert gateway.publish(f"ds/v1/{name}/problem", b"units") in ACCEPTED
        device.publish(f"ds/v1/{name}/raw", b"samples")
        server.publish(f"ds/v1/{name}/label", b"label")
        assert gateway.wait_for(about(f"ds/v1/{name}/label"))
        assert {h.payload for h in gateway.heard() if name in h.topic} == {b"units", b"label"}


def test_the_server_writes_labels_problems_and_announcements_and_nothing_of_a_device(
    secure: SecureMosquitto, server: Probe
) -> None:
    for topic in ("ds/v1/d/label", "ds/v1/d/problem", "ds/v1/$server/status", "ds/v1/$server/fence"):
        assert server.publish(topic, b"x") in ACCEPTED
    for topic in ("ds/v1/d/activity", "ds/v1/d/event", "homeassistant/device/d/config"):
        assert server.publish(topic, b"x") in ACCEPTED
    for topic in (
        "ds/v1/d/raw",
        "ds/v1/d/meta",
        "other",
        "homeassistant/status",
        "homeassistant/sensor/d/config",
    ):
        assert server.publish(topic, b"x") == NOT_AUTHORIZED


def test_home_assistant_has_an_account_that_reads_what_it_needs_and_says_that_it_has_come(
    secure: SecureMosquitto, server: Probe, name: str
) -> None:
    assert server.subscribe("homeassistant/status") in {0, 1}
    with (
        Probe(secure.person("viewer", "homeassistant"), "any") as home,
        Probe(secure.role("viewer"), "viewer") as viewer,
    ):
        assert home.connect().accepted
        assert viewer.connect().accepted
        for topic_filter in ("homeassistant/#", f"ds/v1/{name}/activity", f"ds/v1/{name}/raw"):
            home.subscribe(topic_filter)
        for topic in (f"ds/v1/{name}/activity", f"homeassistant/device/{name}/config", "homeassistant/x"):
            assert home.publish(topic, b"forged") == NOT_AUTHORIZED
        assert viewer.publish("homeassistant/status", b"online") == NOT_AUTHORIZED
        assert home.publish("homeassistant/status", b"online") in ACCEPTED
        assert server.wait_for(about("homeassistant/status"))
        server.publish(f"homeassistant/device/{name}/config", b"config")
        server.publish(f"ds/v1/{name}/activity", b"activity")
        assert home.wait_for(about(f"ds/v1/{name}/activity"))
        assert {b"config", b"activity"} <= {heard.payload for heard in home.heard()}


# -- strangers ------------------------------------------------------------------------------------------


def ports(secure: SecureMosquitto) -> tuple[int, int, int]:
    return secure.plan.port, secure.plan.certificate_port, secure.plan.service_port


@pytest.mark.parametrize("which", range(3), ids=["password", "certificate", "service"])
def test_anonymous_and_plain_text_connections_are_refused(
    secure: SecureMosquitto, name: str, which: int
) -> None:
    good = replace(secure.add(name), port=ports(secure)[which])
    for stranger in (
        replace(good, username=None, password=None),
        replace(good, password="wrong"),  # noqa: S106
        replace(good, username="_server"),
        replace(good, username="", password=""),
        replace(good, tls=False, ca_file=None),
        replace(good, tls=False, ca_file=None, username=None, password=None),
    ):
        with Probe(stranger, "stranger") as probe:
            assert not probe.connect().accepted, stranger


@pytest.mark.parametrize("version", ["5", "3.1.1"])
def test_nobody_gets_in_where_others_belong(secure: SecureMosquitto, name: str, version: str) -> None:
    by_password, by_certificate = secure.add(name), secure.add(name + "c", certificate=True)
    server = secure.role("server")
    password, certificate, service = ports(secure)
    for stranger in (
        replace(by_password, port=service),
        replace(by_certificate, port=service),
        replace(by_certificate, port=service, username="_server"),
        replace(server, port=password),
        replace(server, port=certificate),
        replace(by_password, port=certificate),
        replace(by_certificate, port=password),
    ):
        with Probe(replace(stranger, protocol=version), "stranger") as probe:  # type: ignore[arg-type]
            assert not probe.connect().accepted, stranger
    for friend in (by_password, by_certificate, server):
        with Probe(replace(friend, protocol=version), "friend") as probe:  # type: ignore[arg-type]
            assert probe.connect().accepted


def test_the_name_in_a_certificate_counts_not_the_one_claimed(
    secure: SecureMosquitto, server: Probe, name: str
) -> None:
    with Probe(replace(secure.add(name, certificate=True), username="victim"), "any") as device:
        assert device.connect().accepted
        assert device.publish("ds/v1/victim/raw", b"forged") == NOT_AUTHORIZED
        assert device.publish(f"ds/v1/{name}/raw", b"own") in ACCEPTED


# -- certificates that must not do -------------------------------------------------------------------------


def refuses(broker: Broker, certificate: Path, key: Path, version: ssl.TLSVersion) -> str:
    """The alert that the broker ends the connection with."""
    with pytest.raises(ssl.SSLError) as caught, hand_shake(broker, certificate, key, version) as connection:
        connection.recv(1)
    return str(caught.value.reason)


def write_pair(folder: Path, authority: Authority, device: str, days: int) -> tuple[Path, Path]:
    pair = authority.issue_device(device, days)
    certificate, key = folder / f"{device}.crt", folder / f"{device}.key"
    certificate.write_bytes(pair.certificate)
    key.write_bytes(pair.key)
    key.chmod(0o600)
    return certificate, key


VERSIONS = pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])


@VERSIONS
def test_a_good_certificate_is_accepted(
    secure: SecureMosquitto, tmp_path: Path, name: str, version: ssl.TLSVersion
) -> None:
    broker = secure.add(name, certificate=True)
    pair = write_pair(tmp_path, Authority(secure.layout.authority), name, 30)
    with hand_shake(broker, *pair, version) as connection:
        connection.sendall(b"\x10\x0e\0\4MQTT\5\2\0\x3c\0\0\1a")
        answer = connection.recv(64)
    assert answer[0] == 0x20, "CONNACK"
    assert answer[3] == 0, "accepted"


@VERSIONS
def test_an_expired_certificate_is_refused(
    secure: SecureMosquitto, tmp_path: Path, name: str, version: ssl.TLSVersion
) -> None:
    broker = secure.add(name, certificate=True)
    pair = write_pair(tmp_path, Authority(secure.layout.authority), name, -1)
    assert re.search("CERTIFICATE_EXPIRED", refuses(broker, *pair, version))


@VERSIONS
def test_a_certificate_of_another_authority_is_refused(
    secure: SecureMosquitto, tmp_path: Path, name: str, version: ssl.TLSVersion
) -> None:
    broker = secure.add(name, certificate=True)
    other = Authority.create(tmp_path, secure_name(secure))
    assert re.search(
        r"UNKNOWN_CA|DECRYPT_ERROR", refuses(broker, *write_pair(tmp_path, other, name, 30), version)
    )


def secure_name(secure: SecureMosquitto) -> str:
    """The real authority's own name: only the key is another."""
    (attribute,) = Authority(secure.layout.authority).certificate.subject
    return str(attribute.value)


@VERSIONS
def test_the_brokers_own_certificate_is_none_of_a_device(
    secure: SecureMosquitto, name: str, version: ssl.TLSVersion
) -> None:
    broker = secure.add(name, certificate=True)
    pair = secure.layout.broker / "broker.crt", secure.layout.broker / "broker.key"
    assert re.search("UNSUPPORTED_CERTIFICATE", refuses(broker, *pair, version))


# -- taking access away -----------------------------------------------------------------------------------


def test_a_removed_password_ends_the_connection_that_is_open(secure: SecureMosquitto, name: str) -> None:
    broker = replace(secure.add(name), ca_file=str(secure.layout.ca))
    with Probe(broker, "any") as device:
        assert device.connect().accepted
        with secure.reloading():
            assert remove_device(secure.folder, name).reloaded == secure.pid
        assert device.wait_closed()
    with Probe(broker, "any") as device:
        assert not device.connect().accepted


def test_a_revoked_certificate_is_worth_nothing_at_once(
    secure: SecureMosquitto, server: Probe, name: str, tmp_path: Path
) -> None:
    broker = secure.add(name, certificate=True)
    assert broker.cert_file is not None
    assert broker.key_file is not None
    kept = tmp_path / "device.crt", tmp_path / "device.key"
    for copy, original in zip(kept, (broker.cert_file, broker.key_file), strict=True):
        copy.write_bytes(Path(original).read_bytes())
        copy.chmod(0o600)
    stolen = replace(broker, ca_file=str(secure.layout.ca), cert_file=str(kept[0]), key_file=str(kept[1]))
    with Probe(stolen, "any") as device:
        assert device.connect().accepted
        with secure.reloading():
            removed = remove_device(secure.folder, name)
        assert (removed.certificates, removed.passwords) == (1, 0)
        assert device.publish(f"ds/v1/{name}/raw", b"still here") in {NOT_AUTHORIZED, None}
    assert re.search("CERTIFICATE_REVOKED", refuses(stolen, *kept, ssl.TLSVersion.TLSv1_3))

    again = secure.add(name, certificate=True)
    with Probe(again, "any") as device:
        assert device.connect().accepted
        assert device.publish(f"ds/v1/{name}/raw", b"welcome back") in ACCEPTED
    assert server.wait_for(about(f"ds/v1/{name}/raw"))
    assert re.search("CERTIFICATE_REVOKED", refuses(stolen, *kept, ssl.TLSVersion.TLSv1_3))


def test_renewing_ends_the_old_credential(secure: SecureMosquitto, name: str) -> None:
    before = secure.add(name)
    after = Broker.parse(secure.added(name, renew=True).url)
    assert before.password != after.password
    with Probe(before, "any") as device:
        assert not device.connect().accepted
    with Probe(after, "any") as device:
        assert device.connect().accepted


def test_what_broker_config_renews_is_in_use_at_once(tmp_path: Path) -> None:
    broker = SecureMosquitto(tmp_path / "set-up")
    old = Authority(broker.layout.authority).issue_broker(["localhost", "127.0.0.1", "::1"], days=10)
    (broker.layout.broker / "broker.crt").write_bytes(old.certificate)
    (broker.layout.broker / "broker.key").write_bytes(old.key)
    broker.start()
    try:
        viewer = broker.role("viewer")
        assert shown_certificate(viewer) == ssl.PEM_cert_to_DER_cert(old.certificate.decode())
        broker.layout.role("viewer").unlink()
        with broker.reloading():
            done = CliRunner().invoke(app, ["broker", "config", "--out", str(broker.folder), "--json"])
        assert json.loads(done.stdout)["reloaded"] == broker.pid
        new = (broker.layout.broker / "broker.crt").read_text()
        assert shown_certificate(viewer) == ssl.PEM_cert_to_DER_cert(new)
        with Probe(viewer, "old password") as probe:
            assert not probe.connect().accepted
        with Probe(broker.role("viewer"), "new password") as probe:
            assert probe.connect().accepted
    finally:
        broker.discard()


# -- nothing is lost ----------------------------------------------------------------------------------------


def test_what_comes_while_the_server_is_away_waits_for_it(tmp_path: Path) -> None:
    broker = SecureMosquitto(tmp_path / "set-up")
    broker.start()
    try:
        device_address = broker.add("watch")
        keep = {"clean": False, "session_expiry_s": 600}
        with Probe(broker.role("server"), "disc-stream-server", **keep) as server:  # type: ignore[arg-type]
            assert server.connect().accepted
            assert server.subscribe("ds/v1/+/raw") == 1
        with Probe(device_address, "any") as device:
            assert device.connect().accepted
            for number in range(1_500):  # more than Mosquitto keeps by default
                assert device.publish("ds/v1/watch/raw", f"{number}".encode()) in ACCEPTED
        broker.restart()
        with Probe(device_address, "any") as device:
            assert device.connect().accepted
            assert device.publish("ds/v1/watch/raw", b"last") in ACCEPTED
        with Probe(broker.role("server"), "disc-stream-server", **keep) as server:  # type: ignore[arg-type]
            assert server.connect().session_present
            assert server.wait_for(lambda heard: heard.payload == b"last", 60)
            got = [heard.payload.decode() for heard in server.heard()]
        assert got == [*map(str, range(1_500)), "last"]
    finally:
        broker.discard()
