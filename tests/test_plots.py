"""The loss curve: a real PNG, whatever the run has to show."""

import struct

import pytest
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from matplotlib.image import imread

from affinage.plots import loss_curve

STEPS = [{"step": i, "loss": 3 / i} for i in range(1, 41)]
EVALUATIONS = [{"step": s, "train_loss": 3 / s, "validation_loss": 3 / s + 0.01 * s} for s in (10, 20, 30, 40)]
WITHOUT_VALIDATION = [{"step": e["step"], "train_loss": e["train_loss"]} for e in EVALUATIONS]


@pytest.fixture
def drawn(monkeypatch):
    """The figures as they were saved; saving itself happens as always."""
    figures, save = [], Figure.savefig

    def keep(figure, *args, **kwargs):
        save(figure, *args, **kwargs)
        figures.append(figure)

    monkeypatch.setattr(Figure, "savefig", keep)
    return figures


def lines_of(figure):
    return {line.get_label(): line.get_xydata().tolist() for line in figure.axes[0].lines}


@pytest.mark.parametrize(
    ("steps", "evaluations", "best_step"),
    [
        (STEPS, EVALUATIONS, 20),
        (STEPS, WITHOUT_VALIDATION, 40),
        (STEPS[:1], EVALUATIONS[:1], 10),
        (STEPS[:1], WITHOUT_VALIDATION[:1], 10),
        (STEPS, [], 0),
    ],
)
def test_any_run_gives_a_png_of_1200_by_675_pixels(tmp_path, steps, evaluations, best_step):
    path = tmp_path / "loss.png"
    loss_curve(steps, evaluations, best_step, path)
    raw = path.read_bytes()
    assert raw[:8] == b"\x89PNG\r\n\x1a\n"
    assert struct.unpack(">II", raw[16:24]) == (1200, 675)
    pixels = imread(path)
    assert pixels.std() > 0.01  # something is drawn
    assert list(tmp_path.iterdir()) == [path]


def test_the_lines_are_the_losses_of_the_run(tmp_path, drawn):
    loss_curve(STEPS, EVALUATIONS, 20, tmp_path / "loss.png")
    lines = lines_of(drawn[0])
    assert lines["each step"] == [[s["step"], s["loss"]] for s in STEPS]
    assert lines["train"] == [[e["step"], e["train_loss"]] for e in EVALUATIONS]
    assert lines["validation"] == [[e["step"], e["validation_loss"]] for e in EVALUATIONS]
    assert drawn[0].axes[0].get_yscale() == "log"


def test_the_best_step_is_named_with_its_validation_loss(tmp_path, drawn):
    loss_curve(STEPS, EVALUATIONS, 20, tmp_path / "loss.png")
    assert [text.get_text().strip() for text in drawn[0].axes[0].texts] == ["best: 0.3500 at step 20"]
    assert [20, 20] in [list(line.get_xdata()) for line in drawn[0].axes[0].lines]  # the upright line at the best step


@pytest.mark.parametrize("best_step", [10, 20, 30, 40])
@pytest.mark.parametrize("evaluations", [EVALUATIONS, EVALUATIONS[::-1]])
def test_the_text_of_the_best_step_lies_inside_the_picture(tmp_path, drawn, best_step, evaluations):
    steps = [{"step": i, "loss": 1.0} for i in range(10, 41)]
    falling = [e | {"validation_loss": 1 + i / 10} for i, e in enumerate(evaluations)]
    loss_curve(steps, falling, best_step, tmp_path / "loss.png")
    [text], figure = drawn[0].axes[0].texts, drawn[0]
    box = text.get_window_extent()
    assert box.x0 >= 0 and box.y0 >= 0
    assert box.x1 <= figure.bbox.x1 and box.y1 <= figure.bbox.y1


def test_without_validation_there_is_neither_its_line_nor_a_best_step(tmp_path, drawn):
    loss_curve(STEPS, WITHOUT_VALIDATION, 40, tmp_path / "loss.png")
    assert "validation" not in lines_of(drawn[0])
    assert not drawn[0].axes[0].texts
    assert [text.get_text() for text in drawn[0].axes[0].get_legend().get_texts()] == ["each step", "train"]


def test_no_figure_stays_open(tmp_path):
    before = plt.get_fignums()
    loss_curve(STEPS, EVALUATIONS, 20, tmp_path / "loss.png")
    assert plt.get_fignums() == before


def test_a_picture_that_exists_is_replaced(tmp_path):
    path = tmp_path / "loss.png"
    path.write_bytes(b"old")
    loss_curve(STEPS, EVALUATIONS, 20, path)
    assert path.read_bytes()[:4] == b"\x89PNG"
