"""What the figures of a check mean: errors, warnings and notes, each with what to do about it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from affinage.curation.checkup import Checkup
    from affinage.curation.checkup_lengths import Truncation

SEVERITIES = ("error", "warning", "note")
FEW_TEST_ROWS = 20
CUT_ALLOWED = 0.01  # part of the training rows; above it, training refuses to start
UNBALANCED = 10  # times as many rows of the most frequent label as of the rarest
OTHER_LANGUAGES = 0.05  # part of the answers whose language is known
REBUILD = "make the dataset again with tools/prepare_data.py"

# Name of the check: severity, what it does to a model, what to do.
TEXTS = {
    "no answer": ("warning", "training leaves them out", "Write the answers or drop the rows."),
    "no question": ("warning", "the model learns to answer nothing", "Write the questions or drop the rows."),
    "answer repeats the input": (
        "warning",
        "the model learns to copy",
        "Check that copying is the right answer, or drop the rows.",
    ),
    "HTML left over": ("warning", "the model learns to write it", f"To strip it if it is not meant, {REBUILD}."),
    "control characters": ("warning", "they are invisible and become odd tokens", f"To strip them, {REBUILD}."),
    "special tokens in text": (
        "warning",
        "the tokenizer takes them for its own marks, such as the end of a text",
        f"Take them out of the text, or {REBUILD} --tokenizer.",
    ),
    "not in Unicode form NFC": (
        "note",
        "the same word is written in two ways and becomes different tokens",
        f"To normalise them, {REBUILD}.",
    ),
}


@dataclass(frozen=True)
class Remark:
    """One thing to know: how grave ("error", "warning", "note"), which part of the page shows it, and what to do."""

    severity: str
    about: str
    text: str
    remedy: str


def remarks_on(checkup: "Checkup") -> list[Remark]:
    """Everything that should be mended, looked at or known, errors first."""
    parts = (_splits, _labels, _texts, _duplicates, _leaks, _personal_data, _truncation, _languages)
    found = [remark for part in parts for remark in part(checkup)]
    return sorted(found, key=lambda remark: SEVERITIES.index(remark.severity))


def _splits(checkup: "Checkup") -> Iterator[Remark]:
    rows = checkup.rows
    if "train" not in rows and "all" not in rows:
        yield Remark("error", "rows", "No row is in the train split: nothing can be trained.", "Check the splits.")
    unanswered = next(check.rows for check in checkup.texts if check.name == "no answer")
    if unanswered.get("train") == rows.get("train", 0):
        yield Remark("error", "texts", "No training row has an answer: nothing can be trained.", "Write the answers.")
    if "all" in rows:
        text = f"The {_n(rows['all'], 'row')} are not split, so leaks from one split to another cannot be seen here."
        yield Remark("note", "rows", text, "Name a config that splits them with CONFIG=, or split them with make data.")
    elif "test" not in rows:
        yield Remark("warning", "rows", "No test split: no score will say what was learned.", "Keep 10 % for a test.")
    elif rows["test"] < FEW_TEST_ROWS:
        n = rows["test"]
        text = f"The test split has {_n(n, 'row')}: one answer more or less moves a score by {100 / n:.0f} points."
        yield Remark("warning", "rows", text, f"Keep at least {FEW_TEST_ROWS} rows for the test, better 100.")
    if "train" in rows and "validation" not in rows:
        text = "No validation split: training cannot tell its best step."
        yield Remark("note", "rows", text, "Keep 5 to 10 % for validation.")
    if checkup.repeated_ids:
        text = f"{_n(checkup.repeated_ids, 'row')} repeat the id of another row."
        yield Remark("warning", "rows", text, f"Give each row its own id, or {REBUILD}.")


def _labels(checkup: "Checkup") -> Iterator[Remark]:
    labels = {label: counts for label, counts in checkup.tallies.get("label", {}).items() if label}
    if not labels:
        return
    without = sum(checkup.tallies["label"].get("", {}).values())
    if without:
        yield Remark("note", "labels", f"{_n(without, 'row')} have no label, others have one.", "Label them all.")
    trained = {label: counts.get("train", counts.get("all", 0)) for label, counts in labels.items()}
    unseen = [label for label, n in trained.items() if not n]
    if unseen:
        text = f"No training row has the label {_some(unseen)}."
        yield Remark("warning", "labels", text, f"Split by label: {REBUILD} --stratify label.")
    known = {label: n for label, n in trained.items() if n}
    if known and max(known.values()) >= UNBALANCED * min(known.values()):
        most, least = max(known, key=known.__getitem__), min(known, key=known.__getitem__)
        text = f"Labels are far from balanced: {known[most]:,} rows of “{most}”, {known[least]:,} of “{least}”."
        yield Remark("note", "labels", text, f"If that is not meant, {REBUILD} --balance.")


def _texts(checkup: "Checkup") -> Iterator[Remark]:
    for check in checkup.texts:
        if n := sum(check.rows.values()):
            severity, why, remedy = TEXTS[check.name]
            text = f"{check.name[:1].upper()}{check.name[1:]}: {_n(n, 'row')} ({_where(check.rows)}); {why}."
            yield Remark(severity, "texts", text, remedy)


def _duplicates(checkup: "Checkup") -> Iterator[Remark]:
    found = checkup.duplicates
    if n := sum(found.exact.values()):
        text = f"{_n(n, 'row')} the same as an earlier one of the split ({_where(found.exact)}); they count twice."
        yield Remark("warning", "duplicates", text, f"To drop them, {REBUILD}.")
    if n := sum(found.near.values()):
        text = f"{_n(n, 'row')} nearly the same as an earlier one of the split ({_where(found.near)})."
        remedy = f"If they are not variants that you want, {REBUILD} --near {found.threshold}."
        yield Remark("note", "duplicates", text, remedy)


def _leaks(checkup: "Checkup") -> Iterator[Remark]:
    same = {
        ("group", "exact"): "belong to a group of another split",
        ("question", "exact"): "ask a question of another split",
        ("question", "near"): "ask nearly a question of another split",
        ("answer", "exact"): "have an answer of another split",
        ("answer", "near"): "have nearly an answer of another split",
    }
    remedies = {
        "error": f"Scores would be too good. To drop them from training, {REBUILD} --on-leak drop_from_train.",
        "warning": "Look at the examples: if they come to the same, take them out of training.",
        "note": "Short answers and labels repeat for good reasons; look at the examples.",
    }
    for way in dict.fromkeys((leak.severity, leak.on, leak.kind) for leak in checkup.leaks):
        severity, on, kind = way
        leaks = [leak for leak in checkup.leaks if (leak.severity, leak.on, leak.kind) == way]
        shares = [f"{leak.second_rows / checkup.rows[leak.second]:.1%}" for leak in leaks]
        where = ", ".join(
            f"{leak.second_rows:,} of {leak.second} ({share}) in {leak.first}"
            for leak, share in zip(leaks, shares, strict=True)
        )
        short = "; the answers are short" if severity == "note" else ""
        yield Remark(severity, "leaks", f"Rows {same[on, kind]}: {where}{short}.", remedies[severity])


def _personal_data(checkup: "Checkup") -> Iterator[Remark]:
    found = checkup.personal_data
    secrets = {kind: rows for kind, rows in found.rows.items() if kind in found.secrets}
    others = {kind: rows for kind, rows in found.rows.items() if kind not in found.secrets}
    if secrets:
        text = f"Secrets that open something: {_kinds(secrets)}."
        yield Remark("error", "personal-data", text, f"Revoke them, and mask them: {REBUILD} --pii mask.")
    if others:
        remedy = f"If it must not be learned or published, {REBUILD} --pii mask."
        yield Remark("warning", "personal-data", f"Personal data: {_kinds(others)}.", remedy)


def _kinds(found: Mapping[str, dict[str, int]]) -> str:
    return ", ".join(f"{kind} in {_n(sum(rows.values()), 'row')}" for kind, rows in found.items())


def _truncation(checkup: "Checkup") -> Iterator[Remark]:
    found = checkup.truncation
    if found is None:
        if not checkup.config:
            text = "Lengths are in characters: whether rows fit a model is not known."
            yield Remark("note", "lengths", text, "Name a config with CONFIG= to count its tokens.")
        return
    splits = found.splits.values()
    if n := sum(cuts.cut for cuts in splits):
        where = _where({split: cuts.cut for split, cuts in found.splits.items()})
        lost, of = sum(cuts.lost_answer_tokens for cuts in splits), sum(cuts.answer_tokens for cuts in splits)
        text = f"{_n(n, 'row')} cut at {found.limit:,} tokens ({where}): {lost:,} of {of:,} answer tokens are lost, "
        text += f"{_n(sum(cuts.lost_answers for cuts in splits), 'answer')} whole."
        train = found.splits.get("train")
        refused = train is not None and train.cut > CUT_ALLOWED * train.rows
        yield Remark("error" if refused else "warning", "truncation", text, _longer(found))
    if found.max_new_tokens and found.answers_p95 > found.max_new_tokens:
        text = f"One answer in 20 has {found.answers_p95:,} tokens or more, but generation.max_new_tokens is "
        text += f"{found.max_new_tokens:,}."
        yield Remark("warning", "truncation", text, f"Set generation.max_new_tokens to {found.answers_p95:,} or more.")


def _longer(found: "Truncation") -> str:
    useful = [
        f"{length:,} keeps {share} of the training rows whole"
        for length, share in ((found.keep_99_percent, "99 %"), (found.keep_all, "all"))
        if found.limit < length <= found.context
    ]
    if not useful:
        return f"Shorten the rows: the model takes {found.context:,} tokens."
    return f"Raise preprocessing.global_max_sequence_length: {'; '.join(useful)}."


def _languages(checkup: "Checkup") -> Iterator[Remark]:
    totals = {name: sum(n.values()) for name, n in checkup.tallies["language"].items() if name != "unknown"}
    known, main = sum(totals.values()), max(totals, key=totals.__getitem__, default="")
    others = {name: n for name, n in totals.items() if name != main}
    if known and sum(others.values()) > OTHER_LANGUAGES * known:
        share = sum(others.values()) / known
        text = f"{share:.0%} of the answers are in another language than {main}: {_some(list(others))}."
        yield Remark("note", "languages", text, f"If that is not meant, {REBUILD} --languages {main}.")


def _where(rows: dict[str, int]) -> str:
    return ", ".join(f"{n:,} in {split}" for split, n in rows.items() if n)


def _n(n: int, noun: str) -> str:
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def _some(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
