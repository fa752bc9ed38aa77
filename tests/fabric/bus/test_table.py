from fabric.bus.subscription import Subscription
from fabric.bus.table import CACHE_SIZE, SubscriptionTable, serial_of


def table(*patterns):
    """A table with one subscription for each pattern, in this order."""
    made = SubscriptionTable()
    for serial, pattern in enumerate(patterns):
        subscription = Subscription(None, pattern, print, serial, None)
        made = SubscriptionTable(made.patterns.adding(pattern, subscription))
    return made


def test_matches_are_in_registration_order_whatever_their_patterns():
    assert [serial_of(each) for each in table("**", "b", "a.b", "*.b").subscribers_of("a.b")] == [0, 2, 3]


def test_a_match_is_computed_once():
    one = table("a")
    assert one.subscribers_of("a") is one.subscribers_of("a") is one.subscribers["a"]


def test_an_old_table_that_a_delivery_still_has_cannot_write_into_the_new_one():
    old = table()
    new = SubscriptionTable(old.patterns.adding("a", Subscription(None, "a", print, 1, None)))
    assert old.subscribers_of("a") == ()
    assert len(new.subscribers_of("a")) == 1


def test_the_caches_are_bounded():
    one = table("**")
    for index in range(2 * CACHE_SIZE + 10):
        one.admit(f"a.n{index}")
    assert max(len(one.published), len(one.subscribers)) <= CACHE_SIZE
