"""The rules that keep folders named after libraries harmless and every file short enough to read."""

import ast
import importlib.util
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from affinage.paths import ROOT

FOLDERS_WITHOUT_INIT = ("datasets", "evaluate", "tools", "results", "ludwig_configs", "tests", "benchmarks")
SCRIPT_FOLDERS = ("tools", "evaluate", "benchmarks")
VAGUE_NAMES = ("utils.py", "helpers.py", "manager.py", "common.py")
# Written in pieces, so that this file passes its own test.
REGISTRIES = (r"pypi" + r"\.org", "python" + "hosted", r"npmjs" + r"\.org", r"deb\.debian" + r"\.org")
MACHINES_AND_MARKS = ("/wo" + "rk/", "/ro" + "ot/", "TO" + "DO", "FIX" + "ME")
FORBIDDEN = re.compile("|".join((*REGISTRIES, *MACHINES_AND_MARKS)))


def project_files() -> list[Path]:
    """Every file git tracks or would track."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "-z", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True
    )
    if listed.returncode:
        pytest.skip("not a git checkout, so nothing says which files belong to the project")
    return sorted(path for name in listed.stdout.split("\0") if name and (path := ROOT / name).is_file())


def python_files(*folders: str) -> list[Path]:
    found = [path for path in project_files() if path.suffix == ".py" and path.relative_to(ROOT).parts[0] in folders]
    assert found, f"no Python file below {folders}: the test would check nothing"
    return found


def scripts() -> list[Path]:
    return python_files(*SCRIPT_FOLDERS)


def imported_modules(path: Path) -> set[str]:
    """First part of every absolute import in a file."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.split(".")[0])
    return names


@pytest.mark.parametrize("folder", FOLDERS_WITHOUT_INIT)
def test_the_folder_is_no_package(folder: str) -> None:
    assert not (ROOT / folder / "__init__.py").exists()


def test_nothing_puts_the_root_on_the_path() -> None:
    assert not (ROOT / "conftest.py").exists()
    assert not (ROOT / "__init__.py").exists()


def test_the_datasets_library_is_found_instead_of_our_folder() -> None:
    spec = importlib.util.find_spec("datasets")
    assert spec is not None
    assert spec.origin is not None, "an empty namespace package: the library is not installed"
    assert not Path(spec.origin).is_relative_to(ROOT / "datasets")


def test_the_datasets_library_is_found_even_from_the_root() -> None:
    # With `python -c` the working folder comes first on the path.
    code = "import importlib.util as u; print(u.find_spec('datasets').origin)"
    shown = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert not Path(shown.stdout.strip()).is_relative_to(ROOT / "datasets")


def test_no_python_below_the_data_folders() -> None:
    folders = ("datasets", "results", "ludwig_configs")
    found = [path for path in project_files() if path.suffix == ".py" and path.relative_to(ROOT).parts[0] in folders]
    assert found == []


def test_every_script_name_is_unique() -> None:
    names = [path.stem for path in scripts()]
    assert len(names) == len(set(names)), sorted(names)


def test_no_script_hides_a_library() -> None:
    libraries = set(sys.stdlib_module_names) | set(metadata.packages_distributions()) | {"evaluate"}
    assert {path.stem for path in scripts()} & libraries == set()


def test_no_script_imports_another() -> None:
    names = {path.stem for path in scripts()} | set(SCRIPT_FOLDERS)
    found = {path.name: both for path in scripts() if (both := imported_modules(path) & names)}
    assert found == {}


def test_every_python_file_has_300_lines_at_most() -> None:
    lines = {
        path: len(path.read_text(encoding="utf-8").splitlines())
        for path in python_files("src", "tests", *SCRIPT_FOLDERS)
    }
    assert {str(path.relative_to(ROOT)): count for path, count in lines.items() if count > 300} == {}


def test_the_package_parses_no_arguments_and_prints_nothing() -> None:
    for path in python_files("src"):
        assert "argparse" not in imported_modules(path), path
        calls = (node.func for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Call))
        assert not any(isinstance(called, ast.Name) and called.id == "print" for called in calls), path


def test_every_file_name_says_what_is_in_it() -> None:
    assert [path for path in project_files() if path.name in VAGUE_NAMES] == []


def test_no_file_names_a_registry_a_machine_or_unfinished_work() -> None:
    found = []
    for path in project_files():
        content = path.read_bytes()
        if b"\0" in content:
            continue
        for number, line in enumerate(content.decode("utf-8", errors="replace").splitlines(), start=1):
            if match := FORBIDDEN.search(line):
                found.append(f"{path.relative_to(ROOT)}:{number}: {match[0]}")
    assert found == []
