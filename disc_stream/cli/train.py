"""``disc-stream train``."""

from __future__ import annotations

import shlex
import sys
from contextlib import nullcontext
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from disc_stream.cli.common import (
    JsonOption,
    SeedOption,
    parse_clusters,
    parse_settings,
    print_json,
    reading,
    require_extras,
    require_writable,
    say,
)
from disc_stream.errors import UsageError

if TYPE_CHECKING:
    from disc_stream.artifacts.run import RunInfo
    from disc_stream.data.types import Split
    from disc_stream.training.sizing import SizeRequest

SYNTHETIC = "synthetic"
_FEW_DEVICES = 3  # PlusConfig.few_devices


def train(
    out: Annotated[Path, typer.Option("--out", "-o", help="Run folder to write.")],
    dataset: Annotated[
        str | None,
        typer.Option(
            "--dataset",
            help="A dataset ('disc-stream data list'), a .npz of 'data import' or 'data windows', a folder "
            "of 'data export', or synthetic.",
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            "--data",
            "--path",
            envvar="DISC_STREAM_DATA",
            help="The dataset's zip or folder, or a folder that holds either.",
        ),
    ] = None,
    synthetic: Annotated[bool, typer.Option("--synthetic", help="Same as --dataset synthetic.")] = False,
    devices: Annotated[int, typer.Option(min=2, help="Synthetic wearables.")] = 12,
    minutes: Annotated[float, typer.Option(min=0.1, help="Motion of each synthetic wearable.")] = 10.0,
    method: Annotated[
        str, typer.Option(help="disc, disc-plus (its teacher, no network to train) or dsc.")
    ] = "disc",
    preset: Annotated[
        str,
        typer.Option(
            help="Of disc: guided (the default, targets that carry over), small, released or paper (the "
            "paper's own targets). Of dsc: small (the default), released or paper."
        ),
    ] = "default",
    size: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Of the guided network: full, medium, small (the default), tiny or micro."
        ),
    ] = None,
    max_kib: Annotated[
        float | None, typer.Option("--max-kib", help="The largest size whose weights need no more KiB.")
    ] = None,
    max_mmac: Annotated[
        float | None,
        typer.Option(
            "--max-mmac", help="The largest that needs no more million multiply-adds for half a window."
        ),
    ] = None,
    min_agreement: Annotated[
        float | None,
        typer.Option(
            help="Share of windows of people not learned from that must have the teacher's label, where "
            "the size is below small; default 0.9."
        ),
    ] = None,
    allow_below: Annotated[
        bool, typer.Option("--allow-below", help="Keep a network with less agreement than that.")
    ] = False,
    clusters: Annotated[
        str | None,
        typer.Option(
            metavar="NUMBER|auto",
            help="Number of clusters, or auto to find it in the motion alone; default the number of the "
            "dataset's activities, auto where there are no labels.",
        ),
    ] = None,
    init: Annotated[str | None, typer.Option(help="Initialisation of the centroids: kmeans or ward.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Epochs of autoencoder training.")] = None,
    refine_epochs: Annotated[int | None, typer.Option(help="Maximum number of refinement epochs.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Windows per step.")] = None,
    lr: Annotated[float | None, typer.Option(help="Learning rate of autoencoder training.")] = None,
    refine_lr: Annotated[float | None, typer.Option(help="Learning rate of refinement.")] = None,
    setting: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="NAME=VALUE", help="Any other setting, such as layout=grid. Repeatable."
        ),
    ] = None,
    channels: Annotated[
        str | None, typer.Option(help="Channels to use, such as acc_x,acc_y,acc_z; default all.")
    ] = None,
    labelled_only: Annotated[
        bool, typer.Option("--labelled-only", help="Leave out windows without a scored label.")
    ] = False,
    seed: SeedOption = 0,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    precision: Annotated[
        str | None, typer.Option(help="Of large products in training: auto, fp32 or bf16.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue an unfinished run from its checkpoint.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Learn clusters, and a network that assigns windows to them, from motion without labels.

    Labels, where the dataset has them, are used for the metrics alone. A run that was
    interrupted resumes with the same command and --resume, with the result of an uninterrupted one.
    Several processes share every batch: torchrun --nproc-per-node 2 -m disc_stream train …

    Examples: disc-stream train --dataset hapt --data ~/data --out runs/hapt

    disc-stream train --dataset exported/ --out runs/mine

    disc-stream train --dataset exported/ --method disc-plus --out runs/quick
    """
    require_extras("disc-stream train", "train")
    settings: dict[str, Any] = {
        **parse_settings(setting or []),
        "init": init,
        "epochs": epochs,
        "refine_epochs": refine_epochs,
        "batch_size": batch_size,
        "learning_rate": lr,
        "refine_learning_rate": refine_lr,
        "precision": precision,
    }
    name = _dataset_name(dataset, synthetic)
    from disc_stream.training.session import (
        TrainingRequest,
        claim_folder,
        exportable_recipe,
        train_run,
    )
    from disc_stream.training.sizing import check_sizable, choose

    # What can be wrong with the command is said before a large dataset is read.
    exportable_recipe(method).resolve(preset, settings)
    wanted = _size(size, (max_kib, max_mmac), preset, min_agreement, allow_below=allow_below)
    if wanted is not None:
        check_sizable(method, preset, settings)
    claim_folder(out, resume=resume)
    require_writable(out)
    request = TrainingRequest(
        dataset=_record_name(name, data),
        out=out,
        method=method,
        preset=preset,
        settings=settings,
        n_clusters=parse_clusters(clusters),
        channels=None if channels is None else [c.strip() for c in channels.split(",") if c.strip()],
        seed=seed,
        device=device,
        resume=resume,
        size=wanted,
    )
    from disc_stream.cli.training_progress import training
    from disc_stream.models.collectives import is_rank_zero
    from disc_stream.training.distributed import joined
    from disc_stream.training.events import ignore

    if name == SYNTHETIC:
        split = _synthetic_split(devices, minutes, seed)
    else:
        split = _load(name, data, labelled_only)
    with joined(device):
        first = is_rank_zero()  # of several processes, one talks
        if wanted is not None and first:
            n_channels = len(request.channels or split.train.channels)
            say(f"size {choose(wanted, (split.train.x.shape[1], n_channels), settings).info()}", err=True)
        try:
            with training(request.dataset) if first else nullcontext(ignore) as callback:
                info = train_run(split, request, callback)
        except KeyboardInterrupt:
            if first:
                _say_how_to_go_on(out)
            raise
    if not first:
        return
    _drawparse_clusters(out, info)
    if as_json:
        print_json({"run": str(out), **info.model_dump(mode="json")})
    else:
        _print_text(out, info)


def _size(
    name: str | None,
    budget: tuple[float | None, float | None],
    preset: str,
    min_agreement: float | None,
    *,
    allow_below: bool,
) -> SizeRequest | None:
    """What the options say of the size, which the preset may say, too; None where nothing does."""
    from disc_stream.training.guided.sizes import DEFAULT_SIZE, PRESET_OF_SIZE, SIZE_OF_PRESET, is_smaller
    from disc_stream.training.sizing import FLOOR, SizeRequest

    of_preset = SIZE_OF_PRESET.get(preset, DEFAULT_SIZE)
    other = "" if of_preset == DEFAULT_SIZE else of_preset
    if name is None and budget == (None, None) and not (other and is_smaller(other)):
        if allow_below or min_agreement is not None:
            raise UsageError(
                f"agreement with the teacher is asked of sizes below {DEFAULT_SIZE} alone",
                remedy="Give --size, --max-kib or --max-mmac, or leave out --min-agreement and --allow-below",
            )
        return None
    if name is not None and other and name != other:
        raise UsageError(
            f"--size {name} contradicts --preset {PRESET_OF_SIZE[other]}", remedy="Give one of them"
        )
    floor = FLOOR if min_agreement is None else min_agreement
    return SizeRequest(name or other, *budget, floor=floor, allow_below=allow_below)


def _say_how_to_go_on(out: Path) -> None:
    """After Ctrl-C: the command that goes on, where there is something to go on from."""
    from disc_stream.artifacts.run import CHECKPOINT_DIR

    if not (out / CHECKPOINT_DIR).is_dir():
        say("nothing has been saved yet; the same command starts over", err=True)
        return
    given = [word for word in sys.argv[1:] if word != "--resume"]
    say(f"resume with: {shlex.join(['disc-stream', *given, '--resume'])}", err=True)


def _dataset_name(dataset: str | None, synthetic: bool) -> str:
    if synthetic and dataset not in (None, SYNTHETIC):
        raise UsageError(f"--synthetic contradicts --dataset {dataset}", remedy="Give one of them")
    if dataset is None and not synthetic:
        raise UsageError("what to learn from is missing", remedy="Give --dataset NAME or --synthetic")
    return dataset or SYNTHETIC


def _record_name(name: str, data: Path | None) -> str:
    """Of a file or folder its name alone: the record must not tell where it lay."""
    if name in ("parquet", "uniform") and data is not None:
        return data.stem
    return Path(name).stem if name.endswith((".npz", ".parquet")) or Path(name).is_dir() else name


def _load(name: str, data: Path | None, labelled_only: bool) -> Split:
    from disc_stream.data.readers import load_split

    with reading(name) as progress:
        return load_split(name, data, include_unlabelled=not labelled_only, progress=progress)


def _synthetic_split(devices: int, minutes: float, seed: int) -> Split:
    from disc_stream.data.synthetic import LABEL_NAMES, synthetic_recordings
    from disc_stream.data.types import Split
    from disc_stream.data.windows import default_test_subjects, plan_windows, split_recordings

    recordings = synthetic_recordings(devices, minutes * 60, seed)
    people = default_test_subjects([r.subject for r in recordings])
    train, test, protocol = split_recordings(recordings, plan_windows(recordings[0].fs, 2.56, 0.5), people)
    return Split(train, test, protocol, n_clusters=len(LABEL_NAMES))


def _print_text(out: Path, info: RunInfo) -> None:
    from disc_stream.artifacts.sizes import SizeInfo

    metrics = info.metrics
    preset = f" ({info.preset})" if info.preset != info.method else ""
    say(f"{info.method}{preset} on {info.dataset}: {info.n_windows:,} windows, "
               f"{len(info.channels)} channels, {info.n_clusters} clusters")  # fmt: skip
    _printparse_clusters(metrics.get("number_of_clusters"))
    epochs, seconds = metrics["epochs"], metrics["seconds"]
    if "guided" in epochs:
        found = f", guided by the best of {epochs['candidates']} candidates" if "candidates" in epochs else ""
        say(f"{epochs['guided']} epochs{found} in {seconds:.0f} s")
    elif "candidates" in epochs:
        say(f"the best of {epochs['candidates']} candidates in {seconds:.0f} s")
    else:
        refined = f"{epochs.get('refine', 0)} of refinement"
        say(f"{epochs['pretrain']} epochs and {refined} in {seconds:.0f} s")
    if (size := SizeInfo.of(metrics)) is not None and size.agreement is not None:
        say(f"agreement {size.agreement}")
    say("cluster sizes " + " ".join(map(str, info.cluster_sizes)))
    if 0 < metrics.get("devices", 0) < _FEW_DEVICES:
        say(_few_devices(metrics["devices"]))
    if "refined" in metrics:
        say(f"\n{'against the labels':<28}{'NMI':>8}{'ACC':>8}{'ARI':>8}{'AMI':>8}")
        spaces = {f"autoencoder, {init}": parts for init, parts in metrics.get("autoencoder", {}).items()}
        final = "refined" if spaces else "clusters"
        if info.whole is not None:
            final = "half a window"
            spaces = {"whole window": info.whole.metrics["refined"]}
        for space, parts in {**spaces, final: metrics["refined"]}.items():
            for part, values in parts.items():
                row = "".join(f"{values[m]:8.3f}" for m in ("nmi", "acc", "ari", "ami"))
                say(f"{space + ' (' + part + ')':<28}{row}")
    say(f"\nrun written to {out}")
    say(f"next: disc-stream export {shlex.quote(str(out))} --out BUNDLE")


def _few_devices(devices: int) -> str:
    """What it means that one or two people were learned from."""
    who = "one person" if devices == 1 else f"{devices} people"
    return (
        f"learned from {who}: what clusters mean on other people could not be measured. Expect labels that "
        f"suit {'this person' if devices == 1 else 'these'} and far worse ones on anybody else; from "
        f"{_FEW_DEVICES} people on, clusters are chosen by what carries over"
    )


def _printparse_clusters(number: dict[str, Any] | None) -> None:
    """Which number of clusters was taken and why; the table of those that were tried."""
    if number is None:
        return
    say(number["why"])
    if "rows" not in number:
        return
    say(f"\n{'K':>4}{'found again':>13}{'net':>7}{'agreement':>11}{'worst':>7}{'carries over':>14}")
    for row in number["rows"]:
        mark = "  <- taken" if row["n_clusters"] == number["chosen"] else ""
        say(
            f"{row['n_clusters']:>4}{row['reproduced']:>13.1f}{row['net']:>7.2f}{row['agreement']:>11.0%}"
            f"{row['least']:>7.2f}{row['carry_over']:>14.3f}{mark}"
        )
    say("")


def _drawparse_clusters(out: Path, info: RunInfo) -> None:
    """The table of numbers of clusters as a picture in the run folder, where matplotlib is installed."""
    number = info.metrics.get("number_of_clusters")
    if not number or "rows" not in number or find_spec("matplotlib") is None:
        return
    from disc_stream.plots.clustercount import draw_cluster_count
    from disc_stream.plots.style import save

    save(draw_cluster_count(number), out / "clusters.png")
