"""Every setting, command and option is documented. The pages grow with the code, or these tests fail."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from portfolio_scheduler.cli.main import app
from portfolio_scheduler.settings import SETTINGS

DOCS = Path(__file__).parents[2] / "docs"
WORDS = ("account", "holding", "position", "order", "fill", "statement", "batch", "slot", "trading day", "snapshot")


def commands(group: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Every command with its full name, groups of commands opened."""
    for word, command in sorted(group.commands.items()):
        full = f"{name} {word}".strip()
        if hasattr(command, "commands"):
            yield from commands(command, full)
        elif not command.hidden:
            yield full, command


def sections(page: str) -> dict[str, str]:
    """The text below each heading that names a command, e.g. `## accounts add`."""
    parts = re.split(r"^#{2,3} `?([a-z][a-z -]*)`?$", page, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def undocumented(group: Any, page: str) -> list[str]:
    written, missing = sections(page), []
    for name, command in commands(group):
        if name not in written:
            missing.append(name)
            continue
        for parameter in command.params:
            missing += [f"{name} {word}" for word in words_of(parameter) if f"`{word}`" not in written[name]]
    return missing


def words_of(parameter: Any) -> list[str]:
    """What the page must name: both forms of a switch, the long names of an option, or an argument in capitals."""
    if parameter.param_type_name == "argument":
        return [parameter.name.upper()]
    if parameter.hidden:
        return []
    return [word for word in (*parameter.opts, *parameter.secondary_opts) if word.startswith("--") and word != "--help"]


def group_of(typer_app: typer.Typer) -> Any:
    return typer.main.get_command(typer_app)


def test_every_command_and_option_is_documented() -> None:
    missing = undocumented(group_of(app), (DOCS / "commands.md").read_text(encoding="utf-8"))
    assert missing == [], "write a section `## command` with a row for each option in docs/commands.md"


def test_the_page_has_no_command_that_is_gone() -> None:
    gone = set(sections((DOCS / "commands.md").read_text(encoding="utf-8"))) - {n for n, _ in commands(group_of(app))}
    assert gone == set()


def test_every_command_says_what_it_does() -> None:
    assert [name for name, command in commands(group_of(app)) if not command.help] == []


def test_an_undocumented_command_or_option_is_found() -> None:
    twin = typer.Typer()
    sub = typer.Typer()
    twin.add_typer(sub, name="accounts")

    @twin.command()
    def sync(account: str, every: bool = typer.Option(False, "--all"), dry: bool = False) -> None: ...

    @sub.command()
    def add(label: str = "") -> None: ...

    page = "# Commands\n\n## sync\n\nwith `ACCOUNT` and `--all` and `--dry`\n\n## version\n"
    assert undocumented(group_of(twin), page) == ["accounts add", "sync --no-dry"]


def test_every_setting_is_documented() -> None:
    rows = re.findall(r"^\| `([A-Z_]+)` \| (.+?) \| (.+?) \|$", (DOCS / "settings.md").read_text(), flags=re.MULTILINE)
    assert [name for name, _, _ in rows] == [setting.name for setting in SETTINGS]
    defaults = {name: default.strip("`") for name, _, default in rows}
    assert defaults == {setting.name: setting.default for setting in SETTINGS}


def test_the_words_of_the_product_are_in_the_glossary() -> None:
    page = (DOCS / "glossary.md").read_text(encoding="utf-8")
    entries = re.findall(r"^\| ([a-z -]+) \| .+\. \|$", page, flags=re.MULTILINE)
    assert entries == sorted(set(entries))
    assert [word for word in (*WORDS, "gap", "checkpoint") if word not in entries] == []


def test_the_tests_that_hold_a_promise_exist() -> None:
    page = (DOCS / "reliability.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`(tests/[\w/]+(?:\.py)?)`", page))
    assert len(named) > 10
    assert sorted(name for name in named if not (DOCS.parent / name).exists()) == []


def test_every_recipe_of_a_hostile_broker_has_its_test() -> None:
    page = (DOCS / "reliability.md").read_text(encoding="utf-8")
    recipes = dict(re.findall(r"^\| (T\d+) \|.*\| (.+) \|$", page, flags=re.MULTILINE))
    assert [f"T{n}" for n in range(22, 38) if "tests/" not in recipes.get(f"T{n}", "")] == []
