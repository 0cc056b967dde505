"""The catalogue of clusters and the model as one value: names change, the model does not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from disc_stream.artifacts.bundle import Bundle, write_bundle, write_catalogue
from disc_stream.artifacts.catalogue import Catalogue, ClusterInfo
from disc_stream.artifacts.model import Model
from disc_stream.artifacts.signing import load_private_key
from disc_stream.errors import BundleError, ConfigError
from tests.support.keys import make_keys
from tests.support.tiny_bundle import CENTROIDS, NAMES, write_tiny_bundle

OLDER = Path(__file__).parents[1] / "golden" / "bundle-schema-1.zip"  # written before there were catalogues


@pytest.fixture(params=["b", "b.zip"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    out = tmp_path / str(request.param)
    write_tiny_bundle(out)
    return out


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_tiny_bundle(tmp_path / "tiny")
    return tmp_path / "tiny"


def with_ids(catalogue: Catalogue, *ids: int) -> Catalogue:
    pairs = zip(catalogue.clusters, ids, strict=True)
    return Catalogue.of(catalogue.model, [c.model_copy(update={"id": new}) for c, new in pairs])


# ── Names and ids ─────────────────────────────────────────────────────────────────────────────────────


def test_a_new_name_leaves_the_model_what_it_was(path: Path) -> None:
    before = Bundle.open(path)
    write_catalogue(path, before.catalogue.renamed({1: "links"}))
    after = Bundle.open(path)
    assert after.catalogue.names == ("rest", "links", "right")
    assert after.manifest == before.manifest
    assert (after.version, after.model_bytes) == (before.version, before.model_bytes)


def test_a_public_id_is_not_a_row(path: Path) -> None:
    write_catalogue(path, with_ids(Bundle.open(path).catalogue, 17, 4, 0))
    catalogue = Bundle.open(path).catalogue
    assert catalogue.ids == (17, 4, 0)
    assert [catalogue.row_of(cluster_id) for cluster_id in (0, 4, 17)] == [2, 1, 0]
    assert catalogue.renamed({17: "still", 0: "rechts"}).names == ("still", "left", "rechts")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ({3: "walking"}, r"there is no cluster 3\. The clusters are: 0, 1, 2"),
        ({0: "  "}, "cannot be the name of cluster 0. Use 1 to 64 printable characters"),
        ({0: "a" * 65}, "cannot be the name of cluster 0"),
        ({0: "a\nb"}, "cannot be the name of cluster 0"),
    ],
)
def test_names_that_cannot_be_are_refused(names: dict[int, str], message: str, folder: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        Bundle.open(folder).catalogue.renamed(names)


def test_two_clusters_cannot_have_one_id(folder: Path, tmp_path: Path) -> None:
    bundle = Bundle.open(folder)
    with pytest.raises(ConfigError, match="two clusters have the id 4"):
        with_ids(bundle.catalogue, 4, 1, 4)
    twice = [ClusterInfo(id=4, name="a", size=1)] * 3
    with pytest.raises(ConfigError, match="two clusters have the id 4"):
        write_bundle(tmp_path / "new", bundle.manifest, twice, {"model.onnx": bundle.model_bytes})
    assert not (tmp_path / "new").exists()


def test_a_catalogue_of_another_model_is_refused(folder: Path) -> None:
    bundle = Bundle.open(folder)
    other = bundle.catalogue.model_copy(update={"model": "0" * 12})
    with pytest.raises(BundleError, match=f"is that of model 000000000000, not of {bundle.version}"):
        write_catalogue(folder, other)
    (folder / "catalogue.json").write_bytes(other.to_bytes())
    with pytest.raises(BundleError, match="is that of model 000000000000"):
        Bundle.open(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda raw: raw["clusters"][0].update(name="sleeping"), "changed by hand or damaged.*--names"),
        (lambda raw: raw["clusters"][1].update(distance_q95=9.0), "changed by hand or damaged"),
        (lambda raw: raw.pop("sha256"), "changed by hand or damaged"),
        (lambda raw: raw["clusters"][0].update(id=-1), r"clusters\.0\.id: Input should be greater"),
        (lambda raw: raw.update(colour=1), "colour: Extra inputs"),
        (lambda raw: raw.update(schema_name="x"), "is not a catalogue of clusters"),
        (lambda raw: raw.update(schema_version=2), r"newer disc-stream \(schema 2, this one knows 1\)"),
        (lambda raw: raw.update(clusters=[]), "clusters: Tuple should have at least 1"),
    ],
)
def test_a_catalogue_that_was_changed_is_named(change: Any, message: str, folder: Path) -> None:
    file = folder / "catalogue.json"
    raw = json.loads(file.read_text())
    change(raw)
    file.write_text(json.dumps(raw))
    with pytest.raises(BundleError, match=message) as caught:
        Bundle.open(folder)
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "[", "[]", "\x00"])
def test_a_catalogue_that_is_none_is_named(text: str, folder: Path) -> None:
    (folder / "catalogue.json").write_text(text)
    with pytest.raises(BundleError, match=r"catalogue\.json of .* is not"):
        Bundle.open(folder)


def test_a_write_that_fails_leaves_the_older_names(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    renamed = Bundle.open(folder).catalogue.renamed({0: "standing"})

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("os.fsync", full)
        with pytest.raises(Exception, match="cannot be written: No space left on device"):
            write_catalogue(folder, renamed)
    assert Bundle.open(folder).catalogue.names == NAMES
    assert [entry.name for entry in folder.parent.iterdir()] == ["tiny"]


# ── Signatures ────────────────────────────────────────────────────────────────────────────────────────


def sign_bundle(path: Path, private: Path) -> None:
    bundle = Bundle.open(path)
    write_bundle(
        path, bundle.manifest, bundle.catalogue.clusters, {"model.onnx": bundle.model_bytes},
        overwrite=True, sign=load_private_key(private).sign,
    )  # fmt: skip


def test_names_given_without_the_key_are_for_those_who_ask_for_no_signature(
    path: Path, tmp_path: Path
) -> None:
    private, public = make_keys(tmp_path, "key")
    sign_bundle(path, private)
    write_catalogue(path, Bundle.open(path).catalogue.renamed({0: "standing"}))
    assert Bundle.open(path).catalogue.names == ("standing", "left", "right")
    with pytest.raises(BundleError, match=r"catalogue\.json of .* is not signed"):
        Bundle.open(path, trusted_keys=[public])


def test_names_given_with_a_key_are_signed(folder: Path, tmp_path: Path) -> None:
    private, public = make_keys(tmp_path, "key")
    sign_bundle(folder, private)
    renamed = Bundle.open(folder).catalogue.renamed({0: "standing"})
    write_catalogue(folder, renamed, sign=load_private_key(private).sign)
    assert Bundle.open(folder, trusted_keys=[public]).catalogue == renamed
    (folder / "catalogue.json").write_bytes(renamed.renamed({0: "flying"}).to_bytes())
    with pytest.raises(BundleError, match=r"catalogue\.json of .* was signed by none of the 1 trusted keys"):
        Bundle.open(folder, trusted_keys=[public])


def test_names_signed_by_a_stranger_are_refused(folder: Path, tmp_path: Path) -> None:
    private, public = make_keys(tmp_path, "key")
    stranger, _ = make_keys(tmp_path, "stranger")
    sign_bundle(folder, private)
    renamed = Bundle.open(folder).catalogue.renamed({0: "flying"})
    write_catalogue(folder, renamed, sign=load_private_key(stranger).sign)
    with pytest.raises(BundleError, match=r"catalogue\.json of .* was signed by none"):
        Bundle.open(folder, trusted_keys=[public])


# ── Bundles from before there were catalogues ─────────────────────────────────────────────────────────


def test_an_older_bundle_opens_and_keeps_its_version() -> None:
    bundle = Bundle.open(OLDER)
    assert bundle.manifest.schema_version == 1
    assert bundle.version == bundle.catalogue.model == "0701dc05c559"
    assert (bundle.catalogue.ids, bundle.catalogue.names) == ((0, 1, 2), NAMES)
    assert [cluster.distance_q95 for cluster in bundle.catalogue.clusters] == [None, 4.0, 4.0]
    assert bundle.manifest.n_clusters == 3


def test_an_older_bundle_runs() -> None:
    model = Model.open(OLDER, "cpu", 1)
    x = np.repeat(CENTROIDS[:, None], 8, axis=1)
    assert model.encoder.encode(x).labels.tolist() == [0, 1, 2]


def test_names_of_an_older_bundle_are_part_of_its_version(tmp_path: Path) -> None:
    import zipfile

    out = tmp_path / "old"
    with zipfile.ZipFile(OLDER) as archive:
        archive.extractall(out)
    with pytest.raises(BundleError, match=r"of an older form.*Export its run again"):
        write_catalogue(out, Bundle.open(out).catalogue.renamed({0: "standing"}))
    manifest = out / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"rest"', '"nap"'))
    with pytest.raises(BundleError, match=r"the clusters in manifest\.json .* were changed.*--names"):
        Bundle.open(out)


def test_an_older_bundle_cannot_have_a_catalogue_too(tmp_path: Path) -> None:
    import zipfile

    out = tmp_path / "old"
    with zipfile.ZipFile(OLDER) as archive:
        archive.extractall(out)
    (out / "catalogue.json").write_bytes(Bundle.open(OLDER).catalogue.to_bytes())
    with pytest.raises(BundleError, match="of an older form and cannot have a catalogue"):
        Bundle.open(out)


# ── One value ─────────────────────────────────────────────────────────────────────────────────────────


def test_a_model_is_one_value(path: Path) -> None:
    model = Model.open(path, "cpu", 1)
    x = np.repeat(CENTROIDS[:, None], 8, axis=1)
    encoded = model.encoder.encode(x)
    assert [model.catalogue.clusters[row].name for row in encoded.labels] == list(NAMES)
    assert model.version == model.manifest.version == model.catalogue.model


def test_other_names_need_no_other_encoder(path: Path) -> None:
    model = Model.open(path, "cpu", 1)
    renamed = model.with_catalogue(model.catalogue.renamed({2: "rechts"}))
    assert renamed.encoder is model.encoder
    assert renamed.catalogue.names == ("rest", "left", "rechts")
    assert renamed.version == model.version
    assert model.catalogue.names == NAMES  # the value that others hold is untouched


def test_parts_of_two_models_are_no_model(folder: Path) -> None:
    model = Model.open(folder, "cpu", 1)
    with pytest.raises(BundleError, match="has 2 clusters, the graph 3"):
        model.with_catalogue(model.catalogue.model_copy(update={"clusters": model.catalogue.clusters[:2]}))
    with pytest.raises(BundleError, match="is that of model abc"):
        model.with_catalogue(model.catalogue.model_copy(update={"model": "abc"}))
