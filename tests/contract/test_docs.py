"""What the pages and the messages say of commands, options, extras and files is so."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from tests.support.commands import (
    ROOT,
    check_arguments,
    commands,
    mentioned_commands,
    mentioned_options,
    module_options,
    options,
    resolve,
    shell_commands,
    source_texts,
    without_commands,
)

PAGES = sorted(
    path.relative_to(ROOT)
    for path in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"))
    if path.name != "CHANGELOG.md"
)
INSTALLING = (ROOT / "docs/guides/installing.md").read_text(encoding="utf-8")
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]

GROUPS = {path[0] for path in commands() if len(path) > 1}
_FENCED = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
# Of other programs that our pages and messages show.
FOREIGN = {
    "--nproc-per-node", "--upgrade",
    # docker build, systemctl; deploy/install.sh, whose options tests/integration/test_install.py uses
    "--build-arg", "--now", "--purge", "--runtime", "--uninstall",
}  # fmt: skip
# What texts in these folders may name without a command: the options of the commands that use the code.
USED_BY = {
    "disc_stream/artifacts": ["export", "serve"],
    "disc_stream/benchmarks": ["benchmark table1", "benchmark train", "benchmark continuity"],
    "disc_stream/benchmarks/adapt.py": ["benchmark adapt"],
    "disc_stream/benchmarks/accelerator.py": ["benchmark gpu"],
    "disc_stream/benchmarks/partial.py": ["benchmark gpu"],
    "disc_stream/config.py": ["serve"],
    "disc_stream/data": ["data import", "data look", "data windows", "train"],
    "disc_stream/demo": ["demo", "retrain"],
    "disc_stream/load": ["benchmark ingest", "benchmark soak", "benchmark page"],
    "disc_stream/localbroker": ["demo"],
    "disc_stream/phones": ["phone"],
    "disc_stream/plots": ["plot confusion"],
    "disc_stream/registry": ["models promote", "models init"],
    "disc_stream/retraining": ["retrain"],
    "disc_stream/stream": ["serve"],
    "disc_stream/training": ["train"],
    "disc_stream/watching": ["watch"],
    "disc_stream/wire": ["serve", "edge publish"],
    "disc_stream/wire/inspection.py": ["wire check"],
    "edge/disc_stream_edge": ["edge publish", "edge label"],
    "export/disc_stream_export": ["export"],
    "server/disc_stream_server/brokerconfig": ["broker config", "broker add-device"],
    "server/disc_stream_server/doctor": ["doctor"],
    "server/disc_stream_server/retraining": ["retrain", "serve"],
    "server/disc_stream_server/storage": ["serve", "data export", "deadletter list"],
    "server/disc_stream_server/dataset": ["data export"],
    "server/disc_stream_server": ["serve"],
}
# Options of programs that the code starts, given as words of a command line.
STARTED = {"disc_stream/load": {"--config", "--json", *options("retrain")}}
# Words that follow "disc-stream" where no command is meant.
_NO_COMMANDS = {"and", "authority", "here"}
# Helpers of one command, in files of their own.
HELPERS = {
    "registries": "models",
    "labelfile": "label",
    "data_import": "data",
    "export_c": "export",
    "export_progress": "export",
    "training_progress": "train",
    "benchmark_progress": "benchmark",
    "edgeble": "edge",
    "edgeoptions": "edge",
    "providers": "benchmark encode",
    "provisioning": "broker",
    "retrain_dryrun": "retrain",
    "exchange": "episodes",
}


def blocks(page: Path, *kinds: str) -> list[str]:
    text = (ROOT / page).read_text(encoding="utf-8")
    return [
        body
        for kind, body in re.findall(r"^```(\w*)\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
        if kind in kinds
    ]


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_every_command_line_on_a_page_can_be_parsed(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for block in blocks(page, "sh", ""):
        for name, value in re.findall(r"^export (\w+)=(\S+)$", block, re.MULTILINE):
            monkeypatch.setenv(name, value)
        for words in shell_commands(block):
            check_arguments(words)


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_commands_and_options_in_running_text_exist(page: Path) -> None:
    text = re.sub(
        r"^```.*?^```", "", (ROOT / page).read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL
    )
    every = {option for path in commands() for option in options(*path)} | FOREIGN
    for code in re.findall(r"`([^`]+)`", text):
        for words in shell_commands(code.replace("\n", " ")):
            if words == ["--help"] or (len(words) == 1 and words[0] in GROUPS):
                continue
            path = resolve(words)
            unknown = {word for word in words if word.startswith("--")} - options(*path)
            assert not unknown, f"{page}: disc-stream {' '.join(path)} has no {unknown}"
        if not code.startswith(("pip ", "docker", "kubectl", "torchrun", "sudo sh deploy/install.sh")):
            assert set(mentioned_options(code)) <= every, f"{page}: {code}"


@pytest.mark.parametrize("path", commands(), ids=" ".join)
def test_examples_in_help_pages_can_be_parsed(path: tuple[str, ...]) -> None:
    text = (commands()[path].help or "").replace("\\", "")
    examples = re.findall(r"^(?:\w[\w ]*: )?((?:[\w-]+ \| )?disc-stream .+)$", text, re.MULTILINE)
    assert examples
    for example in examples:
        for words in shell_commands(example):
            check_arguments(words)


def test_commands_in_messages_exist() -> None:
    n = 0
    for mention in source_texts():
        for words, rest in mentioned_commands(mention.text):
            if words[0] in _NO_COMMANDS or (len(words) == 1 and words[0] in GROUPS):
                continue
            n += 1
            path = resolve(words)
            unknown = set(mentioned_options(rest)) - options(*path) - FOREIGN
            assert not unknown, f"{mention.place}: disc-stream {' '.join(path)} has no {unknown}"
    assert n > 50, "the search finds nothing any more"


def test_options_in_messages_belong_to_the_commands_that_show_them() -> None:
    n = 0
    for mention in source_texts():
        named = set(mentioned_options(without_commands(mention.text))) - FOREIGN
        file = mention.place.partition(":")[0]
        named -= STARTED.get(str(Path(file).parent), set())
        if named:
            n += 1
            assert named <= _options_of(file), f"{mention.place}: {mention.text!r}"
    assert n > 50, "the search finds nothing any more"


def _options_of(file: str) -> set[str]:
    if file.startswith("disc_stream/cli/"):
        stem = Path(file).stem
        if stem in ("common", "app"):
            return {option for path in commands() for option in options(*path)} | {"--version"}
        return module_options(f"disc_stream.cli.{HELPERS.get(stem, stem)}") | {"--help"}
    folder = max((folder for folder in USED_BY if file.startswith(folder)), key=len)
    return {option for command in USED_BY[folder] for option in options(*command.split())}


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_links_lead_somewhere(page: Path) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in target or target.startswith("mailto:"):
            continue
        file, _, anchor = target.partition("#")
        path = (ROOT / page).parent / file if file else ROOT / page
        assert path.exists(), f"{page}: {target}"
        if anchor:
            titles = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w\- ]", "", t.lower()).replace(" ", "-") for t in titles}, target


def test_the_guide_lists_every_extra_and_no_other() -> None:
    table = INSTALLING.split("| Extra | What it is for |")[1].split("\n\n")[0]
    assert sorted(re.findall(r"^\| `([\w-]+)` \|", table, re.MULTILINE)) == sorted(EXTRAS)


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_extras_that_pages_install_exist(page: Path) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    for names in re.findall(r"(?:disc-stream|\.)\[([a-z,]+)\]", text):
        assert set(names.split(",")) <= set(EXTRAS), f"{page}: [{names}]"


def test_every_command_that_reads_datasets_takes_data() -> None:
    """Their readers say `--data`, whichever command they read for."""
    for path, command in commands().items():
        if any(param.envvar == "DISC_STREAM_DATA" for param in command.params):
            assert "--data" in options(*path), path


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_files_that_pages_name_exist(page: Path) -> None:
    """Decisions are exempt: they are dated, and name what was there then."""
    if page.parent.name == "adr":
        return
    text = (ROOT / page).read_text(encoding="utf-8")
    roots = "disc_stream|server|edge|export|tests|docs|deploy"
    for name in re.findall(rf"`((?:{roots})/[\w./-]+)`", text):
        assert (ROOT / name).exists(), f"{page}: {name}"
