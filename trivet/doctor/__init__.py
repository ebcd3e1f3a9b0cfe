"""Examines this machine, and checks a configuration against it."""
