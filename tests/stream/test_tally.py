from __future__ import annotations

from collections import Counter

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.tally import tally

words = st.sampled_from(["ztf", "lsst", "é", None])


def column(values: list[str | None]) -> pa.DictionaryArray:
    return pa.array(values, pa.string()).dictionary_encode()


@settings(deadline=None)
@given(st.lists(st.tuples(words, words)))
def test_combinations_are_counted(rows: list[tuple[str | None, str | None]]) -> None:
    left, right = [row[0] for row in rows], [row[1] for row in rows]
    assert tally(column(left)) == Counter((value or "",) for value in left)
    assert tally(column(left), column(right)) == Counter((a or "", b or "") for a, b in rows)


def test_a_dictionary_may_hold_a_value_twice_or_in_vain() -> None:
    values = pa.array(["a", "b", "a"], pa.string())
    assert tally(pa.DictionaryArray.from_arrays(pa.array([0, 2, 2], pa.int8()), values)) == {
        ("a",): 3
    }
