"""Page."""

from affinage.app.frame import begin


def show() -> None:
    """Draws the page for one visitor."""
    begin("summaries")
