"""How findings are counted and shown."""

from cli.doctor.findings import OK, WARNING, WRONG, count, described, ok, warning, wrong


def test_each_finding_is_a_line_with_what_to_do_below_and_the_sum_at_the_end():
    found = [ok("a", "fine"), warning("b", "so so", "do this"), wrong("c", "evil\x1b[2J")]
    assert described(found) == [
        "ok       a          fine",
        "warning  b          so so",
        "                    → do this",
        "wrong    c          evil\\u001b[2J",
        "",
        "1 thing is wrong, 1 warning",
    ]
    assert described(found[:2])[-1] == "nothing is wrong, 1 warning"
    assert described(found[:1])[-1] == "nothing is wrong"
    assert described(found, colour=True)[3].startswith("\x1b[31mwrong   \x1b[0m")


def test_findings_are_counted_by_level():
    found = [ok("a", "fine"), warning("b", "so so"), warning("c", "so so"), wrong("d", "bad")]
    assert [count(found, level) for level in (OK, WARNING, WRONG)] == [1, 2, 1]
    assert found[3].as_json() == {"level": "wrong", "what": "d", "text": "bad", "fix": ""}
