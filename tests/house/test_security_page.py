"""docs/security.md says what the source does: its figures and lives; and its proxy is safe to copy."""

import ast
import asyncio
import re
import ssl
from datetime import timedelta

import aiohttp
import pytest

from portfolio_scheduler.brokers.http import Policy
from portfolio_scheduler.db.people import sessions, users
from portfolio_scheduler.db.pool import LIMITS
from portfolio_scheduler.identity import passwords, tokens
from portfolio_scheduler.web import entry, limits, listing, server
from portfolio_scheduler.web.place import Strictness
from tests.house.test_asvs import TABLE, anchors, read
from tests.house.test_rules import ROOT, SOURCE, modules, named, nodes

PAGE = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")


def section(title: str) -> str:
    return PAGE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def table(title: str) -> dict[str, str]:
    """The first two cells of each row, by what stands before them."""
    rows = re.findall(r"^\| (.+?) \| (.+?) \|", section(title), flags=re.MULTILINE)
    return dict(reversed(rows))  # of a name that comes twice the first row


def grouped(number: int) -> str:
    return f"{number:,}".replace(",", " ")


def minutes(seconds: int) -> str:
    return f"{seconds // 60} minutes"


def test_the_limits_are_those_of_the_source() -> None:
    told, api, broker = table("Who gets in") | table("Limits"), LIMITS["api"], Policy()
    five = minutes(limits.LOGIN_SECONDS)
    (few, _), (some, _), (many, _) = limits.CODES
    assert [seconds for _, seconds in limits.CODES] == [300, 3600, 86_400]
    for row, words in {
        "logins from unknown devices": f"{limits.LOGINS} in {five}",
        "codes of the second factor": f"{few} in 5 minutes, {some} in an hour, {many} in a day",
        "registrations": f"{limits.LOGINS} in {five}",
        "requests": f"{Strictness().requests_a_minute} in a minute",
        "body of a request": f"{server.BODY_LIMIT // 1024} KiB",
        "rows of a page": f"{listing.MOST}",
        "password computations at once": f"{passwords.AT_ONCE}, of {passwords.STRONG.memory_kib // 1024} MiB",
        "connections of the web to the database": f"{server.CONNECTIONS}, waited for {server.PATIENCE_SECONDS} seconds",
        "a statement of the web": f"{api.statement_seconds} seconds; {api.lock_seconds} for a lock; "
        f"{api.idle_in_transaction_seconds} idle",
        "requests to a broker": f"{broker.deadline_seconds:.0f} s and {broker.body_limit_bytes // 2**20} MiB each, "
        f"{broker.connections} at once, {broker.attempts} attempts",
    }.items():
        assert told[row].startswith(words), row
    assert f"| {grouped(limits.ALL_LOGINS)} in {five} | all together |" in section("Who gets in")
    assert f"After {users.MOST_FAILURES} failures in a row" in section("Who gets in")


def test_the_lives_of_sessions_are_those_of_the_source() -> None:
    told = section("Who gets in")
    assert timedelta(minutes=10) == tokens.LIFE
    assert (timedelta(hours=12), timedelta(days=30)) == (sessions.LIFE, sessions.REMEMBERED_LIFE)
    assert (timedelta(minutes=30), timedelta(minutes=30)) == (sessions.ADMIN_IDLE, entry.RECENT)
    assert "ends 12 hours after the login, or 30 days after it with `remember_me`" in told
    assert "not refreshed for 30 minutes" in told
    assert "the access token, ten minutes" in told
    assert f"within {sessions.DEVICE_KNOWN.days} days" in told
    assert "a password of the last half hour" in section("Who may do what")


def test_each_section_that_the_table_names_is_there() -> None:
    named_there = {row["documentation"] for row in read(TABLE.read_text(encoding="utf-8"))} - {""}
    assert len(named_there) > 10
    for name in named_there:
        assert name.partition("#")[2] in anchors(name.partition("#")[0]), name
    for part in re.split(r"^## ", PAGE, flags=re.MULTILINE)[1:]:
        title, _, text = part.partition("\n")
        assert len(text.split()) > 25, f"{title} says too little"


@pytest.mark.parametrize("word", ["U1", "U2", "U3", "U4", "U5", "U6", "U7", "U8", "U9", "U10", "U11"])
def test_each_actor_is_on_the_page_once(word: str) -> None:
    assert len(re.findall(rf"^\| {word} ", PAGE, flags=re.MULTILINE)) == 1


def test_the_proxy_of_the_page_speaks_tls_only() -> None:
    (proxy,) = re.findall(r"```nginx\n(.+?)```", PAGE, flags=re.DOTALL)
    assert "ssl_protocols TLSv1.2 TLSv1.3;" in proxy
    assert re.findall(r"listen (.+?);", proxy) == ["443 ssl"]
    ciphers = re.search(r"ssl_ciphers (\S+);", proxy)
    assert ciphers is not None
    for cipher in ciphers[1].split(":"):
        assert re.fullmatch(r"ECDHE-(?:ECDSA|RSA)-(?:AES(?:128|256)-GCM-SHA\d+|CHACHA20-POLY1305)", cipher), cipher
    assert "proxy_set_header X-Forwarded-For $remote_addr;" in proxy
    assert "proxy_set_header Host $host;" in proxy


async def test_our_own_connections_speak_tls_1_2_or_newer() -> None:
    """By Python's defaults, which nothing of ours loosens."""
    async with aiohttp.ClientSession() as session:
        connector = session.connector
        assert isinstance(connector, aiohttp.TCPConnector)
        context = ssl.create_default_context()
        assert context.minimum_version >= ssl.TLSVersion.TLSv1_2
        assert context.verify_mode is ssl.CERT_REQUIRED
        assert context.check_hostname
        await asyncio.sleep(0)
    loosening = re.compile(r"CERT_NONE|check_hostname|_create_unverified|minimum_version|ssl=|verify=|set_ciphers")
    assert [named(file) for file in modules() if loosening.search(file.read_text(encoding="utf-8"))] == []
    assert loosening.search("session.get(url, ssl=False)")


def test_no_password_expires() -> None:
    """Nothing keeps when a password has to be changed, and nothing asks how old it is."""
    schema = (SOURCE / "db" / "schema.sql").read_text(encoding="utf-8")
    (columns,) = re.findall(r"CREATE TABLE public\.users \((.+?)\n\);", schema, flags=re.DOTALL)
    assert "password_hash" in columns
    assert not re.search(r"password_(?:expires|until|valid|age)", columns)
    compares = re.compile(r"password_changed_at\s*(?:[<>+-]|BETWEEN)")
    assert [named(file) for file in modules() if compares.search(file.read_text(encoding="utf-8"))] == []


def test_lines_go_to_stderr_only() -> None:
    """No file, no socket, no place of a library: what the page lists is all there is."""
    handlers = re.compile(r"FileHandler|SysLogHandler|SocketHandler|HTTPHandler|SMTPHandler|logging\.config|sentry")
    assert [named(file) for file in modules() if handlers.search(file.read_text(encoding="utf-8"))] == []
    source = (SOURCE / "log.py").read_text(encoding="utf-8")
    made = {ast.unparse(n) for n in nodes(source) if isinstance(n, ast.Call) and "LoggerFactory" in ast.unparse(n.func)}
    assert made == {"structlog.PrintLoggerFactory(sys.stderr)"}
