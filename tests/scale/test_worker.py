"""What a worker makes of a partition: the answers of the plain run, the same a second time, and what it refuses."""

import dataclasses
import json

import pyarrow as pa
import pytest
from pyarrow import parquet

from grounding.addresses import UnreachableError
from grounding.errors import GroundingError
from grounding.manifest import Destination, ground_manifest, read_manifest
from grounding.pipeline import Localizer
from grounding.scale.attempts import FOLDER
from grounding.scale.parts import part_name
from grounding.scale.worker import Worker
from helpers.captioned import RED, picture, refused
from helpers.scale import CONFIG, make_job, read_output, write_manifest


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    return tmp_path_factory.mktemp("classifier") / "c"


def do_all(job):
    worker = Worker(job, 1)
    for partition in job.manifest.partitions():
        worker.do(partition)
    return worker


def plain(manifest, classifier, folder):
    """The lines of the plain run."""
    localizer = Localizer.from_pretrained(str(classifier), CONFIG)
    to = Destination(folder, False, False, print)
    ground_manifest(localizer, read_manifest(manifest), manifest.parent, 3, {}, to)
    return [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]


def test_partitions_have_the_answers_of_the_plain_run(tmp_path, classifier):
    manifest = write_manifest(tmp_path / "m", 33, broken=(2, 17))
    (tmp_path / "m" / "missing-17.png").symlink_to(tmp_path / "m" / "r.png")
    do_all(make_job(manifest, tmp_path / "out", classifier))
    found = read_output(tmp_path / "out")
    assert [row for row, _, _ in found] == list(range(1, 34))
    assert [said for _, _, said in found] == [
        line.get("error") or line for line in plain(manifest, classifier, tmp_path / "plain")
    ]
    assert [row for row, _, said in found if isinstance(said, str)] == [2]


def test_a_second_time_writes_the_same_bytes(tmp_path, classifier):
    job = make_job(write_manifest(tmp_path / "m", 12, broken=(2,)), tmp_path / "out", classifier)
    worker = do_all(job)
    names = [part_name(table, 0) for table in ("results", "failed")]
    before = [job.output.read(name) for name in names]
    assert worker.do(job.manifest.partitions()[0]) == 0
    assert [job.output.read(name) for name in names] == before
    assert job.output.names(FOLDER) == []


def test_captions_and_pictures_in_the_manifest(tmp_path, classifier):
    content = picture(RED, (12, 8))
    rows = [
        {"image": {"bytes": content, "path": "r.png"}, "caption": ["a red thing", "a blue thing"]},
        {"image": {"bytes": content[:40], "path": "half.png"}, "caption": ["a red thing"]},
        {"image": None, "caption": ["a red thing"]},
        {"image": {"bytes": content, "path": None}, "caption": [" "]},
    ]
    parquet.write_table(pa.Table.from_pylist(rows), tmp_path / "m.parquet")
    do_all(make_job(tmp_path / "m.parquet", tmp_path / "out", classifier))
    found = read_output(tmp_path / "out")
    assert [(row, number, isinstance(said, str)) for row, number, said in found] == [
        (1, 0, False),
        (1, 1, False),
        (2, 0, True),
        (3, 0, True),
        (4, 0, True),
    ]
    reasons = [said for _, _, said in found[2:]]
    assert all(said in reason for said, reason in zip(("half.png", "no image", "no caption"), reasons, strict=True))
    assert reasons[2].startswith(f"manifest {tmp_path / 'm.parquet'}, row 4: ")


def test_pictures_at_addresses(tmp_path, classifier):
    import fsspec

    manifest = write_manifest(tmp_path / "m", 10, broken=(1,))
    memory = fsspec.filesystem("memory")
    for name in "rgb":
        memory.pipe_file(f"/pictures/{name}.png", (tmp_path / "m" / f"{name}.png").read_bytes())
    do_all(make_job(manifest, tmp_path / "far", classifier, image_folder="memory://pictures"))
    do_all(make_job(manifest, tmp_path / "near", classifier))
    far, near = read_output(tmp_path / "far"), read_output(tmp_path / "near")
    assert far[1:] == near[1:]
    assert "memory://pictures/missing-1.png cannot be read: no such file" in far[0][2]


def test_a_storage_that_is_away_fails_no_row(tmp_path, classifier, monkeypatch):
    job = make_job(write_manifest(tmp_path / "m", 10), tmp_path / "out", classifier, image_folder="memory://pictures")

    def away(address):
        raise UnreachableError(f"{address} cannot be reached (slow down)")

    monkeypatch.setattr("grounding.datasets.places.read_bytes", away)
    message = refused(do_all, job)
    assert "cannot be reached (slow down)" in message
    assert "the same command goes on" in message
    assert job.output.names("results") == job.output.names(FOLDER) == []


def test_a_full_disk_is_no_death(tmp_path, classifier, monkeypatch):
    job = make_job(write_manifest(tmp_path / "m", 10), tmp_path / "out", classifier)

    def full(*arguments):
        raise GroundingError("No space left on device")

    monkeypatch.setattr("grounding.scale.worker.write_part", full)
    assert refused(do_all, job) == "No space left on device"
    assert job.output.names(FOLDER) == []


def test_an_unforeseen_error_costs_its_rows_only_unless_all_have_it(tmp_path, classifier, monkeypatch):
    job = make_job(write_manifest(tmp_path / "m", 10), tmp_path / "out", classifier)
    whole = Localizer.encode_batch

    def broken(self, images, *more):
        images = list(images)
        if any((image[0, 0] == colour).all() for image in images for colour in colours):
            raise RuntimeError("a fault\nin a library")
        return whole(self, images, *more)

    monkeypatch.setattr(Localizer, "encode_batch", broken)
    colours = [(0, 250, 0)]
    do_all(job)
    found = read_output(tmp_path / "out")
    reason = "image g.png: RuntimeError: a fault in a library"
    assert [row for row, _, said in found if said == reason] == [3, 4, 9, 10]
    assert sum(isinstance(said, str) for _, _, said in found) == 4
    colours += [(250, 0, 0), (0, 0, 250)]
    with pytest.raises(RuntimeError, match="a fault"):
        do_all(job)


def test_a_row_at_which_workers_die_is_set_aside(tmp_path, classifier, monkeypatch):
    job = make_job(write_manifest(tmp_path / "m", 10), tmp_path / "out", classifier)
    worker = Worker(job, 1)
    whole = Localizer.encode_batch

    class Killed(BaseException):
        """Nothing that a worker catches."""

    def deadly(self, images, *more):
        images = list(images)
        if any((image[0, 0] == (0, 250, 0)).all() for image in images):
            raise Killed
        return whole(self, images, *more)

    monkeypatch.setattr(Localizer, "encode_batch", deadly)
    deaths = 0
    while True:
        try:
            assert worker.do(job.manifest.partitions()[0]) == deaths
            break
        except Killed:
            deaths += 1
    found = read_output(tmp_path / "out")
    green = [row for row, _, said in found if isinstance(said, str)]
    assert green == [3, 4, 9, 10]
    assert deaths == 2 + 2 * len(green)
    assert "image g.png set aside: 2 workers died at this row" in found[2][2]
    assert job.output.names(FOLDER) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [({"fingerprint": "f" * 64}, "expected ffffffffffff"), ({"version": "0.0.1"}, "expected 0.0.1")],
)
def test_a_worker_that_is_not_like_the_others_refuses(tmp_path, classifier, change, said):
    job = make_job(write_manifest(tmp_path / "m", 3), tmp_path / "out", classifier)
    assert said in refused(Worker, dataclasses.replace(job, **change), 1)
