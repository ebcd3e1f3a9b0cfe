"""HAProxy as Trivet runs it: the rewritten configuration, and draining."""
