"""What is published of a run, and under which names."""

from dataclasses import dataclass

from affinage.runs import Run


@dataclass(frozen=True)
class Publication:
    """One repository to be: `repo` and `base` are ids on the Hub, `base_revision` a commit there when it is known.

    `kind` is "adapter", "full" (a run that trained every weight), "merged" or "gguf"; `licence` is one of the Hub's
    identifiers, or "other" with `licence_name` and `licence_link`.
    """

    run: Run
    repo: str
    base: str
    base_revision: str | None = None
    licence: str = ""
    licence_name: str = ""
    licence_link: str = ""
    kind: str = "adapter"
    language: tuple[str, ...] = ()
