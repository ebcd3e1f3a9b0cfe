import gzip
from collections import Counter

import pytest

from research.relations import build, packages
from research.relations.assemble import balance, is_sound, without_texts
from research.relations.pairs import LABELS, Pair, read_pairs, stable_fraction, write_pairs
from research.relations.templates import FAMILIES, split_of, template_pairs


def pair(first, second, label="unrelated", kind="k"):
    return Pair(label, kind, first, second, "here", "MIT")


def test_no_package_stands_in_two_splits():
    splits = [packages.TRAIN, packages.DEV, packages.TEST, (packages.STDLIB,)]
    names = [name for split in splits for name in split]
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    ("licence", "permitted"),
    [
        ("MIT", True),
        ("BSD-3-Clause", True),
        ("Apache-2.0", True),
        ("PSF-2.0", True),
        ("MPL-2.0", False),
        ("MPL-2.0 AND MIT", False),
        ("GPL-3.0", False),
        ("", False),
    ],
)
def test_only_permissive_licences_are_read(licence, permitted):
    assert packages.is_permissive(licence) is permitted


def test_template_subjects_stand_in_one_split_and_no_pair_is_shared():
    by_split = {split: {(p.first, p.second) for p in template_pairs(split, 200)} for split in ("train", "dev", "test")}
    assert all(by_split.values())
    assert not by_split["train"] & by_split["test"]
    assert {split_of(str(s)) for f in FAMILIES for s in f.subjects} == {"train", "dev", "test"}


def test_templates_are_the_same_every_time():
    assert list(template_pairs("dev", 50)) == list(template_pairs("dev", 50))


def test_the_acceptance_examples_are_not_in_the_templates():
    texts = {t.lower() for split in ("train", "dev") for p in template_pairs(split, 500) for t in (p.first, p.second)}
    assert not any("the cache is" in text or "caching is" in text for text in texts)


def test_balance_takes_kinds_in_turn():
    many = [pair(f"a{i}", f"b{i}", kind="many") for i in range(50)]
    few = [pair(f"c{i}", f"d{i}", kind="few") for i in range(5)]
    chosen = balance(many + few, 10)
    assert Counter(p.kind for p in chosen) == {"many": 5, "few": 5}
    assert balance([*few, *many], 10) == chosen


def test_a_text_of_the_test_side_is_not_trained_on_in_any_pair():
    test = [pair("The same text.", "something else")]
    train = [pair("the  same text.", "more"), pair("more", "something else"), pair("more", "other")]
    assert without_texts(train, test) == [train[2]]


@pytest.mark.parametrize(("first", "second"), [("short", "a long enough text"), ("equal text here", "equal text here")])
def test_unsound_pairs(first, second):
    assert not is_sound(pair(first, second))


def test_pairs_survive_the_file_and_an_edit_is_noticed(tmp_path):
    path = tmp_path / "pairs.jsonl.gz"
    pairs = [pair("first text", "second text"), pair("naïve", "café", "expansion")]
    write_pairs(path, pairs)
    assert read_pairs(path) == pairs
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()).replace(b"second text", b"another text")))
    with pytest.raises(ValueError, match="edited"):
        read_pairs(path)


def test_the_committed_benchmark_is_large_balanced_and_small_on_disk():
    path = build.HERE / "test.jsonl.gz"
    pairs = read_pairs(path)
    assert len(pairs) >= 4_000
    assert path.stat().st_size <= build.MAX_BYTES
    share = Counter(p.label for p in pairs)
    assert set(share) == set(LABELS)
    assert max(share.values()) <= 1.2 * min(share.values())
    sources = {p.source.split("==")[0] for p in pairs if "==" in p.source}
    assert sources <= set(packages.TEST)


def test_every_row_of_the_sheet_is_the_drawn_pair_and_judged():
    rows = (build.HERE / "sheet.csv").read_text(encoding="utf-8").splitlines()[1:]
    drawn = build.draw_sheet(read_pairs(build.HERE / "test.jsonl.gz"))
    assert [row.split(",")[0] for row in rows] == [p.key for p in drawn]
    assert {row.split(",")[2] for row in rows} <= {"right", "debatable", "wrong"}


def test_stable_fraction_is_pinned():
    assert stable_fraction("trivet") == pytest.approx(stable_fraction("trivet"))
    assert 0 <= stable_fraction("") < 1
