"""What may change while a replica runs, without replacing it: its deployment's `user_config` in the Serve file.

    applications:
      - name: trivet
        …
        deployments:
          - name: embedder-cpu
            user_config: {max_queued_tokens: 500000}

Everything else is an argument of the application: a change of it replaces the replicas, one after another.
"""

from pydantic import BaseModel, ConfigDict, PositiveFloat, PositiveInt


class LiveConfig(BaseModel):
    """One deployment's `user_config`. Null: as the application's arguments say."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_queued_tokens: PositiveInt | None = None
    """See `limits.max_queued_tokens`. What waits already stays."""
    forward_limit_s: PositiveFloat | None = None
    """See `serving.forward_limit_s`."""
