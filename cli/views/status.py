"""The screen of `fabric status`: the whole record on one page. Pure.

    proxy     up 3d at ipc:///run/fabric, pid 4242 on host, version 0.1.0, …
    events    alive, round trip 0.7 ms, 1,234/s, …
    messages  120 routed, 118 acknowledged
    lost      nothing was lost

    NODE …    EP SUBS  SENT/S DELIV/S WAITING BACKLOG    LAG LOST
    3 endpoints: …
    TOPIC …

Everything that another program wrote is escaped here. Losses and a silent plane are red.
"""

from __future__ import annotations

from cli.terminal import numbers
from cli.terminal.table import red, table, wrapped
from cli.terminal.text import bare, cells, fit
from cli.views.columns import NODE_COLUMNS, is_estimated, share, topic_table
from cli.views.losses import Loss, losses
from fabric.config.address import Address
from proxy.client import Status
from proxy.stats import NodeStats, PlaneStats, ProxyStats

#: Rows of each table on one page, and nodes named with each loss.
MAX_NODES = 8
MAX_TOPICS = 5
MAX_NAMED = 4
#: Seconds without an answer after which the event plane counts as silent. The proxy probes it every second.
SILENCE_TIMEOUT = 5.0
#: Columns of a name in a list.
_MAX_NAME = 40
#: From this width on both host and pid are shown.
_WIDE_TERMINAL = 100
#: The words for the counts of the message plane; other keys are shown as they are.
_OUTCOMES = {
    "messages": "routed",
    "acknowledged": "acknowledged",
    "replies": "answered",
    "refused": "refused",
    "busy": "busy",
    "gone": "gone",
    "unrouted": "unrouted",
    "malformed": "malformed",
    "broadcasts": "broadcasts under way",
    "lost": "nodes fell silent",
}
#: Columns from a node's report, which comes with its heartbeats.
_REPORTED = [NODE_COLUMNS[name] for name in ("subscriptions", "sent", "delivered", "waiting", "backlog", "lag", "lost")]


def overview(
    found: Status, address: Address, columns: int, *, colour: bool = False, everything: bool = False
) -> list[str]:
    """The lines of the page, in `columns` of a terminal. `everything`: no row is left out."""
    stats = found.stats
    lines = wrapped("proxy", _proxy(stats, address), columns)
    lines += _plane(stats, columns, colour)
    lines += wrapped("messages", _messages(stats), columns)
    if stats.programs:
        lines += wrapped("hooks", [*(bare(each) for each in stats.programs), *_counts(stats.hooks)], columns)
    lines += _lost(stats, columns, colour)
    for part in (
        _nodes(stats, columns, colour, everything),
        _endpoints(found, columns, everything),
        _topics(stats, columns, everything),
    ):
        lines += ["", *part]
    return lines


def is_silent(stats: ProxyStats) -> bool:
    """Whether the event plane passes nothing on: the proxy's own probes have not come back for a while."""
    plane = stats.plane
    if plane.round_trip or plane.probed:
        return plane.probed > SILENCE_TIMEOUT
    return not plane.alive and stats.uptime > SILENCE_TIMEOUT


def _proxy(stats: ProxyStats, address: Address) -> list[str]:
    process = stats.process
    facts = [f"up {numbers.duration(stats.uptime)} at {address.url}", f"pid {stats.pid} on {bare(stats.host)}"]
    facts.append(f"version {bare(stats.version)}")
    facts.append(f"{numbers.size(process.memory)} of memory")
    limit = "" if process.descriptor_limit < 0 else f" of {process.descriptor_limit:,}"
    facts.append(f"{process.descriptors:,}{limit} descriptors")
    facts.append(f"log {bare(stats.log or 'stderr')}")
    return facts


def _plane(stats: ProxyStats, columns: int, colour: bool) -> list[str]:
    plane, rough = stats.plane, is_estimated(stats)
    if is_silent(stats):
        heard = f"for {numbers.duration(plane.probed)}" if plane.probed else "since it started"
        text = f"silent: nothing that the proxy sends itself has come through {heard}"
        return [red(line, colour) for line in wrapped("events", [text], columns)]
    state = f"alive (round trip {numbers.took(plane.round_trip)})" if plane.round_trip else "not proven yet"
    facts = [
        state,
        f"{numbers.rate(plane.rate, rough)}/s",
        f"{numbers.size(plane.byte_rate, rough)}/s",
        f"{numbers.count(plane.events, rough)} so far",
    ]
    if rough:
        facts[-1] += f" (estimated: {share(stats)} was looked at)"
    lines = wrapped("events", facts, columns)
    nodes = [f"{stats.published:,} published by nodes", f"{stats.sent:,} sent", f"{stats.delivered:,} delivered"]
    lines += wrapped("", nodes, columns)
    if plane.retained or plane.retained_evicted or plane.retained_missed:
        lines += wrapped("retained", _retained(plane), columns)
    return lines


def _retained(plane: PlaneStats) -> list[str]:
    facts = [numbers.plural(plane.retained, "last event"), numbers.size(plane.retained_bytes)]
    if plane.retained_evicted:
        facts.append(f"{plane.retained_evicted:,} evicted")
    if plane.retained_missed:
        facts.append(f"{plane.retained_missed:,} missed")
    return facts


def _messages(stats: ProxyStats) -> list[str]:
    shown = {name: stats.messages.get(name, 0) for name in ("messages", "acknowledged")} | stats.messages
    return [f"{count:,} {_OUTCOMES.get(name) or _name(name)}" for name, count in shown.items() if count] or ["none"]


def _counts(counts: dict[str, int]) -> list[str]:
    return [f"{count:,} {_name(name).replace('_', ' ')}" for name, count in counts.items() if count] or ["none has run"]


def _name(name: object) -> str:
    """A name in a list, cut: a longer one would take a line of its own."""
    text = bare(name)
    return text if cells(text) <= _MAX_NAME else fit(text, _MAX_NAME)


def _lost(stats: ProxyStats, columns: int, colour: bool) -> list[str]:
    found = losses(stats)
    if not found:
        return wrapped("lost", ["nothing was lost"], columns)
    lines = [line for loss in found for line in _loss(loss, columns)]
    lines[0] = f"{'lost':<10}{lines[0][10:]}"
    return [red(line, colour) for line in lines]


def _loss(loss: Loss, columns: int) -> list[str]:
    lines = wrapped("", [f"{numbers.plural(loss.number, loss.what)} {loss.why} ({_name(loss.cause)})"], columns)
    where = [f"{_name(name)} {count:,}" for name, count in loss.where[:MAX_NAMED]]
    if more := loss.where[MAX_NAMED:]:
        where.append(f"{numbers.plural(len(more), 'more node')} {sum(count for _, count in more):,}")
    if loss.elsewhere:
        where.append(f"{'nodes that are gone' if loss.what == 'event' else 'elsewhere'} {loss.elsewhere:,}")
    return lines + (wrapped("", where, columns, margin=14) if where and loss.what == "event" else [])


def _nodes(stats: ProxyStats, columns: int, colour: bool, everything: bool) -> list[str]:
    if not stats.nodes:
        return ["no node is here"]
    members = sorted(stats.members, key=_weight)
    shown = members if everything else members[:MAX_NODES]
    hosts = {member.host for member in members} != {stats.host}
    where = [name for name, wanted in (("host", hosts), ("pid", not hosts or columns >= _WIDE_TERMINAL)) if wanted]
    known = [NODE_COLUMNS[name] for name in ("node", *where, "endpoints")]
    header = [column.title for column in (*known, *_REPORTED)]
    rows = [
        [
            *(column.text(member, stats) for column in known),
            *(
                "-" if member.report is None else column.text(member, stats) for column in _REPORTED
            ),  # it has just joined
        ]
        for member in shown
    ]
    lines = table(header, rows, columns, texts=2 if hosts else 1, colour=colour)
    if (more := stats.nodes - len(shown)) > 0:
        # With `everything` the proxy itself has cut the list.
        lines.append(f"… and {more:,} more: fabric {'ls' if everything else 'status --all'}")
    return lines


def _weight(member: NodeStats) -> tuple[float, float, float, str]:
    """The order of nodes: those with losses first, then those with backlogs, then the busiest."""
    report = member.report
    trouble = (0, 0) if report is None else (-report.lost, -report.waiting - report.backlog)
    return *trouble, -member.sent_rate - member.delivered_rate, member.node


def _endpoints(found: Status, columns: int, everything: bool) -> list[str]:
    count = found.stats.endpoints
    if not count:
        return ["no endpoint is registered"]
    names = sorted(_name(each.get("endpoint")) for each in found.endpoints)
    title = f"{numbers.plural(count, 'endpoint')}: "
    margin = cells(title)
    if not everything:
        # One line of names, with room for the number of the others.
        room = columns - margin - len(f", … and {count:,} more: fabric ls")
        kept = 0
        while kept < len(names) and (room := room - cells(names[kept]) - 2) >= 0:
            kept += 1
        names = names[:kept]
    if (more := count - len(names)) > 0:
        names.append(f"… and {more:,} more: fabric ls")
    return wrapped(title, names, columns, margin=margin)


def _topics(stats: ProxyStats, columns: int, everything: bool) -> list[str]:
    shown = stats.busiest if everything else stats.busiest[:MAX_TOPICS]
    lines = topic_table(shown, stats, columns)
    if not lines:
        return ["no topic has passed"]
    if (more := stats.plane.topics - len(shown)) > 0:
        lines.append(f"… and {more:,} more: fabric topics --limit 0")
    return lines
