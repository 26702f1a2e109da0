"""Whole trainings of a CLIP, from the command line."""

import json

import pytest
import torch
from safetensors.torch import load_file

from helpers.clip_training import write_tiny
from helpers.training import log_rows


def test_a_clip_is_trained_and_goes_on(train, tmp_path):
    config = write_tiny(tmp_path)
    status, out, lines = train(config, "held_out_every=3")
    assert (status, out) == (0, f"clip: {tmp_path / 'run' / 'clip'}\n")
    assert lines == ["24 pictures; 4 tags, without 2 that are held out: green, square"]
    assert json.loads((tmp_path / "run" / "held_out.json").read_text()) == ["green", "square"]
    assert [row["epoch"] for row in log_rows(tmp_path / "run")] == ["1", "2"]
    assert {"model.safetensors", "config.json", "tokenizer.json", "processor_config.json"} & {
        path.name for path in (tmp_path / "run" / "clip").iterdir()
    }
    status, _, lines = train(config, "held_out_every=3")
    assert (status, lines) == (0, [f"{tmp_path / 'run' / 'clip'} is there already"])
    status, _, (line,) = train(config, "held_out_every=2")
    assert status == 2
    changed = "another held_out_every (2, was 3): choose another output"
    assert line == f"error: output {tmp_path / 'run'} is of a training with {changed}"


def test_interrupted_after_an_epoch(train, tmp_path, monkeypatch):
    from grounding.training.clip.trainer import ClipTrainer

    config, run_epoch = write_tiny(tmp_path), ClipTrainer.run_epoch
    assert train(config, f"output={tmp_path / 'whole'}")[0] == 0

    def stopped(self, progress):
        if self.epoch == 1:
            raise KeyboardInterrupt
        return run_epoch(self, progress)

    with monkeypatch.context() as patch:
        patch.setattr(ClipTrainer, "run_epoch", stopped)
        status, _, lines = train(config)
    assert status == 130
    assert "run the same command again" in lines[-1]
    status, _, lines = train(config)
    assert status == 0
    assert "going on after epoch 1 of 2" in lines
    whole, resumed = (load_file(tmp_path / name / "clip" / "model.safetensors") for name in ("whole", "run"))
    assert all(torch.equal(whole[key], resumed[key]) for key in whole)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("vision.image_size_px=100", "vision.image_size_px is 100: expected a multiple of 32"),
        ("vision.weights=none.safetensors", "vision.weights none.safetensors cannot be read as timm's mobilenetv1_100"),
        ("loss={places: 0, picture: 0, captions: 0}", "expected at least one above 0"),
        ("epoch=3", "unknown configuration key 'epoch'"),
        ("text.heads=7", "text.heads is 7: expected a divisor of 160"),
        ("teacher=nowhere", "unknown classifier source 'nowhere'"),
        ("teacher=torchvision:resnet50=missing.pt", "weights file 'missing.pt' cannot be read"),
        ("data.sources=[]", "no source of pictures and captions"),
        ("batch_size=1", "configuration key 'batch_size' is 1"),
    ],
)
def test_bad_input_is_one_line(train, tmp_path, override, message):
    status, _, lines = train(write_tiny(tmp_path), override)
    assert status == 2
    assert message in lines[-1]
    assert lines[-1].startswith("error: ")
    assert not any("Traceback" in line for line in lines)


def test_an_output_of_others(train, tmp_path):
    config = write_tiny(tmp_path)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "diary.txt").write_text("dear")
    status, _, (line,) = train(config)
    assert (status, line) == (
        2,
        f"error: output {tmp_path / 'run'} holds other things, such as diary.txt: choose another",
    )
