"""A graph as a file: HTML to look at, JSON, GraphML or Cypher for other programs. Pure, apart from the page's files.

Paths and texts may hold anything; each format escapes them so that they stay text.
"""

import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict
from importlib.resources import files
from io import BytesIO
from typing import Any, Final
from xml.etree import ElementTree

import orjson

from trivet.client import Evidence, GraphEdge
from trivet.folders.graph import Graph
from trivet.index import shown

_HTML_STYLES = ("css/base.css", "graph/viewer.css")
_GRAPHML = "http://graphml.graphdrawing.org/xmlns"
_NODE_KEYS = {"path": "string"}
_EDGE_KEYS = {
    "relation": "string",
    "directed": "boolean",
    "confidence": "double",
    "relevance": "double",
    "source_lines": "string",
    "target_lines": "string",
    "source_text": "string",
    "target_text": "string",
}


def as_json(graph: Graph) -> bytes:
    """The whole graph: documents, edges with their evidence, refused documents, the server's counts."""
    return orjson.dumps(_body(graph), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def as_html(graph: Graph) -> bytes:
    """One file that draws the graph and loads nothing else."""
    page = files("trivet").joinpath("api", "ui")
    # Within JSON strings every `<` can be written so; none is elsewhere, and no tag can end the element.
    data = orjson.dumps(_body(graph)).replace(b"<", b"\\u003c").decode()
    parts = {
        "style": "\n".join(page.joinpath(*name.split("/")).read_text("utf-8") for name in _HTML_STYLES),
        "script": page.joinpath("graph", "viewer.js").read_text("utf-8"),
        "data": data,
    }
    template = page.joinpath("graph", "export.html").read_text("utf-8")
    pieces = []
    for piece in template.split("{{"):  # not one replacement after another: a text may contain a placeholder
        name, ends, rest = piece.partition("}}")
        pieces.append(parts[name] + rest if ends else piece)
    return "".join(pieces).encode()


def as_graphml(graph: Graph) -> bytes:
    """GraphML, as Gephi, yEd and networkx read it."""
    root = ElementTree.Element("graphml", xmlns=_GRAPHML)
    for place, keys in (("node", _NODE_KEYS), ("edge", _EDGE_KEYS)):
        for name, kind in keys.items():
            about = {"id": f"{place}_{name}", "for": place, "attr.name": name, "attr.type": kind}
            ElementTree.SubElement(root, "key", about)
    body = ElementTree.SubElement(root, "graph", edgedefault="directed")
    ids = {path: f"n{number}" for number, path in enumerate(graph.documents)}
    for path, id_ in ids.items():
        node = ElementTree.SubElement(body, "node", id=id_)
        ElementTree.SubElement(node, "data", key="node_path").text = _xml_text(shown(path))
    for edge in graph.edges:
        # No `directed` of its own: networkx refuses a graph that has both kinds. The edge's data tell its kind.
        element = ElementTree.SubElement(body, "edge", source=ids[edge.source], target=ids[edge.target])
        for name, value in _flat(edge).items():
            text = str(value).lower() if isinstance(value, bool) else str(value)
            ElementTree.SubElement(element, "data", key=f"edge_{name}").text = _xml_text(text)
    out = BytesIO()
    ElementTree.ElementTree(root).write(out, encoding="utf-8", xml_declaration=True)
    return out.getvalue() + b"\n"


def as_cypher(graph: Graph) -> bytes:
    """Statements that add the graph to Neo4j, Memgraph or Kùzu: `Document` nodes, and a relationship per edge."""
    lines = [f"MERGE (:Document {{path: {_cypher_text(path)}}});" for path in graph.documents]
    for edge in graph.edges:
        values = ", ".join(f"{name}: {_cypher_value(value)}" for name, value in _flat(edge).items())
        lines.append(
            f"MATCH (a:Document {{path: {_cypher_text(edge.source)}}}), "
            f"(b:Document {{path: {_cypher_text(edge.target)}}}) "
            f"CREATE (a)-[:{_cypher_type(edge.relation)} {{{values}}}]->(b);"
        )
    return "".join(f"{line}\n" for line in lines).encode()


FORMATS: Final[Mapping[str, Callable[[Graph], bytes]]] = {
    ".html": as_html,
    ".json": as_json,
    ".graphml": as_graphml,
    ".cypher": as_cypher,
}
"""Functions by the suffix of the file to write."""


def _body(graph: Graph) -> dict[str, Any]:
    counts = Counter(edge.relation for edge in graph.edges)
    return {
        "format": "trivet-graph",
        "version": 1,
        "documents": graph.documents,
        "relations": sorted(counts, key=lambda name: (-counts[name], name)),
        "edges": [asdict(edge) for edge in graph.edges],
        "refused": [asdict(one) for one in graph.refused],
        "summary": dict(graph.summary),
    }


def _flat(edge: GraphEdge) -> dict[str, str | float | bool]:
    """An edge without lists: of its evidence the first, which is the strongest."""
    flat: dict[str, str | float | bool] = {
        "relation": edge.relation,
        "directed": edge.directed,
        "confidence": edge.confidence,
    }
    if edge.relevance is not None:
        flat["relevance"] = edge.relevance
    return {**flat, **(_flat_evidence(edge.evidence[0]) if edge.evidence else {})}


def _flat_evidence(evidence: Evidence) -> dict[str, str]:
    return {
        "source_lines": f"{evidence.source.start_line}-{evidence.source.end_line}",
        "target_lines": f"{evidence.target.start_line}-{evidence.target.end_line}",
        "source_text": evidence.source.text,
        "target_text": evidence.target.text,
    }


_NOT_IN_XML = re.compile("[^\t\n\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def _xml_text(text: str) -> str:
    """The text with what XML 1.0 cannot contain, not even escaped, written as `shown` does."""
    return _NOT_IN_XML.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _cypher_value(value: str | float | bool) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return _cypher_text(value) if isinstance(value, str) else repr(value)


def _cypher_text(text: str) -> str:
    r"""A string literal.

    Some versions of Neo4j read `\uXXXX` before anything else, also behind another backslash. Therefore a backslash and
    a `u` never stand together: the string is put together from two.
    """
    escapes = {"\\": "\\\\", "'": "\\'", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
    visible = "".join(one if one.isprintable() or one in escapes else shown(one) for one in text)
    literal = "".join(escapes.get(one, one) for one in visible)
    return "'" + re.sub(r"(?<=\\\\)u", "' + 'u", literal) + "'"


def _cypher_type(relation: str) -> str:
    """The relation as the name of a type; the property `relation` has it unchanged."""
    name = "".join(one if one.isascii() and one.isalnum() else "_" for one in relation.upper())
    return name if name and name[0].isalpha() else f"R_{name}"
