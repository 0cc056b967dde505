"""One retraining: replay set, training, export, continuity of ids, acceptance gate, registry, promotion.

Each step leaves its result on disk before the next begins, so a retraining that was killed goes on where it
was. Nothing that a server uses changes before the last step, which is one transaction of the registry.
"""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from disc_stream.artifacts.bundle import Bundle
from disc_stream.artifacts.manifest import MANIFEST_FILE, Manifest
from disc_stream.artifacts.model import Model
from disc_stream.artifacts.run import LabelAt
from disc_stream.artifacts.runtime import OnnxEncoder
from disc_stream.data.types import Split, WindowSet
from disc_stream.errors import ConfigError, DataError, DiscStreamError
from disc_stream.registry import (
    Cluster,
    Deployment,
    GateCheck,
    Lineage,
    Registry,
    VersionInfo,
    device_digest,
)
from disc_stream.retraining.beforehand import check_request, said_once
from disc_stream.retraining.judging import Judged, Material, judge, window_set
from disc_stream.retraining.likebefore import label_at, with_preset
from disc_stream.retraining.naming import proposal_of
from disc_stream.retraining.recent import Recent, RecentWindows
from disc_stream.retraining.rejected import obeying
from disc_stream.retraining.replayset import ReplayChooser, ReplayRule, ReplaySet, own_ids
from disc_stream.retraining.request import Progress, RetrainRequest, Tell, tell_nobody
from disc_stream.retraining.work import Work
from disc_stream.stream.sessions import StreamSpec
from disc_stream_server.dataset.collected import spec_of_collected
from disc_stream_server.dataset.replay import Replay, whole_windows
from disc_stream_server.storage.notes import KnownRejections

log = logging.getLogger(__name__)

DATASET = "spool"
_OF_THE_WEIGHTS = ("network", "bands", "axes")  # settings that decide the shape of what is gone on from


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a retraining.

    Args:
        version: the new one, in the registry; also if it was rejected.
        checks: of the gate.
        deployment: None if it was not promoted; also if the same model was in production already.
        windows: learned from.
        seen: windows that there were.
        devices: that they came from.
    """

    version: VersionInfo
    checks: tuple[GateCheck, ...]
    deployment: Deployment | None
    windows: int
    seen: int
    devices: int

    @property
    def rejected(self) -> str:
        """Why it was rejected, "" if it was not."""
        return self.version.rejected


@dataclass(frozen=True, slots=True)
class Base:
    """What the registry had in production when the retraining began.

    Args:
        registry: name of it, by which its ids are told from others.
        version: content hash; None if there was none.
        ids: own ids of its rows.
        clusters: all of the registry.
        known: version -> own ids by row, of all that were in production.
    """

    registry: str
    version: str | None
    ids: tuple[int, ...]
    clusters: tuple[Cluster, ...]
    known: dict[str, tuple[int, ...]]

    @property
    def published(self) -> set[int]:
        """Public ids of its rows."""
        return {one.public_id for one in self.clusters if one.id in self.ids}

    def manifest(self, registry: Registry, request: RetrainRequest) -> Manifest | None:
        """Of the version; None if there was none."""
        if self.version is None:
            return None
        return registry.bundle(self.version, trusted_keys=request.trusted_key).manifest

    @classmethod
    def of(cls, registry: Registry) -> Base:
        """As it is now."""
        current = registry.current()
        known = {info.version: info.ids for info in registry.versions() if info.ids is not None}
        version = None if current is None else current.version
        name = "" if version is None else registry.catalogue_of(version).registry
        ids = () if version is None else known[version]
        return cls(name, version, ids, registry.clusters.list(retired=True), known)


def retrain(request: RetrainRequest, tell: Tell = tell_nobody, *, discard: bool = False) -> Outcome:
    """Retrain once.

    Args:
        request: what is asked for.
        tell: is told how far it is.
        discard: begin anew, even if an earlier one can go on.

    Raises:
        ConfigError: if something of the request cannot be used, an earlier retraining was to do something
            else, another version came into production meanwhile, or a device was erased.
        DataError: if there is nothing to learn from.
        DiscStreamError: if it cannot be done; what is on its way stays, and the next call goes on there.
    """
    check_request(request)
    with said_once(), Registry.open(request.models) as registry, closing(Work(request.state)) as work:
        if discard:
            work.discard()
        base = Base.of(registry)
        before = base.manifest(registry, request)
        request = with_preset(request, before)
        if (done := _added_before(request, registry, work)) is not None:
            return _finish(request, registry, work, done, tell)
        _agree(request, base, work)
        with _noticing_erasure(work):
            replay, recent, spec = _replay(request, registry, base, work, tell)
            work.require_begun()
            _train(request, base, work, (replay, spec), tell)
            work.require_begun()
            candidate = _export(request, work, label_at(work.run, before), tell)
            known = _find(registry, candidate.version)
            if known is not None and (known.ids is not None or known.proposal.based_on == base.version):
                return _finish(request, registry, work, known, tell)
            base = _still(base, registry)
            tell(Progress("gate", 0, None, "asking whether it may take over"))
            judged = judge(candidate, Material(replay, recent, spec, work.load_anchors(spec)), base, request)
            if judged.anchors is not None:
                work.save_anchors(judged.anchors, spec)
            version = _add(request, registry, work, base, replay, (candidate, judged))
            return _finish(request, registry, work, version, tell)


@contextmanager
def _noticing_erasure(work: Work) -> Iterator[None]:
    """A step that fails because its files were erased says so; what cannot be learned from is not kept."""
    try:
        yield
    except (DiscStreamError, OSError) as error:
        work.require_begun()
        if isinstance(error, DataError | ConfigError):
            work.discard()  # it would fail again, from the same windows
        raise


def _plan_of(request: RetrainRequest, based_on: str | None) -> dict[str, Any]:
    return {"request": request.digest(), "based_on": based_on, "models": str(request.models.absolute())}


def _added_before(request: RetrainRequest, registry: Registry, work: Work) -> VersionInfo | None:
    """The version that an unfinished retraining has added to the registry before it was killed."""
    plan = work.plan()
    if plan is None or plan != _plan_of(request, plan.get("based_on")):
        return None
    if not (work.bundle / MANIFEST_FILE).is_file():
        return None
    known = _find(registry, Bundle.open(work.bundle, trusted_keys=request.trusted_key).version)
    if known is None or known.proposal.based_on != plan["based_on"]:
        return None
    current = registry.current()
    now = None if current is None else current.version
    return known if now in {plan["based_on"], known.version} else None


def _agree(request: RetrainRequest, base: Base, work: Work) -> None:
    """Go on with what is on its way, or begin."""
    found, wanted = work.plan(), _plan_of(request, base.version)
    if found == wanted:
        log.info("going on with the retraining in %s", work.path)
        return
    if found is not None and work.has_begun_well:
        if found.get("based_on") == base.version:
            raise ConfigError(
                "an earlier retraining was not finished, and it had other settings",
                remedy="Add --discard, to begin anew",
            )
        log.warning("an unfinished retraining is given up: another version has gone into production since")
    work.begin(wanted)


def _still(base: Base, registry: Registry) -> Base:
    """What people said of the clusters meanwhile counts; another version in production does not go.

    Raises:
        ConfigError: if there is another one.
    """
    now = Base.of(registry)
    if now.version != base.version:
        raise ConfigError(
            f"{now.version or 'nothing'} has gone into production while the candidate was trained beside "
            f"{base.version or 'nothing'}",
            remedy="Run the same command again; it begins anew",
        )
    return now


def _replay(
    request: RetrainRequest, registry: Registry, base: Base, work: Work, tell: Tell
) -> tuple[ReplaySet, Recent, StreamSpec]:
    found = work.load_replay()
    if found is not None:
        return found
    if base.version is None:
        spec = spec_of_collected(request.state, request.prefix, request.window_s)
    else:
        spec = whole_windows(registry.bundle(base.version, trusted_keys=request.trusted_key).manifest)
    rule = ReplayRule(request.windows, request.half_life_days * 86_400, request.seed)
    rejections = KnownRejections.of(request.state)
    chooser = ReplayChooser(rule, obeying(own_ids(base.known), rejections))
    last = RecentWindows(base.known, base.published, rejections=rejections)

    def progress(done: int, total: int) -> None:
        tell(Progress("replay", done, total, "reading the spool"))

    with closing(Replay(request.state, spec, prefix=request.prefix)) as source:
        chooser.take(last.watch(source.windows(progress)))
    replay, recent = chooser.result(), last.result()
    if not len(replay):
        raise DataError(
            f"there is no whole window in the spool of {str(request.state)!r} under the prefix "
            f"{request.prefix!r}",
            remedy="Let the server collect for a while, or name the prefix that it was started with",
        )
    work.require_begun()  # or windows of an erased device would be written
    work.save_replay(replay, recent, spec)
    return replay, recent, spec


def _train(
    request: RetrainRequest, base: Base, work: Work, data: tuple[ReplaySet, StreamSpec], tell: Tell
) -> None:
    from disc_stream.training.clustercount import AUTO, METRIC
    from disc_stream.training.events import EpochEvent, TrainingEvent
    from disc_stream.training.session import TrainingRequest, train_run

    def on_event(event: TrainingEvent) -> None:
        if isinstance(event, EpochEvent):
            work.require_begun()
            words = ", ".join(f"{name} {value:.4g}" for name, value in event.losses.items())
            tell(Progress("train", event.epoch, event.n_epochs, f"{event.phase}: {words}"))

    windows, spec = window_set(*data), data[1]
    warm = _start_of(request, base, work, windows, tell)
    n_clusters = request.clusters or len(base.ids) or AUTO
    run = TrainingRequest(
        dataset=DATASET,
        out=work.run,
        method=request.method,
        preset=request.preset,
        settings=request.settings,
        n_clusters=n_clusters,
        seed=request.seed,
        device=request.device,
        resume=work.run.exists(),
        warm_start=warm,
        grow=request.clusters is None and warm is not None,
        hop=spec.window.hop,
    )
    tell(Progress("train", 0, None, f"learning from {len(windows):,} windows"))
    learned = train_run(_all_to_learn(windows), run, on_event)
    if n_clusters == AUTO:
        tell(Progress("train", 0, None, str(learned.metrics[METRIC]["why"])))
    elif (more := learned.n_clusters - n_clusters) > 0:
        tell(Progress("train", 0, None, f"new motion: {more} cluster{'s' if more > 1 else ''} more"))


def _start_of(request: RetrainRequest, base: Base, work: Work, windows: WindowSet, tell: Tell) -> Path | None:
    """The run to go on from; None where there is none that the recipe can go on from."""
    from disc_stream.training.recipes import RECIPES, recipe_of_run
    from disc_stream.training.runs import read_info

    recipe = RECIPES[request.method]
    if base.version is None or request.from_scratch:
        return None
    run = work.kept_run(base.version)
    if run is None:
        tell(Progress("train", 0, None, f"the weights of {base.version} are not here: from scratch"))
        return None
    info, before = read_info(run), recipe_of_run(read_info(run).method)
    config = recipe.resolve(request.preset, request.settings).to_dict()
    same = (
        (before.family, before.family or before.name) == (recipe.family, recipe.family or recipe.name)
        and all(info.config.get(name) == config.get(name) for name in _OF_THE_WEIGHTS)
        and [(c.name, c.unit) for c in info.channels] == [(c.name, c.unit) for c in windows.channels]
        and info.window.samples == windows.x.shape[1]
    )
    if not same:
        tell(Progress("train", 0, None, f"{base.version} is a network of another shape: from scratch"))
    return run if same else None


def _all_to_learn(windows: WindowSet) -> Split:
    nothing = windows.select(windows.group < 0)
    return Split(windows, nothing, "the replay set; there are no labels", n_clusters=0)


def _export(request: RetrainRequest, work: Work, at: LabelAt | None, tell: Tell) -> Model:
    from disc_stream_export import Choices, export_run

    def progress(text: str) -> None:
        tell(Progress("export", 0, None, text))

    shutil.rmtree(work.bundle, ignore_errors=True)  # left half done; the same run gives the same bundle
    name = f"{request.method}-{request.preset}" if request.method != "disc-plus" else request.method
    export_run(
        work.run, work.bundle, choices=Choices(name, label_at=at, examples=request.examples),
        sign_key=request.sign_key, progress=progress,
    )  # fmt: skip
    bundle = Bundle.open(work.bundle, trusted_keys=request.trusted_key)
    return Model(bundle.manifest, OnnxEncoder(bundle, "cpu", request.threads), bundle.catalogue)


def _find(registry: Registry, version: str) -> VersionInfo | None:
    """The newest one with that model."""
    return next((info for info in reversed(registry.versions()) if info.version == version), None)


def _add(
    request: RetrainRequest,
    registry: Registry,
    work: Work,
    base: Base,
    replay: ReplaySet,
    judged: tuple[Model, Judged],
) -> VersionInfo:
    candidate, verdict = judged
    failed = [check for check in verdict.checks if not check.passed]
    rejected = "; ".join(f"{check.measure}: {check.reason}" for check in failed)[:1000]
    training = candidate.manifest.training
    lineage = Lineage(
        parent=base.version,
        fingerprint=training.fingerprint,
        method=training.method,
        settings={**request.settings, "preset": request.preset, "from_scratch": request.from_scratch},
        seed=request.seed,
        metrics=training.metrics,
        gate=verdict.checks,
        created_us=time.time_ns() // 1000,
        windows=len(replay),
        devices=len(replay.device_names),
        device_digests=tuple(device_digest(name) for name in replay.device_names),
    )
    proposal = proposal_of(verdict.alignment, verdict.described, base.version)
    work.require_begun()
    version = registry.add(
        work.bundle, lineage, proposal, rejected=rejected, trusted_keys=request.trusted_key
    )
    try:
        work.require_begun()
    except ConfigError:
        registry.mark(version.number, "trained on data of a device that was erased meanwhile")
        registry.drop_examples(version.number)
        raise
    return version


def _finish(
    request: RetrainRequest, registry: Registry, work: Work, version: VersionInfo, tell: Tell
) -> Outcome:
    """Promote a version of the registry if it may be, keep what the next one goes on from, clear away.

    Also where the version was there before: we were killed after that, or nothing new was learned.
    """
    plan, current, deployment = work.plan() or {}, registry.current(), None
    based_on = plan.get("based_on")
    if request.promote and not version.rejected and version.ids is None:
        work.require_begun()
        tell(Progress("promote", 0, None, f"version {version.number} goes into production"))
        deployment = registry.promote(
            version.number, request.who, request.why, trusted_keys=request.trusted_key
        )
        version = registry.version(version.number)  # its rows have ids now
    elif current is not None and current.version == version.version != based_on:
        deployment = current  # we were killed after that
    found = work.load_replay()
    seen = version.lineage.windows if found is None else found[0].seen
    work.finish(version.version, {based_on or "", current.version if current is not None else ""})
    lineage = version.lineage
    return Outcome(version, lineage.gate, deployment, lineage.windows, seen, lineage.devices)
