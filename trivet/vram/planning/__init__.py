"""Which models fit a GPU, and the configuration that makes them fit. Pure."""
