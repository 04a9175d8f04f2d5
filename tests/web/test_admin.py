"""What administrators see and change, and who is kept out."""

import asyncio
from uuid import uuid4

import pytest

from tests.web.conftest import Person, Site, problem_of

READS = ("/admin/users", "/admin/audit", "/admin/queue", "/admin/sync-batches", "/auth/invitations")


async def test_nobody_else_comes_in_and_trying_is_in_the_log(site: Site) -> None:
    root, asha = await site.admin(), site.person("asha")
    writes = [f"/admin/users/{root.user}/{act}" for act in ("disable", "enable", "unlock")]
    for path in READS:
        assert (await asha.get(path)).status_code == 403, path
        assert (await site.nobody.get(path)).status_code == 401, path
    for path in writes:
        assert (await asha.post(path)).status_code == 403, path
    assert (await asha.put(f"/admin/users/{asha.user}/role", json={"role": "admin"})).status_code == 403
    assert (await asha.post("/auth/invitations", json={"role": "admin"})).status_code == 403
    kinds = [
        each["kind"] for each in (await root.get("/admin/audit", params={"userId": str(asha.user)})).json()["items"]
    ]
    assert kinds == ["denied"] * (len(READS) + len(writes) + 2)


async def test_an_admin_without_a_second_factor_is_told_what_to_do(site: Site) -> None:
    await site.member("root", role="admin")
    root = await site.logged_in("root")
    for path in READS:
        answer = await root.get(path)
        assert answer.status_code == 403
        assert problem_of(answer)["type"] == "second_factor_missing"
        assert "POST /auth/totp" in problem_of(answer)["detail"]


async def test_what_changes_a_login_wants_a_recent_password(site: Site) -> None:
    root, asha = await site.admin(), site.person("asha")
    site.stage.clock.advance(30 * 60)
    await site.stage.rows("UPDATE sessions SET idle_seconds = 43200 RETURNING 1")
    answer = await root.post(f"/admin/users/{asha.user}/disable")
    assert (answer.status_code, problem_of(answer)["type"]) == (403, "recent_login_required")
    assert (await root.get("/admin/users")).status_code == 200, "looking does not"


async def test_a_disabled_user_is_out_at_once_and_comes_back_enabled(site: Site) -> None:
    root = await site.admin()
    await site.member("asha")
    asha = await site.logged_in("asha")
    shown = (await root.post(f"/admin/users/{asha.user}/disable")).json()
    assert shown["disabled_at"] is not None
    assert (await asha.get("/auth/me")).status_code == 401
    assert (await site.log_in("asha")).status_code == 401
    assert (await root.post(f"/admin/users/{asha.user}/enable")).json()["disabled_at"] is None
    assert (await asha.get("/auth/me")).status_code == 401, "the session stays ended"
    assert (await site.log_in("asha")).status_code == 200


async def test_a_new_role_counts_from_the_next_login(site: Site) -> None:
    root, asha = await site.admin(), site.person("asha")
    answer = await root.put(f"/admin/users/{asha.user}/role", json={"role": "admin"})
    assert answer.json()["role"] == "admin"
    assert (await asha.get("/auth/me")).status_code == 401
    for body in ({"role": "owner"}, {"role": "admin", "user_id": str(root.user)}, {}):
        assert (await root.put(f"/admin/users/{asha.user}/role", json=body)).status_code == 400


async def test_the_last_admin_stays(site: Site) -> None:
    root = await site.admin()
    site.person("ghost", role="admin")  # has no password: cannot log in, and does not count
    for answer in (
        await root.post(f"/admin/users/{root.user}/disable"),
        await root.put(f"/admin/users/{root.user}/role", json={"role": "user"}),
    ):
        assert answer.status_code == 409
    assert (await root.get("/auth/me")).status_code == 200


@pytest.mark.parametrize("act", ["disable", "role"])
async def test_two_admins_cannot_remove_each_other_at_once(site: Site, act: str) -> None:
    first, second = await site.admin("first"), await site.admin("second")

    async def remove(by: Person, whom: Person) -> int:
        path = f"/admin/users/{whom.user}/{act}"
        answer = await (by.post(path) if act == "disable" else by.put(path, json={"role": "user"}))
        return answer.status_code

    statuses = await asyncio.gather(remove(first, second), remove(second, first))
    assert min(statuses) == 200
    assert max(statuses) in {401, 409}
    left = "SELECT count(*) FROM users WHERE role = 'admin' AND disabled_at IS NULL"
    assert await site.stage.one(left) == 1


async def test_users_are_listed_in_pages_without_anything_secret(site: Site) -> None:
    root, asha = await site.admin(), site.person("asha")
    await site.account_of(asha)
    found, cursor = [], None
    while True:
        answer = (await root.get("/admin/users", params={"limit": 1} | ({"cursor": cursor} if cursor else {}))).json()
        found += answer["items"]
        cursor = answer["next"]
        if cursor is None:
            break
    assert {(each["name"], each["can_log_in"], each["accounts"]) for each in found} == {
        ("root", True, 0),
        ("asha", False, 1),
    }
    assert not [name for name in found[0] if "hash" in name or "box" in name]
    assert (await root.get(f"/admin/users/{asha.user}")).json() in found
    assert (await root.get(f"/admin/users/{uuid4()}")).status_code == 404


async def test_syncs_are_listed_without_what_they_read(site: Site) -> None:
    root, asha = await site.admin(), site.person("asha")
    account = await site.account_of(asha)
    await site.stage.sync(account)
    (batch,) = (await root.get("/admin/sync-batches")).json()["items"]
    assert (batch["account_id"], batch["owner"], batch["status"]) == (str(account.id), "asha", "completed")
    assert set(batch) == {
        *("id", "account_id", "owner", "trigger", "status"),
        *("queued_at", "started_at", "finished_at", "trading_on", "error_class"),
    }
    params = {"status": "failed"}
    assert (await root.get("/admin/sync-batches", params=params)).json()["items"] == []
    assert (await root.get("/admin/sync-batches", params={"status": "nice"})).status_code == 400
    queue = (await root.get("/admin/queue")).json()
    assert queue["syncs"] == {"queued": 0, "running": 0, "oldest_queued_at": None}
    await site.stage.rows(
        "INSERT INTO sync_batches (account_id, trigger, status, queued_at) VALUES (%s, 'manual', 'queued', %s) "
        "RETURNING 1",
        *(account.id, site.now),
    )
    assert (await root.get("/admin/queue")).json()["syncs"]["queued"] == 1


async def test_the_audit_is_of_everybody_and_can_be_narrowed(site: Site) -> None:
    root = await site.admin()
    await site.member("asha")
    await site.log_in("asha", password="wrong wrong wrong")
    asha = await site.logged_in("asha")
    kinds = [each["kind"] for each in (await root.get("/admin/audit")).json()["items"]]
    assert sorted(kinds) == ["logged_in", "login_failed"]
    only = (await root.get("/admin/audit", params={"kind": "login_failed"})).json()["items"]
    assert [(each["subject_id"], each["actor_id"]) for each in only] == [(str(asha.user), None)]
    assert (await root.get("/admin/audit", params={"kind": "nonsense"})).status_code == 400
