"""The loop that takes messages, at an endpoint of this process."""

import pytest

from cli.listen.loop import HandledCount, close, follow


@pytest.fixture
def inbox(node, root):
    """An endpoint of the test's own, registered."""
    with node.endpoint(root) as made:
        made.wait_ready()
        yield made


class Quiet:
    """An output whose reader is there, until it is not."""

    reads = True

    def check(self):
        if not self.reads:
            raise BrokenPipeError


def test_it_ends_after_as_many_messages_and_leaves_the_others(inbox, node, root, capsys):
    receipts = [node.send(root, {"n": number}) for number in range(3)]
    for receipt in receipts:
        receipt.wait()
    handled, taken = HandledCount(), []
    follow(inbox, taken.append, handled, Quiet(), count=2)
    assert (handled.value, [each.body["n"] for each in taken]) == (2, [0, 1])
    close(inbox)
    assert capsys.readouterr().err == f"-- 1 more had arrived for {root}, and are lost: {receipts[2].id}\n"


def test_it_ends_in_time_and_is_idle_meanwhile(inbox):
    idled, handled = [], HandledCount()
    follow(inbox, None, handled, Quiet(), timeout=0.3, idle=lambda: idled.append(1))
    assert handled.value == 0
    assert idled


def test_it_ends_when_nobody_reads_its_output(inbox):
    out = Quiet()
    out.reads = False
    with pytest.raises(BrokenPipeError):
        follow(inbox, None, HandledCount(), out)


def test_what_was_handled_before_an_error_is_counted(inbox, node, root):
    for number in range(2):
        node.send(root, {"n": number}).wait()
    handled = HandledCount()

    def fail_second(message):
        if message.body["n"]:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        follow(inbox, fail_second, handled, Quiet())
    assert handled.value == 1


def test_an_inbox_that_is_empty_is_closed_without_a_word(inbox, capsys):
    close(inbox)
    assert capsys.readouterr().err == ""
