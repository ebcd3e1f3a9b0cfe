"""A sanity set for zero-shot topics: 100 sentences, 8 labels, written for this project."""
