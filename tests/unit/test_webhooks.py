"""Webhooks against a real HTTP server: signed, tried again, kept aside; and addresses that are refused."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from standardwebhooks import Webhook as Reader
from standardwebhooks.webhooks import WebhookVerificationError

from disc_stream.clock import Clock, ManualClock, SystemClock
from disc_stream.config import WebhookConfig
from disc_stream.errors import ConfigError, DiscStreamError, InputNotFoundError
from disc_stream.wire.event import EventType
from disc_stream_server.events import posting
from disc_stream_server.events.posting import Target, post
from disc_stream_server.events.signing import new_secret, read_secret
from disc_stream_server.events.webhook import Webhook, backoff_s
from disc_stream_server.storage.journal import Draft, Journal
from tests.support.webhooks import WebhookReceiver

NOW_US = 1_790_000_000_000_000


@pytest.fixture
def receiver() -> Iterator[WebhookReceiver]:
    receiver = WebhookReceiver()
    yield receiver
    receiver.close()


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    journal = Journal(tmp_path)
    yield journal
    journal.close()


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "secret"
    path.write_text(new_secret())
    return path


Make = Callable[..., Webhook]


@pytest.fixture
def make(receiver: WebhookReceiver, journal: Journal, secret: Path) -> Make:
    def make(clock: Clock | None = None, **settings: object) -> Webhook:
        config = WebhookConfig.model_validate({"url": receiver.url, "secret": secret, **settings})
        webhook = Webhook(config, "urn:disc-stream:test", clock or ManualClock(NOW_US))
        webhook.open(journal)
        return webhook

    return make


def draft(device: str = "watch", kind: EventType = EventType.ONLINE) -> Draft:
    return Draft(kind, device, NOW_US)


def test_an_event_is_a_cloudevent_that_the_library_of_standard_webhooks_verifies(
    make: Make, receiver: WebhookReceiver, journal: Journal, secret: Path
) -> None:
    webhook = make(SystemClock())
    journal.add([draft()])
    assert webhook.step() is None
    headers, body = receiver.got[0]
    assert headers["content-type"] == "application/cloudevents+json"
    signed = headers
    read = Reader(secret.read_text()).verify(body, signed)
    assert read["type"] == "disc-stream.device.online"
    with pytest.raises(WebhookVerificationError):
        Reader(new_secret()).verify(body, signed)
    with pytest.raises(WebhookVerificationError):
        Reader(secret.read_text()).verify(body + b" ", signed)


def test_what_fails_for_the_moment_is_tried_again_in_order(
    make: Make, receiver: WebhookReceiver, journal: Journal
) -> None:
    webhook = make()
    journal.add([draft("one"), draft("two")])
    receiver.answers = [(503, {}), (429, {"Retry-After": "7"}), (302, {"Location": "http://127.0.0.1:1/"})]
    pauses = [webhook.step() for _ in range(3)]
    assert pauses[0] is not None
    assert 0.5 <= pauses[0] <= 1.5
    assert pauses[1] == 7.0
    assert webhook.step() is None
    assert receiver.devices() == ["one", "one", "one", "one", "two"]
    ids = [json.loads(body)["id"] for _, body in receiver.got]
    assert len(set(ids[:4])) == 1, "the same event has the same id"
    again = make()
    assert again.step() is None
    assert len(receiver.got) == 5, "what was delivered is not sent after a restart"


def test_what_is_refused_or_too_old_is_kept_aside_and_the_rest_goes_on(
    make: Make, receiver: WebhookReceiver, journal: Journal
) -> None:
    clock = ManualClock(NOW_US)
    webhook = make(clock)
    journal.add([draft("refused"), draft("fine")])
    receiver.answers = [(400, {})]
    assert webhook.step() is None
    assert receiver.devices() == ["refused", "fine"]
    journal.add([draft("old")])
    receiver.answers = [(500, {}), (500, {})]
    assert webhook.step() is not None
    clock.advance(25 * 3_600)
    assert webhook.step() is None
    dead = journal.dead()
    assert [(one.event.device, one.reason) for one in dead] == [
        ("refused", "answered 400"),
        ("old", "answered 500"),
    ]
    for one in dead:
        answer, _ = webhook.attempt(one.event)
        assert answer is not None
        assert answer.status == 204
        journal.remove_dead(one.id)
    assert not journal.dead()


def test_only_what_is_wanted_is_sent(make: Make, receiver: WebhookReceiver, journal: Journal) -> None:
    webhook = make(types=("device.offline",), devices=("watch-*",))
    journal.add([draft("watch-1"), draft("watch-2", EventType.OFFLINE), draft("x", EventType.OFFLINE)])
    assert webhook.step() is None
    assert receiver.devices() == ["watch-2"]


def test_nobody_answers(make: Make, receiver: WebhookReceiver, journal: Journal) -> None:
    webhook = make(url="http://127.0.0.1:1/", timeout_s=2)
    journal.add([draft()])
    assert webhook.step() is not None
    assert "no answer: ConnectionRefusedError" in webhook.attempt(journal.read(0, 1)[0])[1]


def test_the_thread_delivers_and_stops(make: Make, receiver: WebhookReceiver, journal: Journal) -> None:
    webhook = make()
    webhook.start()
    journal.add([draft(f"d{n}") for n in range(20)])
    webhook.wake()
    receiver.wait(20)
    webhook.stop(5)
    assert receiver.devices() == [f"d{n}" for n in range(20)]


@pytest.mark.parametrize(
    "url",
    [
        "http://example.org/", "ftp://example.org/", "https://", "https://u:p@example.org/", "https://a b/",
        "https://example.org/#x", "https://example.org:99999/", "file:///etc/passwd", "https://exämple.org/",
        "https://a/\r\nHost: b", "x" * 3_000, "",
    ],
)  # fmt: skip
def test_an_address_that_cannot_be_used_is_refused_in_one_line(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Target.parse(url)
    assert "\n" not in str(caught.value)
    assert "u:p" not in str(caught.value)


@pytest.mark.parametrize(
    "address", ["169.254.169.254", "::ffff:169.254.169.254", "fe80::1", "::", "224.0.0.1"]
)
def test_a_name_that_leads_to_where_clouds_keep_credentials_is_refused(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lookup(*_: object, **__: object) -> list[tuple[object, ...]]:
        return [(0, 0, 0, "", (address, 443))]

    monkeypatch.setattr(posting.socket, "getaddrinfo", lookup)
    with pytest.raises(PermissionError, match="not sent to"):
        post(Target.parse("https://innocent.example/"), {}, b"", 1.0)


@pytest.mark.parametrize("text", ["", "whsec_AAAA", "hunter2", "whsec_" + "A" * 200, "whsec_!!!!"])
def test_a_secret_that_is_none_is_not_shown(text: str, tmp_path: Path) -> None:
    path = tmp_path / "s"
    with pytest.raises(InputNotFoundError):
        read_secret(path)
    path.write_text(text)
    with pytest.raises(DiscStreamError) as caught:
        read_secret(path)
    assert not text or text not in str(caught.value)


def test_waits_grow_and_are_spread() -> None:
    assert [backoff_s(n, None, lambda: 0.0) for n in (1, 2, 30)] == [0.5, 1.0, 150.0]
    assert backoff_s(1, 1e9, lambda: 0.5) == 3_600.0
