"""What `make` installs: named to the hash, listed with its licence, and nothing into the system unasked."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PINS = ROOT / "deploy" / "pins"
_PIN = re.compile(
    r"^([A-Za-z0-9._-]+)==([^ ;\\\n]+)((?: ;[^\\\n]*)?)(.*?)(?=^\S|\Z)", re.MULTILINE | re.DOTALL
)


def pins(name: str) -> dict[str, tuple[str, list[str]]]:
    """Version and hashes of each package that is installed with this Python, by its name."""
    found = {}
    for package, version, marker, rest in _PIN.findall((PINS / f"{name}.txt").read_text()):
        if not marker or Requirement(f"{package}{marker}").marker.evaluate(default_environment()):  # type: ignore[union-attr]
            found[canonicalize_name(package)] = (version, re.findall(r"--hash=sha256:([0-9a-f]{64})", rest))
    return found


@pytest.mark.parametrize("name", ["app", "dev", "cpu", "gpu"])
def test_every_file_that_is_installed_is_known_by_its_hash(name: str) -> None:
    known = pins(name)
    assert len(known) > 10
    assert all(hashes for _, hashes in known.values())
    assert "torch" not in known
    assert "://" not in (PINS / f"{name}.txt").read_text(), "an index of somebody's own"


@pytest.mark.parametrize(
    ("names", "extras"),
    [(["app", "cpu"], ["demo", "parquet", "cpu"]), (["dev", "gpu"], ["demo", "dev", "gpu"])],
    ids=["demo", "test"],
)
def test_everything_that_is_declared_is_pinned(names: list[str], extras: list[str]) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    pinned = pins("torch") | {k: v for name in names for k, v in pins(name).items()}
    wanted = list(project["dependencies"])
    for extra in extras:  # those that name other extras stand in the list themselves
        wanted += project["optional-dependencies"][extra]
    for requirement in map(Requirement, wanted):
        name = canonicalize_name(requirement.name)
        if name != "disc-stream":
            assert name in pinned, f"{name} is not pinned: make pins"
            assert requirement.specifier.contains(pinned[name][0]), f"{name} is pinned to another: make pins"


def test_the_wheel_lists_what_belongs_to_it_with_licences(tmp_path: Path) -> None:
    command = [
        sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check", "--no-deps",
        "--no-build-isolation", "--no-index", "--wheel-dir", str(tmp_path), str(ROOT),
    ]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/sboms/sbom.cdx.json"))
        listed = json.loads(archive.read(name))
    licences = {canonicalize_name(c["name"]): c.get("licenses") for c in listed["components"]}
    for package, (version, _) in pins("app").items():
        assert package in licences, f"{package} {version} is not listed: make pins"
    assert [name for name, licence in licences.items() if not licence] == ["protobuf"], (
        "protobuf's own metadata names none (it is BSD-3-Clause); whatever else lacks one is to be looked at"
    )
    assert str(ROOT) not in json.dumps(listed)


@pytest.fixture
def not_root(tmp_path: Path) -> dict[str, str]:
    """The environment of somebody who is not root; `sudo` and `apt-get` write down that they were called."""
    tools = tmp_path / "bin"
    tools.mkdir()
    for name, does in {"id": "echo 1000", "sudo": 'echo "$@" >> "$CALLS"', "apt-get": "exit 1"}.items():
        (tools / name).write_text(f"#!/bin/sh\n{does}\n")
        (tools / name).chmod(0o755)
    kept = {name: value for name, value in os.environ.items() if name != "DISC_STREAM_SUDO"}
    return {**kept, "PATH": f"{tools}:{os.environ['PATH']}", "CALLS": str(tmp_path / "calls")}


def system(environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", "deploy/bootstrap.sh", "system", "no-such-tool"],
        cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_nothing_is_installed_into_the_system_unasked(not_root: dict[str, str]) -> None:
    done = system(not_root)
    assert done.returncode == 1
    assert "install the packages no-such-tool" in done.stderr
    assert not Path(not_root["CALLS"]).exists()


def test_whoever_says_so_beforehand_is_not_asked(not_root: dict[str, str]) -> None:
    system({**not_root, "DISC_STREAM_SUDO": "1"})
    calls = Path(not_root["CALLS"]).read_text().splitlines()
    assert calls[0].startswith("apt-get update")
    assert calls[1].endswith("no-such-tool")
