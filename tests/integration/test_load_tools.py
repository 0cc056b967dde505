"""``benchmark ingest``, ``soak`` and ``week``, small: they lose nothing, and have the live page on."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

pytestmark = pytest.mark.broker


def measure(*arguments: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "disc_stream", "benchmark", *arguments, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def test_ingest_measures_the_server_with_its_page_and_a_viewer() -> None:
    report = measure("ingest", "--devices", "20", "--messages", "20000")
    server = report["server"]
    assert (server["lost"], server["duplicated"], server["rejected"]) == (0, 0, {})
    assert server["labels"] == server["labels_expected"] > 0
    assert server["page"]["on"]
    (viewer,) = server["page"]["viewers"]
    assert viewer["connections"] == 1
    assert viewer["events"] > 0
    assert report["ratio"] > 0
    first = server["first_contact"]
    assert first["us_per_device"] is None, "twenty devices are lost among two thousand messages"
    assert 0 < first["then_us_per_message"] < 5_000


def test_ingest_can_do_without_the_page() -> None:
    report = measure("ingest", "--devices", "5", "--messages", "5", "--no-page")
    server = report["server"]
    assert server["lost"] == 0
    assert server["page"] == {"on": False, "viewers": []}
    assert report["ratio"] is None or report["ratio"] > 0, "five messages may come too fast for a rate"
    assert set(server["first_contact"]) == {"us_per_device", "then_us_per_message"}


def test_soak_watches_a_steady_fleet_with_churn_and_a_viewer() -> None:
    report = measure("soak", "--minutes", "0.1", "--warm-minutes", "0", "--devices", "10", "--churn", "1")
    assert (report["lost"], report["duplicated"], report["exit_code"]) == (0, 0, 0)
    assert report["labels"] > 0
    (viewer,) = report["page"]["viewers"]
    assert viewer["events"] > 0
    assert viewer["longest_silence_s"] < 4.0, "a browser takes a longer silence for a lost server"


def test_a_week_of_two_days_is_retrained_on_each_of_them() -> None:
    report = measure("week", "--quick")
    assert report["exit_code"] == 0
    assert report["windows"]["expected"] > 0
    assert (report["windows"]["lost"], report["windows"]["doubled"]) == (0, 0)
    assert [day["day"] for day in report["days"]] == [1, 2]
    first, second = report["days"]
    assert first["retrainings"][0]["outcome"] == "promoted"
    assert second["retrainings"], "the schedule asks for one every day"
    assert {one["outcome"] for one in second["retrainings"]} <= {"promoted", "rejected"}
    assert [one["id"] for one in second["never_retrained"]["names"]] == [int(own) for own in report["named"]]
    assert report["named"]
    assert [one["id"] for one in second["names"]] == [int(own) for own in report["named"]]
    assert report["limits"]["most_mib"]["spool"] <= report["limits"]["spool_mib"]
    assert second["versions"] <= 2
