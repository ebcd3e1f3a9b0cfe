"""The path from HTTP to the engine and back."""
