"""The documentation site: builds strictly, asks nobody else, and its made pages are up to date."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import yaml

ROOT = Path(__file__).parents[2]
SITE = ROOT / "docs" / "site"
# What a browser fetches by itself when it opens a page.
_FETCHED = re.compile(r"""<(?:script|link|img|iframe|source)\b[^>]*?\b(?:src|href)=["']?(?:https?:)?//""")


def module(name: str) -> ModuleType:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(SITE)
        return importlib.import_module(name)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-P", str(SITE / "build.py"), str(out)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return out / "site"


def test_every_page_is_on_the_site(site: Path) -> None:
    build = module("build")
    for page in build.pages():
        made = site / re.sub(r"README\.md$", "index.md", build.place(page)).replace(".md", ".html")
        assert made.is_file(), page


def test_a_browser_asks_nobody_else(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) > 80
    for page in pages:
        text = page.read_text(encoding="utf-8")
        assert not _FETCHED.search(text), page
        assert "<meta http-equiv=Content-Security-Policy" in text.replace('"', "").replace("'", ""), page
    for sheet in site.rglob("*.css"):
        assert not re.search(r"url\(['\"]?(?:https?:)?//|@import", sheet.read_text(encoding="utf-8")), sheet


def test_equations_are_mathml_and_links_lead_to_pages(site: Path) -> None:
    method = (site / "explanation" / "method.html").read_text(encoding="utf-8")
    assert method.count('display="block"') >= 10
    assert "\\frac" not in method
    assert "$`" not in method
    home = (site / "index.html").read_text(encoding="utf-8")
    assert 'href="tutorials/first-hour.html"' in home
    assert 'href="contributing.html"' in home


def test_a_link_to_no_page_and_to_no_heading_fails_the_build(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    build = module("build")
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "index.md").write_text("# Title\n\n[one](gone.md) [two](index.md#nowhere)\n")
    config = tmp_path / "mkdocs.yml"
    settings = {
        "INHERIT": str(ROOT / "mkdocs.yml"),
        "docs_dir": "docs",
        "site_dir": "site",
        "nav": ["index.md"],
        "extra_css": [],
        "theme": {"custom_dir": str(SITE / "theme")},
    }
    config.write_text(yaml.safe_dump(settings))
    assert build.build(config) != 0
    said = capfd.readouterr().err
    assert "gone.md" in said
    assert "#nowhere" in said


@pytest.mark.parametrize("name", ["cli.md", "settings.md", "errors.md"])
def test_pages_that_are_made_of_the_code_are_up_to_date(name: str) -> None:
    made = module("reference").PAGES[name]()
    assert (ROOT / "docs" / "reference" / name).read_text(encoding="utf-8") == made, (
        "run: python docs/site/reference.py"
    )
