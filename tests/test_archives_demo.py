"""The shipped mailbox: the same for its seed, described as it is, and about nobody."""

import hashlib
import re
from collections import Counter

import pytest

from affinage.archives_demo.dataset import write_mailbox
from affinage.archives_demo.mailbox import TOPICS, WEIGHTS, make_threads
from affinage.paths import DATASETS

SHIPPED = DATASETS / "archives-demo"
MAILS = (SHIPPED / "mails.txt").read_text(encoding="utf-8")
CARD = (SHIPPED / "README.md").read_text(encoding="utf-8")
# The telephone numbers that the French regulator keeps free for works of fiction.
FICTION = re.compile(r"(01 99 00|02 61 91|03 53 01|04 65 71|05 36 49|06 39 98) \d\d \d\d")


def unwrapped(text):
    return " ".join(text.split())


def test_the_shipped_files_are_what_the_program_writes(tmp_path):
    write_mailbox(tmp_path / "new", 1)
    for name in ("mails.txt", "README.md"):
        assert (tmp_path / "new" / name).read_bytes() == (SHIPPED / name).read_bytes()
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["README.md", "mails.txt"]


def test_another_seed_makes_another_mailbox(tmp_path):
    write_mailbox(tmp_path, 2)
    assert (tmp_path / "mails.txt").read_text(encoding="utf-8") != MAILS


def test_the_card_counts_what_is_in_the_file():
    sha256 = hashlib.sha256(MAILS.encode()).hexdigest()
    mails, replies = MAILS.count("\nMessage-ID: "), MAILS.count("\nIn-Reply-To: ")
    assert f"{mails - replies} threads ({mails} mails)" in CARD and sha256 in CARD
    rows = re.findall(r"^\| ([^|]+) \| (\d+) \| (\d+) \| (\d+) \| (\d+) \|$", CARD, re.MULTILINE)
    assert {label for label, *_ in rows} == set(TOPICS) == set(WEIGHTS)
    assert all(sum(map(int, years)) == int(total) for _, *years, total in rows)
    assert f"{sum(int(row[-1]) for row in rows)} questions with an answer" in CARD


def test_what_a_careful_reader_finds_is_in_the_mails():
    for thread in make_threads(1):
        assert unwrapped(thread.text) in unwrapped(MAILS)
        assert thread.text.count("\nMessage-ID: ") == thread.text.count("\nIn-Reply-To: ") + 1
        assert f" {thread.year} " in thread.text.split("\nDate: ")[1].split("\n")[0]
        for one in thread.exchanges:
            assert one.question in unwrapped(thread.text) and one.answer in unwrapped(thread.text)


def test_the_mailbox_has_the_traits_of_a_real_one():
    threads = make_threads(1)
    questions = Counter(len(thread.exchanges) for thread in threads)
    assert len(threads) == 60 and questions[0] == 4 and questions[3] == 8
    assert {thread.year for thread in threads} == {2022, 2023, 2024}
    assert MAILS.count("\n> ") > 500 and MAILS.count(" a écrit :") > 50
    assert any("{" in thread.text for thread in threads)
    assert len({one.question for thread in threads for one in thread.exchanges}) == sum(
        n * k for n, k in questions.items()
    )


def test_nobody_is_in_it():
    assert {address.rpartition("@")[2] for address in re.findall(r"[\w.]+@[\w.]+\w", MAILS)} == {"example.org"}
    numbers = re.findall(r"\b0\d(?: \d\d){4}\b", MAILS)
    assert len(numbers) > 100 and all(FICTION.fullmatch(number) for number in numbers)


@pytest.mark.parametrize("label", TOPICS)
def test_every_wording_fills_without_a_gap(label):
    facts = dict.fromkeys(("nom", "commune", "jour", "nombre", "annee", "plus10", "ancien", "recent"), "X")
    for form in TOPICS[label]:
        assert len(form) == 3
        for text in form:
            filled = text.format(**facts)
            assert "{" not in filled and "  " not in filled and filled[-1] in ".?!"
