"""The engine in one process, beside its peers."""
