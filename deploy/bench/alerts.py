"""The alerts that come with tinyt2, as the benchmarks take them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle, islice
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from deploy.demo import SAMPLE_ALERTS
from deploy.settings import Settings
from deploy.wiring import open_decoder
from models.bundle import Manifest
from models.features import n_usable
from models.lightcurve import DETECTION, FORCED, LightCurves
from stream.sources.archive import alert_files
from stream.sources.memory import message_batch

__all__ = ["ZTF", "Histories", "copies", "longer", "messages", "ztf_histories"]

ZTF: Final = "ztf"


class Histories(NamedTuple):
    """Light curves of n alerts and the times of their triggering observations."""

    curves: LightCurves
    trigger_mjd: npt.NDArray[np.float64]
    """[n] days."""

    def take(self, rows: npt.NDArray[np.integer]) -> Histories:
        """Return the histories of some alerts."""
        return Histories(self.curves.take(rows), self.trigger_mjd[rows])

    def repeated(self, n: int) -> Histories:
        """Return n histories: these round and round."""
        return self.take(np.arange(n) % len(self.trigger_mjd))


def messages(folder: str) -> list[bytes]:
    """Return the bundled messages below a folder such as ``ztf/4.02``, in order of path."""
    return [path.read_bytes() for path in alert_files([SAMPLE_ALERTS / folder])]


def copies(values: Sequence[bytes], n: int) -> list[bytes]:
    """Return n messages, the given ones round and round, each at an address of its own.

    As from Kafka, where no message is in the processor's cache because it was just read.
    """
    return [bytes(bytearray(value)) for value in islice(cycle(values), n)]


def ztf_histories(manifest: Manifest) -> Histories:
    """Return the histories of the bundled ZTF alerts that a model classifies."""
    batch = open_decoder(Settings()).decode(message_batch(messages(ZTF)))
    enough = n_usable(batch.curves, batch.trigger_mjd) >= manifest.minimum_observations
    rows = np.flatnonzero(enough & ~batch.solar_system)
    return Histories(batch.curves, batch.trigger_mjd).take(rows)


def longer(histories: Histories, times: int) -> Histories:
    """Return the same alerts with histories so many times as long.

    The observations of an alert are repeated before its own first one, again and again.
    """
    curves = histories.curves
    counts = curves.n_observations
    curve = np.repeat(np.arange(len(curves)), counts)
    first, last = curves.mjd[curves.splits[:-1]], curves.mjd[curves.splits[1:] - 1]
    period = (last - first + 1.0)[curve]  # a day between one repetition and the next
    repetition = np.repeat(np.arange(times), len(curve))
    return Histories(
        LightCurves.from_observations(
            curve=np.tile(curve, times),
            mjd=np.tile(curves.mjd, times) - repetition * np.tile(period, times),
            band=np.tile(curves.band, times),
            flux=np.tile(curves.flux, times),
            flux_err=np.tile(curves.flux_err, times),
            rank=np.where(np.tile(curves.detected, times), DETECTION, FORCED).astype(np.uint8),
            n_curves=len(curves),
        ),
        histories.trigger_mjd,
    )
