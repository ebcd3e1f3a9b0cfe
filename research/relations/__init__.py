"""The relation benchmark: pairs whose label follows from structure, split by source package."""
