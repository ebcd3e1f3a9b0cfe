"""Which sequences run together, and when."""
