"""`python -m grounding.train`: the whole command, killed and resumed, shared among processes, and given bad input."""

import csv
import json
import os
import resource
import signal
import subprocess
import sys
import time
from functools import partial

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from grounding.evaluate import main as evaluate
from grounding.tagging.sources import load_classifier
from grounding.text.phrases import find_phrases
from grounding.text.tags import build_tags
from grounding.text.vocabulary import Vocabulary
from grounding.train import main
from grounding.training.config import ValidationConfig
from grounding.training.logs import CsvLog
from grounding.training.validation import Validation
from helpers.entities import write_entities
from helpers.paths import ROOT
from helpers.training import write_config


@pytest.fixture
def train(in_empty_folder):
    """Runs `python -m grounding.train`: exit status, standard output, lines of standard error without progress bars."""
    call = partial(in_empty_folder, main)

    def lines(*arguments):
        status, out, err = call(*arguments)
        return status, out, [line for line in err.replace("\r", "\n").splitlines() if line.strip() and "%|" not in line]

    return lines


def rows(folder):
    with (folder / "log.csv").open() as file:
        return list(csv.DictReader(file))


def test_the_whole_command(train, tmp_path):
    config = write_config(tmp_path)
    status, out, lines = train(config)
    assert (status, out) == (0, f"classifier: {tmp_path / 'run' / 'classifier'}\n")
    assert lines[0].startswith("24 pictures with 48 captions; 7 tags: ")
    log = rows(tmp_path / "run")
    assert [(row["epoch"], row["step"]) for row in log] == [("1", "3"), ("2", "6"), ("3", "9")]
    assert float(log[2]["loss"]) < float(log[0]["loss"]) < 7
    assert log[0]["loss"] == log[0]["words"]
    assert log[0]["teacher"] == log[0]["pointing/phrase"] == ""
    assert float(log[0]["learning_rate"]) == pytest.approx(
        5e-3 * 0.5 * (1 + torch.pi * 0 + torch.cos(torch.tensor(torch.pi / 8)).item()), rel=0.01
    )
    assert float(log[2]["pictures_per_s"]) > 0
    classifier = load_classifier(tmp_path / "run" / "classifier")
    table = (tmp_path / "shapes" / "captions.jsonl").read_text()
    captions = [json.loads(line)["caption"] for line in table.splitlines()]
    assert list(classifier.tags) == build_tags((text for texts in captions for text in texts), 7)
    matched = Vocabulary(classifier.tags).match(find_phrases("red circles", ["red circles"])[0])
    assert [match.tag for match in matched] == ["red", "circle"]
    assert (classifier.preprocessing.image_size_px, classifier.map_layer) == (64, None)
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == [
        "checkpoint.safetensors",
        "classifier",
        "config.json",
        "log.csv",
    ]
    status, out, lines = train(config)
    assert (status, lines) == (0, [f"{tmp_path / 'run' / 'classifier'} is there already"])


def test_a_teacher_is_trained_first_and_taught_from(train, tmp_path):
    config = write_config(tmp_path)
    (tmp_path / "t.yaml").write_text(
        config.read_text().replace("/run", "/teacher").replace("epochs: 3", "epochs: 1")
        + "\nloss: {contrast: 1.0, head_penalty: 1e-3}\nema: 0.9\naccumulate: 2"
    )
    taught = ["loss.teacher=1", "loss.words=0.1", "teacher.sizes_px=[96]"]
    status, _, lines = train(config, f"teacher.classifiers=[{tmp_path / 't.yaml'}]", *taught)
    assert status == 0
    assert lines[1] == f"teacher {tmp_path / 't.yaml'}:"
    assert {row["teacher"] for row in rows(tmp_path / "run")}.isdisjoint({""})
    assert [row["epoch"] for row in rows(tmp_path / "teacher")] == ["1"]
    assert float(rows(tmp_path / "teacher")[0]["contrast"]) > 0
    state, kept = (
        load_file(tmp_path / "teacher" / name) for name in ("checkpoint.safetensors", "classifier/model.safetensors")
    )
    assert torch.equal(kept["head.weight"], state["average.head.weight"].bfloat16())
    assert not torch.equal(kept["head.weight"], state["network.head.weight"].bfloat16())
    assert np.load(tmp_path / "run" / "teacher_scores.npy", mmap_mode="r").shape == (24, 7, 12, 12)
    folder = tmp_path / "teacher" / "classifier"  # the same as a classifier
    assert train(config, f"teacher.classifiers=[{folder}]", *taught, f"output={tmp_path / 'second'}")[0] == 0
    one, other = (load_file(tmp_path / name / "checkpoint.safetensors") for name in ("run", "second"))
    assert all(torch.equal(one[key], other[key]) for key in one)


def test_a_network_starts_from_what_is_trained_first(train, tmp_path):
    config = write_config(tmp_path)
    first = tmp_path / "first.yaml"
    first.write_text(config.read_text().replace("/run", "/first"))
    status, _, lines = train(config, f"network.initial={first}", "learning_rate=1e-12", "epochs=1")
    assert (status, lines[1]) == (0, f"network.initial {first}:")
    one, other = (load_file(tmp_path / name / "classifier" / "model.safetensors") for name in ("first", "run"))
    assert torch.equal(one["head.weight"], other["head.weight"])
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
        one, other = (load_classifier(folder).network(images) for folder in (taught, tmp_path / "again" / "classifier"))
    assert torch.corrcoef(torch.stack([one.flatten(), other.flatten()]))[0, 1] > 0.98


def test_killed_and_resumed_it_ends_with_the_same_weights(train, tmp_path):
    config = write_config(tmp_path)
    long = [config, "epochs=12", "ema=0.9", "data.workers=1"]
    command = [sys.executable, "-m", "grounding.train", *map(str, long), f"output={tmp_path / 'killed'}"]
    environment = os.environ | {"OMP_NUM_THREADS": str(torch.get_num_threads())}
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment, cwd=ROOT)
    log = tmp_path / "killed" / "log.csv"
    deadline = time.monotonic() + 120
    while not (log.is_file() and log.read_text().count("\n") >= 3) and time.monotonic() < deadline:
        assert process.poll() is None, process.stderr.read().decode()
        time.sleep(0.002)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    process.stderr.close()
    status, _, lines = train(*long, f"output={tmp_path / 'killed'}", "data.workers=0")
    assert status == 0
    assert 1 <= int(lines[-1].removeprefix("going on after epoch ").removesuffix(" of 12")) < 12
    assert train(*long)[0] == 0
    for name in ("checkpoint.safetensors", "classifier/model.safetensors"):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "run" / name).read_bytes()
    told = [[row | {"pictures_per_s": ""} for row in rows(tmp_path / name)] for name in ("killed", "run")]
    assert told[0] == told[1]


SHARED_TRAINING = """
import sys
from safetensors.torch import save_file
from grounding.train import main
from grounding.training import run

class Watched(run.Trainer):
    def run_epoch(self, progress):
        result = super().run_epoch(progress)
        parameters = {name: parameter.detach() for name, parameter in self.network.named_parameters()}
        save_file(parameters, f"rank{self.process.rank}.safetensors")
        return result

run.Trainer = Watched
sys.exit(main(sys.argv[1:]))
"""


def test_two_processes_train_as_one(train, tmp_path):
    """Without batch statistics, two processes end where one does that sees the same pictures in two parts."""
    config = write_config(tmp_path)
    still = "network.frozen=[norm1, norm2, norm3]"
    (tmp_path / "shared.py").write_text(SHARED_TRAINING)
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node=2",
        "shared.py",
        str(config),
        still,
    ]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("classifier: ") == 1
    assert done.stderr.count("24 pictures with 48 captions") == 1
    log = rows(tmp_path / "run")
    assert [row["step"] for row in log] == ["1", "2", "3"]
    assert float(log[2]["loss"]) < float(log[0]["loss"])
    one, other = (load_file(tmp_path / f"rank{rank}.safetensors") for rank in (0, 1))
    assert all(torch.equal(one[key], other[key]) for key in one)
    assert train(config, still, "accumulate=2", f"output={tmp_path / 'alone'}")[0] == 0
    assert [float(row["loss"]) for row in rows(tmp_path / "alone")] == pytest.approx(
        [float(row["loss"]) for row in log], rel=1e-3
    )


def test_what_changes_in_a_begun_training_is_refused(train, tmp_path, monkeypatch):
    config = write_config(tmp_path)

    def interrupted(self, row):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        write = CsvLog.write
        patch.setattr(
            CsvLog, "write", lambda self, row: interrupted(self, row) if row["epoch"] == 2 else write(self, row)
        )
        status, _, lines = train(config)
    assert status == 130
    assert lines[-1] == "interrupted: run the same command again to go on after the last finished epoch"
    before = (tmp_path / "run" / "checkpoint.safetensors").read_bytes()
    for override, message in (
        ("epochs=5", "with another config.epochs (5, was 3)"),
        ("seed=1", "with another config.seed (1, was 0)"),
        ("network.channels=[8, 16, 8]", "with another config.network.channels ([8, 16, 8], was [8, 16, 16])"),
    ):
        status, _, lines = train(config, override)
        assert (status, len(lines)) == (2, 1)
        assert message in lines[0]
    table = tmp_path / "shapes" / "captions.jsonl"
    kept = table.read_text()
    table.write_text(kept.replace("a red circle", "a circle red", 1))
    status, _, lines = train(config)
    assert status == 2
    assert "with another data (24 pictures, " in lines[-1]
    table.write_text(kept)
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert (tmp_path / "run" / "checkpoint.safetensors").read_bytes() == before
    assert train(config, "data.workers=1", "log=tensorboard")[0] == 0  # these may change
    status, _, lines = train(config, "tags=6")
    assert status == 2
    assert "with another config.tags (6, was 7)" in lines[0]


def test_until_there_is_a_checkpoint_everything_may_change(train, tmp_path, monkeypatch):
    config = write_config(tmp_path)
    taught = ["loss.teacher=1", f"teacher.classifiers=[{tmp_path / 'teacher' / 'classifier'}]"]
    assert train(config, "epochs=1", f"output={tmp_path / 'teacher'}")[0] == 0
    scores = tmp_path / "run" / "teacher_scores.npy"

    def interrupted(self, row):
        raise KeyboardInterrupt

    monkeypatch.setattr(CsvLog, "write", interrupted)
    assert train(config, *taught)[0] == 130
    written = scores.stat().st_mtime_ns
    assert train(config, *taught, "learning_rate=1e-4")[0] == 130
    assert scores.stat().st_mtime_ns == written
    assert train(config, *taught, "teacher.sizes_px=[128]")[0] == 130
    assert scores.stat().st_mtime_ns != written


def test_a_full_disk_keeps_the_last_checkpoint(train, tmp_path, monkeypatch):
    """A limit on the size of files stands in for a full disk."""
    config = write_config(tmp_path)
    write, limits = CsvLog.write, resource.getrlimit(resource.RLIMIT_FSIZE)

    def fills_up(self, row):
        write(self, row)
        if row["epoch"] == 2:
            resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))

    monkeypatch.setattr(CsvLog, "write", fills_up)
    try:
        status, out, lines = train(config)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert (status, out) == (2, "")
    checkpoint = tmp_path / "run" / "checkpoint.safetensors"
    assert lines[-1].startswith(f"error: checkpoint {checkpoint} cannot be written (")
    assert lines[-1].endswith("the one before it is kept; make room and run the same command again")
    assert not list((tmp_path / "run").glob("*.partial"))
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    status, _, lines = train(config)
    assert status == 0
    assert "going on after epoch 1 of 3" in lines
    assert [row["epoch"] for row in rows(tmp_path / "run")] == ["1", "2", "3"]


def test_pictures_that_become_unreadable(train, tmp_path):
    config = write_config(tmp_path)
    for name in ("003.png", "004.png"):
        path = tmp_path / "shapes" / name
        path.write_bytes(path.read_bytes()[:100])  # the header is whole
    for kept, said in ((64, ["2 pictures"]), (0, [f"epoch {n}: 2 pictures" for n in (1, 2, 3)])):
        status, _, lines = train(config, f"data.kept_size_px={kept}", f"output={tmp_path / str(kept)}")
        assert status == 0
        assert [line[: len(start)] for line, start in zip(lines[1:], said, strict=True)] == said
        assert all("could not be read, and the next ones were seen instead: " in line for line in lines[1:])
        assert all("003.png" in line for line in lines[1:])


def test_validation_says_what_evaluation_says(train, tmp_path):
    config = write_config(tmp_path)
    entities = write_entities(tmp_path / "entities", photographs=True)
    photographs = entities / "photographs"
    measured = [
        f"validation.images=[{photographs}]",
        f"validation.annotations={entities}",
        "validation.every=2",
        "map_layer=-2",
    ]
    status, _, lines = train(config, *measured)
    assert status == 0
    trivial = "centre point: pointing/phrase 40.0, whole image: recall@1/merged-box 15.0 percent"
    assert f"validation on val, all 5 images; {trivial}" in lines
    log = rows(tmp_path / "run")
    assert [row["pointing/phrase"] != "" for row in log] == [False, True, True]
    assert f"epoch 3: pointing/phrase {float(log[2]['pointing/phrase']):.1f}, recall@1/merged-box" in lines[-1]
    folder = tmp_path / "run" / "classifier"
    options = [
        "--images",
        photographs,
        "--annotations",
        entities,
        "--classifier",
        folder,
        "--output",
        tmp_path / "scored",
    ]
    assert evaluate(["flickr30k", *map(str, options)]) == 0
    metrics = json.loads((tmp_path / "scored" / "metrics.json").read_text())["run"]
    again = Validation(ValidationConfig((str(photographs),), str(entities))).measure(load_classifier(folder), "cpu")
    assert again == {name: metrics[name]["value"] for name in ("pointing/phrase", "recall@1/merged-box")}


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("epoch=3", "unknown configuration key 'epoch': did you mean 'epochs'"),
        ("epochs=0", "'epochs' is 0: expected 1 to"),
        ("learning_rate=-1", "'learning_rate' is -1.0: expected"),
        ("head_learning_rate=0", "'head_learning_rate' is 0.0: expected"),
        ("ema=1", "'ema' is 1.0: expected 0 to 0.99999"),
        ("map_layer=3", "'map_layer' is 3: expected -1000 to -2"),
        ("views.smallest_crop=0", "'views.smallest_crop' is 0.0: expected"),
        ("loss.words=0", "loss.words, loss.teacher and loss.contrast are all 0"),
        ("loss.teacher=1", "loss.teacher is 1 with 0 teacher.classifiers: expected"),
        ("teacher.classifiers=[embedded]", "loss.teacher is 0 with 1 teacher.classifiers: expected"),
        ("validation.images=[x]", "without validation.annotations"),
        ("network.strides=[2]", "have 3 and 1 numbers"),
        ("network.architecture=resnet50", "is 'resnet50': expected plain or timm:NAME"),
        ("network.initial=embedded", "network.initial embedded has other tags"),
        ("network.frozen=[conv9]", "'conv9' holds no parameter"),
        ("device=tpu", "device 'tpu' cannot be used"),
        ("data.sources=[]", "data.sources is empty"),
        ("data.sources=[none.tar]", "none.tar"),
        ("data.caption_column=text", "text"),
        ("tags=8", "the captions hold 7 different words; 8 tags were asked for: lower `tags`"),
        ("output=/dev/null/run", "output /dev/null/run cannot be written"),
    ],
)  # fmt: skip
def test_bad_input(train, tmp_path, override, message):
    status, out, lines = train(write_config(tmp_path), override)
    assert (status, out) == (2, "")
    assert lines[-1].startswith("error: ")
    assert message in lines[-1]
    assert not (tmp_path / "run").exists()


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


def test_an_output_with_other_things(train, tmp_path):
    config = write_config(tmp_path)
    status, _, lines = train(config, f"output={tmp_path / 'shapes'}")
    assert status == 2
    assert "holds other things, such as 000.png: choose another" in lines[-1]
    (tmp_path / "run").mkdir()  # an empty folder is fine
    assert train(config, "epochs=1")[0] == 0
    (tmp_path / "run" / "checkpoint.safetensors").write_bytes(b"x" * 100)
    (tmp_path / "run" / "classifier" / "config.json").unlink()
    (tmp_path / "run" / "classifier" / "model.safetensors").unlink()
    (tmp_path / "run" / "classifier").rmdir()
    status, _, lines = train(config, "epochs=1")
    assert status == 2
    assert "checkpoint.safetensors cannot be continued" in lines[-1]
    (tmp_path / "run" / "config.json").write_text("{")
    assert train(config, "epochs=1")[2][0].endswith("choose another output")


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


def test_tensorboard(train, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    assert train(write_config(tmp_path), "log=tensorboard")[0] == 0
    events = EventAccumulator(str(tmp_path / "run" / "tensorboard")).Reload()
    assert [event.step for event in events.Scalars("loss")] == [1, 2, 3]
    assert "pictures_per_s" in events.Tags()["scalars"]
    assert not (tmp_path / "run" / "log.csv").exists()


def test_tensorboard_is_missing(train, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    status, _, lines = train(write_config(tmp_path), "log=tensorboard")
    assert status == 2
    assert lines == [
        "error: log is tensorboard, which is not installed: pip install 'grounding[train]', or set log=csv"
    ]


def test_help_imports_nothing_heavy():
    code = "import sys, grounding.train as t\ntry: t.main(['--help'])\nexcept SystemExit: pass\n"
    heavy = "print(sorted({'torch', 'numpy', 'PIL', 'nltk', 'cv2'} & set(sys.modules)), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code + heavy], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"
    assert "key=value" in done.stdout
