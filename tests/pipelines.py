"""A pipeline over real alerts with the deployed model."""

from __future__ import annotations

from pathlib import Path

import pytest

from models.runtime import OnnxClassifier, load_classifier
from stream.alerts import MessageBatch
from stream.avro.schemas import open_schemas
from stream.decode import Decoder
from stream.metrics import Metrics
from stream.output.outcomes import Outcomes
from stream.pipeline import Pipeline
from stream.sources.archive import ArchiveSource

NOW_MS = 1_790_000_000_000


@pytest.fixture(scope="session")
def classifier() -> OnnxClassifier:
    return load_classifier()


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def pipeline(classifier: OnnxClassifier, metrics: Metrics) -> Pipeline:
    decoder = Decoder(open_schemas(None, None), ("ztf", "lsst"))
    return Pipeline(decoder, classifier, metrics, clock=lambda: NOW_MS + 40)


@pytest.fixture(scope="session")
def all_messages(alerts_dir: Path) -> MessageBatch:
    """Every fixture, good and bad, as one batch."""
    batch = ArchiveSource([alerts_dir], clock=lambda: NOW_MS).poll(10_000, 0.0)
    assert batch is not None
    return batch


@pytest.fixture
def outcomes(pipeline: Pipeline, all_messages: MessageBatch) -> Outcomes:
    return pipeline.process(all_messages)
