"""One retraining: replay set, training, export, continuity of ids, acceptance gate, registry, promotion.

Each step leaves its result on disk before the next begins, so a retraining that was killed goes on where it
was. Nothing that a server uses changes before the last step, which is one transaction of the registry.
"""

from __future__ import annotations

import logging
import shutil
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from disc_stream.artifacts.bundle import Bundle
from disc_stream.artifacts.model import Model
from disc_stream.data.types import Split, WindowSet
from disc_stream.errors import ConfigError, DataError, RegistryError
from disc_stream.registry import (
    Cluster,
    Deployment,
    GateCheck,
    Lineage,
    Registry,
    VersionInfo,
    device_digest,
)
from disc_stream.retraining.judging import Judged, judge, window_set
from disc_stream.retraining.naming import proposal_of
from disc_stream.retraining.recent import Recent, RecentWindows
from disc_stream.retraining.replayset import ReplayChooser, ReplayRule, ReplaySet, own_ids
from disc_stream.retraining.request import Progress, RetrainRequest, Tell, tell_nobody
from disc_stream.retraining.work import Work
from disc_stream.stream.sessions import StreamSpec
from disc_stream_server.dataset.collected import spec_of_collected
from disc_stream_server.dataset.replay import Replay, whole_windows
from disc_stream_server.storage.forget import RETRAINING

log = logging.getLogger(__name__)

DATASET = "spool"
FIRST_CLUSTERS = 6


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a retraining.

    Args:
        version: the new one, in the registry; also if it was rejected.
        checks: of the gate.
        deployment: None if it was not promoted.
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
        DiscStreamError: if it cannot be done; what is on its way stays, and the next call goes on there.
    """
    with Registry.open(request.models) as registry, closing(Work(request.state)) as work:
        base = _agree(request, registry, work, discard=discard)
        replay, recent, spec = _replay(request, base, work, tell)
        _train(request, base, work, (replay, spec), tell)
        candidate = _export(request, work, tell)
        if (known := _find(registry, candidate.version)) is not None:
            return _finish_known(request, registry, work, known, replay)
        tell(Progress("gate", 0, None, "asking whether it may take over"))
        judged = judge(candidate, (replay, recent, spec), base, request)
        version = _add(request, registry, (work, base, replay), judged)
        deployment = None
        if request.promote and not version.rejected:
            tell(Progress("promote", 0, None, f"version {version.number} goes into production"))
            deployment = registry.promote(
                version.number, request.who, request.why, trusted_keys=request.trusted_key
            )
        work.keep_run(version.version, {base.version or ""})
        work.discard()
        n_devices = len(replay.device_names)
        return Outcome(version, judged.checks, deployment, len(replay), replay.seen, n_devices)


def _agree(request: RetrainRequest, registry: Registry, work: Work, *, discard: bool) -> Base:
    """Go on with what is on its way, or begin."""
    base = Base.of(registry)
    wanted: dict[str, Any] = {
        "request": request.digest(), "based_on": base.version, "models": str(request.models.absolute()),
    }  # fmt: skip
    found = None if discard else work.plan()
    if found is not None and found != wanted:
        moved = found.get("based_on") != base.version
        raise ConfigError(
            "an earlier retraining was not finished, and "
            + ("another version has gone into production since" if moved else "it had other settings"),
            remedy="Add --discard, to begin anew",
        )
    if found is None:
        work.begin(wanted)
    else:
        log.info("going on with the retraining in %s", work.path)
    return base


def _replay(
    request: RetrainRequest, base: Base, work: Work, tell: Tell
) -> tuple[ReplaySet, Recent, StreamSpec]:
    found = work.load_replay()
    if found is not None:
        return found
    if base.version is None:
        spec = spec_of_collected(request.state, request.prefix, request.window_s)
    else:
        with Registry.open(request.models) as registry:
            spec = whole_windows(registry.bundle(base.version, trusted_keys=request.trusted_key).manifest)
    rule = ReplayRule(request.windows, request.half_life_days * 86_400, request.seed)
    chooser, last = ReplayChooser(rule, own_ids(base.known)), RecentWindows(base.version or "")

    def progress(done: int, total: int) -> None:
        tell(Progress("replay", done, total, "reading the spool"))

    with closing(Replay(request.state, spec, prefix=request.prefix)) as source:
        chooser.take(last.watch(source.windows(progress)))
    replay, recent = chooser.result(), last.result()
    if not len(replay):
        raise DataError(
            f"there is no whole window in the spool of {str(request.state)!r} under the prefix "
            f"{request.prefix!r}",
            remedy="Let the server collect for a while",
        )
    work.save_replay(replay, recent, spec)
    return replay, recent, spec


def _train(
    request: RetrainRequest, base: Base, work: Work, data: tuple[ReplaySet, StreamSpec], tell: Tell
) -> None:
    from disc_stream.training.events import EpochEvent, TrainingEvent
    from disc_stream.training.session import TrainingRequest, train_run

    def on_event(event: TrainingEvent) -> None:
        if isinstance(event, EpochEvent):
            words = ", ".join(f"{name} {value:.4g}" for name, value in event.losses.items())
            tell(Progress("train", event.epoch, event.n_epochs, f"{event.phase}: {words}"))

    windows = window_set(*data)
    warm = None
    if base.version is not None and not request.from_scratch:
        warm = work.kept_run(base.version)
    run = TrainingRequest(
        dataset=DATASET,
        out=work.run,
        method=request.method,
        preset=request.preset,
        settings=request.settings,
        n_clusters=request.clusters or len(base.ids) or FIRST_CLUSTERS,
        seed=request.seed,
        device=request.device,
        resume=work.run.exists(),
        warm_start=warm,
    )
    tell(Progress("train", 0, None, f"learning from {len(windows):,} windows"))
    train_run(_all_to_learn(windows), run, on_event)


def _all_to_learn(windows: WindowSet) -> Split:
    nothing = windows.select(windows.group < 0)
    return Split(windows, nothing, "the replay set; there are no labels", n_clusters=FIRST_CLUSTERS)


def _export(request: RetrainRequest, work: Work, tell: Tell) -> Model:
    from disc_stream_export import Naming, export_run

    def progress(text: str) -> None:
        tell(Progress("export", 0, None, text))

    shutil.rmtree(work.bundle, ignore_errors=True)  # left half done; the same run gives the same bundle
    name = f"{request.method}-{request.preset}" if request.method != "disc-plus" else request.method
    export_run(work.run, work.bundle, naming=Naming(name), sign_key=request.sign_key, progress=progress)
    return Model.open(work.bundle, provider="cpu")


def _find(registry: Registry, version: str) -> VersionInfo | None:
    return next((info for info in registry.versions() if info.version == version), None)


def _finish_known(
    request: RetrainRequest,
    registry: Registry,
    work: Work,
    known: VersionInfo,
    replay: ReplaySet,
) -> Outcome:
    """The same model is in the registry: it was added before we were killed, or nothing new was learned."""
    current, deployment = registry.current(), None
    in_production = current is not None and current.version == known.version
    if request.promote and not known.rejected and not in_production and known.ids is None:
        deployment = registry.promote(
            known.number, request.who, request.why, trusted_keys=request.trusted_key
        )
    work.keep_run(known.version, {current.version if current is not None else ""})
    work.discard()
    return Outcome(known, known.lineage.gate, deployment, len(replay), replay.seen, len(replay.device_names))


def _add(
    request: RetrainRequest, registry: Registry, facts: tuple[Work, Base, ReplaySet], judged: Judged
) -> VersionInfo:
    work, base, replay = facts
    failed = [check for check in judged.checks if not check.passed]
    rejected = "; ".join(f"{check.measure}: {check.reason}" for check in failed)[:1000]
    bundle = Bundle.open(work.bundle)
    lineage = Lineage(
        parent=base.version,
        fingerprint=bundle.manifest.training.fingerprint,
        method=bundle.manifest.training.method,
        settings={**request.settings, "preset": request.preset, "from_scratch": request.from_scratch},
        seed=request.seed,
        metrics=bundle.manifest.training.metrics,
        gate=judged.checks,
        created_us=time.time_ns() // 1000,
        windows=len(replay),
        devices=len(replay.device_names),
        device_digests=tuple(device_digest(name) for name in replay.device_names),
    )
    proposal = proposal_of(judged.alignment, judged.described, base.version)
    work.require_begun()
    try:
        return registry.add(
            work.bundle, lineage, proposal, rejected=rejected, trusted_keys=request.trusted_key
        )
    except RegistryError:
        log.exception("the candidate stays in %s", work.bundle)
        raise


def unfinished(state: Path) -> bool:
    """Whether a retraining of this state folder was begun and not finished."""
    return (state / RETRAINING / "plan.json").exists()
