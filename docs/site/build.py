"""Gather the pages of the site, and build it.

::

    python docs/site/build.py          # into build/site
    python docs/site/build.py FOLDER   # into FOLDER/site

Pages are written for readers of the repository: their links lead to files of it. Here README.md becomes the
first page, what links to it follows, and files that pages link to (alerts, a dashboard) are copied beside
them. Equations (``math`` blocks, and $`…`$ in a line) become MathML, which browsers draw themselves.
"""

from __future__ import annotations

import os
import posixpath
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import yaml
from latex2mathml.converter import convert

ROOT = Path(__file__).resolve().parents[2]
TOP = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "examples/README.md": "examples.md",
}
_FENCE = re.compile(r"^(`{3,})(\w*)\n(.*?)^\1$", re.MULTILINE | re.DOTALL)
_INLINE_MATH = re.compile(r"\$`(.+?)`\$")
_LINK = re.compile(r"(\]\()([^)\s]+)(\))")


def place(file: str) -> str:
    """Where a file of the repository is in the site's source."""
    if file in TOP:
        return TOP[file]
    return file.removeprefix("docs/") if file.startswith("docs/") else f"files/{file}"


def pages() -> list[str]:
    """All pages, as paths in the repository."""
    below = (ROOT / "docs").rglob("*.md")
    return [*TOP, *sorted(path.relative_to(ROOT).as_posix() for path in below)]


def for_site(page: str, text: str) -> tuple[str, set[str]]:
    """A page with its links as the site needs them, and the other files that it links to.

    Args:
        page: its path in the repository.
        text: as it stands there.
    """
    files: set[str] = set()

    def moved(link: re.Match[str]) -> str:
        target, _, anchor = link[2].partition("#")
        if not target or "://" in target or target.startswith("mailto:"):
            return link[0]
        file = posixpath.normpath(posixpath.join(posixpath.dirname(page), target))
        if not file.endswith(".md") and (ROOT / file).is_file():
            files.add(file)
        to = posixpath.relpath(place(file), posixpath.dirname(place(page)) or ".")
        return f"{link[1]}{to}{'#' if anchor else ''}{anchor}{link[3]}"

    parts, end = [], 0
    for fence in _FENCE.finditer(text):
        parts += [_prose(text[end : fence.start()], moved), _block(fence)]
        end = fence.end()
    parts.append(_prose(text[end:], moved))
    return "".join(parts), files


def _prose(text: str, moved: Callable[[re.Match[str]], str]) -> str:
    # In a span, for at the beginning of a line an element that Markdown does not know would be a block.
    text = _INLINE_MATH.sub(lambda found: f'<span class="formula">{_mathml(found[1], "inline")}</span>', text)
    return _LINK.sub(moved, text)


def _block(fence: re.Match[str]) -> str:
    if fence[2] != "math":
        return fence[0]
    return f'<div class="equation" markdown="0">{_mathml(" ".join(fence[3].split()), "block")}</div>'


def _mathml(latex: str, display: str) -> str:
    """An equation; bars of a norm keep their height, which browsers without a font for equations overdo."""
    mathml: str = convert(latex, display=display)
    return mathml.replace("<mo>&#x02016;</mo>", '<mo stretchy="false">&#x02016;</mo>')


def gather(out: Path) -> Path:
    """Write the site's source and the generator's configuration into a folder; the latter's path."""
    source, config = out / "docs", out / "mkdocs.yml"
    shutil.rmtree(source, ignore_errors=True)
    files: set[str] = set()
    for page in pages():
        text, more = for_site(page, (ROOT / page).read_text(encoding="utf-8"))
        files |= more
        _write(source / place(page), text)
    for file in files:
        target = source / place(file)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / file, target)
    shutil.copyfile(ROOT / "docs" / "site" / "site.css", source / "site.css")
    settings = {
        "INHERIT": str(ROOT / "mkdocs.yml"),
        "docs_dir": "docs",
        "site_dir": "site",
        "theme": {"custom_dir": str(ROOT / "docs" / "site" / "theme")},
        "nav": _nav((ROOT / "mkdocs.yml").read_text(encoding="utf-8")),
    }
    _write(config, yaml.safe_dump(settings))
    return config


def _nav(config: str) -> list[object]:
    """The configuration's, with all measurements and decisions in front of its last section."""
    lines = config[config.index("\nnav:") :]
    nav: list[object] = yaml.safe_load(lines)["nav"]
    more = [
        {title: [f"{folder}/README.md", *(f"{folder}/{p.name}" for p in _all_but_readme(folder))]}
        for title, folder in (("Measurements", "benchmarks"), ("Decisions", "adr"))
    ]
    return [*nav[:-1], *more, nav[-1]]


def _all_but_readme(folder: str) -> list[Path]:
    return [path for path in sorted((ROOT / "docs" / folder).glob("*.md")) if path.name != "README.md"]


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def build(config: Path) -> int:
    """Run the generator, to which every warning is an error; its exit code.

    With ``--quiet`` it would see no warnings.
    """
    command = [sys.executable, "-P", "-m", "mkdocs", "build", "--strict", "--config-file", str(config)]
    quiet = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}  # about its successor: docs/adr/0038-documentation.md
    return subprocess.run(command, env=quiet, check=False).returncode


def main() -> int:
    """Gather and build; the exit code."""
    out = Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else ROOT / "build"
    failed = build(gather(out))
    if not failed:
        print(f"{out / 'site'}: open index.html; its search needs a web server:")
        print(f"next: python3 -m http.server --bind 127.0.0.1 --directory {out / 'site'}")
    return failed


if __name__ == "__main__":
    sys.exit(main())
