"""HAProxy in front of the ingress: rewriting Ray's configuration for it, and draining."""
