"""Which passwords a guesser tries first: the well-known ones, alone, repeated, decorated, and rows of keys.

The list is a file, so that nothing is asked of anybody. It holds the shorter words too: nobody may have `sunshine` as a
password here, but people lengthen it to `Sunshine@2024`, and guessers know.
"""

import re
import unicodedata
from collections.abc import Iterator
from functools import cache
from importlib import resources

LIST = "blocklist.txt"
_OURS = """
admin administrator angelone banknifty broker brokerage brokers bse demat dhan fyers groww growww holding holdings
invest investment investor kite login market nifty nse order orders passcode passphrase passwort password
portfolio portfolioscheduler position positions rupee scheduler sebi sensex setup share shares snapshot stock stocks
trade trader trading upstox username wealth zerodha
"""
OURS = frozenset(_OURS.split())  # words of this product and its world: also guessed in twos

DECORATION = 8  # digits and signs put before and behind a word that do not make it another word
LEFT_OVER = 3  # characters beside rows of keys that do not make them a password
SHORT_UNIT = 4  # what is only this long and repeated
FEW_LETTERS = 3  # different characters in the whole

_ROWS = (
    "abcdefghijklmnopqrstuvwxyz",
    "01234567890-=",
    "qwertyuiop[]",
    "asdfghjkl;'",
    "zxcvbnm,./",
    "qwertzuiop",
    "yxcvbnm",
    "azertyuiop",
    "qsdfghjklm",
    "1qaz2wsx3edc4rfv5tgb6yhn7ujm8ik,9ol.0p;/",
    "1q2w3e4r5t6y7u8i9o0p",
    "qawsedrftgyhujikolp",
    "qazwsxedcrfvtgbyhnujmikolp",
    "qweasdzxcrtyfghvbnuiojklm",
    "!@#$%^&*()",
)
_ROWS_BOTH_WAYS = tuple(row for ahead in _ROWS for row in (ahead, ahead[::-1]))
_SPACES = re.compile(r"[\s_.-]+")
_SWAPPED = str.maketrans("@4831!|05$7+9", "aabeiiiossttg")


def is_easily_guessed(plain: str, username: str) -> bool:
    """Whether a guesser who knows this product and this user would try it early."""
    text = _SPACES.sub("", _folded(plain))
    if len(set(text)) <= FEW_LETTERS or _folded(plain) in listed():
        return True
    own = OURS | _words_of(username)
    return _is_made_of(text, own) or any(_is_known(form, own) for form in (text, *_without_rows(text)))


@cache
def listed() -> frozenset[str]:
    """The words and passwords of the list, folded."""
    lines = resources.files("portfolio_scheduler.identity").joinpath(LIST).read_text("utf-8").splitlines()
    return frozenset(word for line in lines if not line.startswith("#") for word in line.split())


def _is_made_of(text: str, own: frozenset[str]) -> bool:
    """Nothing but our words, in whatever number, with a few digits and signs among them."""
    words = re.findall(r"[^\W\d_]+", text)
    return bool(words) and own.issuperset(words) and len(text) - sum(map(len, words)) <= DECORATION


def _is_known(text: str, own: frozenset[str]) -> bool:
    return len(text) <= LEFT_OVER or any(_is_word(word, own) for word in _undecorated(text))


def _is_word(word: str, own: frozenset[str]) -> bool:
    """A listed word, with letters swapped for digits too; a short thing repeated; one of our words beside another."""
    unit = _unit(word)
    if len(unit) <= SHORT_UNIT and len(unit) < len(word):
        return True
    return any(_is_one_word(form, own) for form in {unit, unit.translate(_SWAPPED)})


def _is_one_word(word: str, own: frozenset[str]) -> bool:
    words = listed()
    if word in words or word in own:
        return True
    halves = ((word[:cut], word[cut:]) for cut in range(3, len(word) - 2))
    return any((a in own and (b in own or b in words)) or (b in own and a in words) for a, b in halves)


def _undecorated(text: str) -> Iterator[str]:
    """The text without the digits and signs at its ends, in every way to part the two."""
    before = next((n for n, letter in enumerate(text) if letter.isalpha()), len(text))
    behind = next((n for n, letter in enumerate(reversed(text)) if letter.isalpha()), len(text))
    for head in range(min(before, DECORATION) + 1):
        for tail in range(min(behind, DECORATION - head) + 1):
            if head + tail < len(text):
                yield text[head : len(text) - tail]


def _unit(text: str) -> str:
    """What the text repeats (the last time perhaps not whole); itself when it repeats nothing."""
    for size in range(1, len(text) // 2 + 1):
        if all(text[n] == text[n - size] for n in range(size, len(text))):
            return text[:size]
    return text


def _without_rows(text: str) -> Iterator[str]:
    """The text without its rows of keys: only the long ones and those of digits, then every one of three."""
    yield _shortened(text, 5, digits=3)
    yield _shortened(text, 3, digits=3)


def _shortened(text: str, shortest: int, *, digits: int) -> str:
    left, at = [], 0
    while at < len(text):
        size = _row_at(text, at)
        if size >= (digits if text[at : at + size].isdigit() else shortest):
            at += size
        else:
            left.append(text[at])
            at += 1
    return "".join(left)


def _row_at(text: str, at: int) -> int:
    """How many characters from here on lie in one row of keys, or are the same."""
    size = 1
    while at + size < len(text) and text[at + size] == text[at]:
        size += 1
    if size >= 3:
        return size
    size = 1
    while at + size < len(text) and any(text[at : at + size + 1] in row for row in _ROWS_BOTH_WAYS):
        size += 1
    return size


def _words_of(username: str) -> frozenset[str]:
    """The name itself and its parts, such as those of a mail address, as far as they are words."""
    parts = re.split(r"[^\w]+|_", _folded(username))
    whole = _SPACES.sub("", _folded(username))
    return frozenset(part for part in (whole, whole.partition("@")[0], *parts) if len(part) >= 4)


def _folded(text: str) -> str:
    """Without capitals and accents: they make no difference to a guesser."""
    apart = unicodedata.normalize("NFKD", text.casefold())
    return "".join(letter for letter in apart if not unicodedata.combining(letter))
