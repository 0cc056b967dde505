"""Training of DISC: gradients, initialisation, evaluation mode, seeds, resuming, collapse."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from disc_stream.clustering.metrics import accuracy
from disc_stream.errors import ConfigError, TrainingError
from disc_stream.models.autoencoder import MultiTaskAutoencoder
from disc_stream.models.cluster import ClusterHead, soft_assignment
from disc_stream.training import fitting
from disc_stream.training.centroids import farthest_region
from disc_stream.training.estimators import DISC
from disc_stream.training.events import BatchEvent, EpochEvent, TrainingEvent
from disc_stream.training.phases import ClusterModel, Pretraining, Refinement, assign, embed
from disc_stream.training.presets import TrainingConfig, resolve
from disc_stream.training.task import FitOptions
from disc_stream.training.trainer import EpochEnd, Trainer
from tests.support.motion import TINY, grouped_windows

pytestmark = pytest.mark.numeric

CPU = torch.device("cpu")


def disc(**changes: Any) -> DISC:
    settings = {**TINY, "dropout": 0.3, **changes.pop("settings", {})}
    return DISC(3, **{"epochs": 3, "refine_epochs": 3, "settings": settings, **changes})


def config(**changes: Any) -> TrainingConfig:
    return resolve("small", {**TINY, "dropout": 0.3, **changes})


def data(**shape: int) -> torch.Tensor:
    return torch.from_numpy(grouped_windows(**shape)[0])


def new_autoencoder(n_channels: int = 3) -> MultiTaskAutoencoder:
    return MultiTaskAutoencoder(config().network, n_channels, torch.Generator().manual_seed(0))


def refinement(**changes: Any) -> Refinement:
    """A refinement over tiny windows whose three centroids are three of the embeddings."""
    windows = data()
    autoencoder = new_autoencoder(windows.shape[2])
    head = ClusterHead(embed(autoencoder, windows)[:3])
    return Refinement(ClusterModel(autoencoder, head), windows, config(**changes))


def test_the_joint_loss_reaches_encoder_both_decoders_and_centroids() -> None:
    phase = refinement()
    phase.prepare()
    phase.module.train()
    terms = phase.losses(torch.arange(32))
    assert set(terms) == {"rec", "fut", "cah"}
    (terms["rec"] + terms["fut"] + 0.1 * terms["cah"]).backward()
    model = phase.module
    reached = {
        name: p.grad is not None and bool(p.grad.abs().sum() > 0) for name, p in model.named_parameters()
    }
    assert all(reached.values()), [name for name, ok in reached.items() if not ok]
    assert model.head.centroids.grad is not None
    for decoder in (0, 1):  # the decoders are stacked; each must have its own gradient
        grad = model.autoencoder.decoders.layers[0].w_hh.grad  # type: ignore[union-attr,index]
        assert grad[decoder].abs().sum() > 0


def test_the_clustering_loss_alone_moves_encoder_and_centroids_but_no_decoder() -> None:
    phase = refinement()
    phase.prepare()
    phase.losses(torch.arange(32))["cah"].backward()
    by_part = {"encoder": 0.0, "decoders": 0.0, "centroids": 0.0}
    for name, parameter in phase.module.named_parameters():
        part = next(p for p in by_part if p in name)
        by_part[part] += 0.0 if parameter.grad is None else float(parameter.grad.abs().sum())
    assert by_part["encoder"] > 0
    assert by_part["centroids"] > 0
    assert by_part["decoders"] == 0


@pytest.mark.parametrize("init", ["kmeans", "ward"])
def test_refinement_starts_from_the_centroids_that_were_found(
    init: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the first step q is that of the initial centroids, and the first P is made from it."""
    found: list[np.ndarray] = []
    at_start: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = []
    search, prepare = fitting.initial_centroids, Refinement.prepare

    def remember(*args: Any, **kwargs: Any) -> np.ndarray:
        found.append(search(*args, **kwargs))
        return found[-1]

    def look(self: Refinement) -> None:
        prepare(self)
        z = embed(self.module.autoencoder, self._windows)
        at_start.append((z, assign(z, self.module.head.centroids.detach()), self._p))

    monkeypatch.setattr(fitting, "initial_centroids", remember)
    monkeypatch.setattr(Refinement, "prepare", look)
    x, _ = grouped_windows()
    model = disc(settings={"init": init}).fit(x)
    (z, q, p), centres = at_start[0], torch.from_numpy(found[0])
    torch.testing.assert_close(q, soft_assignment(z, centres))
    weight = q.square() / q.sum(0)
    torch.testing.assert_close(p, weight / weight.sum(1, keepdim=True))
    # trained afterwards, so close to where they started but not there
    moved = np.abs(model.cluster_centers_ - found[0]).max()
    assert 0 < moved < 0.1


def test_clear_groups_are_found() -> None:
    x, groups = grouped_windows(per_group=60)
    settings = {"hidden": 16, "decoder_hidden": 16, "batch_size": 16, "dropout": 0.0, "learning_rate": 0.01}
    labels = disc(epochs=20, settings=settings).fit_predict(x)
    assert accuracy(groups, labels) > 0.95


def test_evaluation_mode_is_used_wherever_nothing_is_learned() -> None:
    x, _ = grouped_windows()
    model = disc().fit(x)
    norm = model.fitted_.module.encoder.bottleneck.norm
    before = norm.running_mean.clone(), norm.num_batches_tracked.clone()
    first, second = model.transform(x), model.transform(x)
    np.testing.assert_allclose(first, second, atol=1e-6)  # with dropout on, they would differ
    np.testing.assert_allclose(model.transform(x[:5]), first[:5], atol=1e-5)  # no batch statistics either
    model.transform(x[::-1])
    assert torch.equal(norm.running_mean, before[0])
    assert torch.equal(norm.num_batches_tracked, before[1])


def test_embed_evaluates_and_puts_the_mode_back() -> None:
    phase = refinement()
    autoencoder = phase.module.autoencoder.train()
    running = autoencoder.encoder.bottleneck.norm.running_mean.clone()  # type: ignore[union-attr]
    windows = data()
    torch.testing.assert_close(embed(autoencoder, windows)[:4], embed(autoencoder, windows[:4]))
    assert torch.equal(autoencoder.encoder.bottleneck.norm.running_mean, running)  # type: ignore[union-attr]
    assert autoencoder.training


def test_the_same_seed_gives_the_same_labels_and_another_does_not() -> None:
    x, _ = grouped_windows()
    before = torch.get_rng_state(), np.random.get_state()[1].copy()  # type: ignore[index,union-attr] # noqa: NPY002
    first, again, other = (disc(random_state=seed).fit(x) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.labels_, again.labels_)
    np.testing.assert_array_equal(first.cluster_centers_, again.cluster_centers_)
    assert losses(first) == losses(again)
    assert losses(first) != losses(other)
    assert torch.equal(torch.get_rng_state(), before[0])
    np.testing.assert_array_equal(np.random.get_state()[1], before[1])  # type: ignore[index] # noqa: NPY002


def losses(model: DISC) -> list[dict[str, float]]:
    return [entry["losses"] for entry in model.history_]


class Killed(Exception):  # noqa: N818
    pass


def kill_after(phase: str, epoch: int) -> Callable[[TrainingEvent], None]:
    def callback(event: TrainingEvent) -> None:
        if isinstance(event, EpochEvent) and (event.phase, event.epoch) == (phase, epoch):
            raise Killed

    return callback


@pytest.mark.parametrize(
    ("phase", "epoch"), [("pretrain", 1), ("pretrain", 3), ("refine", 1), ("refine", 2)], ids=str
)
def test_a_killed_training_ends_as_if_it_had_not_been(phase: str, epoch: int, tmp_path: Path) -> None:
    x, _ = grouped_windows()
    whole = disc(settings={"tolerance": 0.0}).fit(x)
    with pytest.raises(Killed):
        disc(settings={"tolerance": 0.0}).fit(
            x, options=FitOptions(checkpoints=tmp_path, callback=kill_after(phase, epoch))
        )
    repeated: list[tuple[str, int]] = []

    def note(event: TrainingEvent) -> None:
        if isinstance(event, EpochEvent):
            repeated.append((event.phase, event.epoch))

    resumed = disc(settings={"tolerance": 0.0}).fit(
        x, options=FitOptions(checkpoints=tmp_path, resume=True, callback=note)
    )
    assert losses(resumed) == losses(whole)
    assert (phase, epoch) not in repeated
    assert len(resumed.history_) == 6
    np.testing.assert_array_equal(resumed.cluster_centers_, whole.cluster_centers_)
    np.testing.assert_array_equal(resumed.transform(x), whole.transform(x))


def test_killed_within_an_epoch_loses_that_epoch_only(tmp_path: Path) -> None:
    x, _ = grouped_windows()

    def kill(event: TrainingEvent) -> None:
        if isinstance(event, BatchEvent) and (event.epoch, event.batch) == (2, 2):
            raise Killed

    with pytest.raises(Killed):
        disc().fit(x, options=FitOptions(checkpoints=tmp_path, callback=kill))
    assert losses(disc().fit(x, options=FitOptions(checkpoints=tmp_path, resume=True))) == losses(
        disc().fit(x)
    )


def test_a_checkpoint_of_another_training_is_refused(tmp_path: Path) -> None:
    x, _ = grouped_windows()
    disc().fit(x, options=FitOptions(checkpoints=tmp_path))
    with pytest.raises(ConfigError, match=r"config.network.hidden=6, not 7"):
        disc(settings={"hidden": 7}).fit(x, options=FitOptions(checkpoints=tmp_path, resume=True))
    with pytest.raises(ConfigError, match="seed=0, not 5"):
        disc(random_state=5).fit(x, options=FitOptions(checkpoints=tmp_path, resume=True))
    with pytest.raises(ConfigError, match="windows="):
        disc().fit(x[1:], options=FitOptions(checkpoints=tmp_path, resume=True))


def test_a_damaged_checkpoint_is_an_error_in_words(tmp_path: Path) -> None:
    x, _ = grouped_windows()
    disc().fit(x, options=FitOptions(checkpoints=tmp_path))
    file = tmp_path / "state.safetensors"
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(TrainingError, match="damaged"):
        disc().fit(x, options=FitOptions(checkpoints=tmp_path, resume=True))


def test_refinement_stops_when_the_labels_have_settled() -> None:
    x, _ = grouped_windows()
    model = disc(refine_epochs=50, settings={"refine_learning_rate": 1e-6}).fit(x)
    refined = [entry for entry in model.history_ if entry["phase"] == "refine"]
    assert len(refined) < 50
    assert refined[-1]["label_change"] < 1e-3
    assert all(entry["label_change"] >= 1e-3 for entry in refined[:-1])


def test_a_collapsed_cluster_is_revived(caplog: pytest.LogCaptureFixture) -> None:
    phase = refinement()
    optimizer = torch.optim.Adam(phase.module.parameters())
    phase.prepare()
    phase.module.train()
    sum(phase.losses(torch.arange(32)).values()).backward()  # type: ignore[union-attr]
    optimizer.step()
    with torch.no_grad():
        phase.module.head.centroids[1] = 1e3  # far from every window
    end = phase.end_epoch(0, optimizer)
    assert end.reseeded == (1,)
    assert not end.done
    assert "cluster 1 had collapsed" in caplog.text
    z = embed(phase.module.autoencoder, phase._windows)
    counts = assign(z, phase.module.head.centroids.detach()).argmax(1).bincount(minlength=3)
    assert (counts > 0).all()
    assert (optimizer.state[phase.module.head.centroids]["exp_avg"][1] == 0).all()


def test_target_distribution_over_the_set_or_the_batch() -> None:
    over_set, over_batch = refinement(target="set"), refinement(target="batch")
    for phase in (over_set, over_batch):
        phase.prepare()
        phase.module.eval()
    part = torch.arange(8)
    assert over_set.losses(part)["cah"] != over_batch.losses(part)["cah"]
    everything = torch.arange(over_set.n_windows)
    torch.testing.assert_close(over_set.losses(everything)["cah"], over_batch.losses(everything)["cah"])


def test_a_loss_that_is_not_finite_ends_the_training(monkeypatch: pytest.MonkeyPatch) -> None:
    def explode(self: Pretraining, index: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"rec": next(self.module.parameters()).sum() * torch.inf}

    monkeypatch.setattr(Pretraining, "losses", explode)
    with pytest.raises(TrainingError, match=r"'rec' is .* in epoch 1 of pretrain.*lower learning rate"):
        disc().fit(grouped_windows()[0])


def test_no_batch_is_too_small_to_normalise_over(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    monkeypatch.setattr(Pretraining, "end_epoch", lambda *_: EpochEnd())
    windows = data(per_group=11)  # 33 windows, batches of 32
    phase = Pretraining(new_autoencoder(), windows, config(epochs=1))
    inner = phase.losses
    monkeypatch.setattr(phase, "losses", lambda index: sizes.append(len(index)) or inner(index))
    Trainer(0, CPU).run(phase)
    assert sizes == [17, 16]


def test_odd_numbers_of_windows_leave_no_batch_of_one() -> None:
    phase = Pretraining(
        new_autoencoder(),
        data()[:5],
        config(batch_size=2),
    )
    sizes = [len(index) for index in Trainer(0, CPU)._batches(phase, 0)]
    assert sizes == [3, 2]


def test_numbers_of_numpy_are_taken_where_checkpoints_are_kept(tmp_path: Path) -> None:
    parameters = {"epochs": 1, "refine_epochs": 0, "settings": TINY}
    x = grouped_windows()[0]
    first = FitOptions(checkpoints=tmp_path)
    DISC(np.int64(3), random_state=np.int64(1), **parameters).fit(x, options=first)  # type: ignore[arg-type]
    again = FitOptions(checkpoints=tmp_path, resume=True)
    DISC(3, random_state=1, **parameters).fit(x, options=again)  # type: ignore[arg-type]


def test_bfloat16_trains_and_evaluates_in_full_precision() -> None:
    x, _ = grouped_windows()
    exact, rough = disc(settings={"precision": "fp32"}).fit(x), disc(settings={"precision": "bf16"}).fit(x)
    assert losses(exact) != losses(rough)
    assert losses(rough)[0]["total"] == pytest.approx(losses(exact)[0]["total"], rel=0.02)
    assert rough.transform(x).dtype == np.float32


@pytest.mark.parametrize(
    "settings",
    [
        {"layout": "grid", "hidden": 3},
        {"layout": "grid", "hidden": 3, "reset_after": False},
        {"decoder_layers": 2, "feedback": "output", "squash": True, "target": "batch"},
        {"frame": 3, "scaler": "none"},
    ],
    ids=str,
)
def test_every_variant_trains(settings: dict[str, Any]) -> None:
    x, _ = grouped_windows(per_group=12)
    model = disc(settings=settings, epochs=4).fit(x)
    totals = [entry["total"] for entry in losses(model)[:4]]
    assert totals[-1] < totals[0]
    assert model.labels_.shape == (36,)


def test_events_tell_the_time_and_where_training_is() -> None:
    events: list[TrainingEvent] = []
    disc(settings={"gamma": 0.1}).fit(grouped_windows()[0], options=FitOptions(callback=events.append))
    epochs = [e for e in events if isinstance(e, EpochEvent)]
    batches = [e for e in events if isinstance(e, BatchEvent)]
    assert [(e.phase, e.epoch) for e in epochs][:4] == [
        ("pretrain", 1),
        ("pretrain", 2),
        ("pretrain", 3),
        ("refine", 1),
    ]
    assert [b.batch for b in batches[:4]] == [1, 2, 3, 1]
    assert all(b.n_batches == 3 for b in batches)
    assert epochs[0].label_change is None
    assert epochs[3].label_change is not None
    assert epochs[0].eta_s == pytest.approx(2 * epochs[0].seconds)
    assert epochs[0].losses["total"] == pytest.approx(epochs[0].losses["rec"] + epochs[0].losses["fut"])
    refined = epochs[3].losses
    assert refined["total"] == pytest.approx(refined["rec"] + refined["fut"] + 0.1 * refined["cah"])


def test_the_learning_rate_decays_once() -> None:
    phase = Pretraining(torch.nn.Linear(1, 1), data(), resolve("paper"))
    assert [phase.learning_rate(epoch) for epoch in (0, 69, 70, 99)] == pytest.approx(
        [1e-3, 1e-3, 1e-4, 1e-4]
    )


def test_a_new_centroid_goes_where_many_windows_are_far_not_to_an_outlier() -> None:
    random = np.random.default_rng(0)
    near = random.normal(size=(300, 2)) * 0.1
    group = random.normal(size=(30, 2)) * 0.1 + [5.0, 0.0]
    z = np.concatenate([near, group, [[0.0, 50.0]]]).astype(np.float32)
    centroids = np.array([[0.0, 0.0], [-90.0, 0.0]], dtype=np.float32)
    fresh = farthest_region(z, np.zeros(len(z), dtype=np.int64), centroids)
    np.testing.assert_allclose(fresh, [5.0, 0.0], atol=0.3)


def test_an_embedding_that_has_become_one_point_is_an_error() -> None:
    phase = refinement()
    optimizer = torch.optim.Adam(phase.module.parameters())
    phase.prepare()
    with torch.no_grad():
        for parameter in phase.module.autoencoder.encoder.bottleneck.norm.parameters():
            parameter.zero_()
    with pytest.raises(TrainingError, match="refinement has drawn all embeddings into one point"):
        phase.end_epoch(0, optimizer)
