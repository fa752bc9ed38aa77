"""What only shows between processes: beginning, end, and fork."""

import subprocess
import sys
import textwrap

import pytest

from fabric.testing import wait_until

PREAMBLE = """
import os, sys, fabric
url = sys.argv[1]
bus = fabric.Bus()
"""


def run(code, url, timeout=20):
    """Run a program to its end: (status, stdout, stderr)."""
    command = [sys.executable, "-W", "error", "-c", PREAMBLE + textwrap.dedent(code), url]
    result = subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)
    return result.returncode, result.stdout, result.stderr


@pytest.fixture
def heard(node):
    """What a node here hears of the programs."""
    events = []
    node("listener").subscribe("program.**", events.append).wait_ready(everyone=True)
    return events


def test_two_processes_are_one_bus(shared_proxy, program):
    publisher, subscriber = program(shared_proxy.url, "publisher"), program(shared_proxy.url, "subscriber")
    publisher("ready")
    subscriber("subscribe", pattern="two.**", everyone=True)
    publisher("publish", topics=["two.a", "two.b"], count=100, rate=0)
    publisher("wait")
    wait_until(lambda: subscriber("report")["seen"] == list(range(100)))


def test_both_sides_of_two_processes_may_talk_at_once(shared_proxy, program):
    peers = [program(shared_proxy.url, name) for name in ("left", "right")]
    for peer in peers:
        peer("subscribe", pattern="both.*", everyone=True)
    for peer in peers:
        peer("subscribe", pattern="unused", everyone=True)  # now each knows of the other
    for peer in peers:
        peer("publish", topics=["both.a"], count=500, rate=0)
    for peer in peers:
        peer("wait")
    for peer in peers:
        wait_until(lambda peer=peer: len(peer("report")["seen"]) == 1_000)  # its own and the other's


def test_a_program_that_ends_without_close_is_heard(shared_proxy, heard):
    status, _, errors = run(
        """
        node = fabric.connect("program", url=url, bus=bus)
        for n in range(1_000):
            bus.publish("program.a", {"n": n})
        """,
        shared_proxy.url,
    )
    assert (status, errors) == (0, "")
    wait_until(lambda: len(heard) == 1_000)
    assert [event["n"] for event in heard] == list(range(1_000))


def test_a_program_that_raises_is_heard(shared_proxy, heard):
    status, _, errors = run(
        """
        fabric.connect("program", url=url, bus=bus)
        bus.publish("program.a", {"n": 1})
        raise SystemExit(3)
        """,
        shared_proxy.url,
    )
    assert (status, errors) == (3, "")
    wait_until(lambda: heard)


def test_a_program_without_a_proxy_ends_without_hanging(lonely_url):
    status, _, errors = run(
        """
        fabric.connect("program", url=url, bus=bus, close_timeout=0.2)
        bus.publish("program.a")
        """,
        lonely_url,
    )
    assert status == 0
    assert "given up: 1 events" in errors


def test_a_program_whose_callback_never_returns_ends(shared_proxy, node):
    speaker = node("speaker")
    child = subprocess.Popen(
        [
            sys.executable,
            "-c",
            PREAMBLE
            + textwrap.dedent(
                """
                import threading, time
                inside = threading.Event()
                def stuck(event):
                    inside.set()
                    time.sleep(3600)
                node = fabric.connect("program", url=url, bus=bus, close_timeout=0.2)
                node.subscribe("stuck", stuck).wait_ready(everyone=True)
                print("ready", flush=True)
                inside.wait(20)
                """
            ),
            shared_proxy.url,
        ],
        stdout=subprocess.PIPE,
    )
    try:
        assert child.stdout.readline() == b"ready\n"
        speaker.publish("stuck")
        assert child.wait(15) == 0
    finally:
        child.kill()
        child.wait()
        child.stdout.close()


# Fork


def test_a_forks_child_has_an_origin_and_a_link_of_its_own_and_the_parent_is_unharmed(shared_proxy, heard):
    status, _, errors = run(
        """
        node = fabric.connect("program", url=url, bus=bus)
        node.wait_ready(10)
        bus.publish("program.before", {"origin": node.origin.hex()})
        child = os.fork()
        bus.publish("program.after", {"child": not child, "origin": node.origin.hex()})
        if child:
            assert os.waitpid(child, 0)[1] == 0
            bus.publish("program.parent", {"origin": node.origin.hex()})
        """,
        shared_proxy.url,
    )
    assert (status, errors) == (0, "")
    wait_until(lambda: len(heard) == 4)
    by = {(event["type"], event.get("child")): event["origin"] for event in heard}
    parent = by["program.before", None]
    assert by["program.after", False] == by["program.parent", None] == parent
    assert by["program.after", True] != parent


def test_a_forks_child_hears_what_it_subscribed_to_before(shared_proxy, node):
    speaker = node("speaker")
    child = subprocess.Popen(
        [
            sys.executable,
            "-c",
            PREAMBLE
            + textwrap.dedent(
                """
                import threading
                heard = threading.Event()
                node = fabric.connect("program", url=url, bus=bus)
                bus.subscribe("forked", lambda event: heard.set())
                node.wait_ready(10)
                if child := os.fork():
                    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
                node.wait_ready(10)
                for handle in bus:
                    handle.wait_ready(10, everyone=True)
                print("ready", flush=True)
                sys.exit(not heard.wait(10))
                """
            ),
            shared_proxy.url,
        ],
        stdout=subprocess.PIPE,
    )
    try:
        assert child.stdout.readline() == b"ready\n"
        speaker.publish("forked")
        assert child.wait(15) == 0
    finally:
        child.kill()
        child.wait()
        child.stdout.close()


def test_a_forks_child_that_does_nothing_opens_no_link(shared_proxy):
    status, output, errors = run(
        """
        node = fabric.connect("program", url=url, bus=bus)
        node.wait_ready(10)
        if child := os.fork():
            os.waitpid(child, 0)
        else:
            import threading
            print([thread.name for thread in threading.enumerate()], node.state)
        """,
        shared_proxy.url,
    )
    assert (status, errors) == (0, "")
    assert output == "['MainThread'] connecting\n"


def test_forks_while_threads_publish_harm_nobody(shared_proxy, heard):
    status, _, errors = run(
        """
        import threading
        node = fabric.connect("program", url=url, bus=bus)
        node.wait_ready(10)
        def pour(number):
            for n in range(300):
                bus.publish(f"program.t{number}", {"n": n})
        threads = [threading.Thread(target=pour, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        children = []
        for n in range(5):
            child = os.fork()
            if not child:
                bus.publish("program.child", {"n": n})
                node.close()
                os._exit(0)
            children.append(child)
        for child in children:
            assert os.waitpid(child, 0)[1] == 0
        for thread in threads:
            thread.join()
        """,
        shared_proxy.url,
    )
    assert (status, errors) == (0, "")
    wait_until(lambda: len(heard) == 1_205)
    assert sorted(event["n"] for event in heard if event["type"] == "program.child") == [0, 1, 2, 3, 4]


def test_multiprocessing_children_can_publish(shared_proxy, heard, tmp_path):
    script = tmp_path / "pool.py"
    script.write_text(
        PREAMBLE
        + textwrap.dedent(
            """
            import multiprocessing
            def work(n):
                with fabric.connect(f"worker-{n}", url=url, bus=fabric.Bus()) as node:
                    node.publish("program.pool", {"n": n})
            if __name__ == "__main__":
                context = multiprocessing.get_context("fork")
                node = fabric.connect("program", url=url, bus=bus)
                node.wait_ready(10)
                workers = [context.Process(target=work, args=(n,)) for n in range(4)]
                for worker in workers:
                    worker.start()
                for worker in workers:
                    worker.join()
                sys.exit(sum(worker.exitcode for worker in workers))
            """
        )
    )
    result = subprocess.run(
        [sys.executable, str(script), shared_proxy.url], capture_output=True, timeout=30, check=False
    )
    assert (result.returncode, result.stderr) == (0, b"")
    wait_until(lambda: sorted(event["n"] for event in heard) == [0, 1, 2, 3])
