"""The audit's decisions; what it finds depends on the day and the network (`make audit`)."""

from scripts.audit import differences, pinned, vulnerabilities


def test_pins_are_read_with_their_extras_and_comments() -> None:
    assert pinned("ray==2.60.0\nTyping_Extensions==4.1  # why\n# c==1\n") == {
        "ray": "2.60.0",
        "typing-extensions": "4.1",
    }


def test_what_is_not_pinned_or_of_another_version_is_named() -> None:
    pins = {"ray": "2.60.0", "torch": "2.13.0"}
    assert differences(pins, {"ray": "2.61.0", "torch": "2.13.0+cpu", "left-pad": "1"}) == [
        "left-pad 1 is not pinned",
        "ray is 2.61.0, pinned is 2.60.0",
    ]


def test_a_package_that_was_skipped_is_not_a_clean_one() -> None:
    report = {
        "dependencies": [
            {"name": "good", "version": "1", "vulns": []},
            {"name": "bad", "version": "2", "vulns": [{"id": "PYSEC-1"}, {"id": "PYSEC-2"}]},
            {"name": "unknown", "skip_reason": "not found on PyPI"},
        ]
    }
    assert vulnerabilities(report) == (["bad 2: PYSEC-1", "bad 2: PYSEC-2"], 1)
