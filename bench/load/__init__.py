"""Load generators and the texts that they send."""
