"""Writes the alignment dataset to disk: the pairs as JSON lines, and the card that describes them."""

import hashlib
import json
from collections import Counter
from pathlib import Path

from affinage.made_datasets import write_whole
from affinage.voix_passive.mistakes import MISTAKES, make_pairs
from affinage.voix_passive.rows import SPLITS

FILE_NAME = "alignment.jsonl"


def write_pairs(folder: Path, seed: int) -> Path:
    """Writes alignment.jsonl and README.md into `folder`, made when missing; returns the path of the rows.

    Each file is complete or absent: it is written under another name first.
    """
    rows = make_pairs(seed)
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / FILE_NAME, text)
    write_whole(folder / "README.md", pairs_card(rows, seed, hashlib.sha256(text.encode()).hexdigest()))
    return folder / FILE_NAME


def pairs_card(rows: list[dict], seed: int, sha256: str) -> str:
    """The Markdown card for `rows`; `sha256` is that of the file they are in."""
    sizes = Counter(row["split"] for row in rows)
    mistakes = Counter(row["label"] for row in rows)
    samples = [next(row for row in rows if row["label"] == label) for label in MISTAKES]
    return CARD.format(
        rows=len(rows),
        splits="\n".join(f"| {split} = {name} | {sizes[split]} |" for split, name in SPLITS.items()),
        mistakes="\n".join(f"| `{label}` | {text} | {mistakes[label]} |" for label, text in MISTAKES.items()),
        seed=seed,
        sha256=sha256,
        samples="\n".join(json.dumps(row, ensure_ascii=False) for row in samples),
    )


CARD = """\
---
pretty_name: Alignment
language:
- fr
license: cc0-1.0
task_categories:
- text-generation
size_categories:
- n<1K
tags:
- preference
- grammar
- synthetic
configs:
- config_name: default
  data_files: alignment.jsonl
---

# Alignment

{rows} pairs of answers to one kind of request: put a French sentence into the passive. `output` is the right sentence,
`rejected` is the same sentence with one typical mistake. They are for training on preferences (DPO, KTO, ORPO).

## Columns

| column | type | meaning |
|---|---|---|
| `id` | text | `al-001` and so on, in file order |
| `instruction` | text | what to do, in one of 4 wordings |
| `input` | text | the sentence in the active |
| `output` | text | the passive sentence: the chosen answer |
| `rejected` | text | the passive sentence with a mistake: the rejected answer |
| `label` | text | the mistake |
| `group` | text | `subject\\|verb\\|object`; no two rows share one |
| `split` | integer | 0 train, 1 validation, 2 test, as Ludwig's `split: {{type: fixed, column: split}}` wants it |

## Rows

| split | rows |
|---|---:|
{splits}

| mistake | what is wrong with `rejected` | rows |
|---|---|---:|
{mistakes}

The test split is written with verbs and nouns that occur in no row of the other two. The words are those of
voix-passive, so some of its sentences may stand here as well; do not train on one and measure on the other.

## How it was made

    python tools/make_alignment_pairs.py --seed {seed}

A seeded program draws subject, verb, object and tense, builds the sentence from the rules in
`src/affinage/voix_passive/`, and puts one mistake into it. Nothing was taken from another text, no language model was
used, nobody judged the pairs and no person is described.

sha256 of `alignment.jsonl`: `{sha256}`

## Samples

```json
{samples}
```

## Limits

- Which answer is better is beyond doubt in every row. Preferences of people or of a judge are not like that.
- The mistakes are those that a rule can make; a model makes others. A model that learns to avoid these six has
  learnt little about French.
- An answer that is wrong in another way than its pair's `rejected` is seen by no row.

## Licence

CC0 1.0: no rights reserved.
"""
