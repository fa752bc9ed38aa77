"""Rules: a file that maps messages and events to actions (print, inbox, exec, route, publish, send).

    rules = fabric.rules.Rules.load("rules.toml")
    rules.decide({"from": "worker-1", "body": {"type": "task_done", "text": "built"}})    # the actions it would take

    fabric.rules.serve(node, "lead-agent", rules)                                         # take them

    model   item   conditions   template                 values: rules, messages, patterns, texts with placeholders
    match   fill   counters                              which actions; placeholders → text; counts by rule
    reading/                                             TOML and YAML files → values
    running/                                             actions at work

`docs/rules.md` has the file's format. Reading a document, matching and filling in are pure; `reading.file`,
`reading.watched_file`, `counters` and most of `running` are not.
"""

from fabric.rules.match import Planned
from fabric.rules.model import RulesError
from fabric.rules.reading.file import Rules, convert
from fabric.rules.running.actions import TextRouter as Router
from fabric.rules.running.apply import Applier
from fabric.rules.running.host import Handed, Host
from fabric.rules.running.serve import Served, serve

__all__ = ["Applier", "Handed", "Host", "Planned", "Router", "Rules", "RulesError", "Served", "convert", "serve"]
