"""Publishes a run on the Hugging Face Hub: the adapter, the merged model or its GGUF files, with a card; private.

.venv/bin/python tools/upload.py --run last --repo user/name --licence apache-2.0 --plan
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
    from affinage.publishing.publication import Publication
    from affinage.publishing.release import Release
    from affinage.publishing.target import Target
    from affinage.publishing.uploader import HubUploader


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", default="last", help="id or folder of a finished run (default: the newest)")
    parser.add_argument("--repo", required=True, help="user/name on the Hub; it is made when it is not there")
    parser.add_argument(
        "--kind", choices=("adapter", "merged", "gguf"), default="adapter", help="what to publish of it"
    )
    parser.add_argument("--base", default="", help="id of the base model on the Hub (default: the one trained on)")
    parser.add_argument("--licence", default="", help="as the Hub writes it: apache-2.0, cc-by-4.0, llama3.1, other")
    parser.add_argument("--licence-name", default="", help="its name, when it is other")
    parser.add_argument("--licence-link", default="", help="its address, when it is other")
    parser.add_argument(
        "--language", default="", help="ISO 639 codes for the card (default: what the data's card says)"
    )
    add_target_options(parser)
    return parser.parse_args(argv)


def add_target_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--public", action="store_true", help="make a new repository public (default: private)")
    parser.add_argument("--revision", default="main", help="branch to publish to (default: main)")
    parser.add_argument("--create-pr", action="store_true", help="open a pull request instead of changing main")
    parser.add_argument("--tag", default="", help="tag to set on the commit, such as v1.0")
    parser.add_argument("--plan", action="store_true", help="only show what would be uploaded")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where run folders are (default: results/)")


def main(argv: list[str] | None = None) -> None:
    arguments = parse(argv)
    results = arguments.results.resolve()
    os.chdir(ROOT)  # shipped configs name models/petit-llama relative to the project
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "0")
    quiet_libraries()
    stderr.print("[dim]loading Ludwig (about 10 s)[/]")
    from affinage.publishing import layout, release
    from affinage.publishing.report import published_lines
    from affinage.runs import newest_or_named

    publication = layout.publication_of(
        newest_or_named(arguments.run, results),
        arguments.repo,
        arguments.kind,
        arguments.base,
        arguments.licence,
        licence_name=arguments.licence_name,
        licence_link=arguments.licence_link,
        language=tuple(arguments.language.replace(",", " ").split()),
    )
    run = publication.run
    title = f"Publish {publication.kind} of {run.folder.name}"
    given = {name: getattr(arguments, name) for name in ("base", "licence", "licence_name", "licence_link", "language")}
    going = release.Release(layout.publish_folder(run) / publication.kind, target_of(arguments), title, given)
    with going.held():
        uploader, plan = planned(arguments, publication, going)
        if arguments.plan:
            next_command(upload_command(arguments))
            return
        published = release.carry_out(going, plan, uploader, lambda text: stderr.print(text, markup=False))
    for line in published_lines(published):
        stdout.print(line, markup=False)
    next_command(f"make show RUN={run.folder.name}")


def target_of(arguments: argparse.Namespace) -> "Target":
    from affinage.publishing.target import Target

    place = {"revision": arguments.revision, "create_pr": arguments.create_pr, "tag": arguments.tag}
    return Target(arguments.repo, "model", not arguments.public, **place)


def planned(
    arguments: argparse.Namespace, publication: "Publication", going: "Release"
) -> tuple["HubUploader", "Plan"]:
    """The plan that was shown before and is still good, else a new one; shows it either way."""
    from affinage.publishing import base, checks, layout, release
    from affinage.publishing.report import plan_lines
    from affinage.publishing.target import target_problems
    from affinage.publishing.uploader import HubUploader

    plan = None if arguments.plan else release.standing_plan(going)
    if plan is not None:
        release.refuse_old_plan(going, plan, layout.sources(publication))
    else:
        raise_all([*target_problems(going.target), *checks.run_problems(publication)])
    uploader = HubUploader()
    if plan is None:
        notices = [*checks.notices(publication), *base.look_at_base(uploader.api, publication)]
        sources = layout.sources(publication)
        plan = release.plan_release(going, uploader, lambda card: layout.stage(publication, card), sources, notices)
    for line in plan_lines(plan):
        stdout.print(line)
    return uploader, plan


def upload_command(arguments: argparse.Namespace) -> str:
    """The make line that carries the plan out: with the same target."""
    from affinage.publishing.report import make_line

    given = {"RUN": arguments.run, "REPO": arguments.repo, "KIND": arguments.kind}
    given |= {"BASE": arguments.base, "LICENCE": arguments.licence, "TAG": arguments.tag}
    given |= {"LICENCE_NAME": arguments.licence_name, "LICENCE_LINK": arguments.licence_link}
    given |= {"REVISION": arguments.revision, "LANGUAGES": arguments.language}
    given |= {"PUBLIC": "1" if arguments.public else "", "PR": "1" if arguments.create_pr else ""}
    return make_line("upload", given)


if __name__ == "__main__":
    raise SystemExit(run_script(main))
