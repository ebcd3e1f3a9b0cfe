"""A simulated GPU: forwards run on the CPU, and a ledger accounts for the memory."""
