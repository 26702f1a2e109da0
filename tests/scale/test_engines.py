"""Processes and Ray do all partitions, also when workers are killed in the middle; and how they give up."""

import contextlib
import dataclasses
import functools
import http.server
import multiprocessing
import os
import signal
import subprocess
import threading
from types import SimpleNamespace
from typing import ClassVar

import pytest

from grounding.errors import GroundingError
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


class Pictures(http.server.SimpleHTTPRequestHandler):
    """A folder of pictures; while `held` is clear, who asks for b.png waits, and `asked` says so."""

    held, asked = threading.Event(), threading.Event()

    def do_GET(self):
        if self.path.endswith("b.png") and not self.held.is_set():
            self.asked.set()
            self.held.wait(120)
        with contextlib.suppress(ConnectionError):  # who asked may be dead
            super().do_GET()

    def log_message(self, *_):
        """Say nothing."""


@pytest.fixture
def pictures(tmp_path):
    """The address of the pictures of `tmp_path / "m"`."""
    Pictures.held.set()
    handler = functools.partial(Pictures, directory=tmp_path / "m")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@contextlib.contextmanager
def killing(mark):
    """Kill the first process with this mark that reads b.png, in the middle of it."""
    killed = []
    Pictures.asked.clear()
    Pictures.held.clear()

    def kill():
        if Pictures.asked.wait(120):
            killed.extend([pid for pid, arguments in below().items() if mark in arguments][:1])
            for pid in killed:
                os.kill(pid, signal.SIGKILL)
        Pictures.held.set()

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        yield killed
    finally:
        Pictures.asked.set()
        thread.join()


@pytest.fixture
def job(pictures, tmp_path):
    manifest = write_manifest(tmp_path / "m", ROWS, broken=(2,))
    return make_job(manifest, tmp_path / "out", tmp_path / "c", image_folder=pictures)


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
    with killing("spawn_main") as killed:
        total = run_partitions(job, lambda job, partitions: processes.run(job, partitions, 1))
    assert len(killed) == 1
    check(job, expected, total)
    assert read_output(tmp_path / "out") == expected


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:::ray", "ignore::ResourceWarning")
def test_actors_of_ray_that_are_killed_are_replaced(job, expected, tmp_path, capfd):
    pytest.importorskip("ray")
    with killing("ray::MapWorker") as killed:
        total = run_partitions(job, lambda job, partitions: ray_engine.run(job, partitions, 2, 0))
    assert len(killed) == 1
    check(job, expected, total)
    assert read_output(tmp_path / "out") == expected
    printed = capfd.readouterr()
    assert printed.out == ""
    assert [line for line in printed.err.replace("\r", "\n").splitlines() if line.strip() and "%|" not in line] == []


class Here:
    """In the place of a process: answers, or dies where there are none left."""

    answers: ClassVar[list[object]] = []

    def __init__(self, job, threads):
        self.pipe, theirs = multiprocessing.Pipe()
        self.process, self.partition, self.ready = SimpleNamespace(exitcode=-9), None, False
        if self.answers:
            theirs.send(self.answers.pop(0))
        theirs.close()

    def give(self, partition):
        self.ready, self.partition = True, partition

    def end(self):
        self.pipe.close()


@pytest.mark.parametrize(
    ("answers", "error", "said"),
    [
        ([], GroundingError, "3 workers died while they loaded the model, the last with exit status -9"),
        ([None, None], GroundingError, "3 workers died while they loaded"),
        ([GroundingError("no room")], GroundingError, "no room"),
        (["Traceback: a bug"], RuntimeError, "Traceback: a bug"),
    ],
)
def test_what_is_wrong_with_every_worker_ends_the_run(job, monkeypatch, answers, error, said):
    monkeypatch.setattr(processes, "_Process", Here)
    monkeypatch.setattr(Here, "answers", answers)
    with pytest.raises(error, match=said):
        list(processes.run(job, job.manifest.partitions(), 1))


def test_a_process_says_when_it_is_ready_what_it_did_and_what_is_wrong(job, monkeypatch):
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    ours, theirs = multiprocessing.Pipe()
    for partition in job.manifest.partitions():
        ours.send(partition)
    ours.send("no partition")
    processes._serve(theirs, job, 1)
    assert [ours.recv() for _ in range(4)] == [None, 0, 0, 0]
    assert "AttributeError" in ours.recv()
    processes._serve(theirs, dataclasses.replace(job, fingerprint="f" * 64), 1)
    assert "expected ffffffffffff" in str(ours.recv())


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
