from uuid import uuid4

import pytest

from fabric.testing import wait_until
from tests.cli.running import Command, Forger, endpoints


@pytest.fixture
def start(runtime_dir):
    """A function that starts `fabric …`; ended after the test."""
    started = []

    def start_command(*arguments, **options):
        started.append(Command(*arguments, **options))
        return started[-1]

    yield start_command
    for command in started:
        command.close()


@pytest.fixture
def url(shared_proxy):
    """Where a proxy is."""
    return shared_proxy.url


@pytest.fixture
def root():
    """A first segment that no other test uses: the proxy is shared."""
    return f"t{uuid4().hex[:8]}"


@pytest.fixture
def node(url, fabric_node):
    """A node of the test's own, ready."""
    return fabric_node("tester", url=url)


@pytest.fixture
def tap(start, url, root, node):
    """A function that starts `fabric tap` on everything below `root`, and returns when `node` knows its interest."""

    def start_tap(*options, patterns=None, **how):
        patterns = patterns or [f"{root}.**"]
        command = start("tap", *patterns, "--url", url, *options, **how)
        topics = [pattern.replace("**", "x").replace("*", "x") for pattern in patterns]
        wait_until(
            lambda: command.process.poll() is not None or all(map(node.has_interest, topics)), what="all is tapped"
        )
        return command

    return start_tap


@pytest.fixture
def listen(start, url, root, node):
    """A function that starts `fabric listen` at `root`, and returns when that is registered."""

    def start_listening(*options, name=root, **how):
        command = start("listen", "--url", url, name, *options, **how)
        wait_until(lambda: command.process.poll() is not None or name in endpoints(node), what="it listens")
        return command

    return start_listening


@pytest.fixture
def rules(tmp_path):
    """A function that writes a file of rules."""

    def write(text):
        (tmp_path / "rules.toml").write_text(text)
        return str(tmp_path / "rules.toml")

    return write


@pytest.fixture
def forger(url):
    """Publishes events that no node of ours would."""
    made = Forger(url)
    yield made
    made.close()
