"""Avro on the wire: object containers, Confluent framing, and the schemas that both need."""
