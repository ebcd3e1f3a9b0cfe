"""What trains the starter models and builds the benchmark data. Nothing that serves imports it."""
