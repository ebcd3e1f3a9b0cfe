"""How a graph is judged."""

from pathlib import Path

from bench.graph import imports_in, judged_by_imports, sample

IMPORTS = {("a.py", "b.py"), ("c.py", "b.py")}


def edge(source: str, target: str, relation: str = "dependency") -> dict[str, object]:
    span = {"start_line": 3, "end_line": 4, "text": "one\ntwo"}
    evidence = [{"source": span, "target": span, "relevance": None}]
    return {"source": source, "target": target, "relation": relation, "confidence": 0.9, "evidence": evidence}


def test_imports_are_read_from_the_syntax(tmp_path: Path) -> None:
    package = tmp_path / "pkg"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "a.py").write_text("from pkg.b import name\nimport json\n")
    (package / "b.py").write_text("def f():\n    import pkg\n")
    assert imports_in(tmp_path) == {("pkg/a.py", "pkg/b.py"), ("pkg/b.py", "pkg/__init__.py")}


def test_dependencies_are_compared_with_imports() -> None:
    edges = [edge("a.py", "b.py"), edge("b.py", "a.py"), edge("a.md", "b.py"), edge("a.py", "b.py", "expansion")]
    judged = judged_by_imports(edges, IMPORTS)
    assert (judged["dependencies"], judged["right"], judged["precision"], judged["recall"]) == (2, 1, 0.5, 0.5)
    assert judged_by_imports([], IMPORTS)["precision"] is None


def test_a_sample_is_the_same_for_a_seed_and_shows_what_is_to_be_read() -> None:
    edges = [edge("a.py", "b.py"), edge("a.md", "b.py", "expansion")]
    text = sample(edges, IMPORTS, 2, seed=1)
    assert text == sample(edges, IMPORTS, 2, seed=1)
    assert "a.py -> b.py  (an import)" in text
    assert "a.md -> b.py\n  source 3-4:\n    | one\n    | two\n  target 3-4:" in text
