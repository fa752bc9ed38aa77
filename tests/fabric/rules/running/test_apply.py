"""Rules applied to messages and events, also when their file changes."""

import subprocess
import sys
from itertools import count

from fabric.bus.bus import Bus
from fabric.rules.item import MAX_HOPS
from fabric.testing import wait_until
from tests.fabric.rules.applied import RecordingNode, counts, message, read_pid
from tests.processes import has_ended

RULE = '[[rule]]\nname = "r"\n'


def test_messages_that_no_rule_matches_are_counted_and_get_the_default(applied):
    applier = applied(f'{RULE}type = "a"\nprint = true\n')
    for kind in "aab":
        applier.apply(message(type=kind))
    assert (applier.stats()["unmatched"], counts(applier)["matched"]) == (1, 2)
    assert applier.wait(10)
    applier = applied(f'{RULE}type = "a"\nprint = true\n[default]\nprint = "? {{text}}"\n')
    applied.lines.clear()
    applier.apply(message("x"))
    assert applier.wait(10)
    assert applied.lines == ["? x\n"]
    assert (applier.stats()["unmatched"], counts(applier, "default")["matched"]) == (1, 1)


def test_event_rules_change_with_the_file(applied, tmp_path):
    bus = Bus()
    event = '[[rule]]\nname = "r"\non = "event"\ntopic = "{0}"\nprint = "{topic} {body.n}"\n'
    applier = applied(event.replace("{0}", "job.*"))
    applier.watch(bus)
    bus.publish("job.7", {"n": 1, "type": "other"})
    bus.publish("other", {"n": 2})
    (tmp_path / "rules.toml").write_text(event.replace("{0}", "other"))
    applier.look()
    bus.publish("job.7", {"n": 3})
    bus.publish("other", {"n": 4})
    assert applier.wait(10)
    assert applied.lines == ["job.7 1\n", "other 4\n"]
    assert (counts(applier)["matched"], applier.stats()["unmatched"], applier.stats()["reloads"]) == (2, 0, 1)
    applier.close()
    assert len(bus) == 0


def test_rules_that_answer_each_other_end_after_the_maximum_of_hops(applied):
    bus, node = Bus(), RecordingNode()
    node.publish = bus.publish
    applier = applied(f'{RULE}on = "event"\ntopic = "loop.*"\npublish = "loop.again"\n', node)
    applier.watch(bus)
    bus.publish("loop.start", {})
    wait_until(lambda: counts(applier)["failures"] == 1)
    assert counts(applier)["matched"] == MAX_HOPS + 1
    assert "in a circle" in counts(applier)["last_error"]


def test_a_changed_file_applies_from_the_next_message_on(applied, tmp_path):
    seconds = count()
    applier = applied(f'{RULE}print = "old {{text}}"\n', clock=lambda: float(next(seconds)))
    applier.apply(message("1"))
    (tmp_path / "rules.toml").write_text(f'{RULE}print = "new {{text}}"\n')
    applier.apply(message("2"))
    (tmp_path / "rules.toml").write_text("broken")
    applier.apply(message("3"))
    assert applier.wait(10)
    assert applied.lines == ["old 1\n", "new 2\n", "new 3\n"]
    assert counts(applier)["matched"] == 3
    assert "rules.toml:1: is no TOML" in applier.stats()["problem"]


def test_a_process_that_ends_ends_its_programs(tmp_path):
    (tmp_path / "rules.toml").write_text(f'[[rule]]\nexec = ["sh", "-c", "echo $$ > {tmp_path}/pid; sleep 600"]\n')
    program = (
        "import os, sys, time, fabric.rules.running.apply as a\n"
        "applier = a.Applier(a.Rules.load(sys.argv[1])); applier.apply({})\n"
        "while not os.path.exists(sys.argv[2]): time.sleep(0.01)"
    )
    subprocess.run([sys.executable, "-c", program, tmp_path / "rules.toml", tmp_path / "pid"], check=True, timeout=30)
    pid = wait_until(lambda: read_pid(tmp_path / "pid"))
    wait_until(lambda: has_ended(pid))
