"""Reads YAML whose objects have each key once. Imported only where a file is read: `--help` works without YAML."""

from typing import Any

import yaml


class _KeysOnce(yaml.SafeLoader):
    """Refuses a key that its object has already, of which other loaders keep the last value in silence."""

    def compose_mapping_node(self, anchor: Any) -> Any:
        """Read an object before `<<` merges others into it, whose keys it may repeat."""
        node = super().compose_mapping_node(anchor)
        seen: set[tuple[str, str]] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            if (key.tag, key.value) in seen:
                raise yaml.constructor.ConstructorError(None, None, f"{key.value!r} is given twice", key.start_mark)
            seen.add((key.tag, key.value))
        return node


def load_yaml(text: str) -> Any:
    """Return the content of a YAML document.

    Raises:
        yaml.YAMLError: it is not YAML, or one of its objects has a key twice.
        ValueError: it has a date or a number that cannot be.
        RecursionError: it is nested too deeply.
    """
    return yaml.load(text, Loader=_KeysOnce)
