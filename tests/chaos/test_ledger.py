"""The ledger that chaos is judged by: it must notice what it is there to notice."""

from tests.chaos.ledger import Track, unexplained


def accounts(track, origin="o"):
    return track.report()["accounts"][origin]


def settled():
    track = Track()
    track.settle()
    return track


def test_what_was_all_delivered_is_explained():
    track = settled()
    for number in range(5):
        track.event("o", "t", number)
    assert unexplained(accounts(track), {"t": 5}) == (0, 0)


def test_a_hole_that_was_reported_is_explained_and_one_that_was_not_is_not():
    track = settled()
    track.event("o", "t", 0)
    track.gap("o", "t", 3)
    track.event("o", "t", 4)
    track.event("o", "t", 6)
    assert unexplained(accounts(track), {"t": 7}) == (1, 0)


def test_a_tail_that_was_lost_must_be_reported():
    track = settled()
    track.event("o", "t", 0)
    assert unexplained(accounts(track), {"t": 3}) == (2, 0)
    track.gap("o", "t", 2)
    assert unexplained(accounts(track), {"t": 3}) == (0, 0)


def test_a_gap_that_never_was_shows_as_less_than_nothing():
    track = settled()
    track.event("o", "t", 0)
    track.gap("o", "t", 2)
    track.event("o", "t", 1)
    assert unexplained(accounts(track), {"t": 2}) == (-2, 0)


def test_what_came_before_the_first_event_seen_is_told_apart():
    track = settled()
    track.event("o", "t", 7)
    assert unexplained(accounts(track), {"t": 8, "never-seen": 2}) == (0, 9)


def test_a_gap_before_the_first_event_is_about_what_came_before_it():
    track = settled()
    track.gap("o", "t", 3)
    track.event("o", "t", 7)
    assert unexplained(accounts(track), {"t": 8}) == (0, 7)
    assert track.report()["missed"] == 3


def test_until_it_is_settled_a_hole_is_nobodys_fault():
    track = Track()
    track.event("o", "t", 0)
    track.event("o", "t", 5)  # joining
    track.settle()
    track.event("o", "t", 9)  # judged by the node before it was ready, perhaps
    track.event("o", "t", 12)
    assert unexplained(accounts(track), {"t": 13}) == (2, 9)


def test_what_comes_twice_or_late_is_disorder():
    track = settled()
    for number in (0, 1, 1, 3, 2):
        track.event("o", "t", number)
    assert track.report()["disorder"] == 2
