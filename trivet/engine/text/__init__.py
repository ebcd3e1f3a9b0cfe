"""From text to token ids: the tokenizer, segments of long texts, windows."""
