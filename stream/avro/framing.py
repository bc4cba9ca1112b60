"""Where the records of a message stand, whatever frames them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO

from stream.alerts import RefusedReason
from stream.avro.writer import Record, WriterSchema
from stream.refusal import Refusal

__all__ = ["Block"]


@dataclass(frozen=True, slots=True)
class Block:
    """Records that stand one behind another in ``data[start:end]``."""

    data: bytes
    start: int
    end: int
    n_records: int
    name: str
    """What a text calls it: ``block 1``, ``the message``."""

    def check_end(self, at: int) -> None:
        """Refuse the message unless the last record ends with the block."""
        if at > self.end:
            raise Refusal(RefusedReason.CORRUPT_BODY, f"a record reads past the end of {self.name}")
        if at < self.end:
            raise Refusal(
                RefusedReason.TRAILING_BYTES,
                f"{self.end - at} bytes are left over in {self.name} after its last record, "
                f"number {self.n_records}",
            )

    def records(self, schema: WriterSchema) -> Iterator[Record]:
        """Yield the records as fastavro reads them; `Refusal` for any damage."""
        # One byte behind the end shows that a damaged length goes beyond it.
        body = BytesIO(self.data[self.start : self.end] + b"\0")
        for _ in range(self.n_records):
            record = schema.read(body)
            if body.tell() > self.end - self.start:
                break
            yield record
        self.check_end(self.start + body.tell())
