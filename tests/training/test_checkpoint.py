"""A checkpoint is written whole or not at all."""

import resource

from grounding.training.logs import CsvLog
from helpers.training import log_rows, write_config


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
    assert [row["epoch"] for row in log_rows(tmp_path / "run")] == ["1", "2", "3"]
