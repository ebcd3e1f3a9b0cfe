"""A simulated GPU: forwards run on the CPU, memory is accounted in a ledger."""
