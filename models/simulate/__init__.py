"""Simulated light curves of ZTF and LSST, for training and testing classifiers."""

from models.simulate.classes import populations
from models.simulate.simulation import simulate

__all__ = ["populations", "simulate"]
