"""Training of the starter models. Nothing under `trivet/` imports this package."""
