from tests.cli.conftest import Terminal


def test_look(traded: Terminal) -> None:
    for args in (
        ["accounts", "list"],
        ["accounts", "show", "trader"],
        ["accounts", "test"],
        ["status"],
        ["summary"],
        ["holdings"],
        ["positions"],
        ["orders"],
        ["changes"],
        ["fills"],
        ["snapshots"],
        ["snapshots", "--revisions"],
        ["sync", "--retry"],
        ["summary", "--json"],
        ["orders", "--json"],
        ["status", "--json"],
        ["migrate"],
    ):
        a = traded(*args)
        print("$", *args, "->", a.code)
        print(a.out[:6000])
        print(a.err)
    assert 0
