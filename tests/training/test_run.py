"""Whole trainings: with teachers, from another network, killed and resumed, shared among processes."""

import json
import os
import re
import signal
import subprocess
import sys

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import load_file, save_file

from grounding.config import load
from grounding.distributed import Process
from grounding.errors import GroundingError
from grounding.tagging.sources import load_classifier
from grounding.training import run
from grounding.training.config import TrainConfig
from grounding.training.logs import CsvLog
from helpers.entities import write_entities
from helpers.paths import ROOT
from helpers.training import log_rows, write_config


def test_a_teacher_is_trained_first_and_taught_from(train, tmp_path):
    config = write_config(tmp_path)
    (tmp_path / "t.yaml").write_text(
        config.read_text().replace("/run", "/teacher").replace("epochs: 3", "epochs: 1")
        + "\nloss: {contrast: 1.0, head_penalty: 1e-3}\nema: 0.9\ngradient_accumulation_steps: 2"
    )
    taught = ["loss.teacher=1", "loss.words=0.1", "teacher.sizes_px=[96]"]
    status, _, lines = train(config, f"teacher.classifiers=[{tmp_path / 't.yaml'}]", *taught)
    assert status == 0
    assert lines[1] == f"teacher {tmp_path / 't.yaml'}:"  # nothing is said of 24 pictures: a teacher helps
    assert {row["teacher"] for row in log_rows(tmp_path / "run")}.isdisjoint({""})
    assert [row["epoch"] for row in log_rows(tmp_path / "teacher")] == ["1"]
    assert float(log_rows(tmp_path / "teacher")[0]["contrast"]) > 0
    state, kept = (
        load_file(tmp_path / "teacher" / name) for name in ("checkpoint.safetensors", "classifier/model.safetensors")
    )
    assert torch.equal(kept["head.weight"], state["average.head.weight"].bfloat16())
    assert not torch.equal(kept["head.weight"], state["network.head.weight"].bfloat16())
    assert np.load(tmp_path / "run" / "teacher_scores.npy", mmap_mode="r").shape == (24, 7, 12, 12)
    folder = tmp_path / "teacher" / "classifier"  # the same as a classifier
    assert train(config, f"teacher.classifiers=[{folder}]", *taught, f"output={tmp_path / 'second'}")[0] == 0
    run, second = (load_file(tmp_path / name / "checkpoint.safetensors") for name in ("run", "second"))
    assert all(torch.equal(run[key], second[key]) for key in run)


def test_bad_teachers(train, tmp_path):
    config = write_config(tmp_path)
    itself = config.read_text() + f"\nloss: {{teacher: 1}}\nteacher: {{classifiers: [{config}]}}"
    config.write_text(itself)
    for override, message in (
        ("seed=0", "is that of a training and of one that it needs first"),
        ("teacher.classifiers=[embedded]", "teacher embedded has other tags"),
        ("teacher.classifiers=[none.yaml]", "configuration none.yaml cannot be read"),
        ("teacher.classifiers=[none]", "unknown classifier source 'none'"),
    ):
        status, _, lines = train(config, override)
        assert status == 2
        assert message in lines[-1]


def test_a_network_starts_from_what_is_trained_first(train, tmp_path):
    config = write_config(tmp_path)
    first = tmp_path / "first.yaml"
    first.write_text(config.read_text().replace("/run", "/first"))
    status, _, lines = train(config, f"network.initial={first}", "learning_rate=1e-12", "epochs=1")
    assert (status, lines[1]) == (0, f"network.initial {first}:")
    start, end = (load_file(tmp_path / name / "classifier" / "model.safetensors") for name in ("first", "run"))
    assert torch.equal(start["head.weight"], end["head.weight"])
    assert train(config, f"network.initial={config}", f"output={tmp_path / 'third'}", "epochs=1")[0] == 2


def test_what_a_network_starts_from(train, tmp_path):
    config, still = write_config(tmp_path), ["learning_rate=1e-12", "epochs=1"]
    assert train(config, *still)[0] == 0
    start = load_classifier(tmp_path / "run" / "classifier")
    table = (tmp_path / "shapes" / "captions.jsonl").read_text()
    said = [json.loads(line)["caption"][0] for line in table.splitlines()]
    shares = torch.tensor([sum(tag in text for text in said) / len(said) for tag in start.tags])
    torch.testing.assert_close(start.network.head.bias, torch.logit(shares), rtol=0.01, atol=0.01)  # bfloat16
    assert start.network.head.weight.abs().max() < 1e-9
    assert train(config, f"output={tmp_path / 'taught'}", "epochs=5")[0] == 0
    taught = tmp_path / "taught" / "classifier"
    assert train(config, *still, f"output={tmp_path / 'again'}", f"network.initial={taught}")[0] == 0
    images = torch.rand(20, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        start, end = (load_classifier(folder).network(images) for folder in (taught, tmp_path / "again" / "classifier"))
    assert torch.corrcoef(torch.stack([start.flatten(), end.flatten()]))[0, 1] > 0.98


def test_pictures_that_become_unreadable(train, tmp_path):
    config = write_config(tmp_path)
    for name in ("003.png", "004.png"):
        path = tmp_path / "shapes" / name
        path.write_bytes(path.read_bytes()[:100])  # the header is whole
    for kept, said in ((64, ["2 pictures"]), (0, [f"epoch {n}: 2 pictures" for n in (1, 2, 3)])):
        status, _, lines = train(config, f"data.cache_size_px={kept}", f"output={tmp_path / str(kept)}")
        assert status == 0
        assert lines[1].startswith("24 pictures from random weights teach little")
        assert [line[: len(start)] for line, start in zip(lines[2:], said, strict=True)] == said
        assert all("could not be read, and the next seen instead: " in line for line in lines[2:])
        assert all("003.png" in line for line in lines[2:])


def test_captions_without_spaces_between_words(train, tmp_path):
    config = write_config(tmp_path)
    table = tmp_path / "shapes" / "captions.jsonl"
    captions = ["一个男人在跑步", "红色的圆形,蓝色的正方形", "кот на диване"]
    lines = [json.dumps({"image": f"{n:03d}.png", "caption": captions[n % 3]}) for n in range(24)]
    table.write_text("\n".join(lines) + "\n")
    status, _, lines = train(config, "epochs=1", "tags=6")
    assert status == 0
    assert "一个男人在跑步" in lines[0]
    assert "диване" in lines[0]


def own_words(folder):
    """A classifier of shapes, and a configuration that learns their head anew where some words are others."""
    config = write_config(folder)
    table = folder / "shapes" / "captions.jsonl"
    other = table.read_text().replace("circle", "ring").replace("red", "crimson")
    (folder / "shapes" / "other.jsonl").write_text(other)
    path = folder / "own.yaml"
    path.write_text(
        f"{{output: {folder / 'own'}, tags: 7, inference_size_px: 64, head_only: true, epochs: 4, batch_size: 8, "
        f"learning_rate: 1e-2, data: {{sources: {folder / 'shapes' / 'other.jsonl'}}}, "
        f"network: {{initial: {folder / 'run' / 'classifier'}}}}}"
    )
    return config, path


def test_a_head_of_other_words_is_learnt_alone(train, tmp_path, monkeypatch):
    config, own = own_words(tmp_path)
    assert train(config, "map_layer=-2", "network.pooling=top-k", "epochs=6")[0] == 0
    first = load_classifier(tmp_path / "run" / "classifier")
    status, _, lines = train(own)
    assert (status, lines[1:]) == (
        0,
        [f"5 of 7 tags are known to {tmp_path / 'run' / 'classifier'}: their rows are kept"],
    )
    learnt = load_classifier(tmp_path / "own" / "classifier")
    assert {"ring", "crimson"} <= set(learnt.tags) - set(first.tags)
    assert (learnt.map_layer, learnt.network.pooling) == (-2, "top-k")  # as the classifier that it goes on from
    assert learnt.network.features.layers == first.network.features.layers
    for key, value in first.network.features.state_dict().items():
        assert torch.equal(learnt.network.features.state_dict()[key], value)
    losses = [float(row["loss"]) for row in log_rows(tmp_path / "own")]
    assert losses[-1] < losses[0]
    names = sorted(path.name for path in (tmp_path / "own").iterdir())
    assert names == ["checkpoint.safetensors", "classifier", "config.json", "log.csv"]
    write = CsvLog.write

    def interrupted(self, row):
        if row["epoch"] == 3:
            raise KeyboardInterrupt
        write(self, row)

    with monkeypatch.context() as patch:
        patch.setattr(CsvLog, "write", interrupted)
        assert train(own, f"output={tmp_path / 'again'}")[0] == 130
    status, _, lines = train(own, f"output={tmp_path / 'again'}")
    assert (status, lines[-1]) == (0, "going on after epoch 2 of 4")
    for name in ("checkpoint.safetensors", "classifier/model.safetensors"):
        assert (tmp_path / "own" / name).read_bytes() == (tmp_path / "again" / name).read_bytes()


def test_the_rows_of_a_new_head_at_its_start(train, tmp_path):
    config, own = own_words(tmp_path)
    assert train(config, "epochs=6")[0] == 0
    for head_only in ("yes", "no"):
        still = ["learning_rate=1e-12", "epochs=1", f"head_only={head_only}", f"output={tmp_path / head_only}"]
        assert train(own, *still)[0] == 0
        first, start = (load_classifier(tmp_path / name / "classifier") for name in ("run", head_only))
        for tag in start.tags:
            row = start.network.head.weight[start.indices[tag]]
            if tag in first.indices:
                assert torch.equal(row, first.network.head.weight[first.indices[tag]])
            else:
                low, high = (first.network.head.weight.amin(0), first.network.head.weight.amax(0))
                assert ((low - 0.02 <= row) & (row <= high + 0.02)).all()  # a mean of rows, in bfloat16
                assert row.any()


def test_a_head_alone_with_a_teacher_and_every_loss(train, tmp_path):
    config, own = own_words(tmp_path)
    assert train(config, "epochs=1")[0] == 0
    words = f"data.sources={tmp_path / 'shapes' / 'captions.jsonl'}"
    losses = ["loss.teacher=1", "loss.contrast=1", "loss.head_penalty=1e-3", "network.pooling=attention", "ema=0.9"]
    teacher = f"teacher.classifiers={tmp_path / 'run' / 'classifier'}"
    status, _, lines = train(own, words, teacher, *losses, "bf16=false", "data.workers=1")
    assert (status, len(lines)) == (0, 1)  # with the same tags nothing is said of them
    assert all(float(log_rows(tmp_path / "own")[-1][name]) > 0 for name in ("words", "teacher", "contrast"))


def test_a_head_alone_on_the_weights_of_timm(train, tmp_path):
    model = timm.create_model("test_resnet", num_classes=0)
    save_file(model.state_dict(), tmp_path / "w.safetensors")
    plain = ["network.channels=none", "network.strides=none", "network.architecture=timm:test_resnet"]
    weights = f"network.weights={tmp_path / 'w.safetensors'}"
    status, _, lines = train(write_config(tmp_path), *plain, weights, "head_only=true")
    assert (status, len(lines)) == (0, 1)  # nothing is said of few pictures: the weights are not random
    learnt = load_classifier(tmp_path / "run" / "classifier").network
    expected = {key: value.bfloat16().float() for key, value in model.state_dict().items() if "fc" not in key}
    backbone = learnt.backbone.state_dict()
    assert all(torch.equal(backbone[key].float(), value) for key, value in expected.items() if "num_batches" not in key)
    assert learnt.head.weight.any()


def test_a_head_alone_learns_in_one_process(tmp_path):
    config = load(TrainConfig, None, ["network.initial=embedded", "head_only=true", f"output={tmp_path / 'run'}"])
    with pytest.raises(GroundingError, match="head_only learns in one process, not in 2: start it without torchrun"):
        run.train(config, Process(0, 2, torch.device("cpu")), print)


@pytest.mark.parametrize(("reached", "warned"), [(10.0, True), (90.0, False)])
def test_a_training_that_ends_below_the_centre_says_so(train, tmp_path, monkeypatch, reached, warned):
    entities = write_entities(tmp_path / "entities", photographs=True)
    where = [f"validation.images={entities / 'photographs'}", f"validation.annotations={entities}"]
    monkeypatch.setattr(run.Validation, "measure", lambda *arguments, **limit: {"pointing/phrase": reached})
    status, _, lines = train(write_config(tmp_path), "epochs=1", *where)
    assert status == 0
    assert re.search(r"; centre point: pointing/phrase 40\.0, whole image", lines[2])
    assert lines[3] == f"epoch 1: pointing/phrase {reached}"
    expected = (
        "warning: the classifier points no better than the centre of the picture: pointing/phrase 10.0 against 40.0"
    )
    assert [line.partition(";")[0] for line in lines[4:]] == [expected] * warned


ENDED_TRAININGS = """
import json, os, signal, sys
import grounding.training.run  # what a training would else import in each process
from grounding.train import main
from grounding.training.logs import CsvLog

write = CsvLog.write
ends = {
    "killed": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "terminated": lambda: os.kill(os.getpid(), signal.SIGTERM),
    "terminated-with-its-workers": lambda: os.killpg(0, signal.SIGTERM),
}

def ended(self, row):
    write(self, row)
    if row["epoch"] == 3:
        end()

CsvLog.write = ended
children = {}
for name, end in ends.items():
    children[name] = os.fork()
    if not children[name]:
        os.setsid()
        os.dup2(os.open(f"{name}.txt", os.O_WRONLY | os.O_CREAT), 2)
        raise SystemExit(main([*sys.argv[1:], f"output={name}"]))
print(json.dumps({name: os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for name, child in children.items()}))
"""


@pytest.mark.slow
def test_ended_early_and_resumed_it_ends_with_the_same_weights(train, tmp_path):
    """The end comes between the row of the third epoch and its checkpoint.

    The trainings are forked from one process that has imported everything.
    """
    config = write_config(tmp_path)
    long = [config, "epochs=5", "ema=0.9", "data.workers=1"]
    command = [sys.executable, "-c", ENDED_TRAININGS, *map(str, long)]
    environment = os.environ | {"OMP_NUM_THREADS": str(torch.get_num_threads()), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    ends = json.loads(done.stdout.splitlines()[-1])
    assert ends == {"killed": -signal.SIGKILL, "terminated": 143, "terminated-with-its-workers": 143}
    for name in ("terminated", "terminated-with-its-workers"):
        said = (tmp_path / f"{name}.txt").read_text()
        assert "Traceback" not in said
        assert said.endswith("terminated: run the same command again to go on after the last finished epoch\n")
    assert train(*long)[0] == 0
    whole = [row | {"pictures_per_s": ""} for row in log_rows(tmp_path / "run")]
    for name in ends:
        assert [row["epoch"] for row in log_rows(tmp_path / name)] == ["1", "2", "3"]
        status, _, lines = train(*long, f"output={tmp_path / name}", "data.workers=0")
        assert (status, lines[-1]) == (0, "going on after epoch 2 of 5")
        for file in ("checkpoint.safetensors", "classifier/model.safetensors"):
            assert (tmp_path / name / file).read_bytes() == (tmp_path / "run" / file).read_bytes()
        assert [row | {"pictures_per_s": ""} for row in log_rows(tmp_path / name)] == whole


SHARED_TRAINING = """
import sys
from safetensors.torch import save_file
from torch.distributed.launcher import LaunchConfig, elastic_launch
from grounding.train import main
from grounding.training import run

class Watched(run.Trainer):
    def run_epoch(self, progress):
        result = super().run_epoch(progress)
        parameters = {name: parameter.detach() for name, parameter in self.network.named_parameters()}
        save_file(parameters, f"rank{self.process.rank}.safetensors")
        return result

run.Trainer = Watched
options = {"run_id": "test", "rdzv_backend": "c10d", "rdzv_endpoint": "localhost:0", "start_method": "fork"}
torchrun = LaunchConfig(1, 1, 2, max_restarts=0, **options)
assert elastic_launch(torchrun, main)(sys.argv[1:]) == {0: 0, 1: 0}
"""


@pytest.mark.slow
def test_two_processes_train_as_one(train, tmp_path):
    """Without batch statistics, two processes end where one does that sees the same pictures in two parts.

    The processes are torchrun's, forked from one that has imported everything.
    """
    config = write_config(tmp_path)
    still = "network.frozen=[norm1, norm2, norm3]"
    command = [sys.executable, "-c", SHARED_TRAINING, str(config), still]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("classifier: ") == 1
    assert done.stderr.count("24 pictures with 48 captions") == 1
    log = log_rows(tmp_path / "run")
    assert [row["step"] for row in log] == ["1", "2", "3"]
    assert float(log[2]["loss"]) < float(log[0]["loss"])
    ranks = [load_file(tmp_path / f"rank{rank}.safetensors") for rank in (0, 1)]
    assert all(torch.equal(ranks[0][key], ranks[1][key]) for key in ranks[0])
    assert train(config, still, "gradient_accumulation_steps=2", f"output={tmp_path / 'alone'}")[0] == 0
    assert [float(row["loss"]) for row in log_rows(tmp_path / "alone")] == pytest.approx(
        [float(row["loss"]) for row in log], rel=1e-3
    )
