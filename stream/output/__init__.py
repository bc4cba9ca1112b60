"""Output records: what is written for every alert and every refused message."""
