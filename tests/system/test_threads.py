"""Who else may publish: signal handlers, finalisers, callbacks, many threads at once, and while somebody closes."""

import signal

import pytest

from fabric.testing import wait_until
from tests.fabric.node.nodes import arrive, collect
from tests.system.scripts import Script, run

#: Signals come in until `stop` is set, as fast as this program handles them.
STORM = """
stop, handled = threading.Event(), []
def storm():
    while not stop.is_set():
        before = len(handled)
        signal.pthread_kill(threading.main_thread().ident, signal.SIGUSR1)
        while len(handled) == before and not stop.is_set():
            time.sleep(0)  # leaves the GIL to the one who handles it
"""

#: Signals come in at each line of ours that the main thread runs, the first time; or at one of them only.
EVERY_LINE = """
from contextlib import contextmanager
@contextmanager
def every_line(only=0):
    lines, seen = [0], set()
    def trace(frame, event, _):
        if "/fabric/" not in frame.f_code.co_filename:
            return None
        if event == "line":
            lines[0] += 1
            first = (frame.f_code, frame.f_lineno) not in seen
            seen.add((frame.f_code, frame.f_lineno))
            if first if not only else only == lines[0]:
                signal.raise_signal(signal.SIGUSR1)  # nothing is traced in here
        return trace
    sys.settrace(trace)
    try:
        yield lines
    finally:
        sys.settrace(None)
"""


@pytest.fixture
def heard(node):
    """What a node here hears of the programs."""
    return collect(node("listener"), "program.**")


def numbers(events, topic):
    return [event["n"] for event in events if event["type"] == topic]


def test_a_signal_handler_may_publish_while_its_thread_publishes(shared_proxy, heard):
    status, output, errors = run(
        STORM
        + """
node = fabric.connect("program", url=url, bus=bus)
node.wait_ready(10)
def handler(*_):
    bus.publish("program.signal", {"n": len(handled)})
    handled.append(1)
signal.signal(signal.SIGUSR1, handler)
threading.Thread(target=storm).start()
sent = 0
while sent < 2_000 or len(handled) < 300:
    bus.publish("program.main", {"n": sent})
    sent += 1
stop.set()
print(sent, len(handled))
""",
        shared_proxy.url,
    )
    assert (status, errors) == (0, "")
    sent, handled = map(int, output.split())
    arrive(heard, sent + handled)
    assert numbers(heard, "program.main") == list(range(sent))
    assert numbers(heard, "program.signal") == list(range(handled))


def test_a_signal_handler_may_publish_subscribe_and_send_at_every_line_of_ours(shared_proxy):
    assert run(
        EVERY_LINE
        + """
node = fabric.connect("program", url=url, bus=bus)
node.wait_ready(10)
node.endpoint("stormy", lambda message: message["body"]["n"], policy="replace").wait_ready(10)
node.events("program.**")
receipts = []
def handler(*_):
    bus.publish("program.handler", {})
    bus.subscribe("program.handler.**", print).cancel()
    receipts.append(node.request("stormy", {"n": len(receipts)}, timeout=10))
signal.signal(signal.SIGUSR1, handler)
with every_line():
    bus.publish("program.main", {})
    subscription = bus.subscribe("program.main.**", print)
    receipt = node.request("stormy", {"n": "main"})
    subscription.cancel()
assert receipt.wait(10) == "main"
assert len(receipts) > 50, len(receipts)
assert [each.wait(10) for each in receipts] == list(range(len(receipts)))
signal.signal(signal.SIGUSR1, lambda *_: bus.publish("program.handler", {}))
with every_line():
    node.wait_ready(10)
assert len(bus) == 1
""",
        shared_proxy.url,
    ) == (0, "", "")


@pytest.mark.parametrize("attempt", range(3))
def test_a_signal_handler_may_close_the_node_in_the_middle_of_a_publish(shared_proxy, heard, attempt):
    with Script(
        """
        node = fabric.connect("program", url=url, bus=bus, close_timeout=0.5)
        node.wait_ready(10)
        def handler(*_):
            node.close()
            print(node.state, flush=True)
            sys.exit(7)
        signal.signal(signal.SIGTERM, handler)
        print("ready", flush=True)
        while True:
            bus.publish("program.a", {"n": 1, "pad": "x" * 1_000})
        """,
        shared_proxy.url,
    ) as script:
        assert script.line() == "ready"
        wait_until(lambda: len(heard) > 100)
        script.process.send_signal(signal.SIGTERM)
        status, output, _ = script.end()  # what it could not send any more it says
    assert (status, output) == (7, "closed\n")


def test_a_signal_handler_may_close_at_every_line_of_publish_send_and_close(shared_proxy, heard):
    status, output, errors = run(
        EVERY_LINE
        + """
import logging
logging.getLogger("fabric").addHandler(logging.NullHandler())
signal.signal(signal.SIGUSR1, lambda *_: node.close(0.0))
def use():
    bus.publish("program.main", {})
    try:
        node.send("nobody", {})
    except fabric.FabricError:
        pass  # it is closed
    node.close(0.0)
at, done = 1, False
while not done:
    node = fabric.connect("program", url=url, bus=bus)
    node.wait_ready(10)
    with every_line(only=at) as lines:
        use()
    assert node.state == "closed"
    done = lines[0] < at
    at += 7  # each takes a while
print(at)
""",
        shared_proxy.url,
    )
    assert (status, errors) == (0, "")
    assert int(output) > 100


def test_a_finaliser_may_publish_and_end_a_subscription_whenever_it_runs(shared_proxy, heard):
    assert run(
        """
        import gc, itertools
        node = fabric.connect("program", url=url, bus=bus)
        node.wait_ready(10)
        class Cycle:
            ids, gone = itertools.count(), []  # `+= 1` would lose counts: finalisers interrupt each other
            def __init__(self):
                self.me = self
                self.subscription = bus.subscribe(f"program.wanted.a{id(self) % 7}", print)
            def __del__(self):
                bus.publish("program.gone", {"n": next(Cycle.ids)})
                self.subscription.cancel()
                Cycle.gone.append(True)
        gc.set_threshold(1)
        for n in range(500):
            bus.publish("program.main", {"n": n, "cycle": [Cycle() is None]})
        # While another thread collects, this does nothing.
        wait_until(lambda: gc.collect() < 0 or (len(Cycle.gone), len(bus)) == (500, 0))
        gc.disable()
        """,
        shared_proxy.url,
    ) == (0, "", "")
    arrive(heard, 1_000)
    assert numbers(heard, "program.main") == list(range(500))
    assert sorted(numbers(heard, "program.gone")) == list(range(500))


def test_finalisers_that_publish_run_on_any_thread(shared_proxy, heard, node):
    speaker = node("speaker")
    with Script(
        """
        import gc
        node = fabric.connect("program", url=url, bus=bus)
        class Cycle:
            def __init__(self): self.me = self
            def __del__(self):
                bus.publish("program.gone")
                gone[0] += 1
        gone = [0]
        got, where, made = [], set(), 0
        def callback(event):  # on the delivery thread; the collector runs wherever something is made next
            where.add(threading.current_thread().name)
            got.append(Cycle() is None)
        bus.subscribe("said", callback).wait_ready(10, everyone=True)
        gc.set_threshold(1)
        print("ready", flush=True)
        wait_until(lambda: len(got) == 1_000)
        gc.set_threshold(700)
        wait_until(lambda: gc.collect() < 0 or gone[0] == 1_000)
        assert where == {"fabric-delivery"}, where
        """,
        shared_proxy.url,
    ) as script:
        assert script.line() == "ready"
        for _ in range(1_000):
            speaker.publish("said")
        assert script.end() == (0, "", "")
    arrive(heard, 1_000)


def test_callbacks_that_answer_each_other_are_cut_and_the_rest_goes_on(shared_proxy, heard):
    status, _, errors = run(
        """
        import logging
        logging.getLogger("fabric").addHandler(logging.NullHandler())
        node = fabric.connect("program", url=url, bus=bus)
        node.wait_ready(10)
        bus.subscribe("program.ping", lambda event: bus.publish("program.pong", {"n": event["n"] + 1}))
        bus.subscribe("program.pong", lambda event: bus.publish("program.ping", {"n": event["n"] + 1}))
        bus.publish("program.ping", {"n": 0})
        bus.publish("program.after", {"n": 0})
        """,
        shared_proxy.url,
    )
    assert (status, errors) == (0, "")
    wait_until(lambda: numbers(heard, "program.after"))
    chain = [event["n"] for event in heard if event["type"] != "program.after"]
    assert chain == list(range(len(chain)))
    assert 30 < len(chain) < 40


def test_64_threads_at_once_lose_nothing_and_each_keeps_its_order(shared_proxy, node):
    events = collect(node("listener"), "threads.**")
    status, output, errors = run(
        """
        node = fabric.connect("program", url=url, bus=bus)
        node.wait_ready(10)
        start = threading.Barrier(64)
        def pour(thread):
            start.wait()
            for n in range(100):
                bus.publish(f"threads.t{thread}", {"n": n})
                bus.publish("threads.all", {"n": n, "thread": thread})
        threads = [threading.Thread(target=pour, args=(thread,)) for thread in range(64)]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
        wait_until(lambda: not node.stats()["waiting"])
        print(node.stats()["sent"])
        """,
        shared_proxy.url,
    )
    assert (status, output, errors) == (0, "12800\n", "")
    arrive(events, 12_800)
    for thread in range(64):
        assert numbers(events, f"threads.t{thread}") == list(range(100))
        mine = [event["n"] for event in events if event["type"] == "threads.all" and event["thread"] == thread]
        assert mine == list(range(100))


def test_threads_that_publish_while_the_node_closes_never_see_it(shared_proxy):
    assert run(
        """
        done, failures, published = threading.Event(), [], [0] * 3
        def pour(which):
            while not done.is_set():
                try:
                    bus.publish("program.a", {"n": 1})
                    published[which] += 1
                except BaseException as error:
                    failures.append(repr(error))
                    return
        threads = [threading.Thread(target=pour, args=(which,)) for which in range(3)]
        for thread in threads: thread.start()
        for _ in range(4):
            node = fabric.connect("program", url=url, bus=bus, close_timeout=0.0)
            before = sum(published)
            wait_until(lambda: sum(published) > before + 100)
            import logging
            logging.getLogger("fabric").addHandler(logging.NullHandler())
            node.close()
        done.set()
        for thread in threads: thread.join()
        assert not failures, failures
        """,
        shared_proxy.url,
    ) == (0, "", "")


def test_sys_exit_in_a_callback_for_a_remote_event_ends_neither_delivery_nor_the_process(node):
    listener, speaker = node("listener"), node("speaker")
    heard = []

    def leave(event):
        heard.append(event["n"])
        raise SystemExit(3)

    listener.subscribe("leave", leave).wait_ready(everyone=True)
    for n in range(3):
        speaker.publish("leave", {"n": n})
    wait_until(lambda: heard == [0, 1, 2])


def test_sys_exit_in_a_handler_is_told_to_the_asker_and_the_next_message_is_handled(node):
    import fabric

    def handler(message):
        if message["body"]["leave"]:
            raise SystemExit("enough")
        return "stayed"

    node("holder").endpoint("leaver", handler).wait_ready()
    asker = node("asker")
    with pytest.raises(fabric.RemoteError, match="enough"):
        asker.request("leaver", {"leave": True}).wait(10)
    assert asker.request("leaver", {"leave": False}).wait(10) == "stayed"
