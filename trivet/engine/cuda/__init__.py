"""The GPU backend: token budgets, out-of-memory recovery, offloading; `runner` is the only file with torch."""
