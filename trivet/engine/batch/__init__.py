"""Token sequences and the batches that they become."""
