"""Rules of the house that no linter knows: time, exactness, sizes, names, and nothing of this machine in the files."""

import ast
import re
import subprocess
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "portfolio_scheduler"

LONGEST_FUNCTION = 60  # lines
FORBIDDEN_WORDS = frozenset(
    {"service", "manager", "handler", "helper", "helpers", "util", "utils", "common"}
    | {"misc", "data", "info", "process", "base", "core"}
)
NAMED_BY_OTHERS = {"simulator/live_data": "Groww's own name of these calls"}

# Who may read the time: the clock. `monotonic` measures; what else reads the machine's time does so for a reason.
TIME_READS = frozenset({"now", "utcnow", "today", "time", "time_ns", "monotonic"})
CLOCK = "clock.py"
MAY_READ_TIME = {
    "db/embedded.py: time.monotonic": "waits for PostgreSQL and for other processes, which know no clock of ours",
}

# A float is never money. Where one is made on purpose, and why.
MAY_MAKE_FLOATS = {
    "brokers/groww/parse.py: float(seconds)": "datetime.fromtimestamp takes nothing else",
    "brokers/budget.py: float('-inf')": "an instant of the monotonic clock before all others",
    "brokers/http.py: float('inf')": "an instant of the monotonic clock after all others",
    "brokers/http.py: float(text)": "Retry-After, seconds to sleep",
    "web/asked.py: float(text)": "tells 7.0, which is a whole number in JSON, from 7.5, which nothing takes",
    "bench/api.py: float(found[1])": "pgbench's transactions a second",
}

# A machine path or a private host would be wrong on every other machine. Written in pieces, so as not to find itself.
OF_THIS_MACHINE = re.compile(
    "|".join(
        (
            r"(?<![\w.])/" + r"(?:work|home/\w+|Users/\w+|root)/",
            r"\.\./" + r"shared",
            r"\b(?:10" + r"(?:\.\d{1,3}){3}|192\.168" + r"(?:\.\d{1,3}){2})\b(?!/\d)",
            r"\b[\w-]+\.(?:internal|corp|lan)\b",
        )
    )
)

BY_OTHERS = {"src/portfolio_scheduler/web/explorer/swagger-ui-bundle.js"}  # shipped as it came
MEANT = {"tests/brokers/test_http.py: 10.0." + "0.1": "an address that must be refused"}


def modules() -> list[Path]:
    return sorted(SOURCE.rglob("*.py"))


def named(file: Path) -> str:
    return file.relative_to(SOURCE).as_posix()


def tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout: nothing says which files are ours")
    return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


# ── what the rules find in a piece of source ──


@cache
def nodes(source: str) -> tuple[ast.AST, ...]:
    """Everything in it. Each file is taken apart once, however many rules look at it."""
    return tuple(ast.walk(ast.parse(source)))


def time_reads(source: str) -> Iterator[str]:
    """Calls and references such as datetime.now, date.today, time.time, also under another name of the module."""
    names = {"datetime": "datetime", "date": "date", "time": "time"}
    for node in nodes(source):
        if isinstance(node, ast.Import):
            names |= {a.asname or a.name: a.name for a in node.names if a.name in {"datetime", "time"}}
        elif isinstance(node, ast.ImportFrom) and node.module in {"datetime", "time"}:
            names |= {a.asname or a.name: a.name for a in node.names}
            yield from (f"{node.module}.{a.name}" for a in node.names if node.module == "time" and a.name in TIME_READS)
    for node in nodes(source):
        if isinstance(node, ast.Attribute) and node.attr in TIME_READS:
            owner = node.value.attr if isinstance(node.value, ast.Attribute) else getattr(node.value, "id", None)
            if names.get(owner or "") in {"datetime", "date", "time"}:
                yield f"{names[owner or '']}.{node.attr}"


def floats(source: str) -> Iterator[str]:
    """Calls of float(): a number that goes through one is no longer the number that was sent."""
    for node in nodes(source):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "float":
            yield ast.unparse(node)


def long_functions(source: str) -> Iterator[str]:
    for node in nodes(source):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if lines > LONGEST_FUNCTION:
                yield f"{node.name} ({lines} lines)"


def openings(source: str) -> Iterator[str]:
    """Uses of what opens secrets: the vault of an `App`, or its class under whatever name."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and node.attr in {"vault", "rewrap"}:
            yield ast.unparse(node)
        elif isinstance(node, ast.Constant) and node.value == "vault":
            yield repr(node.value)  # getattr and the like
        elif isinstance(node, ast.ImportFrom | ast.Import):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names]
            yield from (name for name in names if name.split(".")[-1] in {"vault", "keyring", "Vault"})


def found(rule: Callable[[str], Iterator[str]], *, but: tuple[str, ...] = ()) -> list[str]:
    return [
        f"{named(file)}: {what}"
        for file in modules()
        if not named(file).startswith(but)
        for what in rule(file.read_text(encoding="utf-8"))
    ]


# ── the rules ──


def test_only_the_clock_reads_the_time() -> None:
    reads = found(time_reads, but=(CLOCK,))
    assert [read for read in reads if read not in MAY_READ_TIME] == [], "take a Clock instead"
    assert [read for read in MAY_READ_TIME if read not in reads] == [], "no longer needed: take it off the list"


def test_no_number_goes_through_a_float() -> None:
    made = found(floats)
    assert [f for f in made if f not in MAY_MAKE_FLOATS] == [], "use Decimal, or list it with its reason"
    assert [f for f in MAY_MAKE_FLOATS if f not in made] == [], "no longer needed: take it off the list"


def test_functions_are_short() -> None:
    assert found(long_functions, but=("db/migrations/",)) == []


def test_files_are_named_after_things() -> None:
    names = [
        (file.parent if file.stem == "__init__" else file.with_suffix("")).relative_to(SOURCE) for file in modules()
    ]
    words = {name.as_posix(): set(re.split(r"[_\W]+", name.name)) for name in names}
    wrong = {name for name, parts in words.items() if parts & FORBIDDEN_WORDS}
    assert wrong == set(NAMED_BY_OTHERS), "a noun of the domain says more"


def test_nothing_of_this_machine_is_in_the_files() -> None:
    hits = []
    for file in tracked():
        if file.relative_to(ROOT).as_posix() in BY_OTHERS:
            continue
        try:
            text = file.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue  # compressed figures and the like
        hits += [f"{file.relative_to(ROOT)}: {hit.group()}" for hit in OF_THIS_MACHINE.finditer(text)]
    assert [hit for hit in hits if hit not in MEANT] == []


def test_the_web_never_touches_what_opens_secrets() -> None:
    web = {named(file): list(openings(file.read_text(encoding="utf-8"))) for file in modules()}
    touching = {name: uses for name, uses in web.items() if name.startswith("web/") and uses}
    assert touching == {}, "the web gets app.sealer; what has to open a secret is a job of the worker"
    assert web["sync/run.py"], "the rule sees what the worker does"


# ── each rule finds its broken twin ──


@pytest.mark.parametrize(
    "source",
    [
        "app.vault.open(account_id, 'token', sealed)",
        "from portfolio_scheduler.vault import Vault",
        "from portfolio_scheduler import vault",
        "import portfolio_scheduler.keyring",
        "getattr(app, 'vault')",
    ],
)
def test_an_opening_is_found(source: str) -> None:
    assert list(openings(source))


def test_sealing_is_no_opening() -> None:
    assert list(openings("app.sealer.seal(account_id, 'credentials', secret)")) == []


@pytest.mark.parametrize(
    "source",
    [
        "from datetime import datetime\ndatetime.now()",
        "from datetime import datetime, UTC\ndatetime.now(UTC)",
        "import datetime\ndatetime.datetime.utcnow()",
        "import datetime as dt\ndt.date.today()",
        "from datetime import date as d\nd.today()",
        "from datetime import datetime\nf = datetime.now",
        "import time\ntime.time()",
        "import time as t\nt.monotonic()",
        "from time import time\ntime()",
        "from datetime import datetime as when\nwhen.today()",
    ],
)
def test_a_read_of_the_time_is_found(source: str) -> None:
    assert len(set(time_reads(source))) == 1


@pytest.mark.parametrize("source", ["clock.now()", "self.clock.monotonic()", "from datetime import time\ntime(9, 15)"])
def test_the_clock_itself_is_no_read_of_the_time(source: str) -> None:
    assert list(time_reads(source)) == []


def test_a_float_is_found() -> None:
    assert list(floats("def f(x: float) -> float:\n    return float(x)")) == ["float(x)"]


def test_a_long_function_is_found() -> None:
    body = "    pass\n" * LONGEST_FUNCTION
    assert list(long_functions(f"def f():\n{body}")) == ["f (61 lines)"]
    assert list(long_functions("def f():\n" + body[9:])) == []


@pytest.mark.parametrize(
    "text",
    [
        "see /" + "work/main",
        "/" + "home/someone/x",
        "/" + "Users/a/b",
        "../" + "shared/x.md",
        "http://10." + "1.2.3:80",
    ],
)
def test_a_machine_is_found(text: str) -> None:
    assert OF_THIS_MACHINE.search(text)


@pytest.mark.parametrize(
    "text", ["https://api.groww.in/v1", "127.0.0.1", "network/root", "a/work/b", "10.5", "1.10.2.3"]
)
def test_what_holds_everywhere_is_no_machine(text: str) -> None:
    assert not OF_THIS_MACHINE.search(text)
