"""The live page in a real Chromium."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest

from disc_stream.types import NOT_WORN, UNKNOWN, Channel, Label, Problem, SampleBatch, SoftLabel
from disc_stream_server.dashboard import Dashboard, PageAccess, PageInfo
from tests.browser.webdriver import Browser

CHANNELS = tuple(Channel(f"acc_{axis}", "g") for axis in "xyz")
ONLINE = {
    "state": "online",
    "model": "model-7",
    "connected": True,
    "counters": {"gaps": 2, "missing": 5},
    "rejected": {"truncated": 3, "topic": 1},
}


def batch(device: str, seq: int) -> SampleBatch:
    t = (np.arange(50) + 50 * seq) / 50
    samples = np.stack([np.sin(2 * math.pi * t), np.cos(2 * math.pi * t), 0 * t + 1], axis=1)
    return SampleBatch(device, 1, seq, seq * 1_000_000, 50.0, CHANNELS, samples.astype(np.float32))


def label(device: str, window: int, cluster: int, *, novelty: float = 0.4) -> Label:
    soft = SoftLabel(cluster, f"cluster-{cluster}", 0.75)
    other = SoftLabel(0, "cluster-0", 0.2)
    return Label(device, 1, window, 0, 0, soft, (soft, other), soft, 1.0, novelty, "model-7", window, 0)


@pytest.fixture
def page() -> Iterator[Dashboard]:
    dashboard = Dashboard(PageAccess(port=0), info=PageInfo("mqtt://127.0.0.1:1883", "ds/v1"))
    dashboard.start()
    yield dashboard
    dashboard.stop()


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    try:
        browser = Browser(tmp_path_factory.mktemp("profile"))
    except FileNotFoundError as error:
        pytest.fail(str(error))
    with browser:
        yield browser


_CARDS = (
    "return [...document.querySelectorAll('#grid li:not([hidden])')].map("
    "li => [li.querySelector('.device').textContent, li.querySelector('.label').textContent])"
)


def cards(browser: Browser) -> dict[str, str]:
    """Device -> label, in the order in which a person sees them."""
    return dict(browser.run(_CARDS))


def wait_for_cards(browser: Browser, expected: dict[str, str]) -> None:
    browser.wait(_CARDS, until=lambda seen: dict(seen) == expected)


def ink(browser: Browser, canvas: str) -> int:
    """Number of painted pixels of the first such canvas."""
    return int(
        browser.run(
            "const c = document.querySelector(arguments[0]);"
            "const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;"
            "let n = 0; for (let i = 3; i < d.length; i += 4) n += d[i] > 0; return n;",
            canvas,
        )
    )


def test_an_empty_page_says_what_to_do(page: Dashboard, browser: Browser) -> None:
    browser.open(page.url)
    browser.wait("return !document.querySelector('#empty').hidden")
    text = browser.wait("return document.querySelector('#empty').innerText", until=lambda t: "1883" in t)
    assert "ds/v1/<device>/raw" in text
    assert "disc-stream edge publish" in text
    page.on_batch(batch("first", 0))
    browser.wait("return document.querySelector('#empty').hidden")
    assert browser.errors() == []


def test_devices_their_labels_and_the_servers_state_are_shown_and_follow(
    page: Dashboard, browser: Browser
) -> None:
    page.on_status(ONLINE)
    for device in ("hip-10", "hip-2", "wrist"):
        page.on_batch(batch(device, 0))
        page.on_label(label(device, 0, 3))
    browser.open(page.url)
    wait_for_cards(browser, {"hip-2": "cluster-3", "hip-10": "cluster-3", "wrist": "cluster-3"})
    assert list(cards(browser)) == ["hip-2", "hip-10", "wrist"]  # as people count
    facts = browser.run("return document.querySelector('#facts').innerText").split()
    assert [facts[facts.index(name) + 1] for name in ("server", "model", "devices", "gaps", "rejected")] == [
        "online", "model-7", "3", "2", "4",
    ]  # fmt: skip

    page.on_label(label("wrist", 1, 9, novelty=1.7))
    wait_for_cards(browser, {"hip-2": "cluster-3", "hip-10": "cluster-3", "wrist": "cluster-9"})
    wrist = "document.querySelector('[data-device=wrist]')"
    assert browser.run(f"return {wrist}.querySelector('.badge').textContent") == "9"
    assert browser.run(f"return {wrist}.querySelector('.percent').textContent") == "75 %"
    assert browser.run(f"return {wrist}.querySelector('[role=meter]').ariaValueNow") == "75"
    assert browser.run(f"return {wrist}.querySelector('.novelty').hidden") is False
    said = browser.run(f"return {wrist}.querySelector('.strip').ariaLabel")
    assert "cluster 9 for 1 window, then cluster 3 for 1 window" in said
    assert ink(browser, "[data-device=wrist] .strip") > 100
    assert ink(browser, "[data-device=wrist] .trace") > 100
    assert browser.errors() == []


def test_the_filter_shows_matching_devices_and_labels(page: Dashboard, browser: Browser) -> None:
    for i in range(30):
        page.on_label(label(f"dev-{i:02d}", 0, i % 5))
    browser.open(page.url)
    browser.wait("return document.querySelectorAll('#grid li').length", until=lambda n: n == 30)
    browser.type("#filter", "cluster-4")
    wait_for_cards(browser, {f"dev-{i:02d}": "cluster-4" for i in range(4, 30, 5)})
    assert browser.run("return document.querySelector('#shown').textContent") == "6 of 30 devices"
    browser.type("#filter", " nothing")
    wait_for_cards(browser, {})
    assert browser.run("return document.querySelector('#none').hidden") is False
    assert browser.errors() == []


def test_of_many_devices_the_first_are_shown_the_rest_is_told_and_found(
    page: Dashboard, browser: Browser
) -> None:
    for i in range(1_000):
        page.on_batch(batch(f"dev-{i:03d}", 0))
        page.on_label(label(f"dev-{i:03d}", 0, i % 12))
    browser.open(page.url)
    browser.wait("return document.querySelectorAll('#grid li').length", until=lambda n: n == 200)
    said = browser.run("return document.querySelector('#shown').textContent")
    assert said == "200 of 1000 devices; 800 more match, narrow them down by a filter"
    browser.wait("return document.querySelector('[data-device=dev-000] .label').textContent")
    # A canvas that was never drawn has the size that HTML gives it: 300 by 150.
    assert ink(browser, "[data-device=dev-000] .trace") > 100
    assert browser.run("return document.querySelector('[data-device=dev-199] .trace').height") == 150
    browser.run("document.querySelector('[data-device=dev-199]').scrollIntoView()")
    browser.wait(
        "return document.querySelector('[data-device=dev-199] .label').textContent",
        until=lambda text: text == "cluster-7",
    )
    # One that nobody looked at so far: its trace begins now.
    browser.type("#filter", "dev-999")
    wait_for_cards(browser, {"dev-999": "cluster-3"})
    page.on_batch(batch("dev-999", 1))
    browser.wait(
        "return document.querySelector('[data-device=dev-999] .trace').height", until=lambda h: h < 150
    )
    assert ink(browser, "[data-device=dev-999] .trace") > 100


def test_why_a_device_has_no_labels_is_said_and_goes_when_it_is_over(
    page: Dashboard, browser: Browser
) -> None:
    for device in ("fast", "good"):
        page.on_batch(batch(device, 0))
    page.on_label(label("good", 0, 1))
    words = "it says 50 Hz and sends 100 Hz <img src=x onerror=document.title='owned'>"
    page.on_problem(
        "fast", Problem("rate-differs", words, 1_700_000_000_000_000, 12, "correct fs in its meta")
    )
    browser.open(page.url)
    wait_for_cards(browser, {"fast": "no label", "good": "cluster-1"})
    problem = "document.querySelector('[data-device=fast] .problem')"
    browser.wait(f"return !{problem}.hidden")
    said = browser.run(f"return {problem}.innerText")
    assert "It says 50 Hz and sends 100 Hz <img src=x onerror=document.title='owned'>." in said
    assert "Correct fs in its meta." in said
    assert "12 times, since " in said
    assert browser.run("return document.querySelectorAll('#grid img').length") == 0
    assert browser.run("return document.querySelector('#fact-unlabelled').textContent") == "1"
    browser.run("document.querySelector('#unlabelled').click()")
    wait_for_cards(browser, {"fast": "no label"})
    page.on_problem("fast", None)
    wait_for_cards(browser, {})
    browser.run("document.querySelector('#unlabelled').click()")
    wait_for_cards(browser, {"fast": "no label yet", "good": "cluster-1"})
    assert browser.run(f"return {problem}.hidden")
    assert browser.errors() == []


def test_the_two_states_are_told_from_clusters(page: Dashboard, browser: Browser) -> None:
    page.on_status(ONLINE)
    states = {"table": SoftLabel(NOT_WORN, "not worn", 1.0), "new": SoftLabel(UNKNOWN, "unknown", 0.6)}
    for device, state in states.items():
        page.on_batch(batch(device, 0))
        for window in range(12):
            shown = label(device, window, 3)
            if window > 5:
                shown = msgspec.structs.replace(shown, best=state, smoothed=state)
            page.on_label(shown)
    browser.open(page.url)
    wait_for_cards(browser, {"new": "unknown", "table": "not worn"})
    text = browser.run("return document.querySelector('#grid').innerText")
    assert text.count("nearest: cluster-3 75") == 2
    said = "return [...document.querySelectorAll('#grid .strip')].map(s => s.getAttribute('aria-label'))"
    assert browser.run(said) == [
        "recent labels, newest first: unknown for 6 windows, then cluster 3 for 6 windows",
        "recent labels, newest first: not worn for 6 windows, then cluster 3 for 6 windows",
    ]
    badges = "return [...document.querySelectorAll('#grid .badge')].map(b => b.textContent)"
    assert browser.run(badges) == ["?", "–"]
    assert browser.errors() == []


def test_text_from_devices_is_never_markup(page: Dashboard, browser: Browser) -> None:
    soft = SoftLabel(1, "<img src=x onerror=document.title='owned'>", 0.9)
    page.on_label(Label("d1", 1, 0, 0, 0, soft, (soft,), soft, 1.0, None, "m", 0, 0))
    browser.open(page.url)
    wait_for_cards(browser, {"d1": soft.name})
    assert browser.run("return document.querySelectorAll('#grid img').length") == 0
    assert "owned" not in browser.run("return document.title")


def test_a_lost_broker_and_a_lost_server_are_said_and_the_page_recovers(browser: Browser) -> None:
    first = Dashboard(PageAccess(port=0))
    first.start()
    first.on_status(ONLINE)
    first.on_label(label("d1", 0, 3))
    browser.open(first.url)
    wait_for_cards(browser, {"d1": "cluster-3"})
    assert browser.run("return document.querySelector('#lost').hidden")

    first.on_status({**ONLINE, "connected": False})
    browser.wait("return !document.querySelector('#trouble').hidden")

    stopping = threading.Thread(target=first.stop)
    stopping.start()
    browser.wait("return !document.querySelector('#lost').hidden")
    stopping.join()
    assert "No connection to the server" in browser.run("return document.querySelector('#banners').innerText")
    assert cards(browser) == {"d1": "cluster-3"}  # the last known values stay

    second = Dashboard(PageAccess(port=first.port))
    second.start()
    try:
        second.on_status(ONLINE)
        second.on_label(label("d1", 0, 4))
        browser.wait("return document.querySelector('#lost').hidden")
        wait_for_cards(browser, {"d1": "cluster-4"})
        assert browser.run("return document.querySelector('#trouble').hidden")
    finally:
        second.stop()


@pytest.mark.parametrize("width", [320, 390, 800])
def test_nothing_sticks_out_on_any_width(page: Dashboard, tmp_path: Path, width: int) -> None:
    page.on_status(ONLINE)
    page.on_batch(batch("a-device-with-" + "a-very-long-name-" * 2, 0))
    page.on_label(label("a-device-with-" + "a-very-long-name-" * 2, 0, 10, novelty=2.0))
    words = "it says 50 Hz and sends 100 Hz, which the model cannot take, " + "and-a-word-without-an-end" * 8
    page.on_batch(batch("troubled", 0))
    page.on_problem("troubled", Problem("rate-differs", words, 1_700_000_000_000_000, 12, "correct fs"))
    with Browser(tmp_path, dark=True) as narrow:
        narrow.resize(width, 800)
        narrow.open(page.url)
        narrow.wait("return document.querySelectorAll('#grid li .problem:not([hidden])').length")
        assert narrow.run("return document.documentElement.scrollWidth") <= width
        outside = narrow.run(
            "return [...document.querySelectorAll('article > :not([hidden])')]"
            ".filter(e => e.getClientRects().length > 0).filter(e => {"  # those that are displayed
            "const r = e.getBoundingClientRect(), a = e.parentElement.getBoundingClientRect();"
            "return r.right > a.right || r.left < a.left; }).map(e => e.className)"
        )
        assert outside == []


def test_keyboard_alone_reaches_every_control_in_order(page: Dashboard, browser: Browser) -> None:
    page.on_label(label("d1", 0, 3))
    browser.open(page.url)
    wait_for_cards(browser, {"d1": "cluster-3"})
    reached = []
    for _ in range(4):
        browser.press("\ue004")  # Tab
        reached.append(browser.run("return document.activeElement.id || document.activeElement.className"))
    assert reached == ["skip", "filter", "unlabelled", "pause"]
    browser.press("\ue00d")  # Space
    assert browser.run("return document.querySelector('#pause').ariaPressed") == "true"
    assert browser.run("return document.querySelector('#pause').textContent") == "Resume"


def test_what_a_watcher_must_know_is_said_worst_first(browser: Browser, page: Dashboard) -> None:
    browser.open(page.url)
    hidden = "const t = document.querySelector('#trouble'); return t.hidden ? '' : t.textContent"
    states = [
        ({}, ""),
        ({"counters": {"deferred": 12}}, "12 older windows"),
        ({"backlog": 5000, "counters": {"deferred": 12}}, "5000 messages wait to be labelled"),
        (
            {"waits_for": "space for the spool (no space left)", "backlog": 5000},
            "waits for space for the spool",
        ),
        ({"connected": False, "waits_for": "the broker"}, "lost its broker"),
        ({}, ""),
    ]
    for facts, says in states:
        page.on_status({**ONLINE, **facts})
        browser.wait(hidden, until=lambda text, says=says: (says in text) if says else text == "")
    page.on_status({**ONLINE, "backlog": 7})
    browser.wait("return document.querySelector('#fact-backlog').textContent", until=lambda text: text == "7")
