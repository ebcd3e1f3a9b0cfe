"""Training of the starter classifier."""
