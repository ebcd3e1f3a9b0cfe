"""Metrics, logs and traces of Ray's processes."""
