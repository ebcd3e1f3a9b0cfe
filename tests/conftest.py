"""Settings for the whole suite."""

import os

from hypothesis import settings

# Tests do not time: a busy machine must not fail them.
settings.register_profile("full", deadline=None)
settings.register_profile("fast", deadline=None, max_examples=20)
settings.load_profile(os.environ.get("TRIVET_HYPOTHESIS", "full"))

pytest_plugins = ["tests.support.shared_app"]
