"""`replay`, `rebuild`, `checks` and `--as-of` at the command line."""

import pytest

from tests.cli.conftest import DAY, NEXT_DAY, Terminal

READS = ("holdings", "positions", "orders", "summary")


def test_checks_find_nothing_wrong(traded: Terminal) -> None:
    answer = traded("checks")
    assert (answer.code, answer.out) == (0, "Nothing is wrong (1 account checked).\n")
    assert traded("checks", "--json").json == {"problems": []}


def test_checks_name_what_is_wrong_and_rebuild_is_the_remedy(traded: Terminal) -> None:
    before = traded("holdings", "--json").json
    traded.rows("UPDATE real_holdings SET quantity = quantity + 1 RETURNING 1")
    answer = traded("checks", "trader")
    assert answer.code == 1
    assert "trader: state: a row of real_holdings is not what the facts come to" in answer.out
    assert "portfolio-scheduler rebuild" in answer.out
    [problem, *_] = traded("checks", "--json").json["problems"]
    assert (problem["check"], problem["account"]) == ("state", "trader")
    rebuilt = traded("rebuild", "trader")
    assert rebuilt.code == 0
    assert rebuilt.out.startswith("trader: rebuilt; ")
    assert traded("checks").code == 0
    assert traded("holdings", "--json").json == before


def test_a_replay_of_the_same_parser_has_nothing_to_correct(traded: Terminal) -> None:
    assert traded("replay", "--since", str(DAY)).out == "trader: 2 syncs read again; nothing to correct\n"
    batch = traded("accounts", "show", "trader", "--json").json["batches"][0]["id"]
    [done] = traded("replay", batch, "--json").json["replays"]
    assert (done["batches"], done["voided"], done["added"]) == (1, 0, 0)
    shown = traded("accounts", "show", "trader", "--json").json
    assert [one["trigger"] for one in shown["batches"]] == ["manual", "manual"], "a replay is no attempt to sync"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "Give the id of a sync"),
        (("0123456", "--since", "2026-04-20"), "Give the id of a sync"),
        (("0123456", "--account", "trader"), "Give the id of a sync"),
        (("ffffffff",), "There is no batch"),
        (("01",), "six characters"),
    ],
)
def test_what_to_replay_must_be_told(traded: Terminal, words: tuple[str, ...], said: str) -> None:
    answer = traded("replay", *words)
    assert answer.code == 2
    assert said in answer.err


@pytest.mark.parametrize("command", READS)
def test_a_past_day_is_shown_as_it_was(terminal: Terminal, command: str) -> None:
    terminal.connect(2, "trader")
    terminal.at(DAY, 16)
    terminal("sync")
    then = terminal(command, "trader", "--json").json
    terminal.at(NEXT_DAY, 16)
    terminal("sync")
    assert terminal(command, "trader", "--json").json != then
    assert terminal(command, "trader", "--as-of", str(DAY), "--json").json == then


@pytest.mark.parametrize("command", READS)
def test_a_day_before_the_first_or_after_the_last_is_refused_with_the_reason(traded: Terminal, command: str) -> None:
    early = traded(command, "trader", "--as-of", "2026-04-17")
    assert (early.code, early.out) == (2, "")
    assert early.err == "Nothing had been read of 'trader' by 17 Apr 2026; the first day read is 20 Apr 2026."
    late = traded(command, "--as-of", "2027-01-01")
    assert (late.code, late.out) == (2, "")
    assert late.err == "--as-of 1 Jan 2027 lies in the future; the current trading day is 21 Apr 2026."


def test_accounts_not_read_by_then_are_left_out(traded: Terminal) -> None:
    traded.connect(1, "quiet")
    never = traded("holdings", "quiet", "--as-of", str(DAY))
    assert never.err == "Nothing had been read of 'quiet' by 20 Apr 2026; nothing has been read yet."
    found = traded("summary", "--as-of", str(DAY), "--json").json["accounts"]
    assert [one["account"] for one in found] == ["trader"]
