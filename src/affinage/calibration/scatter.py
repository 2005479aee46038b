"""The picture of a calibration: each answer by the score of people and that of the judge."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from affinage.calibration.agreement import BINS

BLUE, GREY = "#2463a8", "#9aa5b1"


def draw(content: Mapping[str, Any], points: Sequence[tuple[float, float]], path: Path) -> None:
    """Writes a PNG; `points` are (people's score, judge's score). A larger dot is several answers."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(6, 6), dpi=150)
    counted = Counter(points)
    x, y = zip(*counted, strict=True)
    axes.plot([0, 100], [0, 100], color=GREY, linewidth=1, label="the same score")
    bias = content["judge_people"]["bias"]["value"]
    middle = [max(0.0, -bias), min(100.0, 100.0 - bias)]
    shifted = [value + bias for value in middle]
    axes.plot(middle, shifted, color=BLUE, linewidth=1, linestyle=":", label=f"mean difference {bias:+.1f}")
    axes.scatter(x, y, s=[40 * n for n in counted.values()], color=BLUE, alpha=0.55, linewidths=0, clip_on=False)
    axes.set_title(_title(content), fontsize=10)
    if content["demo"]:
        axes.text(0.5, 0.5, "DEMO", transform=axes.transAxes, fontsize=70, color="#c8501e", alpha=0.15, ha="center")
    ticks = range(0, 101, 100 // BINS)
    people = "people" if len(content["sheets"]) == 1 else f"people, mean of {len(content['sheets'])}"
    axes.set(xlabel=f"score of {people} (0 to 100)", ylabel="score of the judge (0 to 100)", aspect="equal")
    axes.set(xlim=(-2, 102), ylim=(-2, 102), xticks=ticks, yticks=ticks)
    axes.grid(alpha=0.25)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="upper left", fontsize=9)
    figure.tight_layout()
    partial = path.with_name(path.name + ".partial")
    figure.savefig(partial, format="png")
    plt.close(figure)
    partial.replace(path)


def _title(content: Mapping[str, Any]) -> str:
    whole = content["judge_people"]
    demo = "DEMO, scored by rules and no model\n" if content["demo"] else ""
    rho = whole["spearman"]["value"]
    figures = "no rank correlation" if rho is None else f"Spearman {rho:.2f}"
    name = content["judge"]["name"].replace("$", r"\$")  # else a pair of these would begin a formula
    return f"{demo}{content['suite']}, judge {name}, n = {whole['n']}, {figures}"
