"""Writes archives-demo to disk: the mailbox as one text file, and the card that describes it."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from affinage.archives_demo.mailbox import TOPICS, Thread, make_threads
from affinage.made_datasets import write_whole

FILE_NAME = "mails.txt"


def write_mailbox(folder: Path, seed: int) -> tuple[Path, int]:
    """Writes mails.txt and README.md into `folder`, made when missing; the path of the mails and how many threads.

    Each file is complete or absent: it is written under another name first.
    """
    threads = make_threads(seed)
    text = "\n".join(thread.text for thread in threads)
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / FILE_NAME, text)
    write_whole(folder / "README.md", mailbox_card(threads, seed, hashlib.sha256(text.encode()).hexdigest()))
    return folder / FILE_NAME, len(threads)


def mailbox_card(threads: Sequence[Thread], seed: int, sha256: str) -> str:
    """The Markdown card for `threads`; `sha256` is that of the file they are in."""
    exchanges = [(thread.year, one.label) for thread in threads for one in thread.exchanges]
    return CARD.format(
        threads=len(threads),
        mails=sum(thread.text.count("\nMessage-ID: ") for thread in threads),
        exchanges=len(exchanges),
        unanswered=sum(not thread.exchanges for thread in threads),
        counts=_counts(exchanges),
        forms=sum(map(len, TOPICS.values())),
        seed=seed,
        sha256=sha256,
    )


def _counts(exchanges: Sequence[tuple[int, str]]) -> str:
    counted, years = Counter(exchanges), sorted({year for year, _ in exchanges})
    lines = ["| topic | " + " | ".join(map(str, years)) + " | all |", "|---|" + "---:|" * (len(years) + 1)]
    for label in TOPICS:
        numbers = [counted[year, label] for year in years]
        lines.append(f"| {label} | " + " | ".join(map(str, [*numbers, sum(numbers)])) + " |")
    return "\n".join(lines)


CARD = """\
---
pretty_name: Archives, a made-up reading room's mailbox
language:
- fr
license: cc0-1.0
task_categories:
- text-generation
size_categories:
- n<1K
annotations_creators:
- machine-generated
tags:
- question-answering
- archives
- synthetic
---

# Archives demo

{threads} threads ({mails} mails) between readers and the reading room of a French county's archives that does not
exist, in one text file, `mails.txt`. It is raw material: headers, quoted replies, signatures, several questions in one
mail, questions that nobody answered ({unanswered} threads). `curate.yaml` has a language model cut it into rows of one
question and its answer, label them and write variants; `make curate TASK=archives-demo` runs it and writes `curated/`.

## What is in it

{exchanges} questions with an answer, by topic and by year of the first mail:

{counts}

## How it was made

    python tools/make_archives_demo.py --seed {seed}

A seeded program draws readers, dates and topics and puts together mails from sentences written for it, in
`src/affinage/archives_demo/`. No language model was used and nothing was taken from another text. Readers, archivists,
families, communes and the county are made up; addresses are below example.org and telephone numbers in the ranges that
are set aside for fiction.

sha256 of `mails.txt`: `{sha256}`

## Limits

- The answers describe how French archives usually work, shortened; they are no legal advice, and call numbers are made
  up.
- Wordings repeat: {exchanges} exchanges come from {forms} questions in two wordings each, so test questions resemble
  training ones. It shows how curation works and measures no model.
- What `curated/` holds once it is there was cut, labelled and partly written by a language model: a silver standard.
  Check a sample (`SAMPLE=20`) before you rely on it.

## Licence

CC0 1.0: no rights reserved.
"""
