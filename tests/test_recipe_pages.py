"""The pages of the recipes: what is read from them, what must stand in each, and how their commands are run."""

import os
import re
import runpy
import shlex
import signal
import subprocess
import sys
import time

import pytest

from affinage import recipe_pages
from affinage.errors import AffinageError
from affinage.paths import ROOT
from affinage.recipe_pages import PAGES, names, read_page, with_results

MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
TARGETS = set(re.findall(r"^([a-z][a-z-]*):", MAKEFILE, re.MULTILINE))
VARIABLES = {"CONFIG", "RUN", *re.search(r"^VARIABLES = ((?:.*\\\n)*.*)$", MAKEFILE, re.MULTILINE)[1].split()}
FILES = sorted(PAGES.glob("*.md"))
SCRIPT = ROOT / "tools" / "recipe.py"
MADE_BY_THE_READER = "ludwig_configs/alpaca/tutorial.yaml"
PAGE = """\
# A project

    ```sh run
    make indented

```sh
make train   # on a GPU
make judge RUN=last
```

```sh run
# first of all
make check CONFIG=a.yaml \\
    SET="trainer.epochs=1 \\
    adapter.r=2"  # it's quick

make rouge A="un # deux" B='l"un'
.venv/bin/python tools/list_runs.py C#
```

```python
import affinage
```

```sh run
make compare RESULTS=elsewhere
```
"""


@pytest.fixture
def pages(tmp_path, monkeypatch):
    """Writes pages into a folder that stands for docs/recipes/."""
    folder = tmp_path / "recipes"
    folder.mkdir()
    monkeypatch.setattr(recipe_pages, "PAGES", folder)

    def write(**texts):
        for name, text in texts.items():
            (folder / f"{name.replace('_', '.')}.md").write_text(text, encoding="utf-8")

    return write


def test_a_page_gives_its_commands_in_order_those_to_run_and_those_to_type(pages):
    pages(one=PAGE)
    page = read_page("one")
    assert page.run == (
        'make check CONFIG=a.yaml SET="trainer.epochs=1 adapter.r=2"',
        """make rouge A="un # deux" B='l"un'""",
        ".venv/bin/python tools/list_runs.py C#",
        "make compare RESULTS=elsewhere",
    )
    assert page.shown == ("make train", "make judge RUN=last")


def test_the_pages_in_another_language_and_the_index_are_no_recipes(pages):
    pages(one=PAGE, two=PAGE, two_fr=PAGE, README="# Recipes", README_fr="# Recettes")
    assert names() == ["one", "two"]
    assert read_page("two", "fr").run == read_page("two").run


@pytest.mark.parametrize(("name", "language"), [("three", ""), ("one", "fr"), ("../one", ""), ("README", "")])
def test_a_page_that_is_not_there_is_an_error_that_names_those_that_are(pages, name, language):
    pages(one=PAGE, two=PAGE, README="# Recipes")
    with pytest.raises(AffinageError, match=rf"NAME: there is no recipe '{name}'\. Allowed: one, two\."):
        read_page(name, language)


@pytest.mark.parametrize(
    ("text", "message"),
    [("# Empty\n```sh\nmake train\n```\n", "has no commands to run"), ('```sh run\nmake A="b\n```\n', "not closed")],
)
def test_a_page_that_cannot_be_run_is_an_error(pages, text, message):
    pages(one=text)
    with pytest.raises(AffinageError, match=rf"one\.md: .*{message}"):
        read_page("one")


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("make train", ["make", "train", "RESULTS=/a b/it's"]),
        ("make train RESULTS=x", ["make", "train", "RESULTS=x"]),
        ("make", ["make"]),
        ("tools/x.py make train", ["tools/x.py", "make", "train"]),
    ],
)
def test_runs_go_to_the_folder_of_the_recipe_whatever_its_name(tmp_path, command, expected):
    assert shlex.split(with_results(command, type(tmp_path)("/a b/it's"))) == expected


def run_recipe(pages, tmp_path, monkeypatch, *commands):
    pages(one="```sh run\n" + "\n".join(commands) + "\n```\n")
    monkeypatch.chdir(tmp_path)
    return runpy.run_path(str(SCRIPT))["main"](["--name", "one", "--results", str(tmp_path / "results")])


def test_commands_run_in_the_projects_folder_one_after_the_other(pages, tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("MAKELEVEL", "1")
    monkeypatch.setenv("MAKEFLAGS", "NAME=one")
    assert run_recipe(pages, tmp_path, monkeypatch, "pwd", "sh -c 'echo [$MAKELEVEL$MAKEFLAGS]'") == 0
    printed = capfd.readouterr().out.splitlines()
    assert printed[:4] == ["$ pwd", str(ROOT), "$ sh -c 'echo [$MAKELEVEL$MAKEFLAGS]'", "[]"]
    assert printed[-2].startswith("2 commands in ")


def test_a_command_that_fails_stops_the_recipe_with_its_exit_code(pages, tmp_path, monkeypatch, capfd):
    after = tmp_path / "after"
    assert run_recipe(pages, tmp_path, monkeypatch, "true", "sh -c 'exit 7'", f"touch {after}") == 7
    assert "command 2 of 3 ended with exit code 7" in capfd.readouterr().err
    assert not after.exists()


def test_a_recipe_without_a_name_says_which_there_are(pages, monkeypatch):
    pages(one=PAGE)
    monkeypatch.chdir(ROOT)
    with pytest.raises(AffinageError, match=r"NAME: is missing\. Allowed: one\."):
        runpy.run_path(str(SCRIPT))["main"]([])


def test_ctrl_c_lets_the_command_save_what_it_has(pages, tmp_path):
    # fault: subprocess.run kills what it started a quarter of a second after Ctrl-C
    (tmp_path / "slow.py").write_text(
        "import pathlib, time\npathlib.Path('started').touch()\n"
        "try: time.sleep(60)\nexcept KeyboardInterrupt: time.sleep(1); pathlib.Path('saved').touch(); exit(130)\n"
    )
    pages(one=f"```sh run\nsh -c 'cd {tmp_path} && exec {sys.executable} slow.py'\n```\n")
    code = "import runpy, sys, pathlib; from affinage import recipe_pages; from affinage.console import run_script\n"
    code += f"recipe_pages.PAGES = pathlib.Path({str(tmp_path / 'recipes')!r})\n"
    code += f"main = runpy.run_path({str(SCRIPT)!r})['main']\n"
    code += f"sys.exit(run_script(lambda: main(['--name', 'one', '--results', {str(tmp_path / 'results')!r}])))"
    process = subprocess.Popen([sys.executable, "-c", code], start_new_session=True)
    for _ in range(600):
        if (tmp_path / "started").exists():
            break
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(timeout=60) == 130
    assert (tmp_path / "saved").exists()


def commands_of(path):
    """Every make line of a page: those of its blocks, and those between backquotes in its text."""
    name, _, language = path.stem.partition(".")
    in_text = re.findall(r"`(make [^`]+)`", path.read_text(encoding="utf-8"))
    page = read_page(name, language) if name != "README" else None
    return [*(page.run + page.shown if page else ()), *in_text]


def test_there_are_recipes():
    assert {"alpaca"} <= set(names())


@pytest.mark.parametrize("name", names())
def test_both_languages_rehearse_and_show_the_same_commands(name):
    english, french = read_page(name), read_page(name, "fr")
    assert english.run == french.run
    assert english.shown == french.shown


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_fence_is_closed_and_every_block_of_commands_is_read(path):
    lines = path.read_text(encoding="utf-8").splitlines()
    assert len([line for line in lines if line.lstrip().startswith("```")]) % 2 == 0
    opened = [line for line in lines if re.match(r"\s*```(sh|bash|shell|console)", line)]
    assert len(opened) == len(recipe_pages.BLOCK.findall(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize("name", names())
def test_a_rehearsal_needs_no_shell_and_no_network_and_ends_in_a_comparison(name):
    commands = read_page(name).run
    for command in commands:
        words = shlex.split(command)
        assert words[0] in ("make", ".venv/bin/python"), command
        bare = re.sub(r"\"[^\"]*\"|'[^']*'", "", command)
        assert not re.search(r"[|&;<>$`*~]", bare), command
        assert "://" not in command, command
    assert any(command.startswith("make train ") for command in commands)
    assert commands[-1].startswith("make compare ")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_target_variable_and_config_that_a_page_names_exists(path):
    for command in commands_of(path):
        _, *words = shlex.split(command)
        if not words or command.split()[0] != "make":
            continue
        given = dict(word.split("=", 1) for word in words if re.match(r"[A-Z_]+=", word))
        targets = [word for word in words if not re.match(r"[A-Z_]+=", word)]
        assert set(targets) <= TARGETS, command
        assert set(given) <= VARIABLES, command
        if "CONFIG" in given and given["CONFIG"] != MADE_BY_THE_READER:
            assert (ROOT / given["CONFIG"]).is_file(), command


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_link_leads_somewhere_and_no_place_is_left_open(path):
    text = path.read_text(encoding="utf-8")
    assert "@@" not in text  # a place that nobody filled in
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        file, _, _ = target.partition("#")
        if "://" not in target and file:
            assert (path.parent / file).exists(), target


def test_the_index_has_every_recipe_with_both_pages_and_the_line_that_rehearses_it():
    index = (PAGES / "README.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"^\| \[[^]]+\]\((\w+)\.md\)", index, re.MULTILINE))
    assert listed == set(names())
    for name in names():
        assert f"({name}.fr.md)" in index and f"`make recipe NAME={name}`" in index, name
