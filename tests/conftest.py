"""Settings for the whole suite. Imports no application: folders that need one import its fixtures themselves."""

import os

from hypothesis import settings

# Before anything imports torch. Test processes share the cores, and for small tensors the threads of one process mostly
# wait for each other: on a busy machine ten times as long as one thread computes.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# No deadlines: a busy machine must not fail a test.
settings.register_profile("full", deadline=None)
settings.register_profile("fast", deadline=None, max_examples=20)
settings.load_profile(os.environ.get("TRIVET_HYPOTHESIS", "full"))
