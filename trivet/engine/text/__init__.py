"""Turns texts into token ids: the tokenizer, segments of long texts, windows."""
