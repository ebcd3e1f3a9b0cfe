"""Settings for the whole suite."""

from hypothesis import settings

# Tests do not time: a busy machine must not fail them.
settings.register_profile("trivet", deadline=None)
settings.load_profile("trivet")
