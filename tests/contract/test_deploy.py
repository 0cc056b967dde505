"""What is in deploy/: linted, validated against the official schemas, and in agreement with the code."""

from __future__ import annotations

import getpass
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from check_jsonschema.builtin_schemas import get_builtin_schema
from grafana_foundation_sdk.models.dashboard import Dashboard
from jsonschema.validators import validator_for

from disc_stream_server.brokerconfig.setup import write_setup
from disc_stream_server.metrics import definitions as known
from tests.support.commands import check_arguments
from tests.support.tools import need

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
RULES = yaml.safe_load((DEPLOY / "prometheus/rules.yml").read_text())
RULE_TESTS = yaml.safe_load((DEPLOY / "prometheus/rules.test.yml").read_text())
COMPOSE = yaml.safe_load((DEPLOY / "compose/compose.yaml").read_text())
DASHBOARD = json.loads((DEPLOY / "grafana/dashboards/disc-stream.json").read_text())
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
KUSTOMIZATIONS = [path.parent for path in sorted((DEPLOY / "kubernetes").rglob("kustomization.yaml"))]
MANIFESTS = [
    path for path in sorted((DEPLOY / "kubernetes").rglob("*.yaml"))
    if path.name not in {"kustomization.yaml", "serve.yaml"}
]  # fmt: skip


def run(*words: object, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(word) for word in words], check=False, capture_output=True, text=True, timeout=120, **options
    )


def program(name: str) -> str:
    """One that a package for Python brings along."""
    found = shutil.which(name, path=f"{Path(sys.executable).parent}:/usr/bin")
    assert found is not None, name
    return found


# -- shell and containers ---------------------------------------------------------------------------------


def test_scripts_are_sound_for_sh() -> None:
    scripts = sorted(DEPLOY.rglob("*.sh"))
    assert len(scripts) >= 4
    done = run(program("shellcheck"), *scripts)
    assert done.returncode == 0, done.stdout


def test_the_container_file_has_nothing_that_its_linter_warns_of() -> None:
    file = DEPLOY / "containers/Containerfile"
    done = run(program("hadolint"), "--failure-threshold", "info", file)
    assert done.returncode == 0, done.stdout
    text = file.read_text()
    stages = re.split(r"^FROM ", text, flags=re.MULTILINE)
    for name in ("server", "cuda", "edge"):
        stage = next(one for one in stages if re.match(rf"\S+ AS {name}\n", one))
        assert "USER 10001:10001" in stage, "not root"
        assert "HEALTHCHECK" in stage
    for source in re.findall(r"^COPY (?!--)(.+) \S+$", text, re.MULTILINE):
        for path in source.split():
            assert (ROOT / path).exists(), path


def test_what_images_run_are_commands_that_exist() -> None:
    text = (DEPLOY / "containers/Containerfile").read_text()
    for entry, command in re.findall(r"^ENTRYPOINT (\[.*\])\nCMD (\[.*\])$", text, re.MULTILINE):
        words = [*json.loads(entry), *json.loads(command)]
        assert words[0] == "disc-stream"
        check_arguments(words[1:])


# -- compose ----------------------------------------------------------------------------------------------


def test_compose_follows_the_specification() -> None:
    schema = get_builtin_schema("vendor.compose-spec")
    validator = validator_for(schema)(schema)
    assert [error.message for error in validator.iter_errors(COMPOSE)] == []
    broken = {**COMPOSE, "services": {"server": {"imagee": "x"}}}
    assert list(validator.iter_errors(broken)), "the check can fail"


def test_compose_names_files_volumes_and_services_that_are_there() -> None:
    services = COMPOSE["services"]
    assert set(services) == {"setup", "mosquitto", "server", "prometheus", "grafana"}
    for name, service in services.items():
        assert service["read_only"], name
        assert service["cap_drop"] == ["ALL"], name
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            if source.startswith("."):
                assert (DEPLOY / "compose" / source).exists(), source
            else:
                assert source in COMPOSE["volumes"], source
        assert set(service.get("depends_on", {})) <= set(services)
        # A port is open to others only where devices and people connect.
        open_ = [port for port in service.get("ports", []) if not port.startswith("127.0.0.1:")]
        assert open_ == [] or name == "mosquitto"
    check_arguments(services["server"]["command"])
    context = (DEPLOY / "compose" / services["server"]["build"]["context"]).resolve()
    assert context == ROOT
    assert (context / services["server"]["build"]["dockerfile"]).exists()


# -- Kubernetes -------------------------------------------------------------------------------------------


def documents(text: str) -> list[dict[str, Any]]:
    return [one for one in yaml.safe_load_all(text) if one]


@pytest.mark.parametrize("file", MANIFESTS, ids=lambda path: str(path.relative_to(DEPLOY)))
def test_manifests_follow_the_official_schemas(file: Path) -> None:
    for document in documents(file.read_text()):
        for version in ("1.31", kubernetes_validate.latest_version()):
            kubernetes_validate.validate(document, version, strict=True)


def test_every_manifest_is_part_of_a_kustomization() -> None:
    named = {
        (folder / resource).resolve()
        for folder in KUSTOMIZATIONS
        for resource in yaml.safe_load((folder / "kustomization.yaml").read_text())["resources"]
    }
    assert {path for path in named if path.is_file()} == {path.resolve() for path in MANIFESTS}
    assert all(path.exists() for path in named)


@pytest.mark.parametrize("folder", KUSTOMIZATIONS, ids=lambda path: path.name)
def test_kustomizations_can_be_built(folder: Path) -> None:
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("kubectl is not installed; the manifests themselves are validated above")
    done = run(kubectl, "kustomize", folder)
    assert done.returncode == 0, done.stderr
    built = documents(done.stdout)
    for document in built:
        kubernetes_validate.validate(document, kubernetes_validate.latest_version(), strict=True)
    kinds = {document["kind"] for document in built}
    assert {"Namespace", "StatefulSet", "Service", "NetworkPolicy", "ConfigMap"} <= kinds


def test_the_secrets_are_those_that_the_guide_makes(tmp_path: Path) -> None:
    """By its own commands, with a set-up of a broker; kubectl says what it would send."""
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("kubectl is not installed")
    write_setup(tmp_path / "broker", hosts=("broker.example.org", "mosquitto"), user=getpass.getuser())
    for name in ("broker-password", "page-token"):
        (tmp_path / name).write_text("x" * 48)
    text = re.sub(r"\\\n\s*", "", GUIDE)
    made = {}
    for line in re.findall(r"^kubectl --namespace disc-stream create secret .*$", text, re.MULTILINE):
        words = line.replace("/broker", str(tmp_path / "broker")).split()[1:]
        done = run(kubectl, *words, "--dry-run=client", "--output", "yaml", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        secret = yaml.safe_load(done.stdout)
        made[secret["metadata"]["name"]] = set(secret["data"])
    assert made["disc-stream-credentials"] == {"ca.crt", "broker-password", "page-token"}
    assert {"mosquitto.conf", "broker.key", "services.passwords", "people.acl"} <= made["disc-stream-broker"]
    volumes = [volume for _, _, pod in pods() for volume in pod["volumes"]]
    named = {volume["secret"]["secretName"] for volume in volumes if "secret" in volume}
    assert named == set(made)


def pods() -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    for file in MANIFESTS:
        for document in documents(file.read_text()):
            if document["kind"] == "StatefulSet":
                yield document["metadata"]["name"], document["spec"], document["spec"]["template"]["spec"]


@pytest.mark.parametrize(
    ("name", "spec", "pod"), list(pods()), ids=lambda one: one if isinstance(one, str) else ""
)
def test_pods_are_confined_and_mount_what_they_declare(
    name: str, spec: dict[str, Any], pod: dict[str, Any]
) -> None:
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    volumes = {one["name"] for one in pod["volumes"]}
    volumes |= {one["metadata"]["name"] for one in spec["volumeClaimTemplates"]}
    mounted = set()
    for container in (*pod.get("initContainers", []), *pod["containers"]):
        context = container["securityContext"]
        assert (context["allowPrivilegeEscalation"], context["readOnlyRootFilesystem"]) == (False, True)
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert {"requests", "limits"} <= set(container["resources"])
        mounted |= {one["name"] for one in container["volumeMounts"]}
    assert mounted == volumes
    for container in pod["containers"]:
        ports = {one["name"] for one in container["ports"]}
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            how = container[probe].get("httpGet") or container[probe]["tcpSocket"]
            assert how["port"] in ports


def test_the_server_is_probed_where_it_answers() -> None:
    pod = next(pod for name, _, pod in pods() if name == "disc-stream-server")
    server = pod["containers"][0]
    assert server["readinessProbe"]["httpGet"]["path"] == "/readyz"
    assert server["livenessProbe"]["httpGet"]["path"] == "/healthz", (
        "a restart does not bring the broker back"
    )
    check_arguments(server["args"])
    settings = yaml.safe_load((DEPLOY / "kubernetes/base/serve.yaml").read_text())
    ports = {one["name"]: one["containerPort"] for one in server["ports"]}
    assert int(settings["http"].rpartition(":")[2]) == ports["http"]
    assert int(settings["metrics_bind"].rpartition(":")[2]) == ports["metrics"]
    paths = [one["mountPath"] for one in server["volumeMounts"]]
    for setting in ("models", "state", "http_token"):
        assert any(settings[setting].startswith(path) for path in paths), setting


# -- Prometheus and Grafana -------------------------------------------------------------------------------


def test_prometheus_takes_configuration_and_rules_and_its_unit_tests_pass() -> None:
    promtool = need("promtool", "prometheus")
    folder = DEPLOY / "prometheus"
    for words in (("check", "config", "prometheus.yml"), ("test", "rules", "rules.test.yml")):
        done = run(promtool, *words, cwd=folder)
        assert done.returncode == 0, done.stdout + done.stderr


def alerts() -> dict[str, dict[str, Any]]:
    return {rule["alert"]: rule for group in RULES["groups"] for rule in group["rules"] if "alert" in rule}


def test_every_alert_is_made_to_fire_by_a_unit_test_and_is_documented() -> None:
    fired = {
        case["alertname"] for test in RULE_TESTS["tests"] for case in test.get("alert_rule_test", [])
        if case.get("exp_alerts")
    }  # fmt: skip
    text = (DEPLOY / "prometheus/rules.test.yml").read_text()
    fired |= set(re.findall(r'\{alertname="(\w+)"\}', text))
    assert fired == set(alerts())
    page = (ROOT / "docs/reference/metrics.md").read_text()
    rows = re.findall(r"^\| `(DiscStream\w+)` \| (\w+) \| ([\w ]+) \| `(.+)` \|$", page, re.MULTILINE)
    assert {row[0]: row[1:] for row in rows} == {
        name: (rule["labels"]["severity"], rule.get("for", "at once"), " ".join(rule["expr"].split()))
        for name, rule in alerts().items()
    }
    for name, rule in alerts().items():
        assert set(rule["annotations"]) == {"summary", "description"}, name


def metrics_in(expression: str) -> set[str]:
    found = set(re.findall(r"\bdisc_stream_\w+", expression))
    return {re.sub(r"_(bucket|sum|count)$", "", name) if name not in NAMES else name for name in found}


NAMES = {one.exposed for one in known.all_definitions()}


def test_rules_and_dashboard_use_metrics_that_exist() -> None:
    rules = [rule["expr"] for group in RULES["groups"] for rule in group["rules"]]
    panels = [target["expr"] for panel in DASHBOARD["panels"] for target in panel.get("targets", [])]
    assert len(panels) > 20
    for expression in (*rules, *panels):
        assert metrics_in(expression) <= NAMES, expression


def test_the_dashboard_is_one_for_grafana_and_does_not_overlap() -> None:
    read = Dashboard.from_json(DASHBOARD)
    assert read.title == "disc-stream"
    assert len(read.panels or []) == len(DASHBOARD["panels"])
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        grid = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(grid["x"], grid["x"] + grid["w"])
            for y in range(grid["y"], grid["y"] + grid["h"])
        }
        assert not cells & taken, panel["title"]
        assert grid["x"] + grid["w"] <= 24
        taken |= cells
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])


# -- systemd ----------------------------------------------------------------------------------------------


@pytest.fixture
def installed_units(tmp_path: Path) -> Path:
    """The units as the script installs them, in a root of their own."""
    for what in ("--server", "--edge"):
        words = ("sh", DEPLOY / "install.sh", what, "--files-only")
        done = run(*words, env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "DESTDIR": str(tmp_path)})
        assert done.returncode == 0, done.stderr
    return tmp_path / "usr/lib/systemd/system"


@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.name)
def test_units_are_hardened(unit: Path, installed_units: Path) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd-analyze is not installed: apt-get install systemd")
    # An exposure of 3.0 of 10, times ten; measured: 1.4 for the server, 1.2 for the publisher.
    done = run(
        analyze, "security", "--offline=yes", "--threshold=30", "--no-pager", installed_units / unit.name
    )
    assert done.returncode == 0, done.stdout + done.stderr
    score = re.search(r"Overall exposure level for \S+: ([\d.]+)", done.stdout)
    assert score is not None
    assert float(score[1]) <= 3.0


@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.name)
def test_systemd_understands_every_line_of_the_units(unit: Path, installed_units: Path) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd-analyze is not installed: apt-get install systemd")
    installed = installed_units / unit.name
    # What it starts has to be there for this check: any program will do.
    installed.write_text(
        re.sub(r"^ExecStart=\S+", "ExecStart=/bin/true", installed.read_text(), flags=re.MULTILINE)
    )
    name = installed_units / unit.name.replace("@", "@watch-1")
    done = run(analyze, "verify", "--man=no", "--recursive-errors=no", name)
    about_us = [line for line in done.stderr.splitlines() if "disc-stream" in line]
    assert about_us == [], done.stderr


@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.name)
def test_units_start_commands_that_exist(unit: Path) -> None:
    command = re.search(r"^ExecStart=@PREFIX@/bin/disc-stream (.*)$", unit.read_text(), re.MULTILINE)
    assert command is not None
    words = command[1].replace("$DISC_STREAM_EDGE_ARGS", "--synthetic").replace("%i", "watch-1").split()
    check_arguments(words)


# -- the guide --------------------------------------------------------------------------------------------

GUIDE = (ROOT / "docs/guides/production.md").read_text()


def test_the_guide_names_files_of_deploy_that_exist() -> None:
    named = set(re.findall(r"\bdeploy/[\w./-]*\w", GUIDE))
    assert len(named) > 8
    assert [path for path in sorted(named) if not (ROOT / path).exists()] == []


def test_commands_in_containers_that_the_guide_shows_can_be_parsed() -> None:
    """``docker compose … SERVICE ARGUMENTS``: what follows the service is given to ``disc-stream``."""
    found = 0
    for line in GUIDE.replace("\\\n", " ").splitlines():
        match = re.search(r"^docker compose run .*\b(?:setup|server) ([a-z].+)$", line)
        match = match or re.search(r"-- disc-stream ([^`]+)`", line)
        if match is not None:
            found += 1
            check_arguments(match[1].split("#")[0].split())
    assert found >= 4
