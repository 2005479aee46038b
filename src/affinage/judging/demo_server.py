"""The judge of `make judge-demo`: rules behind a server that answers as Ollama does."""

from affinage.demo_server import DemoServer, digest_of
from affinage.judging.demo_rules import judged_by_rules

DEMO_JUDGE = "demo-judge:latest"
DIGEST = digest_of(DEMO_JUDGE)


def demo_judge() -> DemoServer:
    """A server of DEMO_JUDGE; `with` starts and stops it."""
    return DemoServer(DEMO_JUDGE, judged_by_rules)
