"""Every command in the README, the tutorials and the guides is run here or elsewhere, or not for a reason.

Here go those that end by themselves and cost little, in the order of their page, in a folder like that which
the page would have made. Servers, publishers and trainings are typed into a shell by
tests/integration/test_readme.py (``make long``). All of them are parsed by test_docs.py.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from tests.support.commandline import CommandLine
from tests.support.commands import ROOT
from tests.support.registries import Models
from tests.support.tiny_bundle import write_tiny_bundle

_FOLDERS = (ROOT / "docs" / "tutorials", ROOT / "docs" / "guides")
PAGES = [
    Path("README.md"),
    *sorted(path.relative_to(ROOT) for folder in _FOLDERS for path in folder.glob("*.md")),
]
TYPED = "tests/integration/test_readme.py"
"""Types whole pages into a shell, with a broker."""
_SECURE = "tests/integration/test_secure_broker.py"
_SERVES = r"^disc-stream (serve|watch|doctor|deadletter)\b(?!.*--print-config)"
ELSEWHERE: tuple[tuple[str, str], ...] = (
    (r"^\. \.venv/bin/activate$", "changes the shell alone"),
    (r"^make demo\b", "tests/integration/test_demo.py runs the demo; .ci/run installs"),
    (r"^python3 -m venv |^\.venv/bin/", "installs into the folder; .ci/run and tests/security/test_setup.py"),
    (
        r"^docker |^cd deploy/compose$",
        "needs a container engine; tests/contract/test_deploy.py has the files",
    ),
    (r"^kubectl |--host mosquitto|/broker/roles", "needs a cluster; tests/contract/test_deploy.py"),
    (r"^sudo sh deploy/install\.sh", "tests/integration/test_install.py runs it into a clean root"),
    (r"^sudo |^journalctl ", "needs systemd and root"),
    (r"/etc/disc-stream/", "needs an installation; tests/integration/test_operation.py has such a file"),
    (r"^my-sensor ", f"the reader's own program; with another one {TYPED}"),
    (r"^disc-stream phone ", "needs a phone; in its place Chromium in tests/browser/test_phone_page.py"),
    (r"^set -a; |; set -a; |^mosquitto -c ", f"tests/integration/test_secure_serve.py, {_SECURE}"),
    (r"^disc-stream broker ", f"{_SECURE} runs them against the broker that they set up"),
    (r"\bhapt\b", "needs a public dataset; with one, tests/integration/test_end_to_end.py"),
    (r"--target c ", "tests/integration/test_export_matrix.py exports C"),
    (r"^disc-stream (train|export|retrain) ", f"trains; {TYPED}"),
    (r"^disc-stream benchmark latency ", "tests/integration/test_benchmark_latency.py"),
    (rf"^mosquitto -p |{_SERVES}", f"goes on until Ctrl-C, or needs what does; {TYPED}"),
    (r"disc-stream edge publish |^curl ", f"needs a broker or a server; {TYPED}"),
    (r"^micropython ", "tests/integration/test_firmware_micropython.py runs it, where there is one"),
    (r"^for name in P01 ", f"writes minutes of motion; {TYPED}"),
)
"""Commands that are not run here: a pattern, and where they are run, or why nowhere."""
EXPORT = re.compile(r"^export (\w+)=(\S+)$")
PLACEHOLDER = "0f3a9c21d7e4"
"""Stands on the pages for the id of a token."""


def lines(page: Path) -> list[str]:
    """What a reader of a page types, command by command; a loop is one."""
    text = (ROOT / page).read_text(encoding="utf-8")
    blocks = re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    joined = "".join(blocks).replace("\\\n", " ")
    loop = re.compile(r"^for .*?^done$", re.MULTILINE | re.DOTALL)
    joined = loop.sub(lambda found: found[0].replace("\n", " "), joined)
    return [line.strip() for line in joined.splitlines() if line.strip()]


def elsewhere(line: str) -> str | None:
    return next((why for pattern, why in ELSEWHERE if re.search(pattern, line)), None)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the steps before, or other pages, have left: a registry, a bundle, recordings."""
    monkeypatch.chdir(tmp_path)
    models = Models(tmp_path / "made")
    models.promote([None] * 6)
    models.promote(range(6))
    models.path.rename(tmp_path / "models")
    write_tiny_bundle(tmp_path / "bundles" / "mine")
    rows = np.random.default_rng(0).normal([0, 0, 1, 0, 0, 0], 0.05, (1_500, 6))
    head = "t,acc_x[g],acc_y[g],acc_z[g],gyro_x[rad/s],gyro_y[rad/s],gyro_z[rad/s]"
    body = [f"{n / 50:.2f}," + ",".join(f"{value:.4f}" for value in row) for n, row in enumerate(rows)]
    (tmp_path / "walk.csv").write_text("\n".join([head, *body]))
    return tmp_path


class Reader:
    """Types the commands of a page that are run here.

    Args:
        folder: where.
        command_line: runs ours.
        patch: sets what is exported.
    """

    def __init__(self, folder: Path, command_line: CommandLine, patch: pytest.MonkeyPatch) -> None:
        self._folder, self._run, self._patch = folder, command_line, patch
        self._token = ""

    def type(self, line: str) -> None:
        if exported := EXPORT.match(line):
            self._patch.setenv(*exported.groups())
            return
        if not line.startswith("disc-stream "):
            subprocess.run(["bash", "-euc", line], cwd=self._folder, check=True, timeout=60)
            return
        words = shlex.split(line.replace(PLACEHOLDER, self._token), comments=True)[1:]
        words, _, file = (words, "", "") if ">" not in words else (words[: words.index(">")], ">", words[-1])
        done = self._run(*words)
        assert done.returncode == 0, f"{line}: {done.stderr or done.stdout}"
        assert "Traceback" not in done.stderr
        if file:
            (self._folder / file).write_text(done.stdout)
        if words[:2] == ["token", "list"]:
            state = [words[n + 1] for n, word in enumerate(words) if word == "--state"]
            more = [word for one in state for word in ("--state", one)]
            tokens = json.loads(self._run("token", "list", *more, "--json").stdout)
            self._token = (tokens["tokens"] if isinstance(tokens, dict) else tokens)[-1]["id"]


RUN_HERE = {page: [line for line in lines(page) if elsewhere(line) is None] for page in PAGES}


@pytest.mark.parametrize("page", [page for page, found in RUN_HERE.items() if found], ids=str)
def test_the_commands_of_a_page_do_what_it_says(
    page: Path, folder: Path, command_line: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    typed = RUN_HERE[page]
    if "mkdir my-recordings" not in typed:
        (folder / "my-recordings").mkdir()
    reader = Reader(folder, command_line, monkeypatch)
    for line in typed:
        if line.startswith("disc-stream models init"):
            (folder / "models").rename(folder / "later")
        elif line.startswith("disc-stream data "):
            for person in ("P01", "P02", "P06"):
                shutil.copyfile("walk.csv", folder / "my-recordings" / f"{person}_day.csv")
        reader.type(line)
        if line.startswith("disc-stream models init"):  # what a training would have put into it
            shutil.rmtree(folder / "models")
            (folder / "later").rename(folder / "models")


def test_no_reason_is_left_over_and_the_tests_that_they_name_exist() -> None:
    every = [line for page in PAGES for line in lines(page)]
    assert len(every) > 100, "the search finds nothing any more"
    for pattern, why in ELSEWHERE:
        assert any(re.search(pattern, line) for line in every), f"no page has {pattern} any more"
        for name in re.findall(r"[\w/]*test_\w+\.py", why):
            folder = "tests/integration" if "/" not in name else "."
            assert (ROOT / folder / name).is_file(), name


def test_most_commands_that_cost_little_are_run_here() -> None:
    assert sum(map(len, RUN_HERE.values())) >= 40
