"""Trackers that a key or an address in the environment turns on: Comet, MLflow, Weights & Biases.

Each is Ludwig's own callback with its faults mended; TensorBoard needs none of this and is always on.
"""

import os
import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

from ludwig.contribs.comet import CometCallback
from ludwig.contribs.mlflow import MlflowCallback, get_or_create_experiment_id
from ludwig.contribs.wandb import WandbCallback

from affinage.errors import AffinageError, Problem
from affinage.runs import Run

SWITCHES = {
    "comet": ("COMET_API_KEY", "COMET_OFFLINE_DIRECTORY"),
    "mlflow": ("MLFLOW_TRACKING_URI",),
    "wandb": ("WANDB_API_KEY", "WANDB_MODE"),
}


def wanted(environment: Mapping[str, str] = os.environ) -> list[str]:
    """The trackers that the environment turns on, by name."""
    return [
        name
        for name, switches in SWITCHES.items()
        if any(environment.get(switch, "").strip() not in ("", "disabled") for switch in switches)
    ]


@contextmanager
def tracking(run: Run) -> Iterator[list[Any]]:
    """Inside, the trackers that are wanted, as callbacks for Ludwig; each is closed at the end, with how it ended.

    A run that is resumed goes on in the same experiments. Raises AffinageError for a tracker that cannot start.
    """
    names = wanted()
    ids = run.manifest.get("trackers", {})
    if names:
        run.record(trackers={name: uuid4().hex for name in names} | ids)
    started = [MAKERS[name](run) for name in names]
    try:
        yield started
    except BaseException:
        for tracker in started:
            tracker.close(finished=False)
        raise
    for tracker in started:
        tracker.close(finished=True)


def _evaluation(progress_tracker: Any) -> dict[str, float]:
    """What Ludwig's tracker knows after an evaluation, without its tables and its numbers that are not set."""
    found = progress_tracker.log_metrics()
    return {key: float(value) for key, value in found.items() if isinstance(value, int | float) and value == value}


def _scores(run: Run) -> dict[str, float]:
    """The final scores of base and tuned model over all answered test rows."""
    sides = run.manifest.get("metrics", {}).get("scores", {}).get("all", {})
    return {f"{side}_{name}": value for side, scores in sides.items() for name, value in scores.items()}


def _cannot_start(name: str, error: Exception) -> AffinageError:
    switches = " or ".join(SWITCHES[name])
    return AffinageError(
        Problem(name, f"cannot start: {error}", remedy=f"Mend {switches}, or unset it to train without.")
    )


@contextmanager
def _chance_of_its_own() -> Iterator[None]:
    """Inside, `random` starts anew: Ludwig seeds it, so that Comet would name the archives of all parts of a run alike.

    Afterwards it goes on where it was, as if nothing had been drawn.
    """
    state = random.getstate()
    random.seed()
    try:
        yield
    finally:
        random.setstate(state)


class Comet(CometCallback):
    """fault: the stock callback is online only, starts a second experiment on resume, uploads the whole run folder."""

    def __init__(self, run: Run) -> None:
        super().__init__()
        self.run = run

    def on_train_init(self, base_config, experiment_directory, experiment_name, model_name, **kwargs):
        import comet_ml

        offline = os.environ.get("COMET_OFFLINE_DIRECTORY")
        try:
            with _chance_of_its_own():
                self.cometml_experiment = comet_ml.start(
                    project_name=os.environ.get("COMET_PROJECT_NAME") or experiment_name,
                    experiment_key=self.run.manifest["trackers"]["comet"],
                    mode="get_or_create",
                    online=bool(os.environ.get("COMET_API_KEY")) and not offline,
                    experiment_config=comet_ml.ExperimentConfig(
                        name=model_name,
                        offline_directory=offline,
                        log_code=False,
                        log_git_patch=False,
                        log_env_host=False,
                        parse_args=False,
                        display_summary_level=0,
                    ),
                )
        except Exception as error:  # whatever the client or the network raised
            raise _cannot_start("comet", error) from error

    def on_batch_end(self, trainer, progress_tracker, save_path, sync_step=True, **kwargs):
        last = trainer.progress.records[-1]
        self.cometml_experiment.log_metrics({"loss": last["loss"], "lr": last["lr"]}, step=last["step"])

    def on_eval_end(self, trainer, progress_tracker, save_path):
        self.cometml_experiment.log_metrics(_evaluation(progress_tracker), step=progress_tracker.steps)

    def on_epoch_end(self, trainer, progress_tracker, save_path):
        pass

    def on_train_end(self, output_directory, *args, **kwargs):
        pass

    def close(self, finished: bool) -> None:
        if self.cometml_experiment:
            self.cometml_experiment.log_metrics(_scores(self.run))
            self.cometml_experiment.log_other("status", "finished" if finished else "ended early")
            self.cometml_experiment.end()


class Mlflow(MlflowCallback):
    """fault: the stock callback logs metrics from a thread, where MLflow opens a second run that never ends.

    It also resumes into the newest run of the experiment, whichever that is, and uploads the model every time.
    """

    def __init__(self, run: Run) -> None:
        if os.environ["MLFLOW_TRACKING_URI"].startswith(("file:", "/", ".")):
            os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")  # asked for by name, so no need to ask again
        super().__init__(os.environ["MLFLOW_TRACKING_URI"], log_artifacts=False)
        self.save_in_background = False
        self.affinage_run = run

    def on_train_init(self, base_config, experiment_name, output_directory, resume_directory, model_name="", **kwargs):
        import mlflow

        try:
            self.experiment_id = get_or_create_experiment_id(experiment_name)
            ids = self.affinage_run.manifest["trackers"]
            self.run = mlflow.start_run(
                run_id=ids.get("mlflow_run"), experiment_id=self.experiment_id, run_name=model_name
            )
            self.affinage_run.record(trackers=ids | {"mlflow_run": self.run.info.run_id})
            mlflow.log_dict(base_config, "config.yaml")
        except Exception as error:  # whatever the client or the network raised
            raise _cannot_start("mlflow", error) from error

    def on_eval_end(self, trainer, progress_tracker, save_path):
        import mlflow

        try:
            mlflow.log_metrics(_evaluation(progress_tracker), step=progress_tracker.steps)
        except mlflow.exceptions.MlflowException as error:
            trainer.note(f"MLflow did not take the evaluation of step {progress_tracker.steps}: {str(error)[:120]}")

    def on_trainer_train_setup(self, trainer, save_path, is_coordinator):
        pass

    def on_trainer_train_teardown(self, trainer, progress_tracker, save_path, is_coordinator):
        pass

    def on_train_end(self, output_directory):
        pass

    def close(self, finished: bool) -> None:
        import mlflow

        if self.run is not None:
            mlflow.log_metrics(_scores(self.affinage_run))
            mlflow.end_run("FINISHED" if finished else "KILLED")


class Wandb(WandbCallback):
    """fault: the stock callback takes one step per metric, and a resumed run starts a second one."""

    def __init__(self, run: Run) -> None:
        self.run = run

    def on_train_init(self, base_config, experiment_directory, experiment_name, model_name, **kwargs):
        import wandb

        try:
            self.wandb = wandb.init(
                project=os.environ.get("WANDB_PROJECT") or experiment_name,
                name=model_name,
                id=self.run.manifest["trackers"]["wandb"],
                resume="allow",
                dir=str(self.run.folder),
                settings=wandb.Settings(console="off", save_code=False),
            )
        except Exception as error:  # whatever the client or the network raised
            raise _cannot_start("wandb", error) from error

    def on_batch_end(self, trainer, progress_tracker, save_path, sync_step=True, **kwargs):
        last = trainer.progress.records[-1]
        self.wandb.log({"loss": last["loss"], "lr": last["lr"]}, step=last["step"])

    def on_eval_end(self, trainer, progress_tracker, save_path):
        self.wandb.log(_evaluation(progress_tracker), step=progress_tracker.steps)

    def on_epoch_end(self, trainer, progress_tracker, save_path):
        pass

    def on_train_end(self, output_directory):
        pass

    def close(self, finished: bool) -> None:
        if getattr(self, "wandb", None):
            self.wandb.summary.update(_scores(self.run))
            self.wandb.finish(exit_code=0 if finished else 1)


MAKERS: dict[str, Any] = {"comet": Comet, "mlflow": Mlflow, "wandb": Wandb}
