"""The decisions of scripts/audit.py. (Its findings depend on the day and the network: `make audit`.)"""

from scripts.audit import differences, pinned, vulnerabilities


def test_pins_are_parsed_with_comments() -> None:
    assert pinned("ray==2.60.0\nTyping_Extensions==4.1  # why\n# c==1\n") == {
        "ray": "2.60.0",
        "typing-extensions": "4.1",
    }


def test_unpinned_packages_and_other_versions_are_reported() -> None:
    pins = {"ray": "2.60.0", "torch": "2.13.0"}
    assert differences(pins, {"ray": "2.61.0", "torch": "2.13.0+cpu", "left-pad": "1"}) == [
        "left-pad 1 is not pinned",
        "ray is 2.61.0, but pinned to 2.60.0",
    ]


def test_a_skipped_package_does_not_count_as_clean() -> None:
    report = {
        "dependencies": [
            {"name": "good", "version": "1", "vulns": []},
            {"name": "bad", "version": "2", "vulns": [{"id": "PYSEC-1"}, {"id": "PYSEC-2"}]},
            {"name": "unknown", "skip_reason": "not found on PyPI"},
        ]
    }
    assert vulnerabilities(report) == (["bad 2: PYSEC-1", "bad 2: PYSEC-2"], 1)
