"""The report is complete, self-contained and readable by programs."""

from __future__ import annotations

import base64
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from matplotlib.image import imread

from models.answers import Served
from models.datasets import LabelledCurves
from models.evaluate_bundle import Evaluation, EvaluationConfig, evaluate_bundle
from models.examples import choose, examples
from models.lightcurve import LightCurves
from models.plots import called, png
from models.report import EVALUATION_NAME, write_report
from models.runtime import OnnxClassifier, load_classifier
from tests.models.supernovae import random_curves

FEW = EvaluationConfig(bootstrap=4, detections=(1, 3), days=(0, 30))
ALL_FIGURES = {
    "confusion",
    "early",
    "early_by_class",
    "precision_recall",
    "reliability",
    "rejection",
    "examples",
}
SECTIONS = [
    "Headline",
    "What alerts are called",
    "Classes",
    "Early classification",
    "Calibration",
    "Surveys",
    "Thresholds",
    "Rejection",
    "Example light curves",
]


def labelled(classes: tuple[str, ...], n: int = 40) -> LabelledCurves:
    curves, _ = random_curves([20] * n, seed=9, bands=range(6))
    limits = ~curves.detected & (np.arange(len(curves.mjd)) % 2 == 0)
    flux = np.where(limits, 0, curves.flux).astype(np.float32)
    return LabelledCurves(
        name="made <up> & more",
        curves=replace(curves, flux=flux),
        classes=classes,
        label=np.arange(n) % len(classes),
        group=np.zeros(n, np.int64),
        groups=("one",),
        object_id=np.arange(n),
    )


@pytest.fixture
def classifier(bundle_path: Path) -> OnnxClassifier:
    return load_classifier(bundle_path)


class Reader(HTMLParser):
    """Collect headings, and check that what is opened is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.headings: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag not in ("img", "meta"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in ("h1", "h2"):
            self.headings.append(data)


def headings(page: str) -> list[str]:
    reader = Reader()
    reader.feed(page)
    reader.close()
    assert reader.open == []
    return reader.headings


def images(page: str) -> dict[str, npt.NDArray[np.float32]]:
    found = re.findall(r'<img alt="([a-z ]+)" src="data:image/png;base64,([^"]+)">', page)
    return {
        alt.replace(" ", "_"): imread(BytesIO(base64.b64decode(content, validate=True)))
        for alt, content in found
    }


def test_the_page_has_all_sections_and_figures(classifier: OnnxClassifier, tmp_path: Path) -> None:
    data = labelled(("SNIa", "SNIbc", "SNII", "Cepheid"))
    evaluation = evaluate_bundle(classifier, data, FEW, against=Served(classifier))
    page = write_report(evaluation, tmp_path / "new" / "report")
    text = page.read_text(encoding="utf-8")
    assert headings(text) == ["untrained 0 on made <up> & more", *SECTIONS]
    assert "<up>" not in text
    assert "http" not in text and "<script" not in text
    assert set(images(text)) == ALL_FIGURES
    for name, image in images(text).items():
        assert min(image.shape[:2]) > 200
        assert image[..., :3].std() > 0.02, f"{name} is blank"
        np.testing.assert_array_equal(imread(page.parent / f"{name}.png"), image)


def test_the_json_beside_is_the_result(classifier: OnnxClassifier, tmp_path: Path) -> None:
    evaluation = evaluate_bundle(classifier, labelled(("SNIa", "SNII")), FEW)
    write_report(evaluation, tmp_path)
    assert json.loads((tmp_path / EVALUATION_NAME).read_text()) == evaluation.result


def test_figures_stand_in_the_page_as_computed(classifier: OnnxClassifier, tmp_path: Path) -> None:
    evaluation = evaluate_bundle(classifier, labelled(("SNIa", "SNII")), FEW)
    text = write_report(evaluation, tmp_path).read_text(encoding="utf-8")
    for moment in ("last_detection", "random_detection"):
        for name in ("log_loss", "macro_f1", "recall_SNIa", "average_precision_SNII"):
            figure = evaluation.result[moment][name]
            assert (
                f"{figure['value']:.3f} <small>{figure['low']:.3f} to {figure['high']:.3f}" in text
            )


def test_a_single_class_is_said_to_have_a_recall_only(
    classifier: OnnxClassifier, tmp_path: Path
) -> None:
    evaluation = evaluate_bundle(classifier, labelled(("SNII",)), FEW)
    text = write_report(evaluation, tmp_path).read_text(encoding="utf-8")
    assert "single class (SNII): recall only" in text
    assert "macro" not in text
    assert set(images(text)) == {"confusion", "early", "rejection", "examples"}


def test_examples_are_right_and_wrong(classifier: OnnxClassifier) -> None:
    answers = evaluate_bundle(classifier, labelled(("SNIa", "SNII")), FEW).answers["last_detection"]
    certain = np.tile([0.8, 0.1, 0.1], (len(answers), 1))
    certain[5] = [0.6, 0.4, 0.0]
    chosen = choose(replace(answers, probabilities=certain))
    right, none = chosen[0]
    missing, wrong = chosen[2]
    assert none is None and missing is None
    assert right is not None and answers.label[right] == 0
    assert wrong is not None and answers.label[wrong] == 2 and wrong != 5


def test_examples_show_upper_limits_and_what_came_later(classifier: OnnxClassifier) -> None:
    """Curves without limits, or cut at the alert, draw other pictures."""
    evaluation = evaluate_bundle(classifier, labelled(("SNIa", "SNII")), FEW)
    answers = evaluation.answers["random_detection"]
    pictures = {
        png(lambda data=data: examples(answers, data))  # type: ignore[misc]
        for data in (
            evaluation.data,
            _only(evaluation, evaluation.data.curves.flux != 0),
            _only(evaluation, _before(evaluation)),
        )
    }
    assert len(pictures) == 3


def _only(evaluation: Evaluation, keep: npt.NDArray[np.bool_]) -> LabelledCurves:
    return replace(evaluation.data, curves=evaluation.data.curves.where(keep))


def _before(evaluation: Evaluation) -> npt.NDArray[np.bool_]:
    curves: LightCurves = evaluation.data.curves
    alerts = evaluation.answers["random_detection"].alerts
    last = np.full(len(curves), np.inf)
    last[alerts.curve] = alerts.trigger_mjd
    return np.asarray(curves.mjd <= np.repeat(last, curves.n_observations))


def test_drawing_leaves_no_style_behind() -> None:
    from matplotlib import rcParams

    before = dict(rcParams)
    content = png(lambda: called({"last_detection": {"SNIa": {"SNIa": 3}}}, ["SNIa"]))
    assert content.startswith(b"\x89PNG")
    assert dict(rcParams) == before
