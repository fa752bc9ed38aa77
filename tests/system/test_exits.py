"""The end of a program that closed nothing: it never hangs, says what waits, and its exit status is its own."""

import signal
import subprocess
import sys

import pytest

from fabric.testing import wait_until
from tests.fabric.node.nodes import arrive, collect
from tests.system.scripts import Script, run

#: Where the node is opened, and how the program ends; `publish(n)` publishes the n-th event.
WAYS = {
    "main thread": """
node = fabric.connect("program", url=url, bus=bus, close_timeout=0.3)
publish(0)
""",
    "sys.exit": """
node = fabric.connect("program", url=url, bus=bus, close_timeout=0.3)
publish(0)
sys.exit(status)
""",
    "another thread": """
def other():
    node = fabric.connect("program", url=url, bus=bus, close_timeout=0.3)
    publish(0)
threading.Thread(target=other).start()
""",
    "asyncio": """
import asyncio
async def main():
    node = fabric.connect("program", url=url, bus=bus, close_timeout=0.3)
    async def callback(event): await asyncio.sleep(60)
    bus.subscribe("program.**", callback)
    publish(0)
    await asyncio.sleep(0)
asyncio.run(main())
""",
}
PUBLISH = """
def publish(n):
    bus.publish("program.a", {"n": n})
"""
LOST = "closed: 0 messages handled, 0 events sent; given up: 1 events, 0 unhandled and 0 unsettled messages\n"


@pytest.fixture
def heard(node):
    """What a node here hears of the programs."""
    return collect(node("listener"), "program.**")


def numbers(events, topic="program.a"):
    return [event["n"] for event in events if event["type"] == topic]


@pytest.mark.parametrize("way", WAYS)
def test_a_program_that_ends_sends_what_waits(shared_proxy, heard, way):
    code = PUBLISH + "status = 5\n" + WAYS[way]
    assert run(code, shared_proxy.url) == (5 if way == "sys.exit" else 0, "", "")
    wait_until(lambda: numbers(heard) == [0])


@pytest.mark.parametrize("way", WAYS)
def test_without_a_proxy_it_ends_in_its_time_and_says_what_was_lost(lonely_url, way):
    status, output, errors = run(PUBLISH + "status = 5\n" + WAYS[way], lonely_url)
    assert (status, output) == (5 if way == "sys.exit" else 0, "")
    assert errors.endswith(LOST)
    assert errors.count("\n") == 1


@pytest.mark.parametrize("way", ["main thread", "asyncio"])
def test_a_program_that_said_nothing_ends_without_a_word_though_there_is_no_proxy(lonely_url, way):
    assert run("def publish(n): pass\n" + WAYS[way], lonely_url) == (0, "", "")


@pytest.mark.parametrize("way", ["main thread", "asyncio"])
def test_with_a_proxy_that_is_stopped_it_ends_in_its_time(fabric_proxy, way):
    with Script(
        PUBLISH
        + """
early = fabric.connect("early", url=url, bus=fabric.Bus(), close_timeout=0.3)
early.wait_ready(10)
print("ready", flush=True)
sys.stdin.readline()
early.publish("program.early", {})
early.send("nobody", {})
"""
        + WAYS[way],
        fabric_proxy.url,
    ) as script:
        assert script.line() == "ready"
        fabric_proxy.signal(signal.SIGSTOP)
        try:
            script.go_on()
            status, output, errors = script.end()
        finally:
            fabric_proxy.signal(signal.SIGCONT)
    assert (status, output) == (0, "")
    assert "Traceback" not in errors


def test_an_unhandled_exception_is_all_that_a_program_shows(shared_proxy, heard):
    status, output, errors = run(
        """
        fabric.connect("program", url=url, bus=bus)
        bus.publish("program.a", {"n": 0})
        raise ValueError("the program's own")
        """,
        shared_proxy.url,
    )
    assert (status, output) == (1, "")
    assert errors.splitlines()[-1] == "ValueError: the program's own"
    assert errors.count("Traceback") == 1
    wait_until(lambda: numbers(heard) == [0])


def test_sys_exit_in_a_callback_of_its_own_event_ends_the_program_with_that_status(shared_proxy, heard):
    assert run(
        """
        fabric.connect("program", url=url, bus=bus)
        bus.subscribe("program.a", lambda event: sys.exit(9))
        bus.publish("program.a", {"n": 0})
        print("not reached")
        """,
        shared_proxy.url,
    ) == (9, "", "")
    wait_until(lambda: numbers(heard) == [0])


def test_sys_exit_in_an_async_callback_ends_the_program_with_that_status(shared_proxy, node):
    speaker = node("speaker")
    with Script(
        """
        import asyncio
        async def main():
            node = fabric.connect("program", url=url, bus=bus)
            async def callback(event): sys.exit(9)
            await bus.subscribe("said", callback).ready(10, everyone=True)
            print("ready", flush=True)
            await asyncio.sleep(60)
        asyncio.run(main())
        """,
        shared_proxy.url,
    ) as script:
        assert script.line() == "ready"
        speaker.publish("said")
        status, output, _ = script.end()
    assert (status, output) == (9, "")


def test_atexit_handlers_publish_and_those_that_are_late_harm_nothing(shared_proxy, heard):
    assert run(
        """
        import atexit
        late = [None]
        def after_everything():
            bus.publish("program.late", {"n": 1})
            node.publish("program.late", {"n": 2})
        def before():
            bus.publish("program.a", {"n": 1})
        atexit.unregister(fabric.node.connect._close_all)
        atexit.register(after_everything)  # as if it had been registered before the import: it runs after us
        atexit.register(fabric.node.connect._close_all)
        atexit.register(before)
        node = fabric.connect("program", url=url, bus=bus)
        bus.publish("program.a", {"n": 0})
        """,
        shared_proxy.url,
    ) == (0, "", "")
    wait_until(lambda: numbers(heard) == [0, 1])
    assert numbers(heard, "program.late") == []


def test_daemon_threads_that_publish_until_the_interpreter_is_gone_disturb_nobody(shared_proxy, heard):
    for _ in range(3):
        assert run(
            """
            node = fabric.connect("program", url=url, bus=bus, close_timeout=0.3)
            node.wait_ready(10)
            published = []
            def pour():
                while True:
                    bus.publish("program.unwanted.by.nobody", {"n": 0})
                    published.append(1)
                    time.sleep(0)
            for _ in range(3):
                threading.Thread(target=pour, daemon=True).start()
            wait_until(lambda: len(published) > 300)
            import logging
            logging.getLogger("fabric").addHandler(logging.NullHandler())
            """,
            shared_proxy.url,
        ) == (0, "", "")


def test_a_finaliser_that_publishes_while_the_interpreter_ends_disturbs_nobody(shared_proxy):
    assert run(
        """
        class Late:
            def __init__(self): self.me = self
            def __del__(self): bus.publish("program.late", {"n": 0})
        node = fabric.connect("program", url=url, bus=bus)
        node.wait_ready(10)
        kept = Late()
        sys.kept = Late()
        """,
        shared_proxy.url,
    ) == (0, "", "")


def test_a_daemon_thread_that_receives_does_not_keep_a_program_from_ending(shared_proxy):
    assert run(
        """
        node = fabric.connect("program", url=url, bus=bus)
        inbox = node.endpoint("daemons", policy="replace")
        inbox.wait_ready(10)
        threading.Thread(target=inbox.receive, daemon=True).start()
        """,
        shared_proxy.url,
    ) == (0, "", "")


def test_a_thread_that_receives_goes_on_when_the_main_thread_has_ended_until_it_is_told(shared_proxy, heard, node):
    asker = node("asker")
    with Script(
        """
        node = fabric.connect("program", url=url, bus=bus)
        inbox = node.endpoint("served", policy="replace")
        def serve():
            for message in inbox:
                message.reply(threading.main_thread().is_alive())
                if message["body"]["stop"]:
                    bus.publish("program.a", {"n": 0})
                    return
        threading.Thread(target=serve).start()
        inbox.wait_ready(10)
        print("ready", flush=True)
        """,
        shared_proxy.url,
    ) as script:
        assert script.line() == "ready"
        assert asker.request("served", {"stop": False}).wait(10) in (True, False)
        wait_until(lambda: not asker.request("served", {"stop": False}).wait(10))
        assert asker.request("served", {"stop": True}).wait(10) is False
        assert script.end() == (0, "", "")
    arrive(heard, 1)


def test_closing_ends_the_receiving_thread_that_keeps_a_program_alive(shared_proxy):
    assert run(
        """
        node = fabric.connect("program", url=url, bus=bus)
        inbox = node.endpoint("closed", policy="replace")
        inbox.wait_ready(10)
        threading.Thread(target=lambda: list(inbox)).start()
        signal.signal(signal.SIGTERM, lambda *_: node.close())
        os.kill(os.getpid(), signal.SIGTERM)
        """,
        shared_proxy.url,
    ) == (0, "", "")


def test_events_for_a_loop_that_is_closed_are_dropped_and_the_program_ends(shared_proxy, node):
    speaker = node("speaker")
    with Script(
        """
        import asyncio, logging
        logging.getLogger("fabric").addHandler(logging.NullHandler())
        async def main():
            node = fabric.connect("program", url=url, bus=bus)
            async def callback(event): pass
            await bus.subscribe("said", callback).ready(10, everyone=True)
            return node
        node = asyncio.run(main())
        print("ready", flush=True)
        wait_until(lambda: node.stats()["handlers_dropped"] == 3)
        """,
        shared_proxy.url,
    ) as script:
        assert script.line() == "ready"
        for _ in range(3):
            speaker.publish("said")
        assert script.end() == (0, "", "")


def test_a_test_run_that_leaves_nodes_open_ends(shared_proxy, heard, tmp_path):
    (tmp_path / "test_left_open.py").write_text(
        f"""
import fabric
def test_it():
    node = fabric.connect("program", url={shared_proxy.url!r}, bus=fabric.Bus())
    node.subscribe("program.**", print)
    node.publish("program.a", {{"n": 0}})
"""
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", str(tmp_path)]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=30, check=False)
    assert (result.returncode, result.stderr) == (0, b"")
    wait_until(lambda: numbers(heard) == [0])
