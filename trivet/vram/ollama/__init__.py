"""An Ollama server on the same GPU: which models it holds in memory, and when to ask it to unload them."""
