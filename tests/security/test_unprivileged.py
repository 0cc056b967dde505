"""`serve` needs no rights: nobody's user, a file system that only its state folder can be written to."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.broker import Mosquitto
from tests.support.device import REST, Sender, constant, make_batch
from tests.support.listener import Listener
from tests.support.tiny_bundle import write_tiny_bundle

NOBODY = "65534"
# The state folder becomes a mount of its own, all else read-only; then every right is given away. A Python
# in a home that others may not enter (HIDDEN) is shown to them.
CAGE = """
set -e
if [ -n "$HIDDEN" ]; then
    mount --bind "$PYTHON" "$SPARE"
    mount -t tmpfs -o mode=755 tmpfs "$HIDDEN"
    mkdir -p "$PYTHON"
    mount --bind "$SPARE" "$PYTHON"
    mount -o remount,ro "$HIDDEN"
fi
mount --bind "$STATE" "$STATE"
mount -o remount,ro,bind /
cd /
exec setpriv --reuid=65534 --regid=65534 --clear-groups --bounding-set=-all --no-new-privs -- "$@"
"""


RUNS_ITSELF = (
    "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import disc_stream'], check=True)"
)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder whose parents everybody may enter, unlike pytest's."""
    path = Path(tempfile.mkdtemp(prefix="disc-stream-cage-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


def caged(state: Path, *command: str) -> subprocess.Popen[str]:
    python = Path(sys.base_prefix)
    hidden = next((str(path) for path in (python, *python.parents) if not path.stat().st_mode & 0o001), "")
    spare = state.parent / "spare"
    spare.mkdir(exist_ok=True)
    environment = {
        "PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(sys.path[1:]), "STATE": str(state),
        "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1",
        "PYTHON": str(python), "HIDDEN": hidden, "SPARE": str(spare),
    }  # fmt: skip
    return subprocess.Popen(
        ["unshare", "--mount", "sh", "-c", CAGE, "sh", *command],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
    )  # fmt: skip


@pytest.fixture
def state(folder: Path) -> Path:
    """A state folder of nobody's; skips where no such cage can be made."""
    if os.geteuid() != 0:
        pytest.skip("only root can make a mount namespace and become another user")
    for tool in ("unshare", "setpriv"):
        if shutil.which(tool) is None:
            pytest.skip(f"there is no {tool} here (util-linux)")
    path = folder / "state"
    path.mkdir()
    shutil.chown(path, int(NOBODY), int(NOBODY))
    with caged(path, sys.executable, "-c", RUNS_ITSELF) as probe:
        _, said = probe.communicate(timeout=60)
    if probe.returncode != 0:
        pytest.skip(f"no such cage can be made here, or nobody may read this Python: {said.strip()[-200:]}")
    return path


@pytest.mark.broker
def test_nobody_serves_and_writes_into_the_state_folder_alone(folder: Path, state: Path) -> None:
    write_tiny_bundle(folder / "bundle")
    with caged(state, "sh", "-c", f"touch {folder}/elsewhere || touch {state}/here && id -u") as tried:
        said, _ = tried.communicate(timeout=60)
    assert said.strip() == NOBODY
    assert (state / "here").exists()
    assert not (folder / "elsewhere").exists()
    with ExitStack() as stack:
        broker = Mosquitto(folder)
        broker.start()
        stack.callback(broker.discard)
        listener, sender = Listener(broker.url), Sender(broker.url)
        stack.callback(listener.link.close)
        stack.callback(sender.link.close)
        listener.link.connect()
        serve = stack.enter_context(
            caged(
                state, sys.executable, "-m", "disc_stream", "serve", "--json", "--bundle",
                str(folder / "bundle"), "--broker", broker.url, "--http", "127.0.0.1:0",
                "--state", str(state),
            )
        )  # fmt: skip
        stack.callback(serve.kill)
        assert serve.stdout is not None
        first = serve.stdout.readline()
        assert first, serve.communicate(timeout=60)[1]
        assert json.loads(first)["event"] == "ready"
        for seq in range(20):
            sender.send(make_batch("watch", seq, constant(REST, 8)))
        listener.wait_for_labels(20)
        serve.send_signal(signal.SIGTERM)
        _, said = serve.communicate(timeout=120)
        assert serve.returncode == 0, said
    owners = {path.stat().st_uid for path in state.rglob("*")}
    assert owners == {int(NOBODY)}
    assert "Traceback" not in said
