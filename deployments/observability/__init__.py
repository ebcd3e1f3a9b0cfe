"""Sends Trivet's metrics, logs and traces to Ray and Serve."""
