"""An Ollama server on the same GPU: what it holds, and whether to ask it to unload."""
