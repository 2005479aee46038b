"""What a plan and an upload look like on a terminal."""

import shlex
from collections import Counter
from collections.abc import Mapping

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from affinage.publishing.plan import Plan
from affinage.publishing.uploader import Published

STYLES = {"new": "green", "changed": "yellow", "delete": "red", "same": "dim", "left": "dim"}


def plan_table(plan: Plan) -> Table:
    """Every file with its size, hash and action."""
    where = f"{plan.target.url}, {'private' if plan.target.private else 'public'}"
    place = "a pull request" if plan.target.create_pr else f"the branch {plan.target.revision}"
    tag = f", tagged {plan.target.tag}" if plan.target.tag else ""
    table = Table(title=f"{where}, {place}{tag}", title_justify="left", title_style="bold")
    for heading, side in (("file", "left"), ("size", "right"), ("sha256", "left"), ("action", "left")):
        table.add_column(heading, justify=side, overflow="fold")  # type: ignore[arg-type]
    for entry in plan.files:
        row = (entry.path, f"{entry.size:,}", entry.sha256[:12] or "-", entry.action)
        table.add_row(*row, style=STYLES[entry.action])
    return table


def plan_summary(plan: Plan) -> str:
    """How many files are new, changed, the same, to be deleted or left, and how much is sent."""
    counts = Counter(entry.action for entry in plan.files)
    size = sum(entry.size for entry in plan.files if entry.action in ("new", "changed"))
    return f"{', '.join(f'{n} {action}' for action, n in counts.items())}; {size:,} bytes to send"


def plan_lines(plan: Plan) -> list[RenderableType]:
    """The plan as a person reads it before anything is sent: the table, the sum, and what is worth knowing."""
    notes = [Text.assemble(("note:", "yellow"), f" {notice}") for notice in plan.notices]
    return [plan_table(plan), Text(plan_summary(plan)), *notes]


def make_line(target: str, given: Mapping[str, str]) -> str:
    """The make command with the variables that were given and are not what they would be anyway."""
    usual = {"KIND": "adapter", "REVISION": "main"}
    words = [f"{name}={shlex.quote(value)}" for name, value in given.items() if value and usual.get(name) != value]
    return " ".join([f"make {target}", *words])


def published_lines(published: Published) -> list[str]:
    """Where it is now."""
    sent = (
        f"{published.sent} file{'s' * (published.sent > 1)} in one commit"
        if published.sent
        else "nothing to do: it is there already"
    )
    lines = [f"{published.url}  ({sent})", f"commit {published.commit}"]
    lines += [f"pull request {published.pull_request}"] if published.pull_request else []
    return lines + ([f"tag {published.tag}"] if published.tag else [])
