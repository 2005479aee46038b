"""Writes voix-passive to disk: the rows as JSON lines, and the card that describes them."""

import hashlib
import json
from pathlib import Path

from affinage.made_datasets import label_counts, write_whole
from affinage.voix_passive.lexicon import HELD_OUT_NOUNS, HELD_OUT_VERBS
from affinage.voix_passive.rows import INSTRUCTIONS, SPLITS, make_rows

FILE_NAME = "voix-passive.jsonl"


def write_dataset(folder: Path, seed: int) -> Path:
    """Writes voix-passive.jsonl and README.md into `folder`, made when missing; returns the path of the rows.

    Each file is complete or absent: it is written under another name first.
    """
    rows = make_rows(seed)
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / FILE_NAME, text)
    write_whole(folder / "README.md", dataset_card(rows, seed, hashlib.sha256(text.encode()).hexdigest()))
    return folder / FILE_NAME


def dataset_card(rows: list[dict], seed: int, sha256: str) -> str:
    """The Markdown card for `rows`; `sha256` is that of the file they are in."""
    return CARD.format(
        rows=len(rows),
        counts=label_counts(rows, list(INSTRUCTIONS), SPLITS),
        wordings=len(next(iter(INSTRUCTIONS.values()))),
        verbs=len(HELD_OUT_VERBS),
        nouns=len(HELD_OUT_NOUNS),
        command="python tools/make_voix_passive.py" + f" --seed {seed}",
        sha256=sha256,
        samples=_samples(rows),
    )


def _samples(rows: list[dict]) -> str:
    samples = [next(row for row in rows if row["label"] == label) for label in INSTRUCTIONS]
    return "\n".join(json.dumps(row, ensure_ascii=False) for row in samples)


CARD = """\
---
pretty_name: Voix passive
language:
- fr
license: cc0-1.0
task_categories:
- text-generation
size_categories:
- 1K<n<10K
tags:
- instruction-following
- grammar
- synthetic
configs:
- config_name: default
  data_files: voix-passive.jsonl
---

# Voix passive

{rows} short French instructions of grammar: put a sentence into the passive, back into the active, into the negative,
or its object into the plural. The same sentence comes under several instructions, so a model has to read which one
is asked. Each row has one expected answer, built by rule, so exact match is a fair measure.

## Columns

| column | type | meaning |
|---|---|---|
| `id` | text | `vp-0001` and so on, in file order |
| `instruction` | text | what to do, {wordings} wordings for each label |
| `input` | text | the sentence to change |
| `output` | text | the sentence asked for |
| `label` | text | `passive`, `active`, `negation` or `plural`: the sentence that is asked for |
| `group` | text | `subject\\|verb\\|object`; rows of one group never straddle splits |
| `split` | integer | 0 train, 1 validation, 2 test, as Ludwig's `split: {{type: fixed, column: split}}` wants it |

## Rows

{counts}

The test split is written with {verbs} verbs and {nouns} nouns that occur in no row of the other two, so it measures a
rule that was learned, not words that were remembered. No pair of instruction and input occurs twice.

## How it was made

    {command}

A seeded program draws a subject, a verb and an object that fit together, then determiners, numbers and a tense
(présent, imparfait, futur or passé composé), and builds the sentences from rules in `src/affinage/voix_passive/`.
Nothing was taken from another text, no language model was used and no person is described.

sha256 of `voix-passive.jsonl`: `{sha256}`

## Samples

```json
{samples}
```

## Limits

- Verbs in -er with a stem that never changes, nouns with a plural in -s, third person, four tenses of the indicative.
- Every sentence is subject, verb, object, or its passive with *par*; no adjective, pronoun, relative or question.
- Sentences are grammatical but often odd in meaning, and possessives have no antecedent.
- In the negative, an indefinite object becomes *de* or *d'*, as in a full negation; *pas un* is not used.
- `plural` changes the direct object of an active sentence only, never the subject.
- A good score here says that a fine-tuning pipeline works. It says little about French at large.

## Licence

CC0 1.0: no rights reserved.
"""
