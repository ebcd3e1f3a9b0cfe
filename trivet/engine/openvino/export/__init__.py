"""Conversion of a checkpoint to OpenVINO, in a process of its own: the only part of this package with torch."""
