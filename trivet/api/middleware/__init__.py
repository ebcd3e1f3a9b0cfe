"""ASGI middleware, one file each; `trivet.api.app` states their order once."""
