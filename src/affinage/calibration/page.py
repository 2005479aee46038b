"""The sheet as one HTML page: people score one answer at a time, without a network, and download the filled sheet."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from markupsafe import Markup

from affinage.calibration.sheet import COLUMNS
from affinage.comparison.rows import as_script
from affinage.escaping import content_hash, escaping_environment
from affinage.judging.rubrics import Rubric

TEMPLATES = Path(__file__).parent / "templates"
POLICY = "default-src 'none'; script-src {script}; style-src {style}; base-uri 'none'; form-action 'none'"


def write_page(path: Path, sheet: str, lines: Sequence[Mapping[str, str]], rubric: Rubric) -> None:
    """Writes the page for the lines of a sheet, in place of an older page; `sheet` is the name it is downloaded by."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    partial.write_text(render(sheet, lines, rubric), encoding="utf-8", newline="\n")
    partial.replace(path)


def render(sheet: str, lines: Sequence[Mapping[str, str]], rubric: Rubric) -> str:
    """The page as HTML. Texts of models and data stand in it as JSON alone, in which no markup can begin.

    What is filled in stays in the browser under a key made of the sheet's codes, so that a closed page loses nothing.
    """
    style, script = ((TEMPLATES / name).read_text(encoding="utf-8") for name in ("annotate.css", "annotate.js"))
    codes = hashlib.sha256(" ".join(line["item"] for line in lines).encode()).hexdigest()[:16]
    data = {
        "sheet": sheet,
        "key": f"affinage-sheet-{codes}",
        "columns": COLUMNS,
        "lines": list(lines),
        "levels": {str(level): meaning for level, meaning in rubric.levels.items()},
    }
    environment = escaping_environment(TEMPLATES, {}, lstrip_blocks=False)
    return environment.get_template("annotate.html.j2").render(
        policy=POLICY.format(script=content_hash(script), style=content_hash(style)),
        style=Markup(style),
        script=Markup(script),
        data=as_script(data),
        rubric=rubric,
        n=len(lines),
    )
