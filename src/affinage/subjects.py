"""What can be evaluated: a run, an adapter folder, or an adapter on the Hub, loaded with its base model."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import HfHubHTTPError
from ludwig.api import LudwigModel
from peft import PeftConfig, PeftModel

from affinage import encoder_predictions, training
from affinage.configs import read_config, task_and_name
from affinage.encoder_predictions import EncoderSubject
from affinage.errors import AffinageError, Problem
from affinage.ludwig_ext import register
from affinage.model_types import ECD, refuse_encoder, refuse_encoder_config
from affinage.paths import RESULTS, display
from affinage.provenance import describe_data
from affinage.runs import USER_CONFIG, Run

ENCODER_WEIGHTS = "model_weights.safetensors"  # a file, where Ludwig writes a folder for a language model


@dataclass(frozen=True)
class Subject:
    """A model with its config and its rows by split; `folder` is where its evaluations go."""

    name: str
    task: str
    llm: Any
    config: Any
    splits: dict[str, pd.DataFrame]
    data: dict[str, Any]
    folder: Path

    @property
    def answer_column(self) -> str:
        return self.config.output_features[0].column


def open_run(run: Run, dataset: str = "") -> Subject:
    """The language model a run left behind, with the run's own rows, or those of `dataset`.

    Raises AffinageError for a run that left no model, or an encoder, and for data that changed since.
    """
    refuse_encoder(run, "answer in words")
    splits, described = _rows_of_run(run, dataset)
    ludwig = LudwigModel.load(str(run.model_folder), backend="local")
    return Subject(
        run.folder.name, run.manifest["task"], ludwig.model, ludwig.config_obj, splits, described, run.folder
    )


def open_to_evaluate(run: Run, dataset: str = "") -> Subject | EncoderSubject:
    """The model a run left behind, whatever its kind; raises what `open_run` raises, but for encoders."""
    if run.manifest.get("model_type") != ECD:
        return open_run(run, dataset)
    return encoder_predictions.load(run, *_rows_of_run(run, dataset))


def _rows_of_run(run: Run, dataset: str) -> tuple[dict[str, pd.DataFrame], dict[str, Any]]:
    """The rows by split and what they are, of a run that left a model."""
    if not any((*run.weights_folder.glob("*.safetensors"), *run.model_folder.glob(ENCODER_WEIGHTS))):
        raise AffinageError(
            Problem(
                f"run {run.folder.name}",
                f"left no model behind (status: {run.status}).",
                remedy=f"Finish it with make train RESUME={run.folder.name}, or name another run.",
            )
        )
    register()
    if dataset:
        config = training.resolve(read_config(run.folder / USER_CONFIG), str(run.folder))
        return _rows(run.manifest["task"], dataset, config)
    return training.plan_again(run).splits, run.manifest["data"]


def open_adapter(adapter: str, config_path: Path, dataset: str = "", results: Path = RESULTS) -> Subject:
    """An adapter in PEFT format (a folder or a Hub id) on the base model, prompt and data of a config.

    Raises AffinageError when there is no such adapter, or when it was trained on another base model.
    """
    register()
    task, _ = task_and_name(config_path)
    given = read_config(config_path)
    refuse_encoder_config(given, str(config_path), "take an adapter alone")
    trained_on = _peft_config(adapter).base_model_name_or_path
    if Path(str(trained_on)).name != Path(given["base_model"]).name:
        raise AffinageError(
            Problem(adapter, f"was trained on {trained_on}.", given["base_model"], "Name a config with its base model.")
        )
    config = training.resolve(given, str(config_path))
    splits, described = _rows(task, dataset, config)
    llm = LudwigModel.create_model(config, random_seed=training.SEED)
    llm.model = PeftModel.from_pretrained(llm.model, adapter)  # through the config, Ludwig takes Hub ids only
    folder = adapter_folder(adapter, results)
    return Subject(folder.name, task, llm, config, splits, described, folder)


def adapter_folder(adapter: str, results: Path) -> Path:
    """Where the evaluations of an adapter that belongs to no run go."""
    name = adapter.strip("/").replace("/", "--") if not Path(adapter).exists() else Path(adapter).resolve().name
    return results / "adapters" / name


def _peft_config(adapter: str) -> PeftConfig:
    try:
        return PeftConfig.from_pretrained(adapter)
    except (OSError, ValueError, HFValidationError, HfHubHTTPError) as error:
        raise AffinageError(
            Problem(
                adapter,
                f"no adapter could be loaded: {str(error).strip().splitlines()[0]}",
                "a folder with adapter_config.json, or an id such as user/name on the Hugging Face Hub",
                "Check the name and the network, and set HF_TOKEN if the repository is private.",
            )
        ) from error


def _rows(task: str, dataset: str, config: Any) -> tuple[dict[str, pd.DataFrame], dict[str, Any]]:
    files, splits, dropped = training.read_task(task, dataset, config)
    return splits, describe_data(dataset, files, splits, dropped)


def rows_of(subject: Subject | EncoderSubject, split: str) -> pd.DataFrame:
    """The rows of one split. Raises AffinageError, naming the splits there are, when that one has none."""
    rows = subject.splits.get(split)
    if rows is None or rows.empty:
        there = ", ".join(name for name, part in subject.splits.items() if len(part))
        raise AffinageError(Problem(display(subject.folder), f"no rows in the split '{split}'.", there))
    return rows
