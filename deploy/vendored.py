"""Compare the page's libraries with what npm has under their names and versions.

``make vendored`` runs it. With ``--write`` it puts the files of npm in the place of ours: after a change of a
version and an ``integrity`` in ``vendor.json``.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import sys
import tarfile
import urllib.request
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent.parent / "server/disc_stream_server/dashboard/static/vendor"
REGISTRY = "https://registry.npmjs.org"


def fetch(name: str, version: str, integrity: str) -> dict[str, bytes]:
    """The files of a package.

    Raises:
        ValueError: if it is not what ``integrity`` says.
    """
    address = f"{REGISTRY}/{name}/-/{name}-{version}.tgz"
    with urllib.request.urlopen(address, timeout=60) as answer:  # noqa: S310 - a fixed https address
        packed = answer.read()
    if f"sha512-{base64.b64encode(hashlib.sha512(packed).digest()).decode()}" != integrity:
        raise ValueError(f"{name} {version} of npm is not what vendor.json says")
    found: dict[str, bytes] = {}
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        for member in archive:
            content = archive.extractfile(member)
            if content is not None:
                found[member.name.partition("/")[2]] = content.read()
    return found


def compare(entries: list[dict[str, Any]], *, write: bool) -> list[str]:
    """What differs, in words."""
    wrong: list[str] = []
    named = {"vendor.json"}
    for entry in entries:
        of_npm = fetch(entry["package"], entry["version"], entry["integrity"])
        for ours, theirs in entry["files"].items():
            named.add(ours)
            file = FOLDER / ours
            if write:
                file.write_bytes(of_npm[theirs])
                entry["sha256"][ours] = hashlib.sha256(of_npm[theirs]).hexdigest()
            if not file.exists() or file.read_bytes() != of_npm[theirs]:
                wrong.append(f"{ours} is not {theirs} of {entry['package']} {entry['version']}")
    if write:
        (FOLDER / "vendor.json").write_text(json.dumps(entries, indent=2) + "\n")
    files = [file.name for file in FOLDER.iterdir() if not file.name.endswith(".d.ts")]  # those are ours
    wrong += [f"{name} is not in vendor.json" for name in files if name not in named]
    return wrong


def main() -> int:
    """0 if all is as npm has it."""
    entries = json.loads((FOLDER / "vendor.json").read_text())
    try:
        wrong = compare(entries, write="--write" in sys.argv[1:])
    except (OSError, ValueError, KeyError) as error:
        wrong = [str(error)]
    for line in wrong:
        print(f"error: {line}", file=sys.stderr)
    if not wrong:
        print(f"{sum(len(entry['files']) for entry in entries)} files are those of npm")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
