"""What HAProxy looks up for every request: does the service run, or is it being stopped?

A map is the one thing of a running HAProxy that its admin socket can change without an experimental mode.
"""

MAP_FILE_NAME = "state.map"
"""Beside HAProxy's configuration."""

KEY = "service"
RUNNING = "running"
STOPPING = "stopping"
