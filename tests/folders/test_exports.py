"""Exported graphs hold hostile names and texts as text, in every format."""

import json
import re
from html.parser import HTMLParser
from typing import ClassVar
from xml.etree import ElementTree

import pytest

from tests.folders.streams import edge
from trivet.client.graph import GraphEdge, event_of
from trivet.folders.exports import FORMATS, as_cypher, as_graphml, as_html, as_json
from trivet.folders.graph import Graph

HOSTILE = [
    "</script><script>alert(1)</script>",
    "{{script}} {{data}} <!--",
    "it's \"quoted\" \\' \\u0027 \\\\u0027}) DETACH DELETE n //",
    "\x1b[2J\x00\x07 \u202e \ufffe ]]> &amp;",
    "line\nbreak\ttab\u2028",
]


def hostile_graph() -> Graph:
    edges = []
    for at, name in enumerate(HOSTILE):
        line = edge("plain.py", name, relation=f"re`la{at}-{name[:3]}", directed=at != 1)
        line["evidence"][0]["target"]["text"] = name
        found = event_of(json.dumps(line))
        assert isinstance(found, GraphEdge)
        edges.append(found)
    return Graph(["plain.py", *HOSTILE], edges)


def test_json_is_the_whole_graph() -> None:
    graph = json.loads(as_json(hostile_graph()))
    assert graph["documents"] == ["plain.py", *HOSTILE]
    assert [one["evidence"][0]["target"]["text"] for one in graph["edges"]] == HOSTILE


def test_html_has_the_data_in_one_element_and_loads_nothing() -> None:
    page = as_html(hostile_graph()).decode()

    class Elements(HTMLParser):
        found: ClassVar[list[tuple[str, dict[str, str | None]]]] = []

        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            self.found.append((tag, dict(attrs)))

    Elements().feed(page)
    assert [tag for tag, _ in Elements.found].count("script") == 2
    assert {"link", "img", "iframe"}.isdisjoint(tag for tag, _ in Elements.found)
    assert not any({"src", "href"} & attributes.keys() for _, attributes in Elements.found)
    [data] = re.findall(r'id="graph-data">(.*?)</script>', page, re.DOTALL)
    assert json.loads(data)["documents"] == ["plain.py", *HOSTILE]
    assert "default-src 'none'" in page
    assert "showGraph(document" in page


def test_graphml_is_well_formed_and_keeps_what_xml_can_hold() -> None:
    root = ElementTree.fromstring(as_graphml(hostile_graph()))
    space = "{http://graphml.graphdrawing.org/xmlns}"
    nodes = root.findall(f"{space}graph/{space}node/{space}data")
    assert [node.text for node in nodes[:4]] == ["plain.py", *HOSTILE[:3]]
    texts = [data.text for data in root.iter(f"{space}data") if data.get("key") == "edge_target_text"]
    assert texts[:3] == HOSTILE[:3]
    assert texts[3] == "\\u001b[2J\\u0000\\u0007 \u202e \\ufffe ]]> &amp;"
    networkx = pytest.importorskip("networkx", reason="networkx, which reads GraphML, is not installed")
    read = networkx.parse_graphml(as_graphml(hostile_graph()).decode())
    assert len(read.nodes) == len(HOSTILE) + 1
    assert [about["directed"] for *_, about in read.edges(data=True)] == [True, False, True, True, True]


CYPHER_STRING = r"'(?:[^'\\]|\\['\\nrt])*'"


def test_cypher_keeps_every_text_within_its_string() -> None:
    statements = as_cypher(hostile_graph()).decode()
    assert "\\u" not in statements
    value = rf"(?:{CYPHER_STRING}(?: \+ {CYPHER_STRING})*|[\d.]+|true|false)"
    node = rf":Document \{{path: {value}\}}"
    properties = rf"\w+: {value}(?:, \w+: {value})*"
    match = rf"MATCH \(a{node}\), \(b{node}\) CREATE \(a\)-\[:\w+ \{{{properties}\}}\]->\(b\);"
    lines = statements.splitlines()
    assert len(lines) == 2 * len(HOSTILE) + 1
    for line in lines:
        assert re.fullmatch(rf"MERGE \({node}\);|{match}", line), line


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_graph_without_edges_is_written_too(suffix: str) -> None:
    assert FORMATS[suffix](Graph(["a", "b"]))
