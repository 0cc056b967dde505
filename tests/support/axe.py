"""axe-core, for tests only: from a cache, else from npm once; its content is checked against a hash."""

from __future__ import annotations

import base64
import hashlib
import io
import shutil
import subprocess
import tarfile
from pathlib import Path

VERSION = "4.14.1"
INTEGRITY = "FHfa+lmNjQZfJz1q8wKqIDwC6DExcHt/pkjNQb09a3NPjCKg2rhu5qb2S4r76ASyFNNtuFooJpZe37OgudVGtQ=="
_CACHE = Path(__file__).parents[2] / ".pytest_cache" / "npm"


def axe_source(folder: Path) -> str:
    """The script.

    Args:
        folder: to unpack it in, where it is not in the cache.

    Raises:
        FileNotFoundError: if it is neither in the cache, nor can npm be asked for it.
    """
    packed = _CACHE / f"axe-core-{VERSION}.tgz"
    if not packed.exists():
        npm = shutil.which("npm")
        if npm is None:
            raise FileNotFoundError("npm is not installed, and axe-core is not in the cache")
        command = [npm, "pack", "--silent", f"axe-core@{VERSION}", "--pack-destination", str(folder)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, cwd=folder)
        if done.returncode != 0:
            raise FileNotFoundError(f"npm did not give axe-core: {done.stderr.strip()[-200:]}")
        _CACHE.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(folder / packed.name, packed)
    content = packed.read_bytes()
    assert base64.b64encode(hashlib.sha512(content).digest()).decode() == INTEGRITY
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        script = archive.extractfile("package/axe.min.js")
        assert script is not None
        return script.read().decode()
