"""Facts about this machine, and what they mean for a configuration."""
