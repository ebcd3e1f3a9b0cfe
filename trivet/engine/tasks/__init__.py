"""One file per task: from a request's texts to sequences, and from their outputs to the result."""
