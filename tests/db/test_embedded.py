"""The embedded server: shared by processes, hard to kill, at home in any folder, clear about what is wrong."""

import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import psycopg
import pytest

from portfolio_scheduler.db import embedded, passwords, system_user
from portfolio_scheduler.errors import SetupProblem
from portfolio_scheduler.settings import Settings
from tests.conftest import open_folder, settings_in
from tests.db.servers import User


def cluster_of(settings: Settings) -> Path:
    return embedded._place(settings).cluster


def server_pid(settings: Settings) -> int | None:
    return embedded._server(cluster_of(settings))


def answers(conninfo: str) -> bool:
    with psycopg.connect(conninfo) as connection:
        return connection.execute("SELECT 1").fetchone() == (1,)


def made(settings: Settings) -> Path:
    """A cluster that was used and left."""
    with embedded.running(settings):
        pass
    return cluster_of(settings)


@pytest.fixture(scope="module")
def fresh() -> Iterator[Settings]:
    """A cluster that was made and never used, for copying: making one takes longer than most tests."""
    folder = open_folder()
    made(settings_in(folder))
    yield settings_in(folder)
    shutil.rmtree(folder)


@pytest.fixture
def settings(folder: Path, fresh: Settings) -> Settings:
    """A data folder with a cluster, for one test."""
    copy_of(fresh, folder)
    return settings_in(folder)


def copy_of(settings: Settings, folder: Path) -> None:
    folder.mkdir(mode=0o711, exist_ok=True)
    subprocess.run(["cp", "-a", str(settings.data), str(settings.keys), str(folder)], check=True)


@pytest.fixture
def nothing(folder: Path) -> Settings:
    """A data folder that does not exist yet."""
    return settings_in(folder)


# ── sharing ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_server_is_utf8_checksummed_and_owned_by_a_harmless_role(settings: Settings):
    with embedded.running(settings) as conninfo, psycopg.connect(conninfo) as connection:
        row = connection.execute(
            """SELECT current_setting('server_encoding'), current_setting('data_checksums'), current_setting('jit'),
                      current_setting('TimeZone'), current_setting('listen_addresses'), datlocprovider = 'b', rolsuper
               FROM pg_database, pg_roles WHERE datname = current_database() AND rolname = current_user"""
        ).fetchone()
    assert row == ("UTF8", "on", "off", "UTC", "", True, False)


def test_the_last_one_to_leave_stops_the_server(settings: Settings):
    with embedded.running(settings):
        with embedded.running(settings) as conninfo:
            assert answers(conninfo)
        assert answers(conninfo)
    assert server_pid(settings) is None
    with pytest.raises(SetupProblem, match="does not run"):
        embedded.conninfo(settings)


def test_several_processes_make_it_at_once_and_share_it(nothing: Settings):
    settings = nothing
    users = [User(settings) for _ in range(3)]
    assert [user.says() for user in users] == ["up 1"] * 3
    pid = server_pid(settings)
    assert [user.leaves() for user in users[:2]] == [0, 0]
    assert server_pid(settings) == pid
    assert users[2].leaves() == 0
    assert server_pid(settings) is None


def test_a_killed_user_does_no_harm(settings: Settings):
    first, second = User(settings), User(settings)
    assert (first.says(), second.says()) == ("up 1", "up 1")
    first.is_killed()
    with embedded.running(settings) as conninfo:
        assert answers(conninfo)
    assert server_pid(settings) is not None
    assert second.leaves() == 0
    assert server_pid(settings) is None


def test_the_server_of_a_killed_last_user_is_taken_over(settings: Settings):
    user = User(settings)
    assert user.says() == "up 1"
    pid = server_pid(settings)
    user.is_killed()
    assert server_pid(settings) == pid
    with embedded.running(settings) as conninfo:
        assert answers(conninfo)
        assert server_pid(settings) == pid
    assert server_pid(settings) is None


def test_threads_of_one_process_may_share_it(settings: Settings):
    found: list[bool] = []

    def use() -> None:
        with embedded.running(settings) as conninfo:
            found.append(answers(conninfo))

    threads = [threading.Thread(target=use) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [True] * 4
    assert server_pid(settings) is None


def test_stop_stops_it_whoever_uses_it(settings: Settings):
    with embedded.running(settings):
        assert embedded.stop(settings)
        assert not embedded.stop(settings)
        assert server_pid(settings) is None


# ── crashes ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_killed_server_recovers_with_everything_that_was_committed(settings: Settings):
    with embedded.running(settings) as conninfo:
        with psycopg.connect(conninfo) as connection:
            connection.execute("CREATE TABLE kept AS SELECT generate_series(1, 1000) AS n")
        pid = server_pid(settings)
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        psutil.wait_procs([psutil.Process(pid)] if psutil.pid_exists(pid) else [], timeout=10)
        with embedded.running(settings) as again, psycopg.connect(again) as connection:
            assert connection.execute("SELECT count(*) FROM kept").fetchone() == (1000,)


def test_a_crash_recovery_that_another_process_began_is_waited_for(settings: Settings):
    """A server that says "starting" is not started again and not taken for ready."""
    with embedded.running(settings):
        pid_file = cluster_of(settings) / "postmaster.pid"
        text = pid_file.read_text()
        pid_file.write_text(text.replace("ready", "starting"))
        threading.Timer(0.5, pid_file.write_text, [text]).start()
        pid = server_pid(settings)
        with embedded.running(settings) as conninfo:
            assert "ready" in pid_file.read_text()
            assert answers(conninfo)
        assert server_pid(settings) == pid


@pytest.mark.parametrize("number", [os.getpid, lambda: 2**22 - 3], ids=["reused", "gone"])
def test_a_stale_pid_file_does_not_stand_in_the_way(settings: Settings, number: Callable[[], int]):
    """PostgreSQL itself refuses to start when the number in the file belongs to any living process of its user."""
    cluster = cluster_of(settings)
    (cluster / "postmaster.pid").write_text(f"{number()}\n{cluster}\n1\n5432\n{cluster}\n\n 1 1\nready\n")
    with embedded.running(settings) as conninfo:
        assert answers(conninfo)


def test_a_pid_reused_by_a_process_of_the_same_user_does_not_stand_in_the_way(settings: Settings):
    cluster = cluster_of(settings)
    place = embedded._place(settings)
    who = {} if place.user is None else {"user": place.user.uid, "group": place.user.gid}
    with subprocess.Popen(["sleep", "60"], **who) as other:
        (cluster / "postmaster.pid").write_text(f"{other.pid}\n{cluster}\n1\n5432\n{cluster}\n\n 1 1\nready\n")
        with embedded.running(settings) as conninfo:
            assert answers(conninfo)
        other.kill()


def test_another_cluster_s_server_is_not_taken_for_ours(settings: Settings, folder: Path):
    other = settings_in(folder / "other")
    copy_of(settings, folder / "other")
    cluster = cluster_of(settings)
    with embedded.running(other):
        pid_file = cluster / "postmaster.pid"
        pid_file.write_text((cluster_of(other) / "postmaster.pid").read_text())
        assert server_pid(settings) is None
        with embedded.running(settings) as conninfo:
            assert answers(conninfo)
            assert server_pid(settings) != server_pid(other)
        assert server_pid(other) is not None


def test_a_half_made_cluster_is_made_anew(nothing: Settings):
    settings = nothing
    draft = settings.data / "postgres.new"
    draft.mkdir(parents=True)
    settings.data.chmod(0o711)
    (draft / "PG_VERSION").write_text("18\n")
    with embedded.running(settings) as conninfo:
        assert answers(conninfo)


# ── folders ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", ['बही खाता, it\'s $(touch oops) "quoted"', "long" * 50], ids=["odd", "long"])
def test_the_data_folder_may_be_called_anything(folder: Path, name: str):
    settings = settings_in(folder / name)
    (folder / name).mkdir(mode=0o711)
    with embedded.running(settings) as conninfo:
        assert answers(conninfo)
        sockets = Path(psycopg.conninfo.conninfo_to_dict(conninfo)["host"] or "")
        assert sockets.stat().st_mode & 0o777 == 0o700
    with embedded.running(settings) as conninfo:
        assert answers(conninfo)
    assert not list(folder.rglob("oops"))
    assert not sockets.exists()


def test_a_socket_folder_that_others_prepared_is_refused(folder: Path):
    settings = settings_in(folder / "a b")
    (folder / "a b").mkdir(mode=0o711)
    made(settings)
    sockets = embedded._socket_folder(embedded._place(settings))
    sockets.chmod(0o777)
    with pytest.raises(SetupProblem, match="not a folder closed to others"), embedded.running(settings):
        pass
    sockets.rmdir()


@pytest.mark.skipif(not system_user.is_root(), reason="only root's folders are closed to PostgreSQL's user")
def test_roots_closed_folder_stays_closed(folder: Path):
    closed = folder / "closed"
    closed.mkdir(mode=0o700)
    settings = settings_in(closed)
    with embedded.running(settings) as conninfo:
        assert answers(conninfo)
        cluster = cluster_of(settings)
    assert closed.stat().st_mode & 0o777 == 0o700
    assert cluster.is_relative_to(embedded.ELSEWHERE)
    closed.chmod(0o711)  # opened later: the cluster stays where it is
    with embedded.running(settings) as conninfo:
        assert answers(conninfo)
        assert cluster_of(settings) == cluster
    subprocess.run(["rm", "-r", str(cluster.parent)], check=True)


@pytest.mark.skipif(not system_user.is_root(), reason="only root needs another place for the programs")
def test_root_s_closed_programs_are_copied_and_run(nothing: Settings, folder: Path, monkeypatch: pytest.MonkeyPatch):
    """As in a virtual environment below root's home."""
    package = embedded.binary("postgres").parent.parent.parent
    closed = folder / "site-packages"
    closed.mkdir(mode=0o700)
    for part in (f"{package.name}/pginstall18", f"{package.name}.libs"):
        shutil.copytree(package.parent / part, closed / part, symlinks=True)
    monkeypatch.setattr(embedded, "binary", lambda name: closed / package.name / "pginstall18" / "bin" / name)
    monkeypatch.setattr(embedded, "ELSEWHERE", folder / "elsewhere")
    with embedded.running(nothing) as conninfo:
        assert answers(conninfo)
        assert embedded._place(nothing).binaries.is_relative_to(folder / "elsewhere")
        assert len(list((folder / "elsewhere" / "programs").iterdir())) == 1


# ── what is wrong ───────────────────────────────────────────────────────────────────────────────────────────────────


def problem_of(settings: Settings) -> SetupProblem:
    with pytest.raises(SetupProblem) as problem, embedded.running(settings):
        pass
    assert problem.value.exit_code == 2
    assert "\n" not in problem.value.message
    return problem.value


def test_a_data_folder_that_cannot_be_written(folder: Path):
    (folder / "file").write_text("")
    message = problem_of(settings_in(folder / "file")).message
    assert "cannot be used (Not a directory)" in message
    assert "PORTFOLIO_SCHEDULER_DATA" in message


@pytest.mark.skipif(system_user.is_root(), reason="root writes everywhere")
def test_a_data_folder_without_permission(nothing: Settings):
    settings = nothing
    settings.data.mkdir(mode=0o500)
    assert "cannot be used (Permission denied)" in problem_of(settings).message


def test_a_key_folder_that_cannot_be_written(folder: Path):
    (folder / "file").write_text("")
    settings = Settings(data=folder / "data", keys=folder / "file" / "keys")
    assert "PORTFOLIO_SCHEDULER_KEYS" in problem_of(settings).message


@pytest.mark.parametrize(("version", "advice"), [("19", "install the newer release"), ("17", "dump it")])
def test_a_cluster_of_another_version(settings: Settings, version: str, advice: str):
    (cluster_of(settings) / "PG_VERSION").write_text(f"{version}\n")
    message = problem_of(settings).message
    assert f"was made by PostgreSQL {version}; this release carries 18" in message
    assert advice in message


def test_a_folder_that_is_no_cluster(nothing: Settings):
    settings = nothing
    (settings.data / "postgres").mkdir(parents=True)
    assert "is not a PostgreSQL data folder" in problem_of(settings).message


def test_a_setting_that_postgresql_refuses_is_shown(settings: Settings):
    (cluster_of(settings) / embedded.USER_CONF).write_text("shared_buffers = nonsense\n")
    (cluster_of(settings) / embedded.USER_CONF).chmod(0o644)
    message = problem_of(settings).message
    assert "did not start" in message
    assert "shared_buffers" in message


def test_a_full_disk(folder: Path):
    disk = folder / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m,mode=0711", "tmpfs", str(disk)]
    if not system_user.is_root() or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a small disk can only be made by a root that may mount")
    try:
        message = problem_of(Settings(data=disk / "data", keys=folder / "keys")).message
        assert "is full" in message
        assert [file.name for file in (disk / "data").iterdir() if file.is_dir()] == []
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_full_disk_is_recognised_in_what_postgresql_says():
    said = 'initdb: error: could not write to file "base/1/2619": No space left on device'
    assert "is full" in embedded._start_problem("could not be made", said, Path("data")).message


# ── passwords ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_everybody_needs_a_password_and_the_file_is_closed(settings: Settings):
    with embedded.running(settings) as conninfo:
        for user in (embedded.OWNER, embedded.SUPERUSER):
            with pytest.raises(psycopg.OperationalError, match="password"):
                psycopg.connect(psycopg.conninfo.make_conninfo(conninfo, user=user, password="wrong"))
    assert passwords.path(settings).stat().st_mode & 0o777 == 0o600


def test_lost_passwords_are_replaced_at_the_next_start(settings: Settings):
    passwords.path(settings).unlink()
    with embedded.running(settings) as conninfo:
        assert answers(conninfo)
        assert answers(embedded.conninfo(settings, user=embedded.SUPERUSER))


def test_a_process_with_another_key_folder_is_told_so(settings: Settings, folder: Path):
    with embedded.running(settings):
        message = problem_of(Settings(data=settings.data, keys=folder / "other-keys")).message
        assert "use the same PORTFOLIO_SCHEDULER_KEYS" in message


def test_a_password_file_that_others_can_read_is_refused(settings: Settings):
    passwords.path(settings).chmod(0o644)
    assert "chmod 600" in problem_of(settings).message


def test_a_moved_data_folder_still_knows_its_passwords(settings: Settings, folder: Path):
    settings.data.rename(folder / "moved")
    with embedded.running(Settings(data=folder / "moved", keys=settings.keys)) as conninfo:
        assert answers(conninfo)
