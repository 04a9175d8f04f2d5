"""The secret of a second factor is unlocked for its user with this installation's key, and not otherwise."""

import pickle
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import pytest

from portfolio_scheduler.errors import SecretUnreadable, SetupProblem
from portfolio_scheduler.identity import factor_box, second_factor
from portfolio_scheduler.identity.factor_box import FactorBox
from portfolio_scheduler.settings import Settings

NOW = datetime(2026, 4, 24, 10, 30, tzinfo=UTC)
ONE, TWO = UUID(int=1), UUID(int=2)
SECRET = second_factor.new_secret()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data=tmp_path / "here" / "kept", keys=tmp_path / "keys")


@pytest.fixture
def box(settings: Settings) -> FactorBox:
    return FactorBox.open_keys(settings, NOW)


def test_what_is_locked_unlocks_also_after_a_restart(settings: Settings, box: FactorBox) -> None:
    boxed = box.lock(ONE, SECRET)
    assert box.unlock(ONE, boxed) == FactorBox.open_keys(settings, NOW).unlock(ONE, boxed) == SECRET
    assert [file.name for file in settings.keys.iterdir()] == ["factors.json"]


def test_nothing_of_the_secret_shows_and_no_two_are_alike(box: FactorBox) -> None:
    boxed = {box.lock(ONE, SECRET) for _ in range(200)}
    assert len(boxed) == len({each[9:21] for each in boxed}) == 200
    assert not any(SECRET[:8].encode() in each for each in boxed)


def test_a_box_moved_to_another_user_does_not_open(box: FactorBox) -> None:
    with pytest.raises(SecretUnreadable, match="of another user"):
        box.unlock(TWO, box.lock(ONE, SECRET))


def test_a_box_that_is_altered_anywhere_or_cut_short_does_not_open(box: FactorBox) -> None:
    boxed = box.lock(ONE, SECRET)
    altered = [boxed[:n] + bytes([boxed[n] ^ bit]) + boxed[n + 1 :] for n in range(len(boxed)) for bit in (1, 128)]
    for each in (*altered, *(boxed[:n] for n in range(len(boxed))), boxed + b"\0"):
        with pytest.raises(SecretUnreadable, match="set the second factor up again"):
            box.unlock(ONE, each)


def test_a_box_of_another_installation_does_not_open(box: FactorBox, tmp_path: Path) -> None:
    other = FactorBox.open_keys(Settings(data=tmp_path / "kept", keys=tmp_path / "other"), NOW)
    with pytest.raises(SecretUnreadable, match=r"factors\.json has no key"):
        box.unlock(ONE, other.lock(ONE, SECRET))


def test_after_a_rotation_old_boxes_open_and_are_known_to_be_old(settings: Settings, box: FactorBox) -> None:
    before = box.lock(ONE, SECRET)
    assert box.is_of_newest_key(before)
    new = factor_box.rotate(settings, NOW)
    after = box.lock(ONE, SECRET)
    assert after[1:9].hex() == new
    assert [box.unlock(ONE, boxed) for boxed in (before, after)] == [SECRET] * 2
    assert [box.is_of_newest_key(boxed) for boxed in (before, after)] == [False, True]


def test_an_unsafe_key_file_is_refused_at_the_start(settings: Settings, box: FactorBox) -> None:
    (settings.keys / "factors.json").chmod(0o444)
    with pytest.raises(SetupProblem, match="chmod 400"):
        FactorBox.open_keys(settings, NOW)


def test_a_box_shows_nothing_and_stays_in_its_process(box: FactorBox) -> None:
    assert repr(box) == "FactorBox(•••)"
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(box)
