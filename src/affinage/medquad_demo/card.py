"""The card of medquad-demo; dataset.py fills in the numbers."""

CARD = """\
---
pretty_name: MedQuAD demo
language:
- en
license: cc0-1.0
task_categories:
- question-answering
size_categories:
- n<1K
tags:
- synthetic
---

# MedQuAD demo

{documents} XML files in the form of [MedQuAD](https://github.com/abachaa/MedQuAD), written for this repository, so that
the way from such files to a tuned model can be rehearsed without the real collection. `documents/` is raw material:

    make data SOURCE=datasets/medquad-demo/documents TASK=medquad-demo FORMAT=medquad BY=group REPLACE=1

makes `train`, `validation`, `test` and `manifest.json` beside it, which git ignores.

**It is no medical advice.** The texts say in general terms what common conditions are. Nobody with medical training has
checked them; do not act on them, and do not use a model that was trained on them for anything but a rehearsal.

## What is in it

{counts}

- {pairs} pairs, of which {empty} have no answer: in {removed} documents the answers are missing, as they are in three
  subsets of the real collection.
- {overviews} answers are overviews of several hundred words, longer than 512 tokens of GPT-2.
- {repeated} documents stand in a second collection in nearly the same words, so that a split at random would leak.
- A document is about one condition, named in `Focus`; the type of a question is in `qtype`.

## How it was made

    python tools/make_medquad_demo.py --seed {seed}

A program puts together sentences that were written for it, in `src/affinage/medquad_demo/`; the seed draws the
overviews and the repeated documents. Nothing was taken from MedQuAD or from another text; no person is described.

sha256 of all files in order: `{sha256}`

## Limits

- Four questions in the same words for each condition, answers of two sentences: a model learns their form and little
  else. It measures no model.
- English only; real pages are longer, less even, and about rarer diseases.

## Licence

CC0 1.0: no rights reserved.
"""
