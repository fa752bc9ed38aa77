"""The choices of the user of `fabric top`, and the effect of keys on them. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace

TOPICS, NODES = "topics", "nodes"
#: The columns that each table can be sorted by, in their order; and the one it is sorted by at first.
SORTS: dict[str, tuple[str, ...]] = {
    TOPICS: ("topic", "rate", "byte_rate", "events", "bytes", "last"),
    NODES: ("node", "pid", "sent", "delivered", "lost", "lag", "backlog", "waiting", "subscriptions", "seen"),
}
DEFAULT_SORT = {TOPICS: "rate", NODES: "sent"}
#: Seconds between two requests to the proxy that can be chosen with + and -.
INTERVALS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)

HELP = (
    "t  topics             n  nodes              ?  this help",
    "s > .  sort by the next column              < ,  by the one before",
    "r  reverse            p  pause              space  look now",
    "+ -  look less or more often                q  Ctrl-C  end   Ctrl-Z  stop",
    "",
    "Topics: what passed the proxy, now per second, and since its start.",
    "~ marks what is estimated.",
    "",
    "Nodes tell of themselves with every heartbeat: LOST events, LAG of the event",
    "delivered last, BACKLOG packs that arrived and are not delivered yet, WAITING",
    "events that have not left.",
)


@dataclass(frozen=True)
class TopView:
    """The choices. `limit`: rows at most, 0: as many as there is room for. `interval`: seconds between two requests."""

    table: str = TOPICS
    topics_by: str = DEFAULT_SORT[TOPICS]
    nodes_by: str = DEFAULT_SORT[NODES]
    reverse: bool = False
    interval: float = 1.0
    limit: int = 0
    paused: bool = False
    help: bool = False

    @property
    def by(self) -> str:
        """The name of the column that the shown table is sorted by."""
        return self.topics_by if self.table == TOPICS else self.nodes_by

    def sorted_by(self, name: str) -> TopView:
        """The same view, sorted by another column of the same table."""
        changed = {"topics_by": name} if self.table == TOPICS else {"nodes_by": name}
        return replace(self, reverse=False, **changed)  # type: ignore[arg-type]


def keys_of(text: str) -> list[str]:
    """The keys in typed text. Arrows left and right are `<` and `>`; other escape sequences are ignored."""
    found = []
    at = 0
    while at < len(text):
        if text[at] != "\x1b":
            found.append(text[at])
            at += 1
            continue
        at += 1
        if at < len(text) and text[at] in "[O":
            at += 1
            while at < len(text) and not "@" <= text[at] <= "~":
                at += 1
            if at < len(text):
                found += {"C": [">"], "D": ["<"]}.get(text[at], [])
                at += 1
    return found


def pressed(view: TopView, key: str) -> TopView | None:
    """The view after a key, None to end. Unknown keys change nothing."""
    if key in ("q", "Q"):
        return None
    if view.help:
        return replace(view, help=False)
    if key in ("t", "n"):
        return replace(view, table=TOPICS if key == "t" else NODES, reverse=False)
    if key in ("s", ">", ".", "<", ","):
        names = SORTS[view.table]
        step = -1 if key in "<," else 1
        return view.sorted_by(names[(names.index(view.by) + step) % len(names)])
    if key in ("+", "=", "-", "_"):
        return replace(view, interval=_interval(view.interval, slower=key in "+="))
    changes: dict[str, dict[str, bool]] = {
        "r": {"reverse": not view.reverse},
        "p": {"paused": not view.paused},
        "?": {"help": True},
        "h": {"help": True},
    }
    return replace(view, **changes[key]) if key in changes else view  # type: ignore[arg-type]


def _interval(now: float, *, slower: bool) -> float:
    if slower:
        return next((each for each in INTERVALS if each > now), max(now, INTERVALS[-1]))
    return next((each for each in reversed(INTERVALS) if each < now), min(now, INTERVALS[0]))
