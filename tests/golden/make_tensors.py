"""Write the tensors of real alerts that `test_tensors` compares with.

Run it only after a deliberate change of the features, which also changes
`models.features.FEATURE_SPEC`::

    python -m tests.golden.make_tensors
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from models.features import FEATURE_SPEC, LENGTH_BUCKETS, model_inputs
from stream.alerts import AlertBatch
from stream.avro.schemas import open_schemas
from stream.decode import Decoder
from stream.sources.memory import message_batch

ALERTS: Final = Path(__file__).parents[1] / "data" / "alerts"
TENSORS: Final = Path(__file__).with_name("tensors.npz")
PATHS: Final = (
    "ztf/1.8/ZTF18aazxcwf_527209780115010003.avro",
    "ztf/3.3/ZTF20aaelulu_1105522281015015000.avro",
    "ztf/3.3/ZTF20aafcnby_1127561441415015002.avro",
    "ztf/4.01/ZTF17aacymkh_2475433850015015000.avro",
    "ztf/4.02/ZTF18acullba_3005140370015010009.avro",
    "lsst/7.1/confluent/25401295582003262_25409136044802067.avro",
    "lsst/10.0/container/170028485706776685_170094456272322680_x7.avro",
)


def decode() -> AlertBatch:
    """Return the alerts whose tensors are pinned."""
    decoder = Decoder(open_schemas(None, None), ("ztf", "lsst"))
    return decoder.decode(message_batch([(ALERTS / path).read_bytes() for path in PATHS]))


def tensors(alerts: AlertBatch) -> dict[str, npt.NDArray[Any]]:
    """Return every tensor of every length bucket under a name of its own."""
    named: dict[str, npt.NDArray[Any]] = {"feature_spec": np.array(FEATURE_SPEC)}
    for inputs in model_inputs(alerts.curves, alerts.trigger_mjd):
        length = inputs.mask.shape[1]
        assert length in LENGTH_BUCKETS
        for name in ("rows", "tokens", "mask", "objects"):
            named[f"{name}_{length}"] = getattr(inputs, name)
    return named


if __name__ == "__main__":
    np.savez_compressed(TENSORS, **tensors(decode()))  # type: ignore[arg-type]
