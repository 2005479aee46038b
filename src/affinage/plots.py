"""Pictures of a run."""

from pathlib import Path
from typing import Any

NLL = "loss (nats per answer token)"


def loss_curve(
    steps: list[dict[str, Any]], evaluations: list[dict[str, Any]], best_step: int, path: Path, loss_name: str = NLL
) -> None:
    """Writes a PNG with the training loss of every step, the evaluated losses and the best step.

    `steps` holds {"step", "loss"} and `evaluations` {"step", "train_loss", "validation_loss"}; losses stand on a
    logarithmic axis, named `loss_name`.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(8, 4.5), dpi=150)
    axes.plot([s["step"] for s in steps], [s["loss"] for s in steps], color="#9aa5b1", linewidth=0.8, label="each step")
    at = [e["step"] for e in evaluations]
    axes.plot(
        at,
        [e["train_loss"] for e in evaluations],
        "o-",
        color="#2463a8",
        markersize=4,
        label="train",
    )
    validation = [(e["step"], e["validation_loss"]) for e in evaluations if "validation_loss" in e]
    if validation:
        axes.plot(*zip(*validation, strict=True), "s-", color="#c8501e", markersize=4, label="validation")
        best = dict(validation).get(best_step)
        if best is not None:
            axes.axvline(best_step, color="#c8501e", linestyle=":", linewidth=1)
            axes.text(
                best_step,
                0.97,
                f"best: {best:.4f} at step {best_step} ",
                transform=axes.get_xaxis_transform(),
                ha="right",
                va="top",
                color="#c8501e",
            )
    axes.set(xlabel="optimizer step", ylabel=loss_name, yscale="log")
    axes.grid(alpha=0.25, which="both")
    axes.legend(frameon=False)
    figure.tight_layout()
    partial = path.with_suffix(".partial")
    figure.savefig(partial, format="png")
    plt.close(figure)
    partial.replace(path)
