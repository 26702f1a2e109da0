"""The folder of a training: when it goes on, what may change, and what it is not."""

import pytest

from grounding.training.logs import CsvLog
from helpers.training import write_config


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


def test_a_training_of_an_earlier_version(train, tmp_path):
    """Its settings bear the names that keys had then."""
    config = write_config(tmp_path)
    assert train(config, "epochs=1")[0] == 0
    settings = tmp_path / "run" / "config.json"
    text = settings.read_text()
    for new, old in (("inference_size_px", "shown_size_px"), ("augmentation", "views"), ("grayscale", "grey")):
        assert f'"{new}"' in text
        text = text.replace(f'"{new}"', f'"{old}"')
    assert '    "head_only": false,\n' in text  # a key that is younger
    settings.write_text(text.replace('    "head_only": false,\n', ""))
    assert '"architecture": "plain"' in text  # as earlier versions wrote it where nothing is said
    status, _, lines = train(config, "epochs=1")
    assert (status, lines) == (0, [f"{tmp_path / 'run' / 'classifier'} is there already"])
    status, _, lines = train(config, "epochs=1", "augmentation.grayscale=0.5")
    assert status == 2
    assert "config.augmentation.grayscale (0.5, was 0.0)" in lines[0]
    status, _, lines = train(config, "epochs=1", "network.initial=embedded", "head_only=true")
    assert status == 2
    assert "config.head_only (True, was False)" in lines[0]


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"config": []}'])
def test_settings_that_are_broken(train, tmp_path, content):
    config = write_config(tmp_path)
    assert train(config, "epochs=1")[0] == 0
    settings = tmp_path / "run" / "config.json"
    settings.write_text(content)
    status, _, lines = train(config, "epochs=1")
    assert (status, len(lines)) == (2, 1)
    assert all(fact in lines[0] for fact in (str(settings), "broken", "another output"))
