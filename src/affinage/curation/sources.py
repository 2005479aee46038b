"""Opens what people have, files or datasets elsewhere, as one stream of rows."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from affinage.curation.formats.files import SourceFile, data_files, fingerprint
from affinage.curation.formats.hub import HUB, open_hub, open_ludwig
from affinage.curation.formats.recognition import FORMATS, TELLING, Recipe, check_format, open_file, recognise
from affinage.curation.formats.records import SPLIT_NAMES, STEP, Place, RecordFile
from affinage.curation.rows import Counts, Row
from affinage.data import LUDWIG
from affinage.errors import AffinageError, Problem, raise_all

SPLIT_IN_NAME = re.compile(r"(train|training|validation|valid|val|dev|test)(?:[-_.].*)?", re.IGNORECASE)
SHOWN_PROBLEMS = 20


@dataclass(frozen=True)
class Source:
    """Where rows come from: its format, its files, and sentences about everything that was guessed or left out.

    `total_hint` is about how many rows there are, None when that is not known without reading.
    """

    name: str
    format: str
    files: list[SourceFile]
    notes: list[str]
    total_hint: int | None
    parts: list[tuple[RecordFile, Recipe]]

    def rows(self, counts: Counts) -> Iterator[Row]:
        """The rows, one after the other; each call starts anew.

        Counts, under the step "read": "seen" (rows that the source could give, one for each question, turn of the
        assistant or instance), and "dropped: <reason>" for those that it does not, with examples that name the place.
        Raises AffinageError at the first thing that is broken, and at the end when no row could be made.
        """
        made = False
        for file, recipe in self.parts:
            for n, record in file.records():
                for row in recipe.make_rows(record, Place(file, n, counts)):
                    made = True
                    yield row
        if not made:
            raise _no_row(self.name, counts)


def open_source(source: str, format: str = "auto", columns: Mapping[str, str] | None = None) -> Source:
    """The rows behind a file, a folder, `hf://user/name[:config][@revision]` or `ludwig://name`.

    `format` is "auto" or a name in `recognition.FORMATS`. `columns` says which column of the source is which of ours
    ({"instruction": "question", "output": "réponse"}) and wins over every guess; {"unanswerable": "..."} is the answer
    for questions of SQuAD that have none. Raises AffinageError, listing all problems, when a file is missing, broken
    at its beginning or not recognised.
    """
    check_format(format, ("auto", *FORMATS))
    files: list[SourceFile] = []
    notes: list[str] = []
    if source.startswith((HUB, LUDWIG)):
        check_format(format, ("auto", *TELLING))
        opened = open_hub(source) if source.startswith(HUB) else [open_ludwig(source)]
    else:
        paths, notes = data_files(Path(source), format)
        opened = _opened(Path(source), paths, format)
        files = [fingerprint(path) for path in paths]
    recipes = _each(opened, lambda file: recognise(file, format, columns or {}))
    parts = list(zip(opened, recipes, strict=True))
    told = [*notes, *_told([(file.name, note) for file, recipe in parts for note in (*file.notes, *recipe.notes)])]
    return Source(source, _one_format(source, parts), files, told, _total(parts, files), parts)


def _opened(source: Path, paths: list[Path], format: str) -> list[RecordFile]:
    folder = source if source.is_dir() else source.parent
    opened = _each(paths, lambda path: open_file(path, path.relative_to(folder).as_posix(), format))
    splits = [SPLIT_IN_NAME.fullmatch(path.stem) for path in paths]
    names = [SPLIT_NAMES[match[1].casefold()] for match in splits if match]
    if len(names) == len(paths) and len(set(names)) > 1:
        return [replace(file, split=name) for file, name in zip(opened, names, strict=True)]
    return opened


def _each[Given, Made](given: list[Given], make: Callable[[Given], Made]) -> list[Made]:
    """What `make` gives for each; the problems of all are raised as one error."""
    made: list[Made] = []
    problems: list[Problem | str] = []
    for one in given:
        try:
            made.append(make(one))
        except AffinageError as error:
            problems += error.problems
    if len(problems) > SHOWN_PROBLEMS:
        problems[SHOWN_PROBLEMS:] = [f"and {len(problems) - SHOWN_PROBLEMS} more problems of this kind"]
    raise_all(problems)
    return made


def _told(notes: list[tuple[str, str]]) -> list[str]:
    """Each note once, with the file it is about, or how many."""
    about: dict[str, list[str]] = {}
    for name, note in notes:
        about.setdefault(note, []).append(name)
    return [f"{names[0] if len(names) == 1 else f'{len(names)} files'}: {note}" for note, names in about.items()]


def _one_format(source: str, parts: list[tuple[RecordFile, Recipe]]) -> str:
    formats = sorted({recipe.format for _, recipe in parts})
    families = {FORMATS.get(format) or format for format in formats}
    if len(families) > 1:
        examples = (next(file.name for file, recipe in parts if recipe.format == name) for name in formats)
        found = ", ".join(f"{name} ({example})" for name, example in zip(formats, examples, strict=True))
        raise AffinageError(
            Problem(source, f"files of several formats: {found}.", "one format", "Convert one after the other.")
        )
    return formats[0]


def _total(parts: list[tuple[RecordFile, Recipe]], files: list[SourceFile]) -> int | None:
    if not all(recipe.one_row_each for _, recipe in parts):
        return None
    totals = []
    for n, (file, _) in enumerate(parts):
        header = file.kind in ("csv", "tsv")
        by_line = header or file.kind == "jsonl"
        totals.append(files[n].lines - header if by_line else file.total)
    known = [total for total in totals if total is not None]
    return sum(known) if len(known) == len(totals) else None


def _no_row(source: str, counts: Counts) -> AffinageError:
    dropped = {name: n for name, n in counts.steps.get(STEP, {}).items() if name.startswith("dropped: ")}
    reasons = [f"{n} {name} (such as {counts.examples[STEP, name][0]})" for name, n in dropped.items()]
    found = f"no row could be made: {'; '.join(reasons) or 'there is no record'}."
    return AffinageError(Problem(source, found, remedy="Mend the data, or name another FORMAT= or COLUMNS=."))
