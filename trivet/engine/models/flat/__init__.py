"""One module per architecture, for both lanes: encoders and decoders that compute on tokens laid end to end.

`trivet.checkpoint.flat` says which checkpoints these are, from their description and without torch; `load` makes a
model of one. Attention is handed in: `attention` for CUDA and for padded batches, `padded` for the CPU lane.
What is not supported is refused with a reason, and keeps the path through transformers, `trivet.engine.models.load`.
"""
