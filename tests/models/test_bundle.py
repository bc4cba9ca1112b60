"""A bundle that is not what it says is refused, with a message that says why."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from models.bundle import DEPLOYED_MODEL, MANIFEST_KEY, Card, Manifest, ModelClass, load_bundle
from models.errors import BundleError
from models.export import write
from models.runtime import load_classifier
from models.simulate.parts import CLASSES


def resign(path: Path, content: bytes) -> None:
    """Replace a model file and make its card agree with it."""
    path.write_bytes(content)
    card = json.loads((path.parent / "card.json").read_text())
    card["model_sha256"] = hashlib.sha256(content).hexdigest()
    (path.parent / "card.json").write_text(json.dumps(card))


def set_manifest(path: Path, text: str | None) -> None:
    """Replace the manifest inside a model file, or take it out."""
    proto = onnx.load(path)
    del proto.metadata_props[:]
    if text is not None:
        proto.metadata_props.add(key=MANIFEST_KEY, value=text)
    resign(path, proto.SerializeToString())


def test_a_sound_bundle_loads(bundle_path: Path, manifest: Manifest) -> None:
    bundle = load_bundle(bundle_path)
    assert bundle.manifest == manifest
    assert bundle.card.model_sha256 == bundle.sha256
    assert bundle.n_bytes == bundle_path.stat().st_size
    assert bundle.provider == "CPUExecutionProvider"


def test_the_deployed_bundle_is_sound_and_says_what_it_is() -> None:
    bundle = load_classifier().bundle
    assert bundle.path == DEPLOYED_MODEL
    assert tuple(c.name for c in bundle.manifest.classes) == CLASSES
    assert set(bundle.manifest.surveys) == {"ztf", "lsst"}
    for text in (bundle.manifest.notice, bundle.card.notice):
        assert "Trained on simulations only" in text
        assert "no real test" in text


def test_missing_model(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"cannot read the model .*gone\.onnx: No such file"):
        load_bundle(tmp_path / "gone.onnx")


def test_damaged_file(bundle_path: Path) -> None:
    content = bundle_path.read_bytes()
    bundle_path.write_bytes(content[: len(content) // 2])
    with pytest.raises(BundleError, match="copy model and card together"):
        load_bundle(bundle_path)


def test_not_a_model(bundle_path: Path) -> None:
    resign(bundle_path, b"<html>404</html>")
    with pytest.raises(BundleError, match="ONNX Runtime cannot load"):
        load_bundle(bundle_path)


def test_card_of_another_model(bundle_path: Path) -> None:
    card = bundle_path.parent / "card.json"
    text = card.read_text().replace(load_bundle(bundle_path).sha256, "f" * 64)
    card.write_text(text)
    with pytest.raises(BundleError, match="describes the model ffffffffffff, the file beside it"):
        load_bundle(bundle_path)


def test_missing_card(bundle_path: Path) -> None:
    (bundle_path.parent / "card.json").unlink()
    with pytest.raises(BundleError, match=r"cannot read the model's card .*card\.json"):
        load_bundle(bundle_path)


def test_card_without_a_required_entry(bundle_path: Path) -> None:
    card = bundle_path.parent / "card.json"
    content = json.loads(card.read_text())
    del content["evaluation"]
    card.write_text(json.dumps(content))
    with pytest.raises(BundleError, match="is not a model card"):
        load_bundle(bundle_path)


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ({"inputs": {"log_scale": {"quantiles": [1]}}}, "Field required"),
        ({"quantile_levels": [0.5, 0.1]}, "do not rise from 0 to 1"),
        ({"quantile_levels": [0.5, 1.5]}, "do not rise from 0 to 1"),
        ({"ood_score": {"mean": 0, "std": 1, "quantiles": [1]}}, "are no quantiles at the levels"),
        ({"colours": {}}, "Extra inputs are not permitted"),
    ],
)
def test_card_that_a_stream_cannot_be_compared_with(
    bundle_path: Path, reference: dict[str, object], message: str
) -> None:
    card = bundle_path.parent / "card.json"
    content = {**json.loads(card.read_text()), "drift_reference": reference}
    card.write_text(json.dumps(content))
    with pytest.raises(BundleError, match=rf"(?s)is not a model card: .*{message}"):
        load_bundle(bundle_path)


def test_no_manifest(bundle_path: Path) -> None:
    set_manifest(bundle_path, None)
    with pytest.raises(BundleError, match="carries no tinyt2 manifest"):
        load_bundle(bundle_path)


def test_invalid_manifest(bundle_path: Path) -> None:
    set_manifest(bundle_path, '{"name": "x", "colour": "red"}')
    with pytest.raises(BundleError, match=r"the manifest of .* is not valid"):
        load_bundle(bundle_path)


def test_too_large_manifest(bundle_path: Path, manifest: Manifest) -> None:
    large = manifest.model_copy(update={"notice": "n" * 8192}).model_dump_json()
    set_manifest(bundle_path, large)
    with pytest.raises(BundleError, match="larger than 8192 bytes"):
        load_bundle(bundle_path)


def test_too_large_manifest_is_not_written(
    tmp_path: Path, exported: bytes, manifest: Manifest, card: Card
) -> None:
    large = manifest.model_copy(update={"notice": "n" * 8192})
    with pytest.raises(BundleError, match="larger than 8192 bytes"):
        write(exported, large, card, tmp_path / "large")
    assert not (tmp_path / "large").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"feature_spec": "observation-tokens/999"}, "needs the features 'observation-tokens/999'"),
        ({"bands": ["ztf:g", "lsst:u"]}, "made with another band table"),
        ({"length_buckets": [8, 16]}, "was checked with the length buckets"),
    ],
)
def test_unknown_contract(
    bundle_path: Path, manifest: Manifest, change: dict[str, object], message: str
) -> None:
    set_manifest(bundle_path, manifest.model_copy(update=change).model_dump_json())
    with pytest.raises(BundleError, match=message):
        load_bundle(bundle_path)


def test_a_longer_band_table_does_not_spoil_old_bundles(
    bundle_path: Path, manifest: Manifest
) -> None:
    shorter = manifest.model_copy(update={"bands": manifest.bands[:9]})
    set_manifest(bundle_path, shorter.model_dump_json())
    assert load_bundle(bundle_path).manifest.bands == manifest.bands[:9]


def test_other_tensor_names(bundle_path: Path) -> None:
    proto = onnx.load(bundle_path)
    for node in proto.graph.node:
        for i, name in enumerate(node.output):
            if name == "ood_score":
                node.output[i] = "energy"
    proto.graph.output[1].name = "energy"
    resign(bundle_path, proto.SerializeToString())
    with pytest.raises(BundleError, match=r"maps .*'energy'.*, expected"):
        load_bundle(bundle_path)


def test_a_class_that_the_graph_does_not_answer_for(bundle_path: Path, manifest: Manifest) -> None:
    classes = [*manifest.classes, ModelClass(name="KN", id=2232)]
    changed = manifest.model_copy(update={"classes": classes})
    set_manifest(bundle_path, changed.model_dump_json())
    n = len(manifest.classes)
    with pytest.raises(BundleError, match=f"answers for {n} classes, its manifest names {n + 1}"):
        load_bundle(bundle_path)


def test_wrong_golden_answer(bundle_path: Path, manifest: Manifest) -> None:
    golden = manifest.golden[1].model_copy(update={"probabilities": [0.2, 0.3, 0.5]})
    wrong = manifest.model_copy(update={"golden": [manifest.golden[0], golden]})
    set_manifest(bundle_path, wrong.model_dump_json())
    with pytest.raises(BundleError, match="for its golden input 1, its manifest says"):
        load_classifier(bundle_path)


def test_answers_that_are_not_numbers(bundle_path: Path) -> None:
    """Every comparison with NaN is false: it must not pass for a small difference."""
    proto = onnx.load(bundle_path)
    for weights in proto.graph.initializer:
        values = numpy_helper.to_array(weights)
        if values.dtype == np.float32:
            weights.CopyFrom(numpy_helper.from_array(np.full_like(values, np.nan), weights.name))
    resign(bundle_path, proto.SerializeToString())
    with pytest.raises(BundleError, match=r"answers .*nan.* for its golden input 0"):
        load_classifier(bundle_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.update(golden=[]), "golden"),
        (lambda m: m.update(golden=m["golden"][:1]), "golden"),
        (lambda m: m.update(classes=[]), "classes"),
        (lambda m: m.update(minimum_observations=0), "minimum_observations"),
        (lambda m: m["golden"][0]["flux"].pop(), "columns have different lengths"),
        (lambda m: m["golden"][0]["detected"].append(True), "columns have different lengths"),
        (lambda m: m["golden"][0]["band"].__setitem__(0, "ztf:y"), "the band table lacks ztf:y"),
        (lambda m: m["golden"][0]["band"].__setitem__(0, "g"), "the band table lacks g"),
    ],
)
def test_manifest_that_proves_nothing(
    bundle_path: Path, manifest: Manifest, change: Callable[[Any], object], message: str
) -> None:
    content = json.loads(manifest.model_dump_json())
    change(content)
    set_manifest(bundle_path, json.dumps(content))
    with pytest.raises(BundleError, match=rf"(?s)the manifest of .* is not valid.*{message}"):
        load_classifier(bundle_path)
