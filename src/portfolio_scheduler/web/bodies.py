"""Finished answers, kept as long as they still hold and there is room: what makes the same read again cheap.

An answer is used only after the database has said, in the read itself, that this viewer may see what it is about and
that nothing it was made of has changed since.
"""

from collections import OrderedDict

from msgspec import Struct

ROOM = 64 * 1024 * 1024  # bytes of bodies in one process
LARGEST = ROOM // 16
OVERHEAD = 300  # bytes of what surrounds a body


class Body(Struct, frozen=True):
    """An answer and the version of what it was made of."""

    version: str
    content: bytes


class Bodies:
    """The last used ones. `key` names a question with all its parameters."""

    def __init__(self, room: int = ROOM) -> None:
        self._room = room
        self._held: OrderedDict[bytes, Body] = OrderedDict()
        self.size = 0

    def resize(self, room: int) -> None:
        """Another bound, in bytes; 0 keeps nothing."""
        self._room = room
        self._shrink()

    def get(self, key: bytes) -> Body | None:
        body = self._held.get(key)
        if body is not None:
            self._held.move_to_end(key)
        return body

    def put(self, key: bytes, body: Body) -> None:
        """Keep an answer in the place of an older one; the longest unused go when there is no more room."""
        if (old := self._held.pop(key, None)) is not None:
            self.size -= _size(old)
        if len(body.content) > min(LARGEST, self._room):
            return
        self._held[key] = body
        self.size += _size(body)
        self._shrink()

    def _shrink(self) -> None:
        while self.size > self._room:
            _, oldest = self._held.popitem(last=False)
            self.size -= _size(oldest)


def _size(body: Body) -> int:
    return len(body.content) + OVERHEAD
