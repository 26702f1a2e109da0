"""Curves for TensorBoard, which is optional; `log.csv` is read by nearly every other test."""

import sys

from helpers.training import write_config


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
