"""Pretrains petit-llama from scratch on generated French, on the processor; under 20 minutes on two cores.

python tools/pretrain_petit_llama.py
"""

import argparse
from pathlib import Path

from affinage.console import run_script, stdout
from affinage.paths import MODELS, display


def main(argv: list[str] | None = None) -> int:
    """Trains tokenizer and model, then writes both and the card into the output folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output-dir", type=Path, default=MODELS / "petit-llama")
    parser.add_argument("--steps", type=int, help="training steps; default: those of the shipped model")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args(argv)
    from tqdm import tqdm

    from affinage.voix_passive.petit_llama import make_model
    from affinage.voix_passive.pretraining import Pretraining

    steps = arguments.steps or Pretraining.steps
    settings = Pretraining(steps=steps, warmup_steps=min(Pretraining.warmup_steps, steps), seed=arguments.seed)
    with tqdm(total=steps, desc="pretraining", unit="step") as progress:

        def on_step(step: int, loss: float) -> None:
            progress.set_postfix(loss=f"{loss:.3f}", refresh=False)
            progress.update(step - progress.n)

        outcome = make_model(arguments.output_dir, settings, on_step)
    stdout.print(
        f"{display(arguments.output_dir)}: loss {outcome.loss:.3f} after {outcome.duration_s / 60:.1f} minutes"
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(run_script(main))
