"""Write the pages that are made of the code, or say which are out of date.

::

    python docs/site/reference.py            # docs/reference/cli.md, settings.md, errors.md
    python docs/site/reference.py --check    # exit code 1 if one of them is not what it would write
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import cli_page
import errors_page
import settings_page

REFERENCE = Path(__file__).resolve().parents[1] / "reference"
PAGES: dict[str, Callable[[], str]] = {
    "cli.md": cli_page.page,
    "settings.md": settings_page.page,
    "errors.md": errors_page.page,
}


def main() -> int:
    """Write or compare; the exit code."""
    stale = []
    for name, made in PAGES.items():
        text, path = made(), REFERENCE / name
        if "--check" not in sys.argv:
            path.write_text(text, encoding="utf-8")
        elif not path.exists() or path.read_text(encoding="utf-8") != text:
            stale.append(name)
    if stale:
        print(
            f"docs/reference: {', '.join(stale)} out of date. Run: python docs/site/reference.py",
            file=sys.stderr,
        )
    return int(bool(stale))


if __name__ == "__main__":
    sys.exit(main())
