"""`users`: who may log in, from the machine's own command line."""

from tests.cli.conftest import Terminal

PASSWORD = "eleven purple kettles sing\n"
KINDS = "SELECT kind, address FROM access_log ORDER BY at, id"


def test_a_user_is_added_shown_disabled_and_let_in_again(terminal: Terminal) -> None:
    assert terminal("users", "add", "asha", "--admin", "--stdin", typed=PASSWORD).out == (
        "asha can log in now as an administrator.\n"
    )
    assert terminal("users", "add", "ravi", "--stdin", typed=PASSWORD).code == 0
    assert terminal("users", "add", "ravi", "--stdin", typed=PASSWORD).code == 1
    assert terminal("users", "role", "ravi", "admin").out == "ravi is now admin.\n"
    assert terminal("users", "role", "ravi", "admin").out == "ravi was already admin.\n"
    assert terminal("users", "role", "ravi", "user").code == 0
    for refused in (("users", "role", "asha", "user"), ("users", "disable", "asha")):
        assert "last administrator" in terminal(*refused).err
    assert terminal("users", "disable", "ravi").out == "ravi is disabled now.\n"
    listed = terminal("users", "list", "--json").json["users"]
    assert [(one["name"], one["role"], one["disabled_at"] is None) for one in listed] == [
        ("asha", "admin", True),
        ("ravi", "user", False),
    ]
    assert "disabled" in terminal("users", "list").out
    assert terminal("users", "enable", "ravi").out == "ravi may log in.\n"
    assert terminal("users", "enable", "nobody").code == 2
    kinds = ["registered", "registered", "role_changed", "role_changed", "disabled", "enabled"]
    assert terminal.rows(KINDS) == [(kind, "command line") for kind in kinds]


def test_what_is_no_name_or_no_password_is_refused(terminal: Terminal) -> None:
    assert "small letters" not in terminal("users", "list").err
    assert terminal("users", "add", "As ha", "--stdin", typed=PASSWORD).code == 2
    assert terminal("users", "add", "asha", "--stdin", typed="password12345\n").code == 2
    assert terminal.rows("SELECT name FROM users") == []


def test_a_new_password_ends_what_was_and_lifts_the_stop(terminal: Terminal) -> None:
    terminal("users", "add", "asha", "--stdin", typed=PASSWORD)
    terminal.rows("UPDATE users SET failed_logins = 100 RETURNING 1")
    answer = terminal("users", "password", "asha", "--stdin", "--remove-factor", typed="seven brass lanterns hum\n")
    assert answer.code == 0
    assert terminal.rows("SELECT failed_logins FROM users") == [(0,)]
    assert [kind for kind, _ in terminal.rows(KINDS)] == ["registered", "password_changed", "factor_removed"]


def test_a_set_up_token_is_given_until_somebody_can_log_in(terminal: Terminal) -> None:
    assert terminal("users", "setup-token").out.startswith("pss_")
    terminal.connect(1)
    assert terminal("users", "setup-token").out.startswith("pss_"), "nobody gave the owner a password"
    terminal("users", "add", "asha", "--stdin", typed=PASSWORD)
    assert terminal("users", "setup-token").code == 1


def test_an_account_is_its_users(terminal: Terminal) -> None:
    terminal("users", "add", "asha", "--stdin", typed=PASSWORD)
    assert terminal.connect(1).code == 0, "the only user's"
    terminal("users", "add", "ravi", "--stdin", typed=PASSWORD)
    assert "several users (asha, ravi)" in terminal.connect(2).err
    options = ("--label", "two", "--login", "totp", "--stdin", "--user")
    assert terminal("accounts", "add", *options, "nobody", typed=terminal.secrets(2)).code == 2
    assert terminal("accounts", "add", *options, "ravi", typed=terminal.secrets(2)).code == 0
    whose = "SELECT u.name, a.label FROM broker_accounts a JOIN users u ON u.id = a.user_id ORDER BY 2"
    assert terminal.rows(whose) == [("asha", "account 1"), ("ravi", "two")]
