"""The map in which HAProxy looks up, for every request, whether the service is running or stopping.

A map is the only part of a running HAProxy that its admin socket can change without an experimental mode.
"""

MAP_FILE_NAME = "state.map"
"""Name of the file, in the folder of HAProxy's configuration."""

KEY = "service"
RUNNING = "running"
STOPPING = "stopping"
