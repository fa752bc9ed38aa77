"""Routes: texts to channels of other systems, with several senders per platform, retries and dead letters.

    router = fabric.routes.load()                            # with the senders of [routes] in the settings file
    router.register("feishu", adapter.send)                  # and one of this program
    router.route("feishu:oc_1", "the build is green")

    config ──▸ router ──▸ scheduler (batch) ──▸ sender_call ──▸ senders, or one of the program
                  │           by platforms
                  └─────▸ receipt, dead_letters

`docs/routes.md` has the settings. `model`, `batch`, `scheduler` and `templates` are pure.
"""

from fabric.routes.batch import Policy
from fabric.routes.config import load
from fabric.routes.model import Delivery, Result
from fabric.routes.receipt import Routing
from fabric.routes.router import Router
from fabric.routes.scheduler import Limits
from fabric.routes.senders import Program, Webhook

__all__ = ["Delivery", "Limits", "Policy", "Program", "Result", "Router", "Routing", "Webhook", "load"]
