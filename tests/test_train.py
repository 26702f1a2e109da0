"""`python -m grounding.train`: the whole command, bad input, and the tables of `captions`."""

import json
import subprocess
import sys

import pytest
import torch

from grounding.tagging.sources import load_classifier
from grounding.text.phrases import find_phrases
from grounding.text.tags import build_tags
from grounding.text.vocabulary import Vocabulary
from helpers.training import draw_shapes, log_rows, write_config, write_voc


def test_the_whole_command(train, tmp_path):
    config = write_config(tmp_path)
    status, out, lines = train(config)
    assert (status, out) == (0, f"classifier: {tmp_path / 'run' / 'classifier'}\n")
    assert lines[0].startswith("24 pictures with 48 captions; 7 tags: ")
    log = log_rows(tmp_path / "run")
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


def test_the_labels_of_a_data_set_from_its_folder_to_a_classifier(train, tmp_path):
    """Two steps on a VOC folder: its classes are the tags, and difficult objects teach nothing."""
    table = draw_shapes(tmp_path / "shapes", 8)
    names = [["dog"], ["tvmonitor", "dog"], ["dog"], ["cat", "tvmonitor"]] * 2
    objects = [[(name, 0) for name in each] + [("bird", 1)] for each in names]
    write_voc(tmp_path / "VOCdevkit" / "VOC2007", table, objects)
    given = ("--root", "VOCdevkit", "--split", "trainval", "--output", "voc.jsonl")
    assert train("labels", "voc", *given) == (0, "8 pictures: voc.jsonl\n", [])
    overrides = ("data.sources=[voc.jsonl]", "data.label_column=labels", "tags=none", "epochs=2", "output=run")
    status, out, lines = train(write_config(tmp_path / "c"), *overrides)
    assert (status, out) == (0, "classifier: run/classifier\n"), lines
    # dog in 6 of 8 pictures, tvmonitor in 4, cat in 2, bird in none
    assert lines[0] == "8 pictures with 12 labels; 3 tags: dog, tvmonitor, cat"
    assert [row["step"] for row in log_rows(tmp_path / "run")] == ["1", "2"]
    assert load_classifier(tmp_path / "run" / "classifier").tags == ("dog", "tvmonitor", "cat")
    assert json.loads((tmp_path / "run" / "config.json").read_text())["config"]["tags"] is None  # whatever there are


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("epoch=3", "unknown configuration key 'epoch': did you mean 'epochs'"),
        ("epochs=0", "'epochs' is 0: expected at least 1"),
        ("learning_rate=-1", "'learning_rate' is -1: expected"),
        ("head_learning_rate=0", "'head_learning_rate' is 0: expected"),
        ("ema=1", "'ema' is 1: expected at most 0.99999"),
        ("map_layer=3", "'map_layer' is 3: expected at most -2"),
        ("augmentation.min_crop_scale=0", "'augmentation.min_crop_scale' is 0: expected"),
        ("loss.words=0", "loss.words, loss.teacher and loss.contrast are all 0"),
        ("loss.teacher=1", "loss.teacher is 1 with 0 teacher.classifiers: expected"),
        ("teacher.classifiers=[embedded]", "loss.teacher is 0 with 1 teacher.classifiers: expected"),
        ("validation.images=[x]", "without validation.annotations"),
        ("network.strides=[2]", "have 3 and 1 numbers"),
        ("network.architecture=resnet50", "is 'resnet50': expected plain or timm:NAME"),
        ("network.initial=embedded", "network.initial embedded has the channels [32, 64, 128, 128, 256, "),
        ("network.initial=torchvision:resnet18", "network.initial is 'torchvision:resnet18': expected embedded"),
        ("network.initial=timm:resnet18", "set network.architecture=timm:NAME and network.weights=pretrained"),
        ("network.initial=nowhere", "unknown classifier source 'nowhere'"),
        ("head_only=true", "head_only needs a backbone that has learnt: set network.initial"),
        ("data.sources=none", "data.sources is empty"),
        ("network.frozen=[conv9]", "'conv9' holds no parameter"),
        ("device=tpu", "device 'tpu' cannot be used"),
        ("data.sources=[]", "data.sources is empty"),
        ("data.sources=[none.tar]", "none.tar"),
        ("data.caption_column=text", "text"),
        ("data.label_column=labels", "captions.jsonl has no column 'labels'"),
        ("data.label_column=caption", "tags is 7 where the pictures have "),
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


def test_help_imports_nothing_heavy():
    code = "import sys, grounding.train as t\ntry: t.main(['--help'])\nexcept SystemExit: pass\n"
    heavy = "print(sorted({'torch', 'numpy', 'PIL', 'nltk', 'cv2'} & set(sys.modules)), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code + heavy], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"
    assert "key=value" in done.stdout
