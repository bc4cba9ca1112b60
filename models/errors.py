"""The errors of tinyt2.

A bad packet is a value (an outcome with a reason), never an exception that
reaches the user. What is raised is one of these; each keeps the offending
value as an attribute and its message says what to do::

    TinyT2Error
    +-- ConfigurationError    a setting, option or path is wrong
    |   +-- BusyError         another process does the same work at this moment
    +-- MissingExtraError     a command needs packages that are not installed
    +-- DataError             a data set does not have the documented form
    +-- BundleError           a model file is damaged, unknown or not what its card says
    +-- GateError             a model loses more than it may; nothing was promoted
    +-- DeliveryError         outputs could not be delivered; nothing was committed
    |   +-- TransactionAbortedError   a transaction failed; its messages are read again
    +-- AccountingError       records in and outcomes out do not add up
"""

from __future__ import annotations

__all__ = [
    "AccountingError",
    "BundleError",
    "BusyError",
    "ConfigurationError",
    "DataError",
    "DeliveryError",
    "GateError",
    "MissingExtraError",
    "TinyT2Error",
    "TransactionAbortedError",
]


class TinyT2Error(Exception):
    """Base of every error that tinyt2 raises on purpose.

    ``value`` is the offending value: a path, key, count or name.
    """

    def __init__(self, message: str, value: object = None) -> None:
        super().__init__(message)
        self.value = value


class ConfigurationError(TinyT2Error):
    """A setting, command-line option or path is wrong."""


class BusyError(ConfigurationError):
    """Another process does the same work at this moment: try again later."""


class MissingExtraError(TinyT2Error):
    """A command needs an optional set of packages; ``value`` is the extra's name."""

    def __init__(self, command: str, extra: str) -> None:
        super().__init__(
            f"'{command}' needs packages that are not installed: pip install 'tinyt2[{extra}]'",
            extra,
        )


class DataError(TinyT2Error):
    """A data set does not have the form that its loader documents."""


class BundleError(TinyT2Error):
    """A model file is damaged, of an unknown feature spec, or not what its card says."""


class GateError(TinyT2Error):
    """A model loses more against another than its gates allow; nothing was promoted.

    ``value`` says what failed and why, by class or figure.
    """


class DeliveryError(TinyT2Error):
    """Outputs could not be delivered. Their inputs were not committed and will be read again."""


class TransactionAbortedError(DeliveryError):
    """A transaction failed: abort it and read its messages again."""


class AccountingError(TinyT2Error):
    """Records read and outcomes recorded do not add up: a defect of tinyt2."""
