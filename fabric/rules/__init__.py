"""Acting on messages and events, as a file of rules says.

    rules = fabric.rules.Rules.load("rules.toml")
    rules.decide({"from": "worker-1", "body": {"type": "task_done", "text": "built"}})    # what would be done

    fabric.rules.serve(node, "lead-agent", rules)                                         # do it

`docs/rules.md` has the file's format. What decides is pure (`reading`, `matching`, `template`, `deciding`, `preparing`),
what acts is not (`files`, `applying`, `lane`, `host`, `serving`).
"""

from fabric.rules.match import Planned
from fabric.rules.model import RulesError
from fabric.rules.reading.file import Rules, convert
from fabric.rules.running.apply import Applier
from fabric.rules.running.apply import TextRouter as Router
from fabric.rules.running.host import Handed, Host
from fabric.rules.running.serve import Served, serve

__all__ = ["Applier", "Handed", "Host", "Planned", "Router", "Rules", "RulesError", "Served", "convert", "serve"]
