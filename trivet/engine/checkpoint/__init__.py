"""What a checkpoint folder holds: files, digests, settings. Reads no weights and imports no torch."""
