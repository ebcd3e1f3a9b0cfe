"""The CPU backend: converted models in a cache on disk, run by OpenVINO. Imports no torch outside of `export`."""
