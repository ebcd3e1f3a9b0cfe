"""Turns exceptions into HTTP answers in the shape of the request's dialect."""
