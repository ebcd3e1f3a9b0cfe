from research.relations.edges import bound_names, edges, mentions
from research.relations.source import clip_lines, parse_module

LIBRARY = '''
"""A module."""
LIMIT = 10

def parse(text):
    """Read a text.

    Longer words about it.
    """
    return text[:LIMIT]

class Reader:
    def read(self, path):
        return self.decode(path)

    def decode(self, path):
        return parse(path)
'''
USER = """
from pkg.library import parse as read_text
from . import library

def load(path):
    return read_text(path)

def shadowed(parse, LIMIT=3):
    return parse(LIMIT)

def through_module(path):
    return library.parse(path)
"""


def modules():
    library = parse_module("pkg.library", LIBRARY)
    user = parse_module("pkg.user", USER)
    assert library is not None
    assert user is not None
    return {"pkg.library": library, "pkg.user": user}


def found(name):
    table = modules()
    return {(e.user.name, e.used.qualified, e.spelled) for e in edges(table[name], table)}


def test_names_of_the_same_module_and_methods_are_edges():
    assert found("pkg.library") == {
        ("parse", "pkg.library.LIMIT", "LIMIT"),
        ("read", "pkg.library.Reader.decode", ".decode"),
        ("decode", "pkg.library.parse", "parse"),
    }


def test_imports_resolve_through_aliases_and_modules():
    assert found("pkg.user") == {
        ("load", "pkg.library.parse", "read_text"),
        ("through_module", "pkg.library.parse", "library.parse"),
    }


def test_a_name_the_function_binds_itself_is_no_edge():
    assert not [e for e in found("pkg.user") if e[0] == "shadowed"]


def test_bound_names_cover_arguments_stores_and_inner_functions():
    module = parse_module("m", "def f(a, *b, c=1):\n    d = 1\n    for e in a: pass\n    def g(): pass\n")
    assert module is not None
    assert bound_names(module.definitions["f"].node) == {"a", "b", "c", "d", "e", "g"}


def test_the_code_of_a_definition_leaves_its_docstring_out():
    definition = modules()["pkg.library"].definitions["parse"]
    assert definition.docstring.startswith("Read a text.")
    assert "Read a text" not in definition.code
    assert definition.code.splitlines() == ["def parse(text):", "    return text[:LIMIT]"]


def test_an_invalid_file_is_left_out():
    assert parse_module("m", "def f(:\n") is None


def test_clipping_keeps_the_head_and_the_use_within_the_limit():
    lines = ("def f():", *(f"    step_{i}()" for i in range(100)), "    return TARGET")
    clipped = clip_lines(lines, 120, "TARGET")
    assert len(clipped) <= 120
    assert clipped.startswith("def f():")
    assert "TARGET" in clipped


def test_mentions_needs_a_whole_word():
    assert mentions("x = parse(y)", "parse")
    assert not mentions("x = parse_all(y)", "parse")
