"""`fabric top`: topics or nodes, live."""

from __future__ import annotations

import os
import signal
import sys
import threading
from time import monotonic, time
from types import TracebackType

import click

from cli.exits import DONE
from cli.options import url_option
from cli.query import address_of, answered
from cli.terminal.output import Output
from cli.terminal.screen import Screen
from cli.views.top import Snapshot, frame, plain
from cli.views.top_keys import DEFAULT_SORT, NODES, SORTS, TOPICS, TopView, keys_of, pressed
from fabric.config.address import Address
from fabric.errors import ProxyError
from proxy import client
from proxy.stats import ProxyStats

#: Rows to ask for: nodes; topics, if they are sorted by something that the proxy does not sort by; else a screen of topics.
_MAX_NODES, _MAX_TOPICS, _SCREEN_TOPICS = 1_000, 1_000, 200
#: Seconds until a request counts as not answered, and that the end waits for the thread.
ANSWER_TIMEOUT = 2.0
_JOIN_TIMEOUT = 0.2
#: Columns of the output where there is no terminal.
_PIPE_COLUMNS = 10_000


@click.command(short_help="Watch topics or nodes live, like top.")
@url_option
@click.option(
    "--interval",
    type=click.FloatRange(min=0.1, max=3_600),
    default=1.0,
    metavar="S",
    help="Look every S seconds.  [default: 1]",
)
@click.option("--topics", "shown", flag_value=TOPICS, help="Show topics; so it does without.")
@click.option("--nodes", "shown", flag_value=NODES, help="Show nodes.")
@click.option(
    "--sort", type=click.Choice([*SORTS[TOPICS], *SORTS[NODES]]), help="Sort by this column.  [default: rate, sent]"
)
@click.option("--once", is_flag=True, help="Print it once, as plain text; so it does where there is no terminal.")
@click.option("-n", "--limit", type=click.IntRange(min=1), default=None, metavar="N", help="N rows at most.")
def top(url: str | None, interval: float, shown: str | None, sort: str | None, once: bool, limit: int | None) -> int:
    """Watch topics or nodes live, with rates, what was lost (in red), and how the proxy is.

    It joins nothing and subscribes to nothing: it asks the proxy for its record, over one connection. If the proxy goes
    away it says so, and goes on when it is back. Numbers are those of `fabric status`.

    \b
    Keys:
      t  topics            n  nodes               ?  help
      s > .  sort by the next column              < ,  by the one before        r  reverse
      + -  look less or more often                p  pause                      space  look now
      q  Ctrl-C  end       Ctrl-Z  stop for a while

    \b
    Examples:
      fabric top
      fabric top --nodes --sort lost
      fabric top --once -n 5
      fabric top --interval 10 --url tcp://127.0.0.1:7400

    With --once it ends like fabric status: 3 if there is no proxy, 1 if something is there that does not answer.
    """
    view = _view(interval, shown, sort, limit)
    address = address_of(url)
    out = Output()
    if once or not out.is_terminal or os.environ.get("TERM") == "dumb":
        return _once(address, view, out)
    with Screen(out) as screen, _Poller(address) as poller:
        _live(screen, poller, view, out)
    if screen.ended in (0, signal.SIGINT):  # q or Ctrl-C
        return DONE
    sys.exit(128 + screen.ended)


def _view(interval: float, shown: str | None, sort: str | None, limit: int | None) -> TopView:
    if sort is not None and shown is None:
        shown = next(table for table in (TOPICS, NODES) if sort in SORTS[table])
    view = TopView(table=shown or TOPICS, interval=interval, limit=limit or 0)
    if sort is None:
        return view
    if sort not in SORTS[view.table]:
        known = ", ".join(SORTS[view.table])
        raise click.BadParameter(f"--{view.table} are sorted by {known}.", param_hint="'--sort'")
    return view.sorted_by(sort)


def _wanted(view: TopView) -> tuple[int, int]:
    """How many topics and nodes to ask for: none of the table that is not shown, which saves the proxy work."""
    if view.table == NODES:
        return 0, _MAX_NODES
    by_rate = view.by == DEFAULT_SORT[TOPICS] and not view.reverse
    return (max(view.limit, _SCREEN_TOPICS) if by_rate else _MAX_TOPICS), 0


def _once(address: Address, view: TopView, out: Output) -> int:
    topics, nodes = _wanted(view)
    with answered(address):
        stats = client.stats(address, topics=topics, nodes=nodes)
    now = time()
    columns = out.size()[0] if out.is_terminal else _PIPE_COLUMNS
    out.write("".join(f"{line}\n" for line in plain(Snapshot(address.url, stats, answered=now), view, columns, now)))
    return DONE


def _live(screen: Screen, poller: _Poller, view: TopView, out: Output) -> None:
    due = 0.0
    while not screen.ended:
        if view.paused and poller.known.stats is not None:
            wait = 3_600.0
        else:
            if (now := monotonic()) >= due and poller.ask(*_wanted(view)):
                due = now + view.interval
            wait = max(due - monotonic(), 0.0) if not poller.busy else ANSWER_TIMEOUT
        keys = keys_of(screen.wait(wait, poller.descriptor))
        poller.seen()
        for key in keys:
            chosen = pressed(view, key)
            if chosen is None:
                return
            if key == " " or _wanted(chosen) != _wanted(view) or chosen.interval != view.interval:
                due = 0.0  # the last answer lacks the rows that are shown now
            if key == " ":
                poller.ask(*_wanted(chosen))
            view = chosen
        columns, lines = out.size()
        screen.draw(frame(poller.known, view, columns, lines, time(), colour=out.has_colour))


class _Poller:
    """Asks the proxy on a thread of its own, so that an unreachable address does not block the keys.

    The thread writes `known`, and then a byte to the pipe whose reading end is `descriptor`. Everything else belongs to
    the main thread.
    """

    def __init__(self, address: Address) -> None:
        self.known = Snapshot(address.url)
        #: Whether a request is on its way.
        self.busy = False
        self._client = client.StatsClient(address)
        self._request: tuple[int, int] | None = None
        self._requested = threading.Event()
        self._is_ending = False
        self.descriptor, self._write_end = os.pipe()
        os.set_blocking(self.descriptor, False)
        self._thread = threading.Thread(target=self._run, name="fabric-top", daemon=True)

    def __enter__(self) -> _Poller:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._is_ending = True
        self._requested.set()
        self._thread.join(_JOIN_TIMEOUT)  # if it still waits for an answer, it ends with the process

    def ask(self, topics: int, nodes: int) -> bool:
        """Request a record with this number of topics and nodes; False if a request is on its way."""
        if self.busy:
            return False
        self.busy = True
        self._request = (topics, nodes)
        self._requested.set()
        return True

    def seen(self) -> None:
        """Clear `busy` if the answer has come."""
        try:
            while os.read(self.descriptor, 64):
                self.busy = False
        except BlockingIOError:
            pass

    def _run(self) -> None:
        while True:
            self._requested.wait()
            self._requested.clear()
            if self._is_ending:
                break
            assert self._request is not None  # set before the event
            self.known = self._fetch(*self._request)
            os.write(self._write_end, b".")
        self._client.close()

    def _fetch(self, topics: int, nodes: int) -> Snapshot:
        known = self.known
        try:
            stats = self._client.stats(ANSWER_TIMEOUT, topics=topics, nodes=nodes)
        except ProxyError as error:
            return known._replace(problem=str(error))
        return Snapshot(known.url, stats, _earlier(known.stats, stats), answered=time())


def _earlier(before: ProxyStats | None, now: ProxyStats) -> ProxyStats | None:
    """The record before, if it is of the same run of the proxy: then CPU time can be compared."""
    return before if before is not None and before.boot == now.boot else None
