"""Servers, ports and facts about the machine, for the benchmarks and some tests."""
