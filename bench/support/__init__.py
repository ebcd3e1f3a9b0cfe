"""Servers, ports and the machine's description, for the benchmarks and some tests."""
