"""One file per way of running a forward."""
