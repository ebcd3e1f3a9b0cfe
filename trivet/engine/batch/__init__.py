"""Token sequences, the batches that they form, and the ways in which a forward can lay a batch out. No device code."""
