"""The house of docs/architecture.md, held: which room imports which, and that everything public is documented and tested.

Reads the sources only, so it is fast. What can be seen only by importing is asked of a fresh interpreter.
"""

import ast
import collections
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("fabric", "proxy", "cli")
#: Dotted name → source. A package has the name of its folder.
SOURCES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for package in PACKAGES
    for path in sorted((ROOT / package).glob("**/*.py"))
}
FOLDERS = {name for name, path in SOURCES.items() if path.name == "__init__.py"}
MODULES = set(SOURCES) - FOLDERS

#: Rooms, and the single modules between them, from the top down. A module imports from its own room and from those below.
ORDER = {
    "fabric": (
        "fabric.testing", "fabric.tools", "fabric.log_events", "fabric.mirror", "fabric.tmux",
        "fabric.routes", "fabric.rules.running", "fabric.rules.reading", "fabric.rules",
        "fabric.node", "fabric.events", "fabric.messages", "fabric.messages.session",
        "fabric.system", "fabric.config", "fabric.bus", "fabric.protocol", "fabric.errors", "fabric._version",
    ),
    "proxy": (
        "proxy.__main__", "proxy.daemon", "proxy.server", "proxy.logs", "proxy.repeat_filter", "proxy.collect",
        "proxy.messages", "proxy.settings", "proxy.events", "proxy.health", "proxy.metrics", "proxy.client",
        "proxy.stats",
    ),
    "cli": (
        "cli.__main__", "cli.commands", "cli.commands.operating", "cli.commands.messages", "cli.commands.events",
        "cli.main", "cli.doctor", "cli.listen", "cli.demo", "cli.views", "cli.tap", "cli.message", "cli.join",
        "cli.query", "cli.options", "cli.exits", "cli.terminal",
    ),
}  # fmt: skip
#: What the proxy may take from the fabric.
SHARED = ("fabric.protocol", "fabric.config", "fabric.system", "fabric.errors", "fabric._version")

#: Modules and rooms that do no I/O, start no threads and read no clock: time comes in as an argument.
PURE = (
    "fabric.protocol", "fabric.errors", "fabric.mirror", "fabric._version", "fabric.system.terminal",
    "fabric.bus.bus", "fabric.bus.callbacks", "fabric.bus.closing", "fabric.bus.dispatcher", "fabric.bus.loop_queue",
    "fabric.bus.subscription", "fabric.bus.table",
    "fabric.config.schema", "fabric.config.toml_lines",
    "fabric.messages.session", "fabric.messages.message",
    "fabric.events.gaps", "fabric.events.interest", "fabric.events.offline_queue", "fabric.events.origin_age",
    "fabric.events.outbox", "fabric.events.pacing", "fabric.events.recovery", "fabric.events.retransmit",
    "fabric.node.slow_consumers", "fabric.node.trace",
    "fabric.rules.conditions", "fabric.rules.fill", "fabric.rules.item", "fabric.rules.match", "fabric.rules.model",
    "fabric.rules.template", "fabric.rules.reading.actions", "fabric.rules.reading.formats",
    "fabric.rules.reading.legacy", "fabric.rules.reading.parse", "fabric.rules.reading.shell",
    "fabric.rules.reading.toml_writer", "fabric.rules.reading.value", "fabric.rules.running.describe",
    "fabric.rules.running.render",
    "fabric.routes.batch", "fabric.routes.model", "fabric.routes.scheduler", "fabric.routes.templates",
    "proxy.messages.broadcasts", "proxy.messages.directory", "proxy.messages.listing", "proxy.messages.node_reports",
    "proxy.messages.records", "proxy.messages.registry", "proxy.messages.routing", "proxy.messages.sessions",
    "proxy.events.retained", "proxy.events.topic_counts", "proxy.metrics.table", "proxy.stats",
)  # fmt: skip
#: What a pure module does not import.
IMPURE = {
    "asyncio", "concurrent", "fcntl", "io", "multiprocessing", "os", "pathlib", "queue", "random", "secrets", "select",
    "selectors", "shutil", "signal", "socket", "subprocess", "sys", "tempfile", "threading", "time", "uuid", "zmq",
}  # fmt: skip
#: Documented in their docstrings: the bus stamps `ts` and replaces its table under a lock, the dispatcher counts the depth
#: of publishing by thread; the running loop is looked up without importing asyncio; a thread's callbacks are read off its
#: stack.
EXCEPTIONS = {
    "fabric.bus.bus": {"threading", "time"},
    "fabric.bus.dispatcher": {"threading"},
    "fabric.bus.loop_queue": {"sys"},
    "fabric.bus.callbacks": {"sys"},
}

#: Modules that own sockets.
ZMQ = {
    "fabric.events.receiver", "fabric.events.sender", "fabric.messages.dealer", "fabric.node.link",
    "fabric.node.socket_options",
    "proxy.client", "proxy.events.observer", "proxy.events.plane", "proxy.events.retainer", "proxy.health.self_check",
    "proxy.messages.plane",
}  # fmt: skip
#: Extras, imported where they are used.
OPTIONAL = {
    "fabric.testing": {"pytest"},
    "proxy.metrics.app": {"prometheus_client"},
    "fabric.rules.reading.formats": {"yaml"},
    "fabric.routes.senders": {"httpx"},
}
#: Modules in a room, at most.
MAX_MODULES = 13


def imports(path):
    """What a source imports: (module, whether when it is itself imported). Imports for type checkers only are left out."""
    found = []

    def visit(node, lazy):
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
                continue
            if isinstance(child, ast.Import):
                found.extend((alias.name, not lazy) for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                assert not child.level, f"{path}: relative imports hide which module is meant"
                # `from fabric.protocol import verbs` is about the module `verbs`.
                names = [f"{child.module}.{alias.name}" for alias in child.names]
                found.extend((name if name in SOURCES else child.module, not lazy) for name in names)
            visit(child, lazy or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef))

    visit(ast.parse(path.read_text()), False)
    return found


IMPORTS = {name: imports(path) for name, path in SOURCES.items()}


def top(name):
    return name.partition(".")[0]


def is_in(name, places):
    """Whether `name` is one of `places`, or in one."""
    return any(name == place or name.startswith(f"{place}.") for place in places)


def room_of(name):
    """The folder that a module is in; a module directly below a package stands for itself."""
    if name in FOLDERS:
        return name
    parent = name.rpartition(".")[0]
    return name if parent in PACKAGES else parent


def wrong(check):
    """The modules for which `check(name)` says something, with what it says."""
    return {name: problem for name in SOURCES if (problem := check(name))}


# Rooms and arrows


def test_arrows_between_rooms_point_down():
    def climbs(name):
        order = ORDER[top(name)]
        room = room_of(name)
        if room in PACKAGES:
            return None  # a package gathers its public names
        assert room in order, f"{room} has no place in ORDER"
        places = [room_of(target) for target, _ in IMPORTS[name] if target in SOURCES and top(target) == top(name)]
        return [place for place in places if place not in PACKAGES and order.index(place) < order.index(room)]

    # `fabric.rules` gathers the public names of its rooms; `completion` describes the table of commands.
    allowed = {"fabric.rules"}
    assert {name: found for name, found in wrong(climbs).items() if name not in allowed} == {}


def test_every_place_in_the_order_is_there():
    assert [place for order in ORDER.values() for place in order if place not in SOURCES] == []


def test_no_room_has_more_modules_than_a_reader_can_overlook():
    rooms = collections.Counter(name.rpartition(".")[0] for name in MODULES if not name.endswith("__main__"))
    assert {room: count for room, count in rooms.items() if count > MAX_MODULES} == {}


def test_every_room_says_what_it_is_for_and_what_it_does_not_know():
    def silent(name):
        return name in FOLDERS and name not in PACKAGES and not ast.get_docstring(ast.parse(SOURCES[name].read_text()))

    assert wrong(silent) == {}


def test_the_fabric_imports_neither_proxy_nor_cli():
    # A fabric in memory is run by the real directory. Its module is imported when a fabric is made, so only by tests.
    allowed = {"fabric.testing.memory_proxy": {"proxy.messages.directory", "proxy.events.retained"}}

    def foreign(name):
        taken = {target for target, _ in IMPORTS[name] if top(target) in ("proxy", "cli")}
        at_import = {target for target, at_import in IMPORTS[name] if at_import} & taken
        return top(name) == "fabric" and (at_import or taken - allowed.get(name, set()))

    assert wrong(foreign) == {}


def test_the_proxy_takes_only_the_shared_rooms_from_the_fabric():
    def foreign(name):
        taken = {target for target, _ in IMPORTS[name] if top(target) in ("fabric", "cli")}
        return top(name) == "proxy" and {target for target in taken if not is_in(target, SHARED)}

    assert wrong(foreign) == {}


def test_no_module_imports_itself_by_way_of_others():
    graph = {
        name: {target for target, at_import in found if at_import and target in MODULES and target != name}
        for name, found in IMPORTS.items()
    }
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

    for name in MODULES:
        visit(name)


# Pure modules


def test_pure_modules_do_no_io_start_no_threads_and_read_no_clock():
    def impure(name):
        return is_in(name, PURE) and {top(target) for target, _ in IMPORTS[name]} & IMPURE - EXCEPTIONS.get(name, set())

    assert wrong(impure) == {}


def test_pure_modules_import_pure_modules_only():
    def shell(name):
        ours = {target for target, _ in IMPORTS[name] if target in MODULES}
        return is_in(name, PURE) and {target for target in ours if not is_in(target, PURE)}

    assert wrong(shell) == {}


def test_pure_modules_open_no_file():
    def calls(name):
        nodes = ast.walk(ast.parse(SOURCES[name].read_text()))
        called = {node.func.id for node in nodes if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
        return is_in(name, PURE) and called & {"open", "print", "input", "exec", "eval", "__import__"}

    assert wrong(calls) == {}


# Dependencies


def users_of(library):
    return {name for name, found in IMPORTS.items() if library in {top(target) for target, _ in found}}


def test_zmq_is_imported_only_by_modules_that_own_sockets():
    assert users_of("zmq") == ZMQ


def test_click_is_imported_only_by_the_cli():
    assert {top(name) for name in users_of("click")} == {"cli"}


def test_only_the_declared_dependencies_are_imported():
    allowed = {"zmq", "orjson", "click", *PACKAGES, *sys.stdlib_module_names}

    def undeclared(name):
        return {top(target) for target, _ in IMPORTS[name]} - allowed - OPTIONAL.get(name, set())

    assert wrong(undeclared) == {}


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


# Documented, tested, and called by one name


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


def test_every_public_name_has_a_docstring():
    def undocumented(name):
        return [public for public, documented in public_definitions(SOURCES[name]) if not documented]

    assert wrong(undocumented) == {}


def test_one_public_class_name_means_one_thing():
    meanings = collections.defaultdict(list)
    for name, path in SOURCES.items():
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                meanings[node.name].append(name)
    assert {name: places for name, places in meanings.items() if len(places) > 1} == {}


def test_every_name_of_the_public_surface_is_there_and_sorted():
    import fabric

    assert [name for name in fabric.__all__ if not hasattr(fabric, name)] == []
    assert fabric.__all__ == sorted(fabric.__all__)


#: Parts that are used only through a whole, and tested as that.
PARTS = {
    "fabric.protocol.fields": "fabric.protocol.verbs",
    "fabric.messages.session.outcomes": "fabric.messages.session.session",
    "proxy.messages.broadcasts": "proxy.messages.directory",
    "proxy.messages.records": "proxy.messages.directory",
    "proxy.messages.registry": "proxy.messages.directory",
    "proxy.messages.routing": "proxy.messages.directory",
    "proxy.messages.sessions": "proxy.messages.directory",
    "fabric.bus.subscription": "fabric.bus.bus",
    "fabric.testing.memory_link": "fabric.testing.memory",
    "fabric.testing.memory_proxy": "fabric.testing.memory",
    "fabric.routes.sender_call": "fabric.routes.router",
}


@pytest.mark.parametrize("name", sorted(MODULES))
def test_every_module_has_a_test_file_of_its_name(name):
    *package, module = PARTS.get(name, name).split(".")
    module = module.strip("_")  # __main__, _version
    assert ROOT.joinpath("tests", *package, f"test_{module}.py").exists()


def test_there_is_no_package_below_tests():
    # tests/fabric/__init__.py would shadow the package under test.
    assert list((ROOT / "tests").rglob("__init__.py")) == []
