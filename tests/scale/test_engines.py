"""Processes and Ray do all partitions, also when workers are killed in the middle; and how they give up."""

import contextlib
import dataclasses
import os
import signal
import subprocess
import threading
import time

import pytest

from grounding.scale import processes, ray_engine
from grounding.scale.attempts import FOLDER
from grounding.scale.run import run_partitions
from grounding.scale.worker import Worker
from helpers.captioned import refused
from helpers.scale import make_job, read_output, write_manifest

ROWS = 25


def below():
    """The process ids below this one with their command lines."""
    out = subprocess.run(["ps", "-ewwo", "pid,ppid,args"], capture_output=True, text=True, check=True).stdout
    rows = [line.split(None, 2) for line in out.splitlines()[1:]]
    ours, before = {os.getpid()}, 0
    while len(ours) > before:
        before = len(ours)
        ours |= {int(pid) for pid, parent, _ in rows if int(parent) in ours}
    return {int(pid): arguments for pid, _, arguments in rows if int(pid) in ours}


@contextlib.contextmanager
def killing(path, times, mark):
    """Put a pipe in the place of a picture: who reads it hangs, and is killed; afterwards the picture is there."""
    content = path.read_bytes()
    path.unlink()
    os.mkfifo(path)
    killed, stop = [], threading.Event()

    def kill():
        while len(killed) < times and not stop.is_set():
            try:
                pipe = os.open(path, os.O_WRONLY | os.O_NONBLOCK)  # only where somebody reads
            except OSError:
                time.sleep(0.02)
                continue
            found = [pid for pid, arguments in below().items() if mark in arguments and pid not in killed]
            if len(killed) == times - 1:
                other = path.with_name("other")
                other.write_bytes(content)
                other.replace(path)
            for pid in found:
                os.kill(pid, signal.SIGKILL)
            killed.extend(found[:1])
            os.close(pipe)

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        yield killed
    finally:
        stop.set()
        thread.join()


@pytest.fixture
def job(tmp_path):
    return make_job(write_manifest(tmp_path / "m", ROWS, broken=(2,)), tmp_path / "out", tmp_path / "c")


@pytest.fixture
def expected(job, tmp_path):
    alone = dataclasses.replace(job, output=dataclasses.replace(job.output, root=str(tmp_path / "alone")))
    worker = Worker(alone, 1)
    for partition in alone.manifest.partitions():
        worker.do(partition)
    return read_output(tmp_path / "alone")


def check(job, expected, total):
    assert (total.rows, total.results, total.failed) == (ROWS, ROWS - 1, 1)
    assert [row for row, _, _ in expected] == list(range(1, ROWS + 1))
    assert job.output.names(FOLDER) == []


@pytest.mark.slow
def test_processes_that_are_killed_are_replaced(job, expected, tmp_path):
    with killing(tmp_path / "m" / "b.png", 2, "spawn_main") as killed:
        total = run_partitions(job, lambda job, partitions: processes.run(job, partitions, 1))
    assert len(killed) == 2
    check(job, expected, total)
    assert read_output(tmp_path / "out") == expected


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:::ray", "ignore::ResourceWarning")
def test_actors_of_ray_that_are_killed_are_replaced(job, expected, tmp_path, capfd):
    pytest.importorskip("ray")
    with killing(tmp_path / "m" / "b.png", 1, "ray::MapWorker") as killed:
        total = run_partitions(job, lambda job, partitions: ray_engine.run(job, partitions, 2, 0))
    assert len(killed) == 1
    check(job, expected, total)
    assert read_output(tmp_path / "out") == expected
    printed = capfd.readouterr()
    assert printed.out == ""
    assert [line for line in printed.err.replace("\r", "\n").splitlines() if line.strip() and "%|" not in line] == []


@pytest.mark.slow
def test_a_worker_that_cannot_begin_is_said_once(job):
    other = dataclasses.replace(job, fingerprint="f" * 64)
    message = refused(lambda: list(processes.run(other, other.manifest.partitions(), 2)))
    assert "expected ffffffffffff" in message


def test_ray_that_is_not_installed_is_named_with_the_command(job, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    message = refused(lambda: list(ray_engine.run(job, job.manifest.partitions(), 1, 0)))
    assert "pip install 'grounding[ray]'" in message


def test_an_actor_hands_errors_on_as_text(job):
    partitions = job.manifest.partitions()

    class Cell(list):
        def tolist(self):
            return list(self)

    batch = {name: Cell(getattr(each, name) for each in partitions) for name in partitions[0]._fields}
    bad = ray_engine.Actor(dataclasses.replace(job, fingerprint="f" * 64), 1)(batch)
    assert all("expected ffffffffffff" in error for error in bad["error"])
    actor = ray_engine.Actor(job, 1)
    assert actor(batch)["error"] == [""] * len(partitions)

    def never(partition):
        raise AssertionError("done before")

    actor.worker.do = never
    assert actor(batch)["error"] == [""] * len(partitions)
