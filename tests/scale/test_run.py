"""A run: what is done and what is not done again, what is claimed, and the check at the end."""

import contextlib
import json
import signal

import pytest

from grounding.scale.attempts import FOLDER, begin
from grounding.scale.parts import Answer, part_name, write_part
from grounding.scale.run import SUMMARY, claimed, fingerprint, run_partitions, sentence
from grounding.scale.storage import Storage
from helpers.captioned import refused
from helpers.scale import make_job, write_manifest

SETTINGS = {"top_k": 3, "config": {"gamma": 0.2}}


@pytest.fixture
def job(tmp_path):
    return make_job(write_manifest(tmp_path / "m", 45), tmp_path / "out", tmp_path / "c")


def answer(row):
    said = {"image": {"path": "p"}, "caption": "c", "phrases": [{"status": "localized"}]}
    return Answer(row, 0, {**said, "error": "why not"} if row == 3 else said, "p")


class Engine:
    """Does partitions without looking at a picture; notes which, and stops before one."""

    def __init__(self, stop=None, skip=None):
        self.done, self.stop, self.skip = [], stop, skip

    def __call__(self, job, partitions):
        for partition in partitions:
            if partition.number == self.stop:
                begin(job.output, partition.number)
                raise KeyboardInterrupt
            if partition.number != self.skip:
                first = partition.start + partition.first + 1
                write_part(job.output, job.run, partition, [answer(first + each) for each in range(partition.rows)])
            self.done.append(partition.number)
            yield partition, 0


def test_an_interrupted_run_goes_on_where_it_stopped(job):
    first, second, third = Engine(stop=2), Engine(), Engine()
    with pytest.raises(KeyboardInterrupt):
        run_partitions(job, first)
    assert SUMMARY not in job.output.names()
    assert job.output.names(FOLDER) == []  # a worker that was ended did not die of a row
    total = run_partitions(job, second)
    assert (first.done, second.done) == ([0, 1], [2, 3, 4])
    assert (total.rows, total.results, total.failed, total.statuses.total()) == (45, 44, 1, 44)
    assert run_partitions(job, third) == total
    assert third.done == []
    assert json.loads(job.output.read(SUMMARY))["results"] == 44


def test_an_interruption_that_a_library_drops_still_ends_the_run(job):
    done = []

    def deaf(job, partitions):
        for partition, deaths in Engine()(job, partitions):
            done.append(partition.number)
            with contextlib.suppress(KeyboardInterrupt):
                signal.raise_signal(signal.SIGINT)
            yield partition, deaths

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        run_partitions(job, deaf)
    assert done == [0]
    assert signal.getsignal(signal.SIGINT) is before


def test_a_part_that_was_cut_short_is_done_again(job, tmp_path):
    run_partitions(job, Engine())
    path = tmp_path / "out" / part_name("failed", 2)
    whole = path.read_bytes()
    path.write_bytes(whole[:-9])
    with pytest.raises(KeyboardInterrupt):
        run_partitions(job, Engine(stop=2))
    assert SUMMARY not in job.output.names()  # it would say that the run is whole
    again = Engine()
    run_partitions(job, again)
    assert again.done == [2]
    assert path.read_bytes() == whole


def test_a_run_is_finished_only_when_every_partition_is_there(job):
    assert "partition 3 of" in refused(run_partitions, job, Engine(skip=3))
    assert SUMMARY not in job.output.names()


def test_parts_of_nobody_are_not_counted_as_results(job):
    job.output.write("results/part-000099.parquet", b"")
    assert "1 other files in results and failed" in refused(run_partitions, job, Engine())


def test_what_killed_workers_left_is_gone_at_the_end(job, tmp_path):
    begin(job.output, 1)
    (tmp_path / "out" / "results").mkdir()
    (tmp_path / "out" / "results" / ".unfinished-1").write_bytes(b"x")
    run_partitions(job, Engine())
    assert job.output.names(FOLDER) == []
    assert job.output.names("results") == [f"part-{number:06d}.parquet" for number in range(5)]


@pytest.fixture(params=["folder", "address"])
def storage(request, tmp_path):
    return Storage(str(tmp_path / "out") if request.param == "folder" else f"memory://{tmp_path.name}/out")


def claim(storage, settings=SETTINGS, overwrite=False):
    with claimed(storage, settings, overwrite):
        return True


def test_the_same_settings_go_on_and_others_are_refused(storage):
    assert claim(storage)
    storage.write("results/part-000000.parquet", b"")
    assert claim(storage)
    message = refused(claim, storage, {**SETTINGS, "config": {"gamma": 0.3}})
    assert "config.gamma (0.3, was 0.2)" in message
    assert storage.names("results") == ["part-000000.parquet"]


@pytest.mark.parametrize(
    ("settings", "finished", "left"),
    [({"top_k": 1}, False, []), (SETTINGS, True, []), (SETTINGS, False, ["part-000000.parquet"])],
)
def test_overwrite_removes_other_and_finished_runs_only(storage, settings, finished, left):
    claim(storage)
    storage.write("results/part-000000.parquet", b"")
    if finished:
        storage.write(SUMMARY, b"{}")
    assert claim(storage, settings, overwrite=True)
    assert storage.names("results") == left
    assert SUMMARY not in storage.names()


def test_other_things_are_left_alone(storage):
    storage.write("thesis.tex", b"")
    assert "holds other things, such as thesis.tex" in refused(claim, storage, overwrite=True)


def test_results_without_settings_are_not_ours_to_go_on_with(storage):
    storage.write("results/part-000000.parquet", b"")
    assert "results without settings.json" in refused(claim, storage)


def test_two_runs_at_once_in_one_folder(tmp_path):
    storage = Storage(str(tmp_path / "out"))
    with claimed(storage, SETTINGS, False):
        assert "is being written by another run" in refused(claim, storage)
        assert "is being written by another run" in refused(claim, storage, {"top_k": 5}, True)
    assert claim(storage)


def test_a_folder_that_cannot_be_made():
    assert "/dev/null/out cannot be read or written: Not a directory" in refused(claim, Storage("/dev/null/out"))


def test_a_file_in_the_place_of_the_folder(tmp_path):
    (tmp_path / "out").write_text("")
    assert str(tmp_path / "out") in refused(claim, Storage(str(tmp_path / "out")))


def test_what_a_run_says_at_the_end(job):
    said = sentence(run_partitions(job, Engine()))
    assert said.splitlines() == [
        "45 rows, 5 pictures, 44 phrases: 44 localized",
        "1 of 45 captions failed, each says why in failed; the first: why not",
    ]


def test_a_fingerprint_is_of_the_settings_not_their_order():
    assert fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1}) != fingerprint({"a": 1, "b": 3})
