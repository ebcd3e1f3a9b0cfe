"""The HTTP application over a dispatcher. Knows neither Ray nor any engine."""
