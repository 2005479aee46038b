"""Asks a model many questions, several at a time, and gives the replies in the order of the questions."""

import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from tqdm import tqdm

from affinage.console import progress_bar_options
from affinage.errors import AffinageError, Problem
from affinage.interrupts import stop_requests
from affinage.ollama_chat import Chat, Messages, Options
from affinage.ollama_replies import OF_THE_SERVER, Reply, Schema, Status

HOPELESS = frozenset({Status.UNREACHABLE, Status.MODEL_MISSING, Status.BAD_REQUEST})
FAILED_IN_A_ROW = 5
REMEDIES = {
    Status.UNREACHABLE: "Start the server again with `ollama serve`",
    Status.MODEL_MISSING: "Get the model again with `ollama pull`",
    Status.BAD_REQUEST: "Look at what the server says, and at its version",
}


@dataclass(frozen=True)
class Question:
    """What `Chat.ask` is called with."""

    messages: Messages
    schema: Schema | None = None
    options: Options | None = None


def ask_all(chat: Chat, questions: Sequence[Question], concurrency: int = 1, title: str = "asking") -> list[Reply]:
    """One reply for every question, in their order, `concurrency` at a time; a bar on stderr shows the time left.

    Raises AffinageError when the server cannot go on, KeyboardInterrupt when asked to stop, which lets the running
    questions end first. What was answered is in the chat's cache by then.
    """
    keys = [chat.key_of(question.messages, question.schema, question.options) for question in questions]
    replies = {i: known for i, key in enumerate(keys) if (known := chat.cached(key)) is not None}
    missing = [i for i in range(len(questions)) if i not in replies]
    bar = tqdm(total=len(questions), initial=len(replies), desc=title, unit="question", **progress_bar_options())
    failed = 0
    with bar, stop_requests() as stopping, _workers(chat, questions, missing, concurrency) as (answers, finish):
        for i, reply in answers:
            replies[i] = reply
            failed = failed + 1 if reply.status in OF_THE_SERVER else 0
            bar.update()
            if reply.status in HOPELESS or failed >= FAILED_IN_A_ROW:
                answered_so_far = sum(known.status not in OF_THE_SERVER for known in replies.values())
                raise _stopped(chat, reply, answered_so_far, len(questions))
            if stopping():
                finish()
                raise KeyboardInterrupt
    return [replies[i] for i in range(len(questions))]


@contextmanager
def _workers(
    chat: Chat, questions: Sequence[Question], numbers: Sequence[int], concurrency: int
) -> Iterator[tuple[Iterator[tuple[int, Reply]], Callable[[], None]]]:
    """The questions' numbers with their replies, as they come in from threads; and what lets running ones end.

    The threads are daemons because a pool's would hold up the end of the program until the model had answered.
    """
    todo: queue.SimpleQueue[int] = queue.SimpleQueue()
    done: queue.SimpleQueue[tuple[int, Reply | Exception]] = queue.SimpleQueue()
    for number in numbers:
        todo.put(number)
    ending = threading.Event()

    def work() -> None:
        while not ending.is_set():
            try:
                number = todo.get_nowait()
            except queue.Empty:
                return
            question = questions[number]
            try:
                reply = chat.ask(question.messages, question.schema, question.options)
                if reply.status in HOPELESS:
                    ending.set()
                done.put((number, reply))
            except Exception as error:  # a bug: it is raised again where its traceback is seen
                done.put((number, error))

    threads = [threading.Thread(target=work, daemon=True) for _ in range(min(concurrency, len(numbers)))]
    for thread in threads:
        thread.start()

    def finish() -> None:
        ending.set()
        for thread in threads:
            thread.join()

    try:
        yield (_raised(*done.get()) for _ in numbers), finish
    finally:
        ending.set()


def _raised(number: int, reply: Reply | Exception) -> tuple[int, Reply]:
    if isinstance(reply, Exception):
        raise reply
    return number, reply


def _stopped(chat: Chat, reply: Reply, answered: int, asked: int) -> AffinageError:
    found = f"stopped after {answered:,} of {asked:,} questions: {reply.status}: {reply.detail}."
    remedy = REMEDIES.get(reply.status, "Look at the server's log")
    kept = ", then run the same command again: what was answered is kept." if chat.cache is not None else "."
    return AffinageError(Problem(chat.server.url, found, remedy=remedy + kept))
