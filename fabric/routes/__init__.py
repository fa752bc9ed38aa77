"""Texts to channels of other systems: who sends for which platform, in what order, how often, and what if nobody can.

    router = fabric.routes.load()                            # as [routes] of the settings file says
    router.register("feishu", adapter.send)                  # and senders of the program's own
    router.route("feishu:oc_1", "the build is green")

`docs/routes.md` has the settings. What decides is pure (`model`, `traffic`, `filling`), what acts is not (`router`,
`calling`, `routing`, `undelivered`, `webhook`, `program`, `config`).
"""

from fabric.routes.config import load
from fabric.routes.model import Delivery, Result
from fabric.routes.program import Program
from fabric.routes.receipt import Routing
from fabric.routes.router import Router
from fabric.routes.scheduler import Limits, Policy
from fabric.routes.webhook import Webhook

__all__ = ["Delivery", "Limits", "Policy", "Program", "Result", "Router", "Routing", "Webhook", "load"]
