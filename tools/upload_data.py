"""Publishes a dataset with its card on the Hugging Face Hub; private unless --public is given.

.venv/bin/python tools/upload_data.py --task voix-passive --repo user/name --plan
"""

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from affinage.console import next_command, quiet_libraries, run_script, stderr, stdout
from affinage.errors import raise_all
from affinage.paths import RESULTS, ROOT

if TYPE_CHECKING:
    from affinage.publishing.plan import Plan
    from affinage.publishing.release import Release
    from affinage.publishing.uploader import HubUploader


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", required=True, help="the dataset is datasets/<task>/, with its card README.md")
    parser.add_argument("--repo", required=True, help="user/name on the Hub; it is made when it is not there")
    parser.add_argument("--public", action="store_true", help="make a new repository public (default: private)")
    parser.add_argument("--revision", default="main", help="branch to publish to (default: main)")
    parser.add_argument("--create-pr", action="store_true", help="open a pull request instead of changing main")
    parser.add_argument("--tag", default="", help="tag to set on the commit, such as v1.0")
    parser.add_argument("--plan", action="store_true", help="only show what would be uploaded")
    parser.add_argument("--results", type=Path, default=RESULTS, help="<results>/data/<task>/publish/ keeps the plan")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    arguments = parse(argv)
    results = arguments.results.resolve()
    os.chdir(ROOT)
    quiet_libraries()
    from affinage.publishing import release
    from affinage.publishing.report import published_lines
    from affinage.publishing.target import Target

    place = {"revision": arguments.revision, "create_pr": arguments.create_pr, "tag": arguments.tag}
    target = Target(arguments.repo, "dataset", not arguments.public, **place)
    folder = results / "data" / arguments.task / "publish" / "dataset"
    going = release.Release(folder, target, f"Publish the dataset {arguments.task}")
    with going.held():
        uploader, plan = planned(arguments, going)
        if arguments.plan:
            next_command(upload_command(arguments))
            return
        published = release.carry_out(going, plan, uploader, lambda text: stderr.print(text, markup=False))
    for line in published_lines(published):
        stdout.print(line, markup=False)
    next_command(f"make check-data TASK={arguments.task}")


def planned(arguments: argparse.Namespace, going: "Release") -> tuple["HubUploader", "Plan"]:
    """The plan that was shown before and is still good, else a new one; shows it either way."""
    from affinage.publishing import dataset, release
    from affinage.publishing.report import plan_lines
    from affinage.publishing.target import target_problems
    from affinage.publishing.uploader import HubUploader

    plan = None if arguments.plan else release.standing_plan(going)
    if plan is not None:
        release.refuse_old_plan(going, plan, dataset.sources(arguments.task))
    else:
        raise_all([*target_problems(going.target), *dataset.dataset_problems(arguments.task)])
    uploader = HubUploader()
    if plan is None:
        sources = dataset.sources(arguments.task)
        plan = release.plan_release(
            going, uploader, lambda card: dataset.stage_dataset(arguments.task, going.folder, card), sources
        )
    for line in plan_lines(plan):
        stdout.print(line)
    return uploader, plan


def upload_command(arguments: argparse.Namespace) -> str:
    """The make line that carries the plan out: with the same target."""
    from affinage.publishing.report import make_line

    given = {"TASK": arguments.task, "REPO": arguments.repo, "TAG": arguments.tag, "REVISION": arguments.revision}
    given |= {"PUBLIC": "1" if arguments.public else "", "PR": "1" if arguments.create_pr else ""}
    return make_line("upload-data", given)


if __name__ == "__main__":
    raise SystemExit(run_script(main))
