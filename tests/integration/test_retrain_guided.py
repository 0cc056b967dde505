"""``disc-stream retrain`` with DISC guided: it goes on from its weights, and grows."""

from __future__ import annotations

from typing import Any

from disc_stream.artifacts.bundle import Bundle
from disc_stream.registry import Registry
from tests.support.places import ANN, BATCHES, Place

SETTINGS: dict[str, Any] = {
    "hidden": 8, "decoder_hidden": 8, "embedding": 8, "frame": 2, "batch_size": 64, "steps": 200,
    "learning_rate": 0.01, "restarts": 3, "moves": 5,
}  # fmt: skip


def test_ids_stay_and_new_motion_gets_one_more(new: Place) -> None:
    guided = {"preset": "default", "settings": SETTINGS}
    first = new.retrain(**guided)
    assert not first.rejected
    assert first.version.lineage.settings["preset"] == "guided"
    with Registry.open(new.models) as registry:
        registry.clusters.name(0, "Anna lies", ANN)
    new.grow(12, BATCHES)
    words: list[str] = []
    again = new.retrain(lambda progress: words.append(progress.words), **guided)
    assert not again.rejected
    assert again.version.ids == first.version.ids
    assert not any("from scratch" in one for one in words)
    window = Bundle.open(again.version.path).manifest.window
    assert window.input_samples == window.samples // 2

    new.grow(24, BATCHES + 12, poses=("lie", "hang"))
    grown = new.retrain(lambda progress: words.append(progress.words), **guided, clusters=None)
    assert not grown.rejected
    assert set(first.version.ids or ()) <= set(grown.version.ids or ())
