"""The whole demo, from the port of the page to the summary."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import ExitStack, closing, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from disc_stream.artifacts.bundle import Bundle
from disc_stream.data.synthetic import Activity
from disc_stream.demo.collect import window_spec
from disc_stream.demo.counts import DeliveryCounts
from disc_stream.demo.fleet import Fleet, ReplayFleet, SyntheticFleet
from disc_stream.demo.kept import KeptModels, default_cache
from disc_stream.demo.live import LiveDemo, Records
from disc_stream.demo.model import Bench, Model, Plan, next_settings, prepare_model
from disc_stream.demo.newcomer import NOTICES_NEW, NewActivity
from disc_stream.demo.notes import TruthNotes
from disc_stream.demo.progress import Reporter
from disc_stream.demo.service import DemoService
from disc_stream.demo.truth import TruthComparison
from disc_stream.localbroker.ports import HOST
from disc_stream.localbroker.start import LocalBroker, start_broker
from disc_stream.types import Label
from disc_stream.wire.broker import Broker
from disc_stream_server.api.parts import PageWords

SCHEMA = "disc-stream.demo/1"


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """Options of ``disc-stream demo``.

    Args:
        devices: simulated wearables.
        replay: recordings instead of them.
        data: folder of the datasets.
        seed: of people and training.
        duration_s: how long to publish; None until stopped.
        speed: 1 is real time.
        minutes: of motion per device to learn from.
        epochs: of DISC's autoencoder; None to learn disc-plus instead.
        clusters: K; None for as many as there are activities.
        retrain: learn even where a model is kept.
        cache: where models are kept; None for the user's cache folder.
        page_port: of the live page; None for no page.
        broker_port: of the broker; None for a free one.
        embedded: use the embedded broker even where there is Mosquitto.
        quiet: show no labels in the terminal.
        new_activity: of the simulated wearables, appears only when they have been live for a while; None for
            no such thing.
    """

    devices: int
    replay: Sequence[str]
    data: Path | None
    seed: int
    duration_s: float | None
    speed: float
    minutes: float
    epochs: int | None
    clusters: int | None
    retrain: bool
    cache: Path | None
    page_port: int | None
    broker_port: int | None
    embedded: bool
    quiet: bool
    new_activity: Activity | None = None


def run_demo(options: DemoOptions, stop: threading.Event, reporter: Reporter) -> dict[str, Any]:
    """Run the demo until it is stopped or its time is over.

    Returns:
        The summary, as ``--json`` prints it.

    Raises:
        DiscStreamError: if something cannot be started, or fails.
        KeyboardInterrupt: if it was stopped before labels could come.
    """
    page = None if options.page_port is None else _Page(options.page_port)
    with ExitStack() as stack:
        if page is not None:
            stack.callback(page.listener.close)
        fleet = _fleet(options)
        kept = KeptModels(options.cache or default_cache(), retrain=options.retrain)
        kept.require()
        local = start_broker(options.broker_port, embedded=options.embedded)
        stack.callback(local.stop)
        reporter.say(f"Broker: {local.kind} at {Broker.parse(local.url)}")
        if local.notice is not None:
            reporter.say(local.notice)
        folder = stack.enter_context(
            TemporaryDirectory(prefix="disc-stream-demo-", ignore_cleanup_errors=True)
        )
        records = _records(fleet, _plan(options))
        words = None
        if page is not None:
            page.notes = records.notes
            words = PageWords(_notice(fleet, local), page.note, page.listener)
        service = DemoService(
            local, Path(folder), [records.counts], page=words, retrain=next_settings(_plan(options))
        )
        stack.callback(service.stop)
        service.start()
        model = prepare_model(Bench(service, fleet, reporter, stop), _plan(options), kept)
        return _serve(_Prepared(options, fleet, local, service, model, records), reporter, stop)


def _plan(options: DemoOptions) -> Plan:
    method = NOTICES_NEW if options.epochs is None else "disc"
    lasting = options.new_activity is None  # with it, the second act's retraining was not seen to end
    return Plan(options.minutes * 60, options.epochs, options.clusters, options.seed, method, lasting)


def _records(fleet: Fleet, plan: Plan) -> Records:
    spec = window_spec(fleet.fs, whole=plan.method == NOTICES_NEW)
    comparison = TruthComparison(n_activities=len(fleet.label_names), window=spec.samples)
    notes = TruthNotes(comparison, fleet.label_names, fleet.truth_of, spec.input_samples)
    return Records(DeliveryCounts(spec), comparison, notes)


class _Page:
    """The live page, which takes its port before it is known what it will show."""

    def __init__(self, port: int) -> None:
        from disc_stream_server.dashboard.listening import listen

        self.notes: TruthNotes | None = None
        self.listener = listen(HOST, port)

    def note(self, label: Label) -> str:
        """What stands on a device's card."""
        return "" if self.notes is None else self.notes.page_note(label)


def _fleet(options: DemoOptions) -> Fleet:
    if options.replay:
        return ReplayFleet(options.replay, options.data)
    return SyntheticFleet(options.devices, options.seed, options.new_activity)


@dataclass(frozen=True, slots=True)
class _Prepared:
    """What is there when the fleet can go live."""

    options: DemoOptions
    fleet: Fleet
    local: LocalBroker
    service: DemoService
    model: Model
    records: Records


def _serve(ready: _Prepared, reporter: Reporter, stop: threading.Event) -> dict[str, Any]:
    """Show labels until stopped."""
    options, fleet, local, records = ready.options, ready.fleet, ready.local, ready.records
    act = None
    if isinstance(fleet, SyntheticFleet) and fleet.held_back is not None:
        act = NewActivity(ready.service, fleet, _plan(options), reporter.say)
        records.comparison.tell = act.compared
    with (
        closing(act) if act else nullcontext(),
        LiveDemo(ready.service, fleet, records, speed=options.speed, follow=act) as live,
    ):
        where = "" if (url := ready.service.url) is None else f"; live page at {url}"
        end = f"for {options.duration_s:g} s" if options.duration_s is not None else "until Ctrl-C"
        reporter.say(f"Labelling {fleet.what} {end}{where}")
        live.run(stop, duration_s=options.duration_s, quiet=options.quiet)
    scores = records.comparison.summary()
    return {
        "schema": SCHEMA,
        "broker": {"kind": local.kind, "url": str(Broker.parse(local.url)), "notice": local.notice},
        "seconds": round(live.published_s, 2),
        **records.counts.summary(live.published_s),
        "model": _model_facts(ready.model),
        "agreement": {"truth": fleet.truth_of, **scores} if scores else None,
        "new_activity": None if act is None else act.summary(),
    }


def _model_facts(model: Model) -> dict[str, Any]:
    manifest = Bundle.open(model.bundle).manifest
    return {
        "name": manifest.name,
        "version": model.version,
        "clusters": manifest.n_clusters,
        "reused": model.reused,
        "bundle": str(model.bundle),
        "labelled": model.labelled,
        **asdict(model.facts),
        "parity": manifest.parity.model_dump(mode="json"),
    }


def _notice(fleet: Fleet, local: LocalBroker) -> str:
    truth = (
        f"A demonstration with {fleet.what}. On the page of cards, lines that begin with "
        f"“{fleet.truth_of}:” say what is truly done: for your eyes only, nothing was learned from it."
    )
    return truth if local.notice is None else f"{truth} {local.notice}"
