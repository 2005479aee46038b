"""Runs of several processes in tests: started together, stopped, gone on with, and compared."""

import json
import multiprocessing
import os
import shutil
import signal
import socket

import pytest
import yaml

processes = multiprocessing.get_context("forkserver")
TRAINER = {
    "type": "finetune",
    "epochs": 2,
    "batch_size": 6,
    "gradient_accumulation_steps": 2,
    "eval_batch_size": 8,
    "learning_rate": 0.01,
    "steps_per_checkpoint": 2,
    "gradient_clipping": {"clipglobalnorm": 0.5},
}
LORA = {"adapter": {"type": "lora", "dropout": 0.0}}


def writer(tmp_path, llm_config, sentences):
    """What writes a config beside rows: 23 to train on, which neither batch nor workers divide, and some to ask."""
    rows = sentences(35)
    rows["split"] = [0] * 23 + [1] * 5 + [2] * 7
    rows.to_json(tmp_path / "rows.jsonl", orient="records", lines=True)

    def write(kind=("llama", "plain"), **sections):
        path = tmp_path / "task" / "tiny.yaml"
        path.parent.mkdir(exist_ok=True)
        split = {"split": {"type": "fixed", "column": "split"}}
        config = llm_config(*kind, preprocessing=split, **{"trainer": TRAINER, **sections})
        config["base_model"] = str(without_dropout(config["base_model"], tmp_path / "base"))
        path.write_text(yaml.safe_dump(config), encoding="utf-8")
        return path, tmp_path / "rows.jsonl"

    return write


def _member(rank, size, port, work, arguments, answers):
    from affinage.ludwig_ext import workers

    names = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": size, "LOCAL_WORLD_SIZE": size, "MASTER_PORT": port}
    os.environ.update({name: str(value) for name, value in names.items()}, MASTER_ADDR="127.0.0.1")
    workers.join()
    answers.put((rank, work(*arguments)))


def together(work, *arguments, size=2):
    """What `work` returns in each of `size` processes, by rank; it must be a function of a module."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    answers = processes.SimpleQueue()
    members = [
        processes.Process(target=_member, args=(rank, size, port, work, arguments, answers)) for rank in range(size)
    ]
    for member in members:
        member.start()
    for member in members:
        member.join()
    assert [member.exitcode for member in members] == [0] * size
    return [answer for _, answer in sorted((answers.get() for _ in members), key=lambda one: one[0])]


def train(config, data, results):
    """What tools/train.py does in each worker; returns the run's folder."""
    from affinage import joint_runs, training
    from affinage.ludwig_ext.workers import Workers, refuse

    ready = joint_runs.plan_together(lambda: training.plan(config, str(data)))
    if Workers().size() > 1:
        refuse(ready.resolved)
    run = joint_runs.start_together(ready, results)
    training.complete(run, ready)
    return run.folder


def resume(folder):
    from affinage import joint_runs, training
    from affinage.runs import find_run

    run = find_run(str(folder))
    training.complete(run, joint_runs.plan_together(lambda: training.plan_again(run)))
    return run.folder


def without_dropout(model, folder):
    """A copy of a base model, of which GPT-2 has dropout of its own: every worker draws other numbers."""
    shutil.copytree(model, folder, dirs_exist_ok=True)
    config = json.loads((folder / "config.json").read_text())
    config |= {key: 0.0 for key in config if key.endswith(("pdrop", "dropout_rate"))}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def history(folder):
    return [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]


def same(one, two, tolerance):
    """The losses of the steps and of the evaluations, the rate, the tokens and the answers of two runs."""
    steps, others = history(one), history(two)
    assert [entry["step"] for entry in steps] == [entry["step"] for entry in others]
    for entry, other in zip(steps, others, strict=True):
        for key in ("loss", "lr", "tokens", "train_loss", "validation_loss", "test_loss"):
            assert entry.get(key) == pytest.approx(other.get(key), abs=tolerance), (key, entry["step"])
    answers = [(folder / "predictions.jsonl").read_text() for folder in (one, two)]
    assert answers[0] == answers[1]


def stopped(config, data, results):
    """Trains until one of the workers is asked to stop, after its third step."""
    from ludwig.callbacks import Callback

    from affinage import joint_runs, training

    class Stop(Callback):
        def on_batch_end(self, trainer, progress_tracker, save_path, sync_step=True, **kwargs):
            if progress_tracker.steps == 3:
                os.kill(os.getpid(), signal.SIGINT)

    ready = joint_runs.plan_together(lambda: training.plan(config, str(data)))
    run = joint_runs.start_together(ready, results)
    with pytest.raises(KeyboardInterrupt, match="step 3"):
        training.complete(run, ready, [Stop()])
    return run.folder
