"""The picture beside a summary: how scores are spread, or who won how many rows."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

COLORS = {"base": "#9aa5b1", "fewshot": "#d9a441", "tuned": "#2463a8", "tie": "#d5dae0"}


def draw(summary: Mapping[str, Any], path: Path) -> None:
    """Writes a PNG: a histogram of scores for each system, or for pairwise the wins of each and the ties."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(8, 4.5), dpi=150)
    _wins(axes, summary["pairwise"]) if "pairwise" in summary else _scores(axes, summary["systems"])
    judge = summary["judge"].get("name", "")
    demo = "DEMO, judged by rules and no model\n" if summary["demo"] else ""
    axes.set_title(f"{demo}{summary['suite']}, judge {judge}, n = {summary['n']}", fontsize=10)
    if summary["demo"]:
        axes.text(0.5, 0.5, "DEMO", transform=axes.transAxes, fontsize=70, color="#c8501e", alpha=0.15, ha="center")
    axes.grid(alpha=0.25, axis="y")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    partial = path.with_name(path.name + ".partial")
    figure.savefig(partial, format="png")
    plt.close(figure)
    partial.replace(path)


def _scores(axes: Any, systems: Mapping[str, Mapping[str, Any]]) -> None:
    width = 9 / len(systems)
    for place, (system, entry) in enumerate(systems.items()):
        counts, mean = entry["histogram"], entry["mean"]["value"]
        bins = 100 / len(counts)
        left = [i * bins + 0.5 + place * width for i in range(len(counts))]
        failed = entry["items"] - entry["ok"]
        label = f"{system}: " + ("no score" if mean is None else f"mean {mean:.1f}")
        label += f", {failed} without a verdict" if failed else ""
        axes.bar(left, counts, width, align="edge", color=COLORS[system], label=label)
        if mean is not None:
            axes.axvline(mean, color=COLORS[system], linestyle=":", linewidth=1.5)
    axes.set(xlabel="score (0 to 100)", ylabel="answers", xlim=(0, 100), xticks=range(0, 101, 10))
    axes.legend(frameon=False)


def _wins(axes: Any, duels: Mapping[str, Any]) -> None:
    counts = {**duels["wins"], "tie": duels["ties"]}
    bars = axes.bar([f"{name} wins" for name in duels["wins"]] + ["tie"], list(counts.values()), 0.6)
    for name, bar in zip(counts, bars, strict=True):
        bar.set_color(COLORS[name])
    axes.bar_label(bars)
    axes.set(ylabel="rows (a win counts only in both orders)")
