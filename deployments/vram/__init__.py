"""The VRAM actor of each GPU node, and the subscribers to its decisions in replicas and ingresses."""
