from __future__ import annotations

import json

import pytest

from models.errors import AccountingError
from stream.accounting import Accounting
from stream.alerts import MessageBatch
from stream.output.outcomes import Outcomes


def _after(outcomes: Outcomes) -> Accounting:
    accounting = Accounting()
    accounting.consumed(outcomes.messages)
    accounting.delivered(outcomes)
    return accounting


def test_the_sums_close(outcomes: Outcomes, all_messages: MessageBatch) -> None:
    accounting = _after(outcomes)
    assert accounting.messages_consumed == len(all_messages)
    assert accounting.messages_in_flight == 0
    assert accounting.alerts_decoded == len(outcomes.alerts)
    assert accounting.classes.total() == accounting.alerts_classified == len(outcomes.classified)


@pytest.mark.parametrize("count", ["messages_consumed", "messages_decoded", "alerts_classified"])
def test_a_lost_record_is_noticed(outcomes: Outcomes, count: str) -> None:
    accounting = _after(outcomes)
    setattr(accounting, count, getattr(accounting, count) + 1)
    with pytest.raises(AccountingError, match="report this"):
        accounting.check()


def test_a_refused_message_that_also_gave_alerts_is_noticed(outcomes: Outcomes) -> None:
    outcomes.alerts.refused.message.append(0)
    outcomes.alerts.refused.reason.append(outcomes.alerts.refused.reason[0])
    with pytest.raises(AccountingError):
        _after(outcomes)


def test_log_round_trip(outcomes: Outcomes) -> None:
    accounting = _after(outcomes)
    assert Accounting.from_log(json.loads(json.dumps(accounting.as_log()))) == accounting
