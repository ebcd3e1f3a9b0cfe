"""From texts to vectors and scores: tokenise, window, pack, forward, heads. The only package that knows torch."""
