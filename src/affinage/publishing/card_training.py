"""How a run was trained, on what and with what, as names and values for a card."""

from collections.abc import Mapping
from typing import Any

from affinage.comparison.costs import duration, hardware, peak_memory
from affinage.health import sentence
from affinage.reports import best_validation_loss
from affinage.runs import Run

PACKAGES = ("ludwig", "torch", "transformers", "peft", "bitsandbytes", "tokenizers")


def method(adapter: Mapping[str, Any]) -> str:
    """What was trained, in a few words; `adapter` is the content of adapter_config.json, {} for every weight."""
    if not adapter:
        return "full fine-tuning: every weight was trained"
    kind = str(adapter.get("peft_type", "LORA"))
    words = [{"LORA": "LoRA"}.get(kind, kind)]
    words += [f"{word} {adapter[key]}" for key, word in (("r", "rank"), ("lora_alpha", "alpha")) if key in adapter]
    words += ["rank-stabilised scaling (rsLoRA)"] if adapter.get("use_rslora") else []
    words += ["weight decomposition (DoRA)"] if adapter.get("use_dora") else []
    words += [f"dropout {adapter['lora_dropout']}"] if adapter.get("lora_dropout") else []
    modules = adapter.get("target_modules") or []
    return ", ".join(words) + (f"; on {', '.join(sorted(modules))}" if isinstance(modules, list) and modules else "")


def precision(config: Mapping[str, Any]) -> str:
    """In which precision the base model was held while training; `config` is the resolved Ludwig config."""
    held = config.get("quantization") or {}
    if not held.get("bits"):
        return "float32"
    if held["bits"] == 4:
        kind, compute = held.get("bnb_4bit_quant_type", "nf4"), held.get("bnb_4bit_compute_dtype", "float32")
        return f"4-bit ({kind}), computed in {compute}"
    return f"{held['bits']}-bit"


def training_lines(run: Run, config: Mapping[str, Any], adapter: Mapping[str, Any]) -> dict[str, str]:
    """Everything a reader may want to know of the training; what was not recorded is left out."""
    manifest, training = run.manifest, run.manifest.get("training") or {}
    trainer = config.get("trainer") or {}
    lines = {
        "method": method(adapter),
        "base model held in": precision(config),
        "hardware": hardware(manifest),
        "learning rate": f"{trainer['learning_rate']:g}" if isinstance(trainer.get("learning_rate"), float) else "",
        "optimizer": str((trainer.get("optimizer") or {}).get("type", "")),
        "seed": str(manifest.get("seed", "")),
        "status": "" if run.status == "finished" else f"{run.status}: this run did not finish",
    }
    return {name: text for name, text in (lines | _measured(training) | _trouble(manifest)).items() if text}


def _measured(training: Mapping[str, Any]) -> dict[str, str]:
    if "seconds" not in training:
        return {}
    loss, steps = best_validation_loss(dict(training)), f"{training['steps']:,}"
    steps += "" if training["steps"] == training["planned_steps"] else f" of {training['planned_steps']:,}"
    share = training["trainable_parameters"] / training["parameters"]
    return {
        "time": duration(training["seconds"]),
        "steps": f"{steps}, {training['effective_batch_size']} rows each",
        "tokens": f"{training['tokens']:,}",
        "trained parameters": f"{training['trainable_parameters']:,} of {training['parameters']:,} ({share:.2%})",
        "peak memory": peak_memory(dict(training)),
        "kept": "" if loss is None else f"step {training['best_step']:,}, validation {_named_loss(training, loss)}",
        "cut at the length limit": _cut(training) if training.get("cut_rows") else "",
        "notes": "; ".join(training.get("notes", [])),
    }


def _named_loss(training: Mapping[str, Any], loss: float) -> str:
    name = training.get("loss_name")  # of a loss that is no likelihood
    return f"{name} {loss:.4f}" if name else f"loss {loss:.4f} nats per answer token"


def _cut(training: Mapping[str, Any]) -> str:
    return f"{training['cut_rows']:,} rows, {training['cut_answer_tokens']:,} answer tokens"


def _trouble(manifest: Mapping[str, Any]) -> dict[str, str]:
    return {"trouble": " ".join(map(sentence, manifest.get("health", [])))}


def versions(run: Run) -> dict[str, str]:
    """Versions of whatever can change a result, and the commit of the project."""
    around = run.manifest.get("environment", {})
    git = around.get("git") or {}
    packages = around.get("packages", {})
    found = {"affinage": around.get("affinage", ""), "python": around.get("python", "")}
    found |= {name: packages[name] for name in PACKAGES if name in packages}
    found["system"] = str(around.get("platform", "")).partition("-")[0]
    if git.get("commit"):
        found["commit of affinage"] = git["commit"] + (
            ", with changes that were not committed" if git.get("dirty") else ""
        )
    return {name: text for name, text in found.items() if text}
