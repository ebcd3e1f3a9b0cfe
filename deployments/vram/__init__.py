"""The VRAM actor of each GPU node, and the replicas and ingresses that follow its decisions."""
