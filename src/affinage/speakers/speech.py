"""An answer in the making, wherever it is made: its pieces, how it ended, and a way to end it sooner."""

import queue
import threading
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from affinage.answering import Ending
from affinage.chat import Drawing
from affinage.speaker import Message, Speaker

POLL_S = 0.2  # how soon whoever waits for a piece can leave


class Speech(Protocol):
    """Iterate once for the pieces of text, then read `ending`; `cancel` may come from any thread."""

    ending: Ending

    def __iter__(self) -> Iterator[str]: ...

    def cancel(self) -> None: ...


class Converser(Speaker, Protocol):
    """A speaker whose drawing can be chosen. `usual` is how it draws when nothing is chosen."""

    @property
    def usual(self) -> Drawing: ...

    def length(self, messages: Sequence[Message]) -> int:
        """The tokens of a whole conversation, as it is put to the model."""
        ...

    def ask(self, messages: Sequence[Message], drawing: Drawing) -> Speech:
        """The answer to a conversation. Raises AffinageError for one that does not fit the context."""
        ...


@dataclass(frozen=True)
class _End:
    error: BaseException | None


def patiently(speech: Speech) -> Generator[str]:
    """The pieces of a speech, and "" whenever none came for a while, so that who waits can leave.

    Leaving cancels the speech. What the speech raises is raised here.
    """
    pieces: queue.SimpleQueue[Any] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(speech, pieces), daemon=True).start()
    try:
        while True:
            try:
                piece = pieces.get(timeout=POLL_S)
            except queue.Empty:
                piece = ""
            if isinstance(piece, _End):
                if piece.error is not None:
                    raise piece.error
                return
            yield piece
    finally:
        speech.cancel()


def _read(speech: Speech, pieces: "queue.SimpleQueue[Any]") -> None:
    try:
        for piece in speech:
            pieces.put(piece)
    except BaseException as error:  # it must not die with this thread
        pieces.put(_End(error))
    else:
        pieces.put(_End(None))
