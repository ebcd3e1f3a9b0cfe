"""One file per task: from a request's texts to rows, and from rows' outputs to its result."""
