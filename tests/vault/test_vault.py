"""Sealed secrets open for the row for which they were sealed and for no other; who only seals opens nothing."""

import base64
import hashlib
import itertools
import json
import os
import pickle
import re
from contextlib import suppress
from pathlib import Path
from uuid import UUID

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from portfolio_scheduler.errors import InvalidInput, PortfolioSchedulerError, SecretUnreadable, SetupProblem
from portfolio_scheduler.keyring import SEALING_FILE, State, old_key_id
from portfolio_scheduler.sealing import CREDENTIALS, HEAD_BYTES, NONCE_BYTES, PLACES, TAG_BYTES, TOKEN, Place, Sealer
from portfolio_scheduler.vault import Vault
from tests.scale import scaled
from tests.vault.rings import ELSEWHERE, INSTALL, NOW, new_ring, new_vault, sealed_before, settings_in

ONE, TWO, THREE = (UUID(int=n) for n in (1, 2, 3))
RING = new_ring()
VAULT = new_vault(RING)
OTHER = new_vault()

# A key and two secrets as a version before key rings wrote them.
OLD_KEY = hashlib.sha256(b"a key of an earlier version").digest()
OLD_SEALED = {
    CREDENTIALS: "01293d8186876750b8b628aad71dcc4e1a711538acdfd19cbefc4a1b698874c1811a6786ba07a5cdffebd94bc0f495c07f92"
    "c6feeb5b6f85949e8857ac17b7f46cad0d7af17132bb16ef5e7068ca07e186ae697ffec7b71966d96a4d53104707108ddd6672259c93f7458c"
    "f1fac88a1cee47045b721c6e4a31e08d5ed8d7b2b5b4326c6519ce8c1b6466af94b431eaa6cce97ef138942f012c63cc3ee111067c9c",
    TOKEN: "01293d8186876750b8b1cce10a2d03f3d3164581f5f62fad07182c29994e775763a75cf2f495eb1d43080910ec993e38a353825105f"
    "80075203f9d0c11db4ec4aff02324dc654b37903784e23060cfe9ef268974ca8f7b995d02bcbf71095de44382e2a25b023120126dc9c0aa871"
    "8b975d20ff746d2329ab3eddff2dce51065f43c8b4364d260afafe24a3f3b6c5fc7a0",
}


@given(secret=st.binary(max_size=2000), account=st.uuids(), row=st.uuids(), place=st.sampled_from(PLACES))
def test_what_is_sealed_opens(secret: bytes, account: UUID, row: UUID, place: Place) -> None:
    where = None if place.of_the_account else row
    sealed = VAULT.seal(account, place.purpose, secret, where)
    assert VAULT.open(account, place.purpose, sealed, where) == secret
    assert len(sealed) == HEAD_BYTES + NONCE_BYTES + len(secret) + TAG_BYTES


def test_nothing_of_the_secret_shows_and_no_two_are_alike() -> None:
    secret = b"JBSWY3DPEHPK3PXP" * 4
    sealed = [VAULT.seal(ONE, CREDENTIALS, secret) for _ in range(200)]
    assert len({s[9:25] for s in sealed}) == 200, "each has a data key of its own"
    assert len({s[HEAD_BYTES : HEAD_BYTES + NONCE_BYTES] for s in sealed}) == 200
    assert not any(secret[:8] in s for s in sealed)


def test_all_pairs_of_20_rows_and_3_columns_swapped_open_0_times() -> None:
    """The rows of the third column are of ten accounts, two each: the row itself is bound, too."""
    cells = [
        (UUID(int=n), place.purpose, None)
        if place.of_the_account
        else (UUID(int=n // 2), place.purpose, UUID(int=99 + n))
        for n in range(20)
        for place in PLACES
    ]
    sealed = [VAULT.seal(account, purpose, b"secret", row) for account, purpose, row in cells]
    opened = refused = 0
    for (here, (account, purpose, row)), (there, value) in itertools.product(enumerate(cells), enumerate(sealed)):
        if here == there:
            opened += VAULT.open(account, purpose, value, row) == b"secret"
        else:
            with pytest.raises(SecretUnreadable, match="cannot be opened"):
                VAULT.open(account, purpose, value, row)
            refused += 1
    assert (len(cells), opened, refused) == (60, 60, 60 * 59)


def test_a_value_of_another_installation_does_not_open() -> None:
    """Its keys may be the same, when one key folder serves both."""
    twin = new_vault(RING, install_id=ELSEWHERE)
    with pytest.raises(SecretUnreadable, match="cannot be opened"):
        twin.open(ONE, TOKEN, VAULT.seal(ONE, TOKEN, b"secret"))


def test_an_older_secret_put_back_is_refused() -> None:
    first, second = (VAULT.seal(ONE, CREDENTIALS, b"secret", version=n) for n in (1, 2))
    assert VAULT.open(ONE, CREDENTIALS, second, version=2) == b"secret"
    with pytest.raises(SecretUnreadable, match="number 1 of its kind, but number 2"):
        VAULT.open(ONE, CREDENTIALS, first, version=2)
    forged = first[:25] + second[25:29] + first[29:]
    with pytest.raises(SecretUnreadable, match="cannot be opened"):
        VAULT.open(ONE, CREDENTIALS, forged, version=2)


def test_parts_of_two_sealed_values_do_not_mix() -> None:
    """A new body under an old head, and the other way round: the data key of each fits its own body only."""
    first, second = VAULT.seal(ONE, TOKEN, b"monday"), VAULT.seal(ONE, TOKEN, b"tuesday")
    for at in (1, 9, 25, 29, 61, 93, HEAD_BYTES, HEAD_BYTES + NONCE_BYTES):
        if at in (1, 9) or first[:at] == second[:at]:
            continue  # nothing differs before
        with pytest.raises(SecretUnreadable):
            VAULT.open(ONE, TOKEN, first[:at] + second[at:])


@given(at=st.integers(min_value=0), bit=st.integers(min_value=0, max_value=7))
@example(at=0, bit=0)
@example(at=1, bit=0)  # key id
@example(at=9, bit=0)  # data key id
@example(at=28, bit=0)  # version
@example(at=29, bit=0)  # commitment
@example(at=61, bit=0)  # the ephemeral public key
@example(at=92, bit=7)  # its bit that X25519 itself ignores
@example(at=93, bit=0)  # the wrapped data key
@example(at=HEAD_BYTES, bit=7)
def test_one_flipped_bit_is_found(at: int, bit: int) -> None:
    sealed = bytearray(VAULT.seal(ONE, CREDENTIALS, b"a secret of some length"))
    sealed[at % len(sealed)] ^= 1 << bit
    with pytest.raises(SecretUnreadable):
        VAULT.open(ONE, CREDENTIALS, bytes(sealed))


def test_every_shortened_or_lengthened_value_is_refused() -> None:
    sealed = VAULT.seal(ONE, CREDENTIALS, b"secret")
    for length in range(len(sealed)):
        with pytest.raises(SecretUnreadable):
            VAULT.open(ONE, CREDENTIALS, sealed[:length])
    with pytest.raises(SecretUnreadable):
        VAULT.open(ONE, CREDENTIALS, sealed + b"\0")


def test_a_wrong_key_opens_0_of_1000() -> None:
    """With its id forged to fit, so that it is the key that fails and not the look-up."""
    wrong = bytes.fromhex(OTHER.active_key_id)
    tries = scaled(1000)
    for number in range(tries):
        sealed = VAULT.seal(UUID(int=number), CREDENTIALS, b"secret")
        with pytest.raises(SecretUnreadable, match="cannot be opened"):
            OTHER.open(UUID(int=number), CREDENTIALS, sealed[:1] + wrong + sealed[9:])


def test_a_value_that_fits_two_keys_is_refused_by_its_commitment() -> None:
    """AES-GCM itself would not notice: of a value whose wrapped key was exchanged the commitment tells."""
    sealed = VAULT.seal(ONE, TOKEN, b"secret")
    for byte in range(29, 61):
        changed = bytearray(sealed)
        changed[byte] ^= 1
        with pytest.raises(SecretUnreadable, match="cannot be opened"):
            VAULT.open(ONE, TOKEN, bytes(changed))


def test_another_key_says_which_key_is_missing() -> None:
    sealed = OTHER.seal(ONE, CREDENTIALS, b"secret")
    with pytest.raises(SecretUnreadable, match=f"sealed to key {OTHER.active_key_id}.* enter the credentials again"):
        VAULT.open(ONE, CREDENTIALS, sealed)


def test_a_key_that_only_decrypts_opens_and_a_retired_one_does_not() -> None:
    ring = new_ring(State.ACTIVE)
    sealed = new_vault(ring).seal(ONE, TOKEN, b"secret")
    [key] = ring.keys
    for state, opens in ((State.DECRYPT_ONLY, True), (State.RETIRED, False)):
        later = msgspec.structs.replace(ring, keys=[msgspec.structs.replace(key, state=state), *new_ring().keys])
        vault = new_vault(later)
        assert vault.seal(ONE, TOKEN, b"")[1:9].hex() == later.keys[1].id
        if opens:
            assert vault.open(ONE, TOKEN, sealed) == b"secret"
        else:
            with pytest.raises(SecretUnreadable, match="retired"):
                vault.open(ONE, TOKEN, sealed)


def test_a_rewrapped_value_is_the_same_secret_under_the_new_key() -> None:
    ring = new_ring(State.DECRYPT_ONLY, State.ACTIVE)
    before = new_vault(msgspec.structs.replace(ring, keys=[msgspec.structs.replace(ring.keys[0], state=State.ACTIVE)]))
    sealed = before.seal(ONE, CREDENTIALS, b"secret", TWO, version=3)
    vault = new_vault(ring)
    again = vault.rewrap(ONE, CREDENTIALS, sealed, TWO)
    assert again[1:9].hex() == vault.active_key_id != sealed[1:9].hex()
    assert again[HEAD_BYTES:] == sealed[HEAD_BYTES:], "only the wrapping changes"
    assert vault.open(ONE, CREDENTIALS, again, TWO, version=3) == b"secret"
    assert vault.rewrap(ONE, CREDENTIALS, again, TWO) == again, "nothing is left to do"
    with pytest.raises(SecretUnreadable):
        vault.rewrap(ONE, CREDENTIALS, sealed, THREE)
    with pytest.raises(SecretUnreadable):
        before.open(ONE, CREDENTIALS, again, TWO)


# ── what earlier versions sealed ──


def test_what_an_earlier_version_sealed_opens() -> None:
    vault = new_vault(RING, old_key=OLD_KEY)
    secrets = {purpose: vault.open(ONE, purpose, bytes.fromhex(text)) for purpose, text in OLD_SEALED.items()}
    assert secrets == {CREDENTIALS: b'{"login":"totp","api_key":"key"}', TOKEN: b"token of the day"}
    assert sealed_before(OLD_KEY, ONE, TOKEN, b"x")[:9] == bytes.fromhex(OLD_SEALED[TOKEN])[:9]


def test_an_old_value_is_rewrapped_to_the_new_scheme() -> None:
    vault = new_vault(RING, old_key=OLD_KEY)
    again = vault.rewrap(ONE, TOKEN, bytes.fromhex(OLD_SEALED[TOKEN]))
    assert again[0] == 2
    assert VAULT.open(ONE, TOKEN, again, version=1) == b"token of the day", "without the old key"


def test_an_old_value_opens_in_its_own_place_only() -> None:
    vault, sealed = new_vault(old_key=OLD_KEY), bytes.fromhex(OLD_SEALED[TOKEN])
    for account, purpose, row in ((TWO, TOKEN, None), (ONE, CREDENTIALS, None), (ONE, CREDENTIALS, TWO)):
        with pytest.raises(SecretUnreadable, match="cannot be opened"):
            vault.open(account, purpose, sealed, row)
    for at in range(len(sealed)):
        changed = sealed[:at] + bytes([sealed[at] ^ 1]) + sealed[at + 1 :]
        with pytest.raises(SecretUnreadable):
            vault.open(ONE, TOKEN, changed)
        with pytest.raises(SecretUnreadable):
            vault.open(ONE, TOKEN, sealed[:at])


@pytest.mark.parametrize("old_key", [None, hashlib.sha256(b"another").digest()])
def test_an_old_value_says_which_key_is_missing(old_key: bytes | None) -> None:
    with pytest.raises(SecretUnreadable, match=f"with key {old_key_id(OLD_KEY)}, but .*vault.key"):
        new_vault(old_key=old_key).open(ONE, TOKEN, bytes.fromhex(OLD_SEALED[TOKEN]))


# ── mistakes, and what shows ──


def test_an_unknown_scheme_is_named() -> None:
    for sealed, found in ((b"\x03" + bytes(300), "scheme 3"), (b"", "nothing")):
        with pytest.raises(SecretUnreadable, match=found):
            VAULT.open(ONE, TOKEN, sealed)


def test_an_unknown_purpose_is_a_mistake() -> None:
    with pytest.raises(InvalidInput, match="'password' is not a purpose"):
        VAULT.seal(ONE, "password", b"")
    with pytest.raises(InvalidInput, match="No row but the account's own keeps a token"):
        VAULT.seal(ONE, TOKEN, b"", TWO)


def test_nothing_shows_and_nothing_leaves_the_process() -> None:
    sealer = Sealer(INSTALL, RING.published)
    opened = VAULT.open(ONE, TOKEN, VAULT.seal(ONE, TOKEN, b"the very secret"))
    for thing in (VAULT, sealer, RING, RING.keys[0], RING.published(), opened):
        assert "•••" in repr(thing)
        for secret in (b"the very secret", RING.keys[0].private, RING.fingerprint_key):
            assert not {repr(secret)[2:-1], base64.b64encode(secret).decode()} & set(
                re.split(r"[^\w+/=\\ ]", repr(thing))
            )
    assert str(opened) == "Secret(•••)"
    for thing in (VAULT, sealer):
        with pytest.raises(TypeError):
            pickle.dumps(thing)


def test_errors_carry_no_secret() -> None:
    with pytest.raises(SecretUnreadable) as caught:
        VAULT.open(TWO, TOKEN, VAULT.seal(ONE, TOKEN, b"the very secret"))
    assert "very secret" not in str(caught.value)
    assert caught.value.exit_code == 2


def test_a_fingerprint_tells_secrets_apart_and_needs_its_key() -> None:
    sealer = Sealer(INSTALL, RING.published)
    assert sealer.fingerprint(b"one") == sealer.fingerprint(b"one")
    assert re.fullmatch("[0-9a-f]{8}", sealer.fingerprint(b"one"))
    assert len({sealer.fingerprint(bytes([n])) for n in range(200)}) == 200
    assert Sealer(INSTALL, new_ring().published).fingerprint(b"one") != sealer.fingerprint(b"one")


# ── a process that only seals ──


def everything_in(folder: Path) -> list[bytes]:
    """Every string of bytes a process with this folder could try as a key: file contents, and each value in them."""
    found = []
    for file in sorted(folder.rglob("*")):
        if file.is_file():
            found.append(file.read_bytes())
            found += [base64.b64decode(text) for text in re.findall(rb'"([A-Za-z0-9+/]{43}=)"', found[-1])]
    return found


def test_a_process_with_only_the_public_file_opens_0_of_100(tmp_path: Path) -> None:
    """Given its whole environment. The holder of the private file opens all of them."""
    settings, web = settings_in(tmp_path / "worker"), settings_in(tmp_path / "web")
    vault = Vault.open_keys(settings, INSTALL, NOW)
    web.keys.mkdir(parents=True, mode=0o700)
    (web.keys / SEALING_FILE).write_bytes((settings.keys / SEALING_FILE).read_bytes())
    sealer = Sealer.open_keys(web, INSTALL)
    sealed = {UUID(int=n): sealer.seal(UUID(int=n), CREDENTIALS, b"secret %d" % n) for n in range(100)}
    with pytest.raises(SetupProblem, match=r"public keys .* but no private ones"):
        Vault.open_keys(web, INSTALL, NOW)
    assert [file.name for file in web.keys.iterdir()] == [SEALING_FILE], "no key is made in their place"

    candidates = everything_in(web.keys) + [os.fsencode(value) for value in os.environ.values()]
    opened = 0
    for key in [key for key in candidates if len(key) == 32]:
        forged = _ring_opening_with(key, json.loads((web.keys / SEALING_FILE).read_text())["keys"][0]["id"])
        for account, value in sealed.items():
            with suppress(PortfolioSchedulerError):
                opened += forged.open(account, CREDENTIALS, value) is not None
    for account, value in sealed.items():
        with pytest.raises(SecretUnreadable, match="no private keys"):
            Vault.without_keys(INSTALL, sealer).open(account, CREDENTIALS, value)
    assert opened == 0
    assert all(
        vault.open(account, CREDENTIALS, value) == b"secret %d" % account.int for account, value in sealed.items()
    )


def _ring_opening_with(private: bytes, key_id: str) -> Vault:
    ring = new_ring()
    return new_vault(
        msgspec.structs.replace(ring, keys=[msgspec.structs.replace(ring.keys[0], id=key_id, private=private)])
    )
