"""One walk through the dashboard of a running fleet whose server retrains, in a real Chromium."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.browser.test_dashboard import click, devices, show, text
from tests.browser.webdriver import Browser
from tests.support.api import ApiPlace, api_place
from tests.support.axe import axe_source
from tests.support.device import LEFT, REST, RIGHT, constant, make_batch
from tests.support.listener import Listener

RETRAIN: dict[str, Any] = {
    "min_windows": 2**62,  # only by hand
    "preset": "small", "gpu": "none", "nice": 0, "clusters": 3, "learn_windows": 400,
    "settings": {"epochs": 4, "refine_epochs": 1, "hidden": 8, "embedding": 4, "decoder_hidden": 8},
}  # fmt: skip
SAMPLES = 400  # of a batch: 50 windows
STRANGE = (300.0, -200.0, 500.0)
STILL = 2_000, 46  # samples and batches: 31 minutes
VIEWS = ["#/fleet", "#/device/watch-1", "#/clusters", "#/clusters/1", "#/models", "#/health"]


def sees(browser: Browser, words: str, selector: str = "main") -> None:
    """Wait until something stands there, however busy the machine is."""
    script = f"return document.querySelector({selector!r})?.innerText ?? ''"
    browser.wait(script, until=lambda seen: words in seen)


class Fleet:
    """Devices that move when they are told to.

    Args:
        place: where they publish.
    """

    def __init__(self, place: ApiPlace) -> None:
        self._place, self._seq = place, dict[str, int]()
        self._draw = np.random.default_rng(0)

    def move(self, device: str, mean: tuple[float, float, float], batches: int = 1) -> None:
        """Send motion about a mean, beginning an hour ago by a clock that shows the time of day."""
        for _ in range(batches):
            seq = self._seq[device] = self._seq.get(device, -1) + 1
            samples = constant(mean, SAMPLES) + self._draw.normal(0, 0.5, (SAMPLES, 3)).astype(np.float32)
            start = self._place._begun + seq * SAMPLES
            self._place.sender.send(make_batch(device, seq, samples, start=start))

    def lie(self, device: str) -> None:
        """Send half an hour of nothing, as from a table."""
        samples, batches = STILL
        for seq in range(batches):
            start = self._place._begun + seq * samples
            self._place.sender.send(make_batch(device, seq, constant(REST, samples), start=start))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiPlace]:
    at_once: dict[str, Any] = {"device_messages_s": 1e9, "device_bytes_s": 1e9, "stale_s": 3600.0}
    folder = tmp_path_factory.mktemp("walk")
    with api_place(folder, retrain=RETRAIN, unknown_above=25.0, **at_once) as place:
        yield place


@pytest.fixture(scope="module")
def listener(place: ApiPlace) -> Iterator[Listener]:
    heard = Listener(place.broker.url)
    heard.link.connect()
    yield heard
    heard.link.close()


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with Browser(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@pytest.fixture(scope="module")
def fleet(place: ApiPlace, browser: Browser) -> Fleet:
    """Moves; one device was heard of by a server before this one."""
    fleet = Fleet(place)
    fleet.move("watch-0", LEFT, 2)
    place.wait_for_labels(90)
    place.stored()
    place._config = place._config.model_copy(update={"http": f"127.0.0.1:{place.port}"})
    place.restart_server()
    show(browser, place, "#/fleet")
    for device, means in (("watch-1", (LEFT, REST)), ("watch-2", (REST, RIGHT)), ("watch-3", (RIGHT, LEFT))):
        for mean in means:
            fleet.move(device, mean, 3)
    return fleet


@pytest.mark.broker
def test_a_walk_over_a_running_fleet(
    place: ApiPlace, fleet: Fleet, listener: Listener, browser: Browser
) -> None:
    _every_state_is_told(place, fleet, browser)
    _a_name_is_on_mqtt_at_once_and_goes_again(place, fleet, listener, browser)
    _a_label_is_rejected(place, browser)
    assert browser.errors() == []


@pytest.mark.broker
@pytest.mark.long
@pytest.mark.timeout(1800)
def test_a_retraining_from_the_page_and_back(place: ApiPlace, fleet: Fleet, browser: Browser) -> None:
    fleet.lie("watch-6")
    show(browser, place, "#/fleet?only=notworn")
    browser.wait(
        "return [...document.querySelectorAll('[data-device]')].map(e => e.innerText).join()",
        until=lambda seen: "watch-6" in seen and "not worn" in seen, timeout_s=600,
    )  # fmt: skip
    _a_retraining_is_asked_for_and_seen(place, browser)
    _versions_go_back_and_forth(place, browser)
    assert browser.errors() == []


def _every_state_is_told(place: ApiPlace, fleet: Fleet, browser: Browser) -> None:
    """Labels come while one looks; offline, unknown, and no label with its reason."""
    sees(browser, "rest", "[data-device=watch-1]")  # came while one looked
    sees(browser, "offline", "[data-device=watch-0]")
    fleet.move("watch-4", STRANGE)
    place.sender.raw("watch-5", b"not a batch")
    browser.wait("return document.querySelectorAll('[data-device]').length", until=lambda n: n == 6)
    sees(browser, "unknown", "[data-device=watch-4]")
    sees(browser, "starts none of the three encodings", "[data-device=watch-5]")
    for only, found in (("offline", ["watch-0"]), ("unknown", ["watch-4"]), ("unlabelled", ["watch-5"])):
        show(browser, place, f"#/fleet?only={only}")
        assert devices(browser) == found


def _a_name_is_on_mqtt_at_once_and_goes_again(
    place: ApiPlace, fleet: Fleet, listener: Listener, browser: Browser
) -> None:
    show(browser, place, "#/clusters/1")
    browser.run("document.querySelector('#name').value = 'going up'")
    click(browser, "#save")

    def heard(name: str) -> int:
        while not (found := [one for one in listener.labels if one.smoothed.name == name]):
            n = len(listener.labels)
            fleet.move("watch-1", LEFT)
            listener.wait_for_labels(n + 1)
        return found[0].published_us

    published_us = heard("going up")
    with place.client() as client:
        (change,) = client.get("/clusters/1/history?limit=1").json()["items"]
    assert published_us - change["at_us"] < 5e6  # within a second where nothing else runs
    browser.run("location.reload()")
    sees(browser, "going up", "h1")
    click(browser, ".events button")
    sees(browser, "left", "h1")
    listener.labels.clear()
    heard("left")


def _a_label_is_rejected(place: ApiPlace, browser: Browser) -> None:
    with place.client() as client:
        episode = client.get("/devices/watch-2/episodes").json()["items"][0]
    begin, end = episode["begin_us"], episode["end_us"]
    show(browser, place, f"#/device/watch-2?from={begin - 1_000_000}&until={end + 60_000_000}")
    click(browser, "td button:not(:disabled)")
    browser.wait("return !!document.querySelector('dialog[open] select[name=instead]')")
    click(browser, "dialog button.main")
    browser.wait("return !!document.querySelector('#rejections')")


def _a_retraining_is_asked_for_and_seen(place: ApiPlace, browser: Browser) -> None:
    show(browser, place, "#/models")
    browser.run(
        "window.phases = new Set(); const look = () => window.phases.add(document.querySelector("
        "'section[aria-labelledby=retraining] b')?.textContent); new MutationObserver(look).observe("
        "document.querySelector('main'), {subtree: true, childList: true, characterData: true})"
    )
    click(browser, "#retrain")
    browser.wait(
        "return document.querySelector('section[aria-labelledby=retraining]').innerText",
        until=lambda said: "Last: " in said, timeout_s=400,
    )  # fmt: skip
    phases = set(browser.run("return [...window.phases]"))
    assert {"train", "export", "gate"} & phases, "how far it is was seen"
    show(browser, place, "#/models/2")
    sees(browser, "Acceptance gate: ")
    with place.client() as client:
        made = client.get("/models/2").json()
    assert made["lineage"]["windows"] > 100
    if made["state"] != "in production":  # two seconds of learning are little; people may know better
        assert "checks failed" in text(browser)
        _promote(browser, "although the gate says no")


def _promote(browser: Browser, why: str) -> None:
    """Put the version that is shown into production, whatever the gate has said."""
    click(browser, "#promote")
    browser.type("dialog input[name=why]", why)
    browser.run("const even = document.querySelector('dialog input[name=even]'); if (even) even.click()")
    click(browser, "dialog button.main")
    sees(browser, why)


def _versions_go_back_and_forth(place: ApiPlace, browser: Browser) -> None:
    show(browser, place, "#/models/1")
    click(browser, "#rollback")
    browser.type("dialog input[name=why]", "to see it go")
    click(browser, "dialog button.main")
    sees(browser, "to see it go")
    show(browser, place, "#/models/2")
    _promote(browser, "and come")
    with place.client() as client:
        kinds = [(one["kind"], one["version_number"]) for one in client.get("/deployments").json()["items"]]
    assert kinds[:2] == [("promote", 2), ("rollback", 1)]


@pytest.mark.long
@pytest.mark.broker
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_serious_after_the_walk(
    place: ApiPlace, browser: Browser, tmp_path: Path, theme: str
) -> None:
    try:
        axe = axe_source(tmp_path)
    except FileNotFoundError as error:
        pytest.skip(str(error))
    for view in VIEWS:
        show(browser, place, view)
        browser.run("document.documentElement.dataset.theme = arguments[0]", theme)
        browser.run(axe)
        found = browser.run(
            "const told = await axe.run();"
            "return told.violations.filter(v => ['serious', 'critical'].includes(v.impact))"
            ".map(v => [v.id, v.nodes.map(n => n.html.slice(0, 200))]);"
        )
        assert found == [], (view, text(browser, "h1"))
