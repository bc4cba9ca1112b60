"""The running service: alerts in, classifications out. Never imports torch."""
