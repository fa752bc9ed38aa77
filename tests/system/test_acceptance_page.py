"""The table of docs/acceptance.md is made of the recorded numbers."""

import json
from pathlib import Path

from tests.acceptance.page import BEGIN, END, HEAD, render, rows_of, said

PAGE = f"# Acceptance\n\n{BEGIN}\n{HEAD}\n{END}\n\nThe rest.\n"


def line(case="proxy killed", full=True, **measured):
    facts = {"row": "kill", "case": case, "target": "0 lost", "measured": measured, "full": full}
    return json.dumps(facts | {"date": "2026-01-02", "commit": "abc1234"})


def test_what_was_measured_is_in_the_table():
    page = render(PAGE, [line(lost=0, live_longest_ms=812.5)])
    assert "| proxy killed | 0 lost | lost 0, live longest 812.5 ms | abc1234, 2026-01-02 |\n" in page
    assert page.startswith("# Acceptance")
    assert page.endswith("The rest.\n")


def test_short_runs_are_not():
    assert rows_of([line(full=False, lost=0)]) == {}


def test_a_new_measurement_takes_the_place_of_the_old_one_and_others_stay():
    page = render(PAGE, [line(lost=1), line("burst", lost=2)])
    page = render(page, [line(lost=3)])
    assert page.count("| proxy killed |") == page.count("| burst |") == 1
    assert "lost 3" in page
    assert "lost 2" in page


def test_numbers_are_for_people():
    assert said({"delivered": 10_000_000, "grew_mib": 1.5, "seconds": 2, "noticed": None, "back_s": 0.25}) == (
        "delivered 10,000,000, grew 1.5 MiB, seconds 2, noticed not at all, back 0.25 s"
    )
    assert said({"threads": {"proxy": [9, 9]}}) == "threads (proxy 9 to 9)"


def test_the_page_has_room_for_the_table():
    page = (Path(__file__).parents[2] / "docs" / "acceptance.md").read_text()
    assert page.count(BEGIN) == page.count(END) == 1
