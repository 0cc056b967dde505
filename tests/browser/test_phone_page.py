"""From the scan to the first label: a real Chromium as the phone, a real broker, a real server."""

from __future__ import annotations

import base64
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from disc_stream.phones.run import PhoneService, PhoneSettings
from tests.browser.webdriver import Browser
from tests.support.broker import Mosquitto
from tests.support.phones import six_axis_bundle

pytestmark = pytest.mark.broker

# What a phone's sensors do: 60 events a second. The page cannot tell them from a phone's.
_MOVE = """
const start = performance.now(), up = arguments[0];
window.moving = setInterval(() => {
  const t = (performance.now() - start) / 1000;
  window.dispatchEvent(new DeviceMotionEvent("devicemotion", {
    accelerationIncludingGravity: {x: 0.2 * Math.sin(6 * t), y: 9.81 * up, z: 9.81 * (1 - up)},
    acceleration: {x: 0.2 * Math.sin(6 * t), y: 0, z: 0},
    rotationRate: {alpha: 2 * Math.sin(5 * t), beta: 1, gamma: 0},
    interval: 16,
  }));
}, 1000 / 60);
"""
_LABEL = "return document.querySelector('#label').textContent"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PhoneService]:
    folder = tmp_path_factory.mktemp("phones")
    six_axis_bundle(folder / "bundle")
    broker = Mosquitto(folder)
    broker.start()
    settings = PhoneSettings(
        broker=broker.url, port=0, push_port=0, folder=folder / "page",
        serve={"bundle": folder / "bundle", "state": folder / "state", "http": "127.0.0.1:0"},
    )  # fmt: skip
    with PhoneService(settings) as service:
        yield service
    broker.discard()


@pytest.fixture
def browser(service: PhoneService, tmp_path: Path) -> Iterator[Browser]:
    """A phone whose user has accepted this one certificate; every other one would still be refused."""
    assert service.certificate is not None
    key = base64.b64encode(service.certificate.spki).decode()
    with Browser(
        tmp_path, size=(390, 800), more=(f"--ignore-certificate-errors-spki-list={key}",)
    ) as browser:
        yield browser


def scanned(service: PhoneService, tmp_path: Path) -> str:
    """The address in the code that is shown, as a phone's camera reads it: of the picture that is saved."""
    from disc_stream.cli.phone import _save_codes
    from tests.support.qr import read_code

    _save_codes(service, tmp_path)
    return read_code((tmp_path / "phone-1.png").read_bytes())


def test_from_the_scan_to_the_first_label(
    service: PhoneService, browser: Browser, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = scanned(service, tmp_path)
    assert url == service.url(service.gateway.phones[0])
    begin = time.monotonic()
    browser.open(url)
    browser.wait("return document.querySelector('#device').textContent", until=lambda text: text == "phone-1")
    browser.run("document.querySelector('#start').click()")
    browser.wait("return document.querySelector('#start').hidden")
    browser.run(_MOVE, 1)
    browser.wait(_LABEL, until=lambda text: text == "upright")
    seconds = time.monotonic() - begin
    with capsys.disabled():
        print(f"\nfrom opening the scanned address to the label on the phone's page: {seconds:.1f} s")
    event = service.next(30)
    while event is None or event["event"] != "label":
        event = service.next(30)
    assert event["name"] == "upright"
    assert event["first"]
    assert event["seconds"] <= seconds
    assert browser.run("return document.querySelectorAll('#problems li').length") == 0

    browser.run("clearInterval(window.moving)")
    browser.run(_MOVE, 0)
    browser.wait(_LABEL, until=lambda text: text == "flat")
    assert browser.errors() == []
    assert browser.run(
        "return performance.getEntriesByType('resource').every(e => e.name.startsWith(location.origin))"
    )


def test_without_motion_the_page_says_so(service: PhoneService, browser: Browser) -> None:
    browser.open(service.url(service.gateway.phones[0]))
    browser.run("document.querySelector('#start').click()")
    text = "return document.querySelector('#problems').textContent"
    browser.wait(text, until=lambda said: "gives no motion" in said)
    assert "screen" in browser.run("return document.querySelector('.note').textContent")


def test_ios_is_asked_for_permission_and_a_refusal_is_explained(
    service: PhoneService, browser: Browser
) -> None:
    browser.open(service.url(service.gateway.phones[0]))
    # The page asks what it found when it was loaded: a reload sees a browser that has to be asked.
    browser.on_load("DeviceMotionEvent.requestPermission = async () => 'denied'")
    browser.open(service.url(service.gateway.phones[0]))
    browser.run("document.querySelector('#start').click()")
    text = "return document.querySelector('#problems').textContent"
    browser.wait(text, until=lambda said: "Motion was not allowed" in said)
    assert browser.run("return document.querySelector('#start').hidden") is False


def test_a_code_that_is_no_longer_valid_is_explained(service: PhoneService, browser: Browser) -> None:
    url = service.url(service.gateway.phones[0])
    browser.open(url.replace(service.gateway.phones[0].token, "a" * 22))
    assert "Scan the code" in browser.run("return document.body.textContent")
