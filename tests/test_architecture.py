"""The house of docs/architecture.md, held: who imports what, and that everything public is documented and tested.

Reads the sources only, so it is fast; what can be seen only by importing is asked of a fresh interpreter.
"""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("fabric", "proxy", "cli")
SOURCES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts): path
    for package in PACKAGES
    for path in sorted((ROOT / package).glob("**/*.py"))
}

#: Above the line: modules that may do I/O, start threads and read clocks. All others of fabric and proxy are pure.
SHELL = {
    "fabric.__init__", "fabric.bus.buffer", "fabric.bus.capture", "fabric.bus.stream", "fabric.bus.waiter",
    "fabric.config.address", "fabric.config.endpoint_name", "fabric.config.settings", "fabric.events.catch_up",
    "fabric.events.delivery", "fabric.events.receiver", "fabric.events.retained", "fabric.events.retained_fetch",
    "fabric.events.sender", "fabric.log_events", "fabric.messages.dealer", "fabric.messages.endpoint",
    "fabric.messages.messaging", "fabric.messages.queries", "fabric.messages.receipt", "fabric.messages.workers",
    "fabric.node.backlogs", "fabric.node.barriers", "fabric.node.connect", "fabric.node.drain",
    "fabric.node.lifecycle", "fabric.node.link", "fabric.node.node", "fabric.node.ready",
    "fabric.node.socket_options", "fabric.routes.__init__", "fabric.routes.config", "fabric.routes.dead_letters",
    "fabric.routes.platforms", "fabric.routes.program", "fabric.routes.receipt", "fabric.routes.router",
    "fabric.routes.sender_call", "fabric.routes.senders", "fabric.routes.webhook", "fabric.rules.__init__",
    "fabric.rules.counters", "fabric.rules.reading.file", "fabric.rules.reading.watched_file",
    "fabric.rules.running.actions", "fabric.rules.running.apply", "fabric.rules.running.host",
    "fabric.rules.running.runner", "fabric.rules.running.serve", "fabric.rules.running.watch",
    "fabric.system.autostart", "fabric.system.inherited_sockets", "fabric.system.interrupts",
    "fabric.system.message_environment", "fabric.system.run_program", "fabric.system.wakeup",
    "fabric.system.worker_pool", "fabric.testing.__init__", "fabric.testing.memory", "fabric.testing.memory_link",
    "fabric.testing.memory_proxy", "fabric.tmux", "fabric.tools", "proxy.__init__", "proxy.__main__", "proxy.client",
    "proxy.collect", "proxy.daemon", "proxy.events.observer", "proxy.events.plane", "proxy.events.retainer",
    "proxy.health.self_check", "proxy.health.socket_guard", "proxy.health.systemd", "proxy.health.watchdog",
    "proxy.logs", "proxy.messages.hooks", "proxy.messages.plane", "proxy.metrics.app", "proxy.metrics.httpd",
    "proxy.repeat_filter", "proxy.server", "proxy.settings",
}  # fmt: skip
#: What a pure module has no business with.
IMPURE = {
    "asyncio", "concurrent", "fcntl", "io", "multiprocessing", "os", "pathlib", "queue", "random", "secrets", "select",
    "selectors", "shutil", "signal", "socket", "subprocess", "sys", "tempfile", "threading", "time", "uuid", "zmq",
}  # fmt: skip
#: Documented in their docstrings: the bus stamps `ts` and replaces its table under a lock; the stack of a thread is read;
#: a loop must be asked for without importing asyncio.
EXCEPTIONS = {
    "fabric.bus.bus": {"threading", "time"}, "fabric.bus.callbacks": {"sys"}, "fabric.bus.dispatcher": {"threading"},
    "fabric.bus.loop_queue": {"sys"},
}  # fmt: skip

ZMQ = {
    "fabric.events.receiver", "fabric.events.sender", "fabric.keys", "fabric.messages.dealer", "fabric.node.link",
    "fabric.node.socket_options", "proxy.client", "proxy.events.observer", "proxy.events.plane",
    "proxy.events.retainer", "proxy.guard", "proxy.health.self_check", "proxy.messages.plane", "proxy.zap",
}  # fmt: skip

#: What the proxy may take from the fabric: the protocol, the settings loader, and where the embedded default is.
SHARED = (
    "fabric.protocol",
    "fabric.errors",
    "fabric._version",
    "fabric.config.address",
    "fabric.config.settings",
    "fabric.config.schema",
    "fabric.system.autostart",
    "fabric.system.message_environment",
    "fabric.system.run_program",
    "fabric.system.terminal",
    "fabric.system.worker_pool",
)


def imports(path, *, typing_only=False):
    """Modules that a source imports: (name, whether when it is itself imported)."""
    found = []

    def visit(node, lazy):
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test) and not typing_only:
                continue
            if isinstance(child, ast.Import):
                found.extend((alias.name, not lazy) for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                assert not child.level, f"{path}: relative imports hide who is meant"
                found.append((child.module, not lazy))
                # `from fabric import verbs` is about the module `verbs`.
                found.extend(
                    (f"{child.module}.{alias.name}", not lazy)
                    for alias in child.names
                    if f"{child.module}.{alias.name}" in SOURCES
                )
            visit(child, lazy or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef))

    visit(ast.parse(path.read_text()), False)
    return found


IMPORTS = {name: imports(path) for name, path in SOURCES.items()}


def top(name):
    return name.partition(".")[0]


PURE = [name for name in SOURCES if top(name) in ("fabric", "proxy") and name not in SHELL]


@pytest.mark.parametrize("name", PURE)
def test_below_the_line_nothing_does_io_starts_threads_or_reads_a_clock(name):
    taken = {top(imported) for imported, _ in IMPORTS[name]} & IMPURE
    assert taken <= EXCEPTIONS.get(name, set())


@pytest.mark.parametrize("name", PURE)
def test_below_the_line_nothing_imports_what_is_above(name):
    assert not {imported for imported, _ in IMPORTS[name]} & SHELL


@pytest.mark.parametrize("name", PURE)
def test_below_the_line_nothing_opens_a_file(name):
    calls = {node.func.id for node in ast.walk(ast.parse(SOURCES[name].read_text())) if _is_call(node)}
    assert not calls & {"open", "print", "input", "exec", "eval", "__import__"}


def _is_call(node):
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name)


def test_zmq_is_imported_only_by_those_who_own_sockets():
    users = {name for name, imported in IMPORTS.items() if any(top(module) == "zmq" for module, _ in imported)}
    assert users <= ZMQ


@pytest.mark.parametrize("name", [name for name in SOURCES if top(name) == "fabric"])
def test_the_fabric_imports_neither_proxy_nor_cli(name):
    taken = {imported for imported, _ in IMPORTS[name] if top(imported) in ("proxy", "cli")}
    # A fabric in memory is run by the real directory; imported when one is made, so only by tests.
    assert taken <= (
        {"proxy.messages.directory", "proxy.events.retained"} if name == "fabric.testing.memory_proxy" else set()
    )
    assert not {imported for imported, at_import in IMPORTS[name] if at_import} & taken


@pytest.mark.parametrize("name", [name for name in SOURCES if top(name) == "proxy"])
def test_the_proxy_takes_only_the_protocol_from_the_fabric(name):
    taken = {imported for imported, _ in IMPORTS[name] if top(imported) == "fabric"}
    assert not {each for each in taken if not f"{each}.".startswith(tuple(f"{room}." for room in SHARED))}
    assert "cli" not in {top(imported) for imported, _ in IMPORTS[name]}


def test_only_the_pytest_plugin_imports_pytest():
    assert [name for name, found in IMPORTS.items() if "pytest" in {top(module) for module, _ in found}] == [
        "fabric.testing.__init__"
    ]


def test_only_the_cli_imports_click():
    users = {name for name, found in IMPORTS.items() if "click" in {top(module) for module, _ in found}}
    assert {top(name) for name in users} <= {"cli"}


def test_no_module_imports_itself_by_way_of_others():
    graph = {
        name: {imported for imported, at_import in found if at_import and imported in SOURCES and imported != name}
        for name, found in IMPORTS.items()
    }
    # A package's `__init__` is what it gathers, and is imported with any of its modules anyway.
    graph = {name: targets for name, targets in graph.items() if not name.endswith("__init__")}
    done, path = set(), []

    def visit(name):
        assert name not in path, " → ".join([*path[path.index(name) :], name])
        if name in done:
            return
        path.append(name)
        for target in graph.get(name, ()):
            visit(target)
        path.pop()
        done.add(name)

    for name in graph:
        visit(name)


#: Extras, imported where they are used.
OPTIONAL = {
    "fabric.testing.__init__": {"pytest"},
    "proxy.metrics.app": {"prometheus_client"},
    "fabric.rules.reading.formats": {"yaml"},
    "fabric.routes.senders": {"httpx"},
}


def test_only_the_declared_dependencies_are_imported():
    allowed = {"zmq", "orjson", "click", *PACKAGES, *sys.stdlib_module_names}
    for name, found in IMPORTS.items():
        optional = OPTIONAL.get(name, set())
        assert not {top(module) for module, _ in found} - allowed - optional, name


# Seen by importing


def modules_after(statement):
    """Names of the modules that a fresh interpreter has loaded after `statement`."""
    program = f"import sys; {statement}; import json; print(json.dumps(sorted(sys.modules)))"
    return set(
        json.loads(subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, cwd=ROOT).stdout)
    )


def test_importing_the_fabric_imports_neither_click_nor_asyncio():
    assert not modules_after("import fabric") & {"click", "asyncio", "pytest", "subprocess", "tempfile", "proxy", "cli"}


def test_using_a_bus_imports_no_asyncio():
    statement = "import fabric; fabric.subscribe('**', lambda event: None); fabric.publish('a')"
    assert "asyncio" not in modules_after(statement)


def test_the_pytest_plugin_is_cheap_to_import():
    # Every pytest run where the fabric is installed imports it.
    added = modules_after("import pytest, fabric.testing") - modules_after("import pytest, fabric")
    assert not {name for name in added if top(name) not in ("fabric", "json")} - sys.stdlib_module_names
    assert not added & {"asyncio", "proxy", "cli"}


# Documented and tested


def public_definitions(path):
    """(name, has a docstring) of the module, and of what is public in it."""
    tree = ast.parse(path.read_text())
    yield "(module)", bool(ast.get_docstring(tree)) or not tree.body
    pending = [("", tree)]
    while pending:
        prefix, node = pending.pop()
        for child in node.body:
            if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and not child.name.startswith(
                "_"
            ):
                yield prefix + child.name, bool(ast.get_docstring(child))
                if isinstance(child, ast.ClassDef):
                    pending.append((f"{prefix}{child.name}.", child))


@pytest.mark.parametrize("name", SOURCES)
def test_every_public_name_has_a_docstring(name):
    assert [public for public, documented in public_definitions(SOURCES[name]) if not documented] == []


def test_every_name_of_the_public_surface_is_there_and_sorted():
    import fabric

    assert [name for name in fabric.__all__ if not hasattr(fabric, name)] == []
    assert fabric.__all__ == sorted(fabric.__all__)


#: Parts that are only ever used through a whole, and tested as that.
PARTS = {
    "fabric.protocol.fields": "fabric.protocol.verbs",
    "fabric.messages.session.outcomes": "fabric.messages.session.session",
    "proxy.messages.broadcasts": "proxy.messages.directory",
    "proxy.messages.records": "proxy.messages.directory",
    "proxy.messages.registry": "proxy.messages.directory",
    "proxy.messages.routing": "proxy.messages.directory",
    "proxy.messages.sessions": "proxy.messages.directory",
    "proxy.settings": "proxy.main",
    "fabric.bus.subscription": "fabric.bus.bus",
    "fabric.testing.memory_link": "fabric.testing.memory",
    "fabric.testing.memory_proxy": "fabric.testing.memory",
    "fabric.routes.sender_call": "fabric.routes.router",
}


@pytest.mark.parametrize("name", [name for name in SOURCES if not name.endswith("__init__")])
def test_every_module_has_a_test_file_of_its_name(name):
    *package, module = PARTS.get(name, name).split(".")
    module = "main" if module == "__main__" else module
    assert ROOT.joinpath("tests", *package, f"test_{module}.py").exists()


def test_there_is_no_package_below_tests():
    # tests/fabric/__init__.py would shadow the package under test.
    assert list((ROOT / "tests").rglob("__init__.py")) == []
