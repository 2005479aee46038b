"""The cards of the two datasets."""

SENTIMENT = """\
---
pretty_name: Sentiment, made-up film reviews
language:
- fr
license: cc0-1.0
task_categories:
- text-classification
size_categories:
- n<1K
annotations_creators:
- machine-generated
tags:
- sentiment
- film-reviews
- synthetic
configs:
- config_name: default
  data_files: sentiment.jsonl
---

# Sentiment

{rows} short French reviews of {films} films that do not exist, each positive, negative or neither. They are written so
that single words do not give the answer away: *malgré un scénario plat, la musique est brillante* and *malgré une
musique brillante, le scénario est plat* hold the same words and have opposite labels.

## Columns

| column | type | meaning |
|---|---|---|
| `id` | text | `cf-001` and so on, in file order |
| `instruction` | text | the question, the same for every row |
| `input` | text | the review |
| `output` | text | `positif`, `négatif` or `neutre` |
| `label` | text | the same as `output`, for tables by label |
| `group` | text | the film; all reviews of a film are in one split |
| `split` | integer | 0 train, 1 validation, 2 test, as Ludwig's `split: {{type: fixed, column: split}}` wants it |

## Rows

{counts}

No review occurs twice, and no film of the test split ({test_films} films) is named in another split.

## How hard it is

Logistic regression on the words (scikit-learn, its defaults, `max_iter` 1000), trained on the 400 training rows and
asked the 120 test rows; `tests/test_cinema_demo.py` computes these figures again:

| features | accuracy | macro-F1 |
|---|---:|---:|
| the most frequent label of the training rows | 0.333 | 0.167 |
| single words | 0.725 | 0.725 |
| one to three words in a row | 0.892 | 0.892 |

## How it was made

    python tools/make_film_reviews.py --seed {seed}

A seeded program draws a film, a label, aspects of films and adjectives, and puts them into sentences that were written
for it, in `src/affinage/cinema_demo/`. The label is drawn first and the sentences are built to fit it, so no one had to
read and judge. Nothing was taken from a review, and no language model was used.

sha256 of `sentiment.jsonl`: `{sha256}`

## Samples

```json
{samples}
```

## Limits

- About a dozen turns of phrase and two dozen adjectives come again in every split: a model can learn the turns by
  heart. A good score says that the pipeline works, and that the model sees the order of words.
- No irony, no spelling mistakes, no slang, no comparison between films, nothing longer than five sentences.
- Real reviews are another task. Measure on real ones before you use a model on them.

## Licence

CC0 1.0: no rights reserved.
"""

EXTRACTION = """\
---
pretty_name: Extraction, made-up announcements of screenings
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
- information-extraction
- json
- synthetic
configs:
- config_name: default
  data_files: extraction.jsonl
---

# Extraction

{rows} short French announcements of screenings that never took place, each with one JSON object: the film, the date,
the hour, the place, the town and the price. The object asks for a little more than copying: *le vendredi 14 mars 2025*
becomes `2025-03-14`, *20 h 30* becomes `20:30`, *entrée libre* becomes `0`, and a price that is not said is `null`.

## Columns

| column | type | meaning |
|---|---|---|
| `id` | text | `an-001` and so on, in file order |
| `instruction` | text | what to do, the same for every row |
| `input` | text | the announcement |
| `output` | text | one JSON object with `film`, `date`, `heure`, `lieu`, `ville`, `prix`, in this order |
| `group` | text | the film; all announcements of a film are in one split |
| `split` | integer | 0 train, 1 validation, 2 test, as Ludwig's `split: {{type: fixed, column: split}}` wants it |

## Rows

{counts}

No announcement occurs twice, and no film of the test split ({test_films} films) is named in another split.

## How it was made

    python tools/make_screenings.py --seed {seed}

A seeded program draws a film, a day, an hour, a place, a town and a price, and puts them into sentences that were
written for it, in `src/affinage/cinema_demo/`; the object holds what was drawn. Some texts name a second day, hour or
price that is not asked for. Nothing was taken from another text, and no language model was used.

sha256 of `extraction.jsonl`: `{sha256}`

## Samples

```json
{samples}
```

## Limits

- Five forms of announcement, ten places and twelve towns come again in every split; only films and days are new in the
  test split. A good score says that the pipeline works.
- One screening in a text; real announcements list several, and leave more out.

## Licence

CC0 1.0: no rights reserved.
"""
