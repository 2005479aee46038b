"""Ctrl-C lets the work in hand end; a second one does not wait."""

import os
import signal
import threading

import pytest

from affinage.interrupts import stop_requests


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_only_asks_and_the_second_stops_at_once(number, capfd):
    with stop_requests() as requested:
        assert not requested()
        os.kill(os.getpid(), number)
        assert requested()
        assert "stopping after this step" in capfd.readouterr().err
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)
            signal.sigtimedwait([], 1)


def test_the_handlers_of_before_are_put_back():
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with stop_requests():
        assert signal.getsignal(signal.SIGINT) is not before[0]
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_off_the_main_thread_no_handler_is_touched():
    before, inside = signal.getsignal(signal.SIGINT), []

    def work():
        with stop_requests() as requested:
            inside.extend([signal.getsignal(signal.SIGINT), requested()])

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert inside == [before, False]
