"""Eight one-line notes on different parts of one program: related to each other by none of the usual relations."""

PROGRAM_NOTES = (
    "The dispatcher sends a request to the replica with the shortest queue.",
    "When VRAM runs low, the policy offloads the model that was used least.",
    "Embeddings are cached by the hash of their text and the model's revision.",
    "The tokenizer splits long texts into windows that overlap by 64 tokens.",
    "API keys are compared as digests in constant time.",
    "The status page shows the memory of every model as a curve.",
    "A CPU replica answers while the GPU replica reloads.",
    "The reranker's score is the sigmoid of one logit.",
)
