"""Every recipe, rehearsed as a person does it who has just cloned the project: from nothing, and without a network."""

import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from affinage.paths import ROOT
from affinage.recipe_pages import names, read_page
from affinage.runs import all_runs

pytestmark = [pytest.mark.slow, pytest.mark.skipif(os.name == "nt", reason="links to the virtual environment")]
NOWHERE = "http://127.0.0.1:9"  # nothing listens there


@pytest.fixture
def checkout(tmp_path):
    """A copy of the project's files as they are, with the packages that this test runs with."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "-z", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True
    )
    if listed.returncode:
        pytest.skip("not a git checkout, so nothing says which files belong to the project")
    root = tmp_path / "clone"
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, root / name)
    link_packages(root)
    return root


def link_packages(root: Path) -> None:
    """A .venv that set-up takes for its own: links to the packages here, and the stamp of this lock and folder."""
    (root / ".venv").mkdir()
    for entry in Path(sys.prefix).iterdir():
        if not entry.name.startswith(".lock"):
            (root / ".venv" / entry.name).symlink_to(entry)
    both = (root / "requirements.lock").read_bytes() + (root / "pyproject.toml").read_bytes()
    (root / ".venv" / ".lock-sha").write_text(f"{hashlib.sha256(both).hexdigest()} {root.resolve()}\n")


def make(command: str, root: Path) -> subprocess.CompletedProcess[str]:
    offline = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), NOWHERE)
    offline |= {"NO_PROXY": "127.0.0.1,localhost", "no_proxy": "127.0.0.1,localhost", "HF_HUB_OFFLINE": "1"}
    homes = {"HF_HOME": str(root.parent / "hub"), "LUDWIG_CACHE": str(root.parent / "ludwig")}
    environment = {**os.environ, **offline, **homes, "PYTHONPATH": str(root / "src"), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        command.split(), cwd=root, env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL
    )


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", names())
def test_make_recipe_goes_through_and_puts_what_it_trained_side_by_side(checkout, name):
    done = make(f"make recipe NAME={name}", checkout)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    commands = read_page(name).run
    shown = [line for line in done.stdout.splitlines() if line.startswith("$ ")]
    without_folders = [command.partition(" RESULTS=")[0] for command in commands]
    assert [line.removeprefix("$ ").partition(" RESULTS=")[0] for line in shown] == without_folders
    results = checkout / "results" / "recipes" / name
    trained = {(run.manifest["task"], run.manifest["config"]): run for run in reversed(all_runs(results))}
    pages = [page.read_text(encoding="utf-8") for page in (results / "comparisons").glob("*.html")]
    configs = re.findall(
        r"^make train CONFIG=ludwig_configs/([\w-]+)/([\w.-]+)\.yaml", "\n".join(commands), re.MULTILINE
    )
    assert configs and pages
    for config in configs:
        assert trained[config].status == "finished"
        assert any(f"run {trained[config].folder.name}" in page for page in pages), config
    assert any('<span class="badge base">base' in page for page in pages)
