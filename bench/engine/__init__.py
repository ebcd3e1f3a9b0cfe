"""Measures the engine in process, beside its peers."""
