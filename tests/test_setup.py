"""Setting up: the shell script, the front door and the lock, each run as a person would."""

import os
import re
import shutil
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest

from affinage.paths import ROOT

POSIX_TOOLS = ("awk", "cat", "chmod", "cut", "date", "dirname", "mkdir", "rm", "sh", "sha256sum", "shasum")
LOCK = (ROOT / "requirements.lock").read_text(encoding="utf-8")
PINNED = dict(re.findall(r"^([a-z0-9][a-z0-9.-]*)(?:\[[^]]*\])?==([^ ;]+)", LOCK, re.MULTILINE))

pytestmark = pytest.mark.skipif(os.name == "nt", reason="the shims are POSIX scripts")


class Checkout:
    """A copy of what set-up reads, with a PATH that holds the POSIX tools and no Python."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "a checkout"
        self.bin = folder / "bin"
        self.home = folder / "home"
        for made in (self.root / "tools", self.bin, self.home):
            made.mkdir(parents=True)
        shutil.copy(ROOT / "tools" / "setup.sh", self.root / "tools")
        for name in ("pyproject.toml", "requirements.lock", "Makefile"):
            shutil.copy(ROOT / name, self.root)
        for name in POSIX_TOOLS:
            if found := shutil.which(name):
                (self.bin / name).symlink_to(found)

    def setup(self, **variables: str) -> subprocess.CompletedProcess[str]:
        environment = {"PATH": str(self.bin), "HOME": str(self.home), **variables}
        command = ["sh", str(self.root / "tools" / "setup.sh")]
        return subprocess.run(command, env=environment, capture_output=True, text=True, cwd=self.home)


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path)


def executable(path: Path, script: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def fake_python(path: Path) -> Path:
    """A Python that claims to suit and cannot make a virtual environment, like Debian's without its venv package."""
    return executable(path, f'case "$1" in -c) printf %s "{path}" ;; *) exit 1 ;; esac')


def test_without_a_suitable_python_one_message_says_how_to_get_one(checkout: Checkout) -> None:
    executable(checkout.bin / "python3", "exit 1")
    finished = checkout.setup()
    assert finished.returncode == 2
    assert finished.stdout == ""
    assert finished.stderr.count("error:") == 1
    for part in ("python3.12", ".pyenv", "uv python install 3.12", "pyenv install 3.12", "apt install", "python.org"):
        assert part in finished.stderr
    assert not (checkout.root / ".venv").exists()


def test_a_python_that_is_too_old_is_passed_over(checkout: Checkout) -> None:
    old = shutil.which("python3", path="/usr/bin")
    if not old or subprocess.run([old, "-c", "import sys; sys.exit(sys.version_info >= (3, 12))"]).returncode:
        pytest.skip("this system's own Python is new enough")
    (checkout.bin / "python3").symlink_to(old)
    assert checkout.setup().returncode == 2


def test_a_python_named_by_hand_must_suit(checkout: Checkout) -> None:
    fake_python(checkout.bin / "python3")
    finished = checkout.setup(PYTHON="/nowhere/python3")
    assert finished.returncode == 2
    assert "PYTHON=/nowhere/python3" in finished.stderr
    assert "Making .venv" not in finished.stderr


def test_the_order_is_the_named_one_then_the_path_then_pyenv(checkout: Checkout) -> None:
    in_pyenv = fake_python(checkout.home / ".pyenv" / "versions" / "3.12.9" / "bin" / "python3")
    assert f"Making .venv with {in_pyenv}" in checkout.setup().stderr
    on_path = fake_python(checkout.bin / "python3.13")
    assert f"Making .venv with {on_path}" in checkout.setup().stderr
    named = fake_python(checkout.home / "my python")
    assert f"Making .venv with {named}" in checkout.setup(PYTHON=str(named)).stderr


def test_pyenv_is_found_where_its_variable_says(checkout: Checkout) -> None:
    python = fake_python(checkout.home / "elsewhere" / "versions" / "3.13.1" / "bin" / "python3")
    finished = checkout.setup(PYENV_ROOT=str(checkout.home / "elsewhere"))
    assert f"Making .venv with {python}" in finished.stderr


def test_a_python_that_uv_knows_is_found(checkout: Checkout) -> None:
    python = fake_python(checkout.home / "managed" / "python3.12")
    executable(checkout.bin / "uv", f'case "$1" in python) printf %s "{python}" ;; --version) ;; *) exit 1 ;; esac')
    assert f"Making .venv with {python}" in checkout.setup().stderr


def test_a_python_without_venv_is_told_so(checkout: Checkout) -> None:
    fake_python(checkout.bin / "python3")
    finished = checkout.setup()
    assert finished.returncode == 2
    assert "cannot make a virtual environment" in finished.stderr
    assert "apt install python3-venv" in finished.stderr


def test_the_right_python_of_this_machine_suits(checkout: Checkout) -> None:
    # The stand-in for uv fails, so that nothing is installed.
    executable(checkout.bin / "uv", '[ "$1" = --version ]')
    finished = checkout.setup(PYTHON=sys.executable)
    assert "Making .venv with" in finished.stderr
    assert finished.returncode != 0


@pytest.fixture
def small_checkout(checkout: Checkout) -> Checkout:
    """The real script, uv and project, with a lock of one package that set-up left in uv's cache."""
    block = re.search(r"^setuptools==.*?(?=^[a-z0-9])", LOCK, re.MULTILINE | re.DOTALL)
    assert block
    (checkout.root / "requirements.lock").write_text(block[0])
    shutil.copytree(ROOT / "src", checkout.root / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    (checkout.bin / "uv").symlink_to(Path(sys.executable).parent / "uv")
    return checkout


def quick_setup(checkout: Checkout) -> subprocess.CompletedProcess[str]:
    uv = Path(sys.executable).parent / "uv"
    cache = subprocess.run([uv, "cache", "dir"], capture_output=True, text=True, check=True).stdout.strip()
    return checkout.setup(PYTHON=sys.executable, UV_CACHE_DIR=cache, UV_OFFLINE="1")


@pytest.mark.slow
def test_setup_installs_once_and_repeats_only_when_needed(small_checkout: Checkout) -> None:
    venv = small_checkout.root / ".venv"
    first = quick_setup(small_checkout)
    assert (first.returncode, first.stdout) == (0, ""), first.stderr
    shown = subprocess.run(
        [venv / "bin" / "python", "-c", "import affinage as a; print(a.__file__)"], capture_output=True
    )
    assert Path(shown.stdout.decode().strip()).is_relative_to(small_checkout.root), shown.stderr

    started = time.perf_counter()
    again = quick_setup(small_checkout)
    assert (again.returncode, again.stdout, again.stderr) == (0, "", "")
    assert time.perf_counter() - started < 1

    with (small_checkout.root / "pyproject.toml").open("a") as project:
        project.write("\n# changed\n")
    changed = quick_setup(small_checkout)
    assert "Installing" in changed.stderr and "Making .venv" not in changed.stderr
    assert quick_setup(small_checkout).stderr == ""


@pytest.mark.slow
@pytest.mark.parametrize("lost", ["bin/python", ".lock-sha"])
def test_setup_is_repeated_after_an_interruption_or_a_lost_python(small_checkout: Checkout, lost: str) -> None:
    assert quick_setup(small_checkout).returncode == 0
    (small_checkout.root / ".venv" / lost).unlink()
    repaired = quick_setup(small_checkout)
    assert "Making .venv" in repaired.stderr
    assert quick_setup(small_checkout).stderr == ""


@pytest.mark.slow
def test_a_moved_checkout_is_set_up_again(small_checkout: Checkout) -> None:
    assert quick_setup(small_checkout).returncode == 0
    moved = small_checkout.root.with_name("moved")
    small_checkout.root = small_checkout.root.rename(moved)
    assert "Making .venv" in quick_setup(small_checkout).stderr


@pytest.mark.slow
def test_a_failed_installation_leaves_no_stamp(small_checkout: Checkout) -> None:
    lock = small_checkout.root / "requirements.lock"
    lock.write_text(re.sub("sha256:[0-9a-f]{64}", "sha256:" + "0" * 64, lock.read_text()))
    assert quick_setup(small_checkout).returncode != 0
    assert not (small_checkout.root / ".venv" / ".lock-sha").exists()


def test_make_alone_lists_every_target_in_the_order_of_use() -> None:
    makefile = (ROOT / "Makefile").read_text()
    declared = re.search(r"^\.PHONY: (.*)$", makefile.replace("\\\n", " "), re.MULTILINE)
    assert declared
    targets = [name for name in declared[1].split() if name not in ("help", "venv")]
    shown = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert re.findall(r"^  make ([a-z-]+) ", shown, re.MULTILINE) and len(targets) > 10
    assert set(re.findall(r"^  make ([a-z-]+) ", shown, re.MULTILINE)) == set(targets)
    assert shown.index("Set up") < shown.index("Train") < shown.index("Check the project")
    assert len(makefile.splitlines()) <= 300


def test_make_train_passes_values_as_typed(checkout: Checkout) -> None:
    show = 'printf "<%s>" "$@"'
    executable(checkout.root / ".venv" / "bin" / "python", show)
    executable(checkout.root / "tools" / "setup.sh", "exit 0")
    make = shutil.which("make")
    assert make
    command = [make, "train", "CONFIG=my configs/a.yaml", 'SET=a.b="x y" c=[1,2]', "DATASET=it's mine.csv"]
    shown = subprocess.run(command, cwd=checkout.root, capture_output=True, text=True, check=True).stdout
    values = ("--config", "my configs/a.yaml", "--dataset", "it's mine.csv", "--set", 'a.b="x y" c=[1,2]')
    assert shown == "<tools/train.py>" + "".join(f"<{value}>" for value in values)


def test_make_train_passes_nothing_that_was_not_given(checkout: Checkout) -> None:
    executable(checkout.root / ".venv" / "bin" / "python", 'printf "<%s>" "$@"')
    executable(checkout.root / "tools" / "setup.sh", "exit 0")
    environment = {**os.environ, "SET": "trainer.epochs=9", "DATASET": "of another program"}
    command = ["make", "train"]
    shown = subprocess.run(
        command, cwd=checkout.root, env=environment, capture_output=True, text=True, check=True
    ).stdout
    assert re.fullmatch(r"<tools/train\.py><--config><ludwig_configs/[^>]+\.yaml>", shown)


def test_the_lock_names_no_host() -> None:
    assert "://" not in LOCK
    assert not re.search(r"^-", LOCK, re.MULTILINE), "an option such as an index address"


def test_every_package_in_the_lock_has_a_hash() -> None:
    packages = re.split(r"^(?=[a-z0-9])", LOCK, flags=re.MULTILINE)[1:]
    assert len(packages) > 100
    assert [text.split("==")[0] for text in packages if "--hash=sha256:" not in text] == []


@pytest.mark.parametrize(
    ("name", "version"), [("torch", "2.11.0"), ("torchaudio", "2.11.0"), ("torchvision", "0.26.0")]
)
def test_the_lock_keeps_the_torch_that_ludwig_imports(name: str, version: str) -> None:
    assert PINNED[name] == version


def test_every_direct_dependency_is_in_the_lock_at_its_pin() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    direct = [*project["project"]["dependencies"], *project["dependency-groups"]["dev"]]
    for requirement in direct:
        name, _, version = requirement.partition(";")[0].strip().partition("==")
        name = re.sub(r"[-_.]+", "-", name.partition("[")[0]).lower()
        assert name in PINNED, f"{requirement}: run make lock"
        assert version in ("", PINNED[name]), f"{requirement}: run make lock"


def test_cuda_packages_are_for_linux_only() -> None:
    for line in re.findall(r"^(?:nvidia-(?!ml-py)|triton|cuda-).*$", LOCK, re.MULTILINE):
        assert "sys_platform == 'linux'" in line, line
