"""Compile the kernels of the service once, into numba's cache: for images and installations.

``python -m deploy.precompile`` classifies the alerts that come with tinyt2 and encodes the
answers in every form; ``--alerts`` prints where those alerts are instead.
"""

from __future__ import annotations

import sys

from deploy import wiring
from deploy.demo import SAMPLE_ALERTS, sample_files
from deploy.settings import load_settings
from stream.duplicates import DuplicateWindow
from stream.metrics import Metrics
from stream.output.encoders import ENCODERS
from stream.output.outcomes import Outcomes
from stream.pipeline import Pipeline
from stream.sources.memory import message_batch

__all__ = ["precompile"]


def precompile() -> Outcomes:
    """Take one batch all the way, Kafka apart; return what became of it."""
    settings = load_settings()
    pipeline = Pipeline(
        wiring.open_decoder(settings),
        wiring.open_classifier(settings),
        Metrics(),
        duplicates=DuplicateWindow(1),
    )
    outcomes = pipeline.process(message_batch([path.read_bytes() for path in sample_files()]))
    for encode in ENCODERS.values():
        encode(outcomes)
    return outcomes


if __name__ == "__main__":
    if sys.argv[1:] == ["--alerts"]:
        print(SAMPLE_ALERTS)
    else:
        precompile()
