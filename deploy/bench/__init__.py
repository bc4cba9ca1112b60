"""Benchmarks against peers, on this machine: ``tinyt2 bench``.

Every benchmark runs tinyt2 and its peers by turns in one run, so that a noisy
machine disturbs both alike; ratios travel between machines, absolute times do
not. The input is the real alerts that come with tinyt2.

A figure is the median over rounds, a ratio the median of the ratios of single
rounds:

- of a time (us, ms, s), of a rate (alerts/s) and of memory: how many times
  better than the peer, that is peer / ours of times, ours / peer of rates;
- ``serve_cpu_vs_consume``: ours / peer, how many times the peer's cost.

``n`` is the number of rounds or, of latencies, of alerts.
"""
