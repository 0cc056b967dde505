"""The dashboard of a running server, in a real Chromium."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from disc_stream.artifacts.manifest import ClusterInfo
from disc_stream.load.trivial import InputSpec, write_mean_bundle
from disc_stream.registry import Lineage, Registry, RowIds
from disc_stream.registry.lineage import Transition
from disc_stream.types import Label, SampleBatch, SoftLabel
from disc_stream_server.api.app import Api
from tests.browser.webdriver import Browser
from tests.support.api import ApiPlace, api_place
from tests.support.axe import axe_source
from tests.support.device import LEFT, REST
from tests.support.tiny_bundle import CENTROIDS, CHANNELS, FS, WINDOW

VIEWS = ["#/fleet", "#/device/watch-1", "#/clusters", "#/clusters/1", "#/models", "#/health"]
LOADED = "return !!document.querySelector('main h1') && !document.querySelector('.loading')"
MOST_BYTES = 150_000


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiPlace]:
    with api_place(tmp_path_factory.mktemp("dashboard")) as place:
        place.fill()
        yield place


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with Browser(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


def show(browser: Browser, place: ApiPlace, view: str) -> None:
    """Open a view, as from a bookmark."""
    browser.open("about:blank")
    browser.open(f"{place.url}/{view}")
    browser.wait(LOADED)


def click(browser: Browser, selector: str) -> None:
    browser.wait("const e = document.querySelector(arguments[0]); return !!e && !e.disabled".replace(
        "arguments[0]", repr(selector)))  # fmt: skip
    browser.run("document.querySelector(arguments[0]).click()", selector)


def text(browser: Browser, selector: str = "main") -> str:
    return str(browser.run("return document.querySelector(arguments[0])?.innerText ?? ''", selector))


def wait_for_text(browser: Browser, words: str, selector: str = "main") -> None:
    script = f"return document.querySelector({selector!r})?.innerText ?? ''"
    browser.wait(script, until=lambda seen: words in seen, timeout_s=30)


def devices(browser: Browser) -> list[str]:
    found: list[str] = browser.run(
        "return [...document.querySelectorAll('[data-device]')].map(e => e.dataset.device)"
    )
    return found


def test_every_view_is_small_asks_nobody_else_and_has_no_errors(place: ApiPlace, browser: Browser) -> None:
    for view in VIEWS:
        show(browser, place, view)
        assert browser.errors() == [], view
        loaded: list[Any] = browser.run(
            "return performance.getEntriesByType('resource').map(e => [e.name, e.encodedBodySize])"
        )
        assert all(name.startswith(f"{place.url}/") for name, _ in loaded), view
        files = [size for name, size in loaded if "/api/" not in name]
        assert len(files) > 10
        assert sum(files) < MOST_BYTES, view


def test_the_fleet_is_searched_and_filtered_and_the_address_keeps_it(
    place: ApiPlace, browser: Browser
) -> None:
    show(browser, place, "#/fleet")
    assert devices(browser) == ["watch-1", "watch-2", "watch-3"]
    assert "left" in text(browser, "[data-device=watch-1]")
    browser.type("#search", "cluster 1")
    browser.wait("return document.querySelectorAll('[data-device]').length", until=lambda n: n == 2)
    assert devices(browser) == ["watch-1", "watch-2"], "a number is no part of a name"
    assert "q=cluster+1" in browser.run("return location.hash")
    browser.run("location.reload()")
    browser.wait(f"{LOADED} && document.querySelectorAll('[data-device]').length === 2")
    assert browser.run("return document.querySelector('#search').value") == "cluster 1"
    show(browser, place, "#/fleet?only=unlabelled")
    assert devices(browser) == ["watch-3"]
    show(browser, place, "#/fleet?q=nothing-like-it")
    assert "No device matches" in text(browser)
    assert browser.errors() == []


def test_devices_are_grouped_by_the_tags_that_they_are_given(place: ApiPlace, browser: Browser) -> None:
    show(browser, place, "#/device/watch-2")
    click(browser, "#edit-tags")
    browser.type("#tags", "ward-7 left-arm")
    click(browser, "#save-tags")
    wait_for_text(browser, "ward-7")
    show(browser, place, "#/fleet?group=tag")
    headings = "return [...document.querySelectorAll('.line.group b')].map(e => e.textContent)"
    assert browser.run(headings) == ["left-arm", "ward-7", "without a tag"]


def test_a_device_shows_its_signal_its_day_and_takes_a_correction(place: ApiPlace, browser: Browser) -> None:
    end = place.labels[-1].t0_unix_us
    assert end is not None
    show(browser, place, f"#/device/watch-1?from={end - 60_000_000}&until={end + 5_000_000}")
    wait_for_text(browser, "Newest episodes of it")
    assert {"rest", "left"} <= set(text(browser).split())
    assert "Share of this time" in text(browser)
    assert _ink(browser, "canvas.day") > 1_000
    for seq in range(40, 70):  # 1,600 samples came before; a trace has what comes while it is looked at
        place.send("watch-1", seq, REST, 40)
        with contextlib.suppress(AssertionError):
            browser.wait("return !!document.querySelector('.signal .uplot')", timeout_s=1)
            break
    assert browser.run("return !!document.querySelector('.signal .uplot')")

    csv = browser.run("return document.querySelector('a[download]').href")
    with place.client() as client:
        assert client.get(csv).text.startswith("device,")
    click(browser, "td button:not(:disabled)")
    browser.wait("return !!document.querySelector('dialog[open] select[name=instead]')")
    browser.run("document.querySelector('dialog select').selectedIndex = 1")
    click(browser, "dialog button.main")
    browser.wait("return !!document.querySelector('#rejections')", timeout_s=30)
    with place.client() as client:
        (said,) = client.get("/rejections", params={"device": "watch-1"}).json()["items"]
        assert said["withdrawn_us"] is None
        assert said["instead"] is not None
        click(browser, "#rejections button")
        browser.wait("return !document.querySelector('#rejections')", timeout_s=30)
        (said,) = client.get("/rejections", params={"device": "watch-1"}).json()["items"]
        assert said["withdrawn_us"] is not None
    assert browser.errors() == []


def test_a_label_is_explained_and_its_reception_told(place: ApiPlace, browser: Browser) -> None:
    show(browser, place, "#/device/watch-2")
    for seq in range(80, 140):
        place.send("watch-2", seq, LEFT, 40)
        with contextlib.suppress(AssertionError):
            browser.wait(
                "return document.querySelectorAll('.windows .trace polyline').length",
                until=lambda n: n == 12,  # three channels of its window and of three that it is like
                timeout_s=1,
            )
            break
    assert "left" in text(browser, ".windows .present")
    assert "left" in text(browser, ".windows li:nth-child(2)")
    assert "left" in text(browser, ".explanation tbody tr")
    reception = text(browser, "#reception ~ .facts")
    assert "50 Hz" in reception
    assert "Gaps" in reception
    show(browser, place, "#/fleet")
    assert browser.run("return document.querySelectorAll('.head [role=columnheader]').length") == 7
    click(browser, "#col-rate")
    click(browser, "#col-gaps")
    wait_for_text(browser, "50 Hz", "[data-device=watch-2]")
    assert "cols=rate%2Cgaps" in browser.run("return location.hash")
    assert browser.run("return document.querySelectorAll('.head [role=columnheader]').length") == 9
    assert browser.errors() == []


def test_clusters_are_seen_as_windows_and_on_a_map(place: ApiPlace, browser: Browser) -> None:
    show(browser, place, "#/clusters")
    browser.wait("return !!document.querySelector('canvas.plane')")
    assert _ink(browser, "canvas.plane") > 500
    assert text(browser, ".map tbody").count("\n") >= 2, "each cluster is in the table"
    show(browser, place, "#/clusters/1")
    browser.wait("return document.querySelectorAll('.windows .trace').length", until=lambda n: n >= 8)
    assert "At its border to others" in text(browser)
    show(browser, place, "#/models")
    browser.wait("return document.querySelectorAll('.chart svg').length", until=lambda n: n == 3)
    show(browser, place, "#/health")
    wait_for_text(browser, "99 % within", "main")
    assert "GiB free of" in text(browser, ".tiles")
    assert browser.errors() == []


def test_windows_that_are_gone_or_damaged_are_said_to_be(place: ApiPlace, browser: Browser) -> None:
    with Registry.open(place.models) as registry:
        file = registry.version("current").path / "examples.bin"
    data = file.read_bytes()
    file.unlink()
    try:
        show(browser, place, "#/clusters")
        wait_for_text(browser, "This model keeps no examples, so there is no map of it.")
        show(browser, place, "#/clusters/1")
        wait_for_text(browser, "This model keeps no examples: it was exported without")
        assert browser.errors() == []
    finally:
        file.write_bytes(data)


def _ink(browser: Browser, canvas: str) -> int:
    return int(
        browser.run(
            "const c = document.querySelector(arguments[0]);"
            "const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;"
            "let n = 0; for (let i = 3; i < d.length; i += 4) n += d[i] > 0; return n;",
            canvas,
        )
    )


def test_clusters_are_named_merged_split_and_all_of_it_is_undone(place: ApiPlace, browser: Browser) -> None:
    hostile = "<img src=x onerror=document.title='owned'>"
    show(browser, place, "#/clusters/2")
    browser.run("const n = document.querySelector('#name'); n.value = arguments[0]", hostile)
    click(browser, "#save")
    wait_for_text(browser, hostile, "h1")
    assert browser.run("return document.querySelectorAll('main img').length") == 0
    assert "owned" not in browser.run("return document.title")
    click(browser, ".events button")
    wait_for_text(browser, "right", "h1")

    click(browser, "#mute")
    wait_for_text(browser, "muted")
    click(browser, "#mute")
    browser.wait("return document.querySelector('#mute').textContent", until=lambda said: said == "Mute")

    click(browser, "#merge")
    browser.wait("return !!document.querySelector('dialog[open] select[name=other]')")
    browser.run("document.querySelector('dialog select').value = '1'")
    click(browser, "dialog button.main")
    browser.wait("return !document.querySelector('dialog')")
    with place.client() as client:
        assert client.get("/clusters/2").json()["merged_into"] == 1
        show(browser, place, "#/clusters/1")
        click(browser, "#split")
        click(browser, "dialog button.main")
        browser.wait("return !document.querySelector('dialog')")
        assert client.get("/clusters/2").json()["merged_into"] is None
        click(browser, ".events button")  # of the split
        browser.wait("return !document.querySelector('#split').disabled")
        assert client.get("/clusters/2").json()["merged_into"] == 1
        client.post("/clusters/1/split", json={"ids": [2]})
    assert browser.errors() == []


def test_a_version_is_promoted_and_rolled_back(place: ApiPlace, browser: Browser, tmp_path: Path) -> None:
    clusters = [ClusterInfo(id=k, name=name, size=10) for k, name in enumerate(("lying", "left", "right"))]
    spec = InputSpec(CHANNELS, FS, WINDOW)
    write_mean_bundle(tmp_path / "other", "other", spec, CENTROIDS + np.float32(0.5), clusters)
    with Registry.open(place.models) as registry:
        ids = RowIds.keeping([0, 1, 2], registry.version("current").version)
        changed = Transition(kind="survive", id=1, rows=(1,), share=0.6)
        ids = ids.model_copy(update={"transitions": (changed,)})
        second = registry.add(tmp_path / "other", Lineage(method="trivial"), ids).number
    show(browser, place, f"#/models/{second}")
    click(browser, "#promote")
    browser.type("dialog input[name=why]", "it is better")
    click(browser, "dialog button.main")
    wait_for_text(browser, "it is better")
    with place.client() as client:
        assert client.get("/deployments").json()["items"][0]["version_number"] == second
        click(browser, "#rollback")
        browser.type("dialog input[name=why]", "it is not")
        click(browser, "dialog button.main")
        wait_for_text(browser, "it is not")
        assert client.get("/deployments").json()["items"][0]["kind"] == "rollback"
        show(browser, place, "#/clusters")
        wait_for_text(browser, "By the last retraining it has changed", "[data-cluster='1']")
        browser.wait("return !!document.querySelector('canvas.plane')", timeout_s=30)
        client.post(f"/models/{second}/promote", json={"why": "while somebody looks"})
        wait_for_text(browser, "This model keeps no examples, so there is no map of it.")
        browser.run(
            "[...document.querySelectorAll('[data-cluster=\"1\"] button')].at(-1).click()"  # Seen
        )
        browser.wait("return !document.body.innerText.includes('By the last retraining')")
        client.post("/deployments/rollback", json={"why": "as before"})
    assert browser.errors() == []


def test_dead_letters_are_looked_at_and_sent_again(place: ApiPlace, browser: Browser) -> None:
    show(browser, place, "#/health")
    wait_for_text(browser, "encoding", "table.letters")
    click(browser, "table.letters tbody button")
    wait_for_text(browser, "6e 6f 74", "dialog")  # not a batch
    click(browser, "dialog button.main")
    browser.wait("return !document.querySelector('dialog')")
    click(browser, "table.letters tbody input")
    click(browser, "#replay")
    wait_for_text(browser, "1 of 1 were sent again.", "main")


def test_twenty_thousand_devices_are_a_few_rows_of_the_page(browser: Browser, tmp_path: Path) -> None:
    samples = np.zeros((1, 3), dtype=np.float32)
    with api_place(tmp_path / "many", api_requests_s=1e6) as place:
        place.fill()
        (api,) = (one for one in place.server._exposure.observers if isinstance(one, Api))
        for n in range(19_990):
            device, soft = f"wearable-{n:05d}", SoftLabel(n % 3, "", 0.5 + (n % 50) / 100)
            api.on_batch(SampleBatch(device, 1, 0, 0, 50.0, CHANNELS, samples))
            api.on_label(Label(device, 1, 0, 0, 0, soft, (soft,), soft, 1.0, 0.4, "m", 0, 0))
        began = time.monotonic()
        show(browser, place, "#/fleet?sort=device&q=wearable")
        wait_for_text(browser, "19,990 of 19,993 devices", "#shown")
        assert time.monotonic() - began < 60
        assert len(devices(browser)) < 60
        browser.run("document.querySelector('.body').scrollTop = 1e9")
        browser.wait("return !!document.querySelector('[data-device=wearable-19989]')")
        began = time.monotonic()
        browser.run("const s = document.querySelector('#search'); s.value = 'wearable 777';"
                    "s.dispatchEvent(new Event('input', {bubbles: true}))")  # fmt: skip
        browser.wait(
            "return document.querySelector('#shown').textContent", until=lambda said: said.startswith("1 of")
        )
        assert devices(browser) == ["wearable-00777"]
        assert browser.errors() == []


def test_what_was_known_before_a_restart_is_still_shown(browser: Browser, tmp_path: Path) -> None:
    with api_place(tmp_path / "again") as place:
        place.fill()
        show(browser, place, "#/fleet")
        place._config = place._config.model_copy(update={"http": f"127.0.0.1:{place.port}"})
        place.server.stop(5.0)
        wait_for_text(browser, "offline", ".connection")
        assert devices(browser) == ["watch-1", "watch-2", "watch-3"]  # what was known stays
        assert text(browser, ".banners") != ""
        place.restart_server()
        browser.wait(
            "return document.querySelector('.connection').innerText", until=lambda said: "live" in said
        )
        browser.open("about:blank")
        show(browser, place, "#/fleet")
        assert "left" in text(browser, "[data-device=watch-1]")
        assert "watch-2" in devices(browser)


@pytest.mark.parametrize("width", [320, 390])
def test_nothing_sticks_out_on_a_phone(place: ApiPlace, tmp_path: Path, width: int) -> None:
    with Browser(tmp_path, dark=True) as phone:
        phone.resize(width, 844)
        for view in VIEWS:
            show(phone, place, view)
            assert phone.run("return document.documentElement.scrollWidth") <= width, view


def test_a_viewer_is_shown_everything_and_can_change_nothing(browser: Browser, tmp_path: Path) -> None:
    with api_place(tmp_path / "roles", roles=True) as place:
        place.fill()
        browser.open(f"{place.url}/?token={place.tokens['viewer']}#/clusters/1")
        browser.wait(LOADED)
        assert browser.run("return location.search") == "", "a token stays in no address"
        assert browser.run(
            "return ['#save', '#mute', '#merge'].every(s => document.querySelector(s).disabled)"
        )
        with place.client() as nobody:
            assert nobody.get(f"{place.url}/").status_code == 401
            assert nobody.get(f"{place.url}/app/main.js").status_code == 401
        show(browser, place, "#/models")
        assert browser.run("return document.querySelector('#promote').disabled")
        assert browser.run("return document.querySelector('#promote').title") == "Only for the role admin"


def test_the_feed_follows_from_view_to_view(browser: Browser, tmp_path: Path) -> None:
    browser.open("about:blank")
    browser.errors()  # of servers that were stopped before
    with api_place(tmp_path / "feed") as place:
        place.fill()
        show(browser, place, "#/fleet")
        click(browser, "[data-device=watch-2] a")
        wait_for_text(browser, "Waiting for samples")
        for seq in range(4, 40):  # a part of it before the server has heard what is looked at
            place.send("watch-2", seq, REST, 400)
            place.wait_for_labels(390 + 50 * (seq - 3))
            with contextlib.suppress(AssertionError):
                browser.wait("return !!document.querySelector('.u-wrap canvas')", timeout_s=1)
                break
        wait_for_text(browser, "rest", ".now")
        browser.run("history.back()")
        browser.wait("return document.querySelectorAll('[data-device]').length", until=lambda n: n == 3)
        place.send("watch-2", seq + 1, LEFT, 400)
        wait_for_text(browser, "left", "[data-device=watch-2]")
        assert browser.errors() == []


def test_keyboard_alone_reaches_every_control_in_order(place: ApiPlace, browser: Browser) -> None:
    show(browser, place, "#/fleet")
    reached = []
    for _ in range(8):
        browser.press("\ue004")  # Tab
        reached.append(
            browser.run("return document.activeElement.id || document.activeElement.textContent.slice(0, 20)")
        )
    assert reached == ["Skip to the content", "Fleet", "Clusters", "Models", "Health",
                       "as the systemlightda", "search", "only"]  # fmt: skip


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_axe_finds_nothing(place: ApiPlace, tmp_path: Path, dark: bool) -> None:
    try:
        axe = axe_source(tmp_path)
    except FileNotFoundError as error:
        pytest.skip(str(error))
    (tmp_path / "profile").mkdir()
    with Browser(tmp_path / "profile", dark=dark) as browser:
        for view in VIEWS:
            show(browser, place, view)
            browser.run(axe)
            found = browser.run(
                "const told = await axe.run();"
                "return told.violations.map(v => [v.id, v.nodes.map(n => n.html.slice(0, 200))]);"
            )
            assert found == [], view
