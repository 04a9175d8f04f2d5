"""What the source may use: cryptography where the documents say so, nothing dangerous, nothing that is ruled out."""

import ast
import re
from collections.abc import Iterator

import pytest

from tests.house.test_rules import BY_OTHERS, ROOT, found, modules, named, nodes

PAGE = ROOT / "docs" / "security.md"
# Every file that uses one of these stands in the list of the page, and the other way round.
CRYPTOGRAPHIC = frozenset({"cryptography", "argon2", "jwt", "pyotp", "hmac", "secrets", "ssl"})
WITHOUT_SECRETS = ("simulator/", "bench/")

# Chance that decides nothing about security. Everything that must not be guessed comes from `secrets` or `os.urandom`.
MAY_ROLL_DICE = {
    "brokers/http.py": "how long to wait before a retry",
    "sync/run.py": "how long to wait before a retry",
}
# What documents without it rely on: no such parser, language, protocol or directory is in the product.
NOT_USED = frozenset(
    {"pickle", "marshal", "shelve", "dill", "yaml", "xml", "lxml", "defusedxml", "ldap", "ldap3", "jinja2", "mako"}
    | {"smtplib", "imaplib", "email", "memcache", "pymemcache", "redis", "markdown", "bleach", "graphql", "strawberry"}
    | {"authlib", "oauthlib", "saml2", "telnetlib", "ftplib", "xmlrpc", "code", "codeop", "cgi", "multipart"}
)
PARSES_DATES_ONLY = {"brokers/http.py: email.utils"}
WEAK = re.compile(r"\b(?:md5|sha1|SHA1|MD5|RC4|3?DES|TripleDES|Blowfish|ECB|CBC|PKCS1v15)\b")
WEAK_IS_MEANT = {
    "db/migrations/versions/2026_11_23_guards.py": "shortens the name of a trigger",
    "db/migrations/versions/2026_11_29_reads.py": "tells versions of an answer apart, to its own viewer",
    "brokers/groww/login.py": "HMAC-SHA1 is what Groww's TOTP is made with (RFC 6238)",
}


def imports(source: str) -> Iterator[str]:
    for node in nodes(source):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module


def dangers(source: str) -> Iterator[str]:
    """Text that is run: as Python, by a shell, or as SQL that was put together of more than constants."""
    for node in nodes(source):
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func)
        if name in {"eval", "exec", "compile", "__import__", "os.system", "os.popen", "subprocess.getoutput"}:
            yield name
        if any(word.arg == "shell" and ast.unparse(word.value) != "False" for word in node.keywords):
            yield f"{name} with a shell"
        if name.endswith("create_subprocess_shell"):
            yield name
        runs_sql = name.split(".")[-1] in {"execute", "executemany", "copy"} and node.args
        if runs_sql and is_put_together(node.args[0]):
            yield f"{name} of a text that is put together"


def is_put_together(text: ast.expr) -> bool:
    if isinstance(text, ast.JoinedStr):
        values = [part.value for part in text.values if isinstance(part, ast.FormattedValue)]
        return not all(map(is_of_constants, values))
    if isinstance(text, ast.BinOp):
        return isinstance(text.op, ast.Mod) or is_put_together(text.left) or is_put_together(text.right)
    return (
        isinstance(text, ast.Call)
        and isinstance(text.func, ast.Attribute)
        and text.func.attr == "format"
        and (isinstance(text.func.value, ast.Constant))
    )


def is_of_constants(value: ast.expr) -> bool:
    """Names in capitals, and what is computed of them."""
    if isinstance(value, ast.BinOp):
        return is_of_constants(value.left) and is_of_constants(value.right)
    name = value.attr if isinstance(value, ast.Attribute) else getattr(value, "id", "")
    return isinstance(value, ast.Constant) or re.fullmatch(r"[A-Z][A-Z0-9_]*", name.lstrip("_")) is not None


def patterns(source: str) -> Iterator[str]:
    """Regular expressions that are not of constants: whoever sends one could stop the process, or match anything."""
    for node in nodes(source):
        if isinstance(node, ast.Call) and re.fullmatch(r"re\.(?!escape)\w+", ast.unparse(node.func)) and node.args:
            pattern = node.args[0]
            if not isinstance(pattern, ast.Constant) and (
                not isinstance(pattern, ast.JoinedStr) or is_put_together(pattern)
            ):
                yield ast.unparse(node)[:80]


def early_ends(source: str) -> Iterator[str]:
    """Digests compared by `==`, which ends at the first letter that differs."""
    for node in nodes(source):
        if isinstance(node, ast.Compare) and any(isinstance(op, ast.Eq | ast.NotEq) for op in node.ops):
            names = [ast.unparse(side).split(".")[-1] for side in (node.left, *node.comparators)]
            if any(re.search(r"(?:^|_)(?:digest|tag|mac|commitment|signature)$", name) for name in names):
                yield ast.unparse(node)


# Between what the server made itself, where nobody sends either side; and tags of versions, which are no secrets.
NO_SECRETS = {
    "web/gate.py: digest == held.refresh_digest",
}


def test_the_list_of_cryptography_is_that_of_the_source() -> None:
    used = {
        named(file)
        for file in modules()
        if not named(file).startswith(WITHOUT_SECRETS)
        and any(name.split(".")[0] in CRYPTOGRAPHIC for name in imports(file.read_text(encoding="utf-8")))
    }
    section = PAGE.read_text(encoding="utf-8").partition("\n## Cryptography\n")[2].partition("\n## ")[0]
    assert set(re.findall(r"`([\w/]+\.py)`", section)) == used


def test_what_must_not_be_guessed_is_not_thrown_with_dice() -> None:
    rolling = {
        named(file)
        for file in modules()
        if not named(file).startswith(WITHOUT_SECRETS)
        and any(name.split(".")[0] in {"random", "numpy"} for name in imports(file.read_text(encoding="utf-8")))
    }
    assert rolling == set(MAY_ROLL_DICE)


def test_no_weak_function_is_named() -> None:
    weak = {named(file) for file in modules() if WEAK.search(file.read_text(encoding="utf-8"))}
    assert {name for name in weak if not name.startswith(WITHOUT_SECRETS)} == set(WEAK_IS_MEANT)


def test_nothing_is_imported_that_the_documents_say_is_not_there() -> None:
    seen = {
        f"{named(file)}: {name}"
        for file in modules()
        for name in imports(file.read_text(encoding="utf-8"))
        if name.split(".")[0] in NOT_USED and not named(file).startswith(WITHOUT_SECRETS)
    }
    assert seen == PARSES_DATES_ONLY


def test_no_text_is_run() -> None:
    assert found(dangers) == []


def test_the_web_matches_no_pattern_of_others() -> None:
    assert [line for line in found(patterns) if line.startswith(("web/", "identity/"))] == []


def test_digests_are_compared_in_constant_time() -> None:
    where = ("web/", "identity/", "vault", "sealing", "keyring")
    assert {line for line in found(early_ends) if line.startswith(where)} == NO_SECRETS


def test_what_is_for_trying_out_is_used_by_its_own_commands_only() -> None:
    """`serve` and `worker` bring neither the simulator nor the benchmarks with them."""
    inside = {"cli/demo.py", "cli/simulator.py", "cli/bench.py"}
    seen = set()
    for file in modules():
        if named(file).startswith(WITHOUT_SECRETS) or named(file) in inside:
            continue
        for name in imports(file.read_text(encoding="utf-8")):
            if re.match(r"portfolio_scheduler\.(?:simulator|bench)\b", name):
                seen.add(f"{named(file)}: {name}")
    assert seen == set()


def test_pages_store_nothing_and_take_no_messages() -> None:
    """The scripts that are ours. What others wrote is asked for what its switches do, in tests/web/test_explorer.py."""
    ours = [file for file in (ROOT / "src").rglob("*.js") if file.relative_to(ROOT).as_posix() not in BY_OTHERS]
    assert ours
    words = re.compile(r"localStorage|sessionStorage|indexedDB|document\.cookie|innerHTML|postMessage|eval\(|onmessage")
    assert [file.name for file in ours if words.search(file.read_text(encoding="utf-8"))] == []


# ── the rules find their broken twins ──


@pytest.mark.parametrize(
    "source",
    [
        "eval(x)",
        "os.system('ls')",
        "subprocess.run(x, shell=True)",
        "await asyncio.create_subprocess_shell(x)",
        "await tx.execute(f'SELECT {x}')",
        "tx.execute('SELECT %s' % x)",
        "tx.execute('SELECT {}'.format(x))",
        "tx.execute(SELECT + f'WHERE {x}')",
    ],
)
def test_a_danger_is_found(source: str) -> None:
    assert list(dangers(source))


def test_a_parameter_and_a_list_of_arguments_are_no_danger() -> None:
    assert not list(dangers("tx.execute('SELECT %s', (x,))\nsubprocess.run(['ls', x], shell=False)"))
    assert not list(dangers("tx.execute(f'SELECT {_COLUMNS} FROM t WHERE id = %s', (x,))"))


def test_the_other_rules_find_what_they_look_for() -> None:
    assert list(patterns("re.match(given, text)"))
    assert not list(patterns("re.match(r'x+', text)"))
    assert list(early_ends("token.digest == found"))
    assert not list(early_ends("hmac.compare_digest(token.digest, found)"))
    assert WEAK.search("hashlib.md5(b'')")
    assert list(imports("from xml.etree import ElementTree\nimport pickle")) == ["xml.etree", "pickle"]
