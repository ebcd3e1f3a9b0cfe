"""The programming languages that are read by their syntax, and the parts of their trees that matter here."""

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tree_sitter import Language


@dataclass(frozen=True, slots=True)
class Grammar:
    """Where a grammar is: a function of a package, which carries the compiled grammar within its wheel."""

    module: str
    function: str = "language"


GRAMMARS = {
    "bash": Grammar("tree_sitter_bash"),
    "c": Grammar("tree_sitter_c"),
    "cpp": Grammar("tree_sitter_cpp"),
    "csharp": Grammar("tree_sitter_c_sharp"),
    "go": Grammar("tree_sitter_go"),
    "java": Grammar("tree_sitter_java"),
    "javascript": Grammar("tree_sitter_javascript"),
    "kotlin": Grammar("tree_sitter_kotlin"),
    "lua": Grammar("tree_sitter_lua"),
    "php": Grammar("tree_sitter_php", "language_php"),
    "python": Grammar("tree_sitter_python"),
    "ruby": Grammar("tree_sitter_ruby"),
    "rust": Grammar("tree_sitter_rust"),
    "scala": Grammar("tree_sitter_scala"),
    "swift": Grammar("tree_sitter_swift"),
    "tsx": Grammar("tree_sitter_typescript", "language_tsx"),
    "typescript": Grammar("tree_sitter_typescript", "language_typescript"),
}

# fmt: off
# One set for all languages: a name that means something else in another grammar does not occur there as a statement.
DEFINITIONS = frozenset({
    "class_definition", "function_definition", "class_declaration", "abstract_class_declaration",
    "function_declaration", "generator_function_declaration", "method_definition", "interface_declaration",
    "type_alias_declaration", "enum_declaration", "internal_module", "method_declaration", "type_declaration",
    "function_item", "impl_item", "struct_item", "enum_item", "union_item", "trait_item", "mod_item",
    "macro_definition", "record_declaration", "annotation_type_declaration", "constructor_declaration",
    "compact_constructor_declaration", "struct_specifier", "union_specifier", "enum_specifier", "class_specifier",
    "type_definition", "namespace_definition", "concept_definition", "struct_declaration", "property_declaration",
    "namespace_declaration", "delegate_declaration", "local_function_statement", "class", "module", "method",
    "singleton_method", "singleton_class", "trait_declaration", "object_declaration", "companion_object",
    "secondary_constructor", "object_definition", "trait_definition", "enum_definition", "given_definition",
    "protocol_declaration", "init_declaration", "deinit_declaration", "extension_declaration",
})

WRAPPERS = frozenset({"decorated_definition", "export_statement", "template_declaration", "ambient_declaration"})
"""Nodes whose last named child is the definition."""

ASSIGNMENTS = frozenset({
    "lexical_declaration", "variable_declaration", "variable_declarator", "expression_statement",
    "assignment_expression", "field_definition", "public_field_definition",
})
"""Nodes whose last named child may be a function that they give a name to."""

FUNCTION_VALUES = frozenset({"arrow_function", "function_expression", "generator_function", "class"})

PREFIXES = frozenset({
    "comment", "line_comment", "block_comment", "multiline_comment", "doc_comment", "decorator", "attribute_item",
    "attribute_list", "attribute", "annotation", "marker_annotation", "modifiers",
})
"""Nodes that belong to the node after them."""
# fmt: on


def load(name: str) -> "Language":
    """The grammar of one of `GRAMMARS`. Reads a shared library of 0.1 to 5 MB, once per process."""
    from tree_sitter import Language

    grammar = GRAMMARS[name]
    return Language(getattr(importlib.import_module(grammar.module), grammar.function)())
