"""Code by its definitions: tree-sitter, in a process that may run out of memory or time without harm."""
