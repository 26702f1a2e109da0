"""The command line with --engine and --workers: which options go together, and what it says."""

import json

import pytest

from grounding.scale import command, processes
from grounding.scale.worker import Worker
from helpers.benchmarks import write_classifier
from helpers.scale import read_output, write_manifest


@pytest.fixture
def here(monkeypatch):
    """Workers are in this process."""

    def run(job, partitions, workers):
        worker = Worker(job, 1)
        for partition in partitions:
            yield partition, worker.do(partition)

    monkeypatch.setattr(processes, "run", run)


@pytest.fixture
def arguments(tmp_path):
    classifier = write_classifier(tmp_path / "c")
    return ["--classifier", classifier, "--set", "maps.stride=2", "--output", tmp_path / "out"]


def test_a_manifest_is_done_and_done_again_without_work(run, here, arguments, tmp_path):
    manifest = write_manifest(tmp_path / "m", 25, broken=(2,))
    status, out, err = run("--manifest", manifest, "--workers", "2", *arguments)
    assert (status, out) == (1, "")
    said = [line for line in err.replace("\r", "\n").splitlines() if line.strip() and "%|" not in line]
    assert said[0].startswith("25 rows, ")
    assert said[1].startswith("1 of 25 captions failed, each says why in failed; the first: ")
    assert len(said) == 2
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "attempts",
        "failed",
        "results",
        "settings.json",
        "summary.json",
    ]
    found = read_output(tmp_path / "out")
    assert run("--manifest", manifest, "--engine", "processes", *arguments)[2].splitlines() == said
    assert read_output(tmp_path / "out") == found
    status, _, err = run("--manifest", manifest, "--workers", "1", *arguments, "--top-k", "2")
    assert status == 2
    assert "holds another run, with another top_k (2, was " in err
    assert run("--manifest", manifest, "--workers", "1", *arguments, "--top-k", "2", "--overwrite")[0] == 1
    assert json.loads((tmp_path / "out" / "settings.json").read_text())["top_k"] == 2


def test_a_table_of_text_has_its_lines(run, here, arguments, tmp_path):
    write_manifest(tmp_path, 3)
    (tmp_path / "m.csv").write_text('image,caption\nr.png,a red thing\n\nr.png,\ng.png,\'["a", "b"]\'\n')
    assert run("--manifest", tmp_path / "m.csv", "--workers", "2", *arguments)[0] == 1
    found = read_output(tmp_path / "out")
    assert [(row, number) for row, number, _ in found][:2] == [(2, 0), (4, 0)]
    assert found[1][2] == f"manifest {tmp_path / 'm.csv'}, line 4: no caption: expected a sentence, or phrases"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--workers", "0", "--output", "o"], ["--workers is 0", "at least 1"]),
        (["--workers", "2"], ["need a place", "--output DIR"]),
        (["--engine", "spark", "--output", "o"], ["spark", "processes", "ray"]),
        (["--workers", "2", "--output", "o", "--pictures"], ["--pictures does not go with"]),
        (["--gpus-per-worker", "0.5", "--output", "o"], ["--gpus-per-worker goes with --engine ray"]),
        (["--engine", "ray", "--gpus-per-worker", "0.5", "--output", "o"], ["on the CPU", "--device cuda"]),
        (["--engine", "ray", "--gpus-per-worker", "1.5", "--device", "cuda", "--output", "o"], ["1.5", "0 to 1"]),
        (["--engine", "ray", "--gpus-per-worker", "nan", "--device", "cuda", "--output", "o"], ["nan", "0 to 1"]),
        (["--output", "s3://bucket/o"], ["s3://bucket/o is an address", "--engine"]),
        (
            ["--output", "o", "--workers", "1", "--image-column", "picture"],
            ["no column 'picture'", "image, caption"],
        ),
    ],
)
def test_options_that_do_not_go_together(run, tmp_path, options, said):
    manifest = write_manifest(tmp_path, 3)
    status, out, err = run("--manifest", manifest, *options)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert all(each in err for each in said), err
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--caption", "a man", "--workers", "2"], ["--workers goes with --manifest FILE"]),
        (["--caption", "a man", "--output", "s3://b/o"], ["s3://b/o is an address", "expected a folder"]),
        (["--manifest", "s3://b/m.parquet"], ["s3://b/m.parquet is an address", "--engine"]),
        (["--manifest", "nothing.parquet", "--workers", "1", "--output", "o"], ["nothing.parquet does not exist"]),
        (["--manifest", "table.docx", "--workers", "1", "--output", "o"], ["table.docx is no table"]),
    ],
)
def test_addresses_and_workers_elsewhere(run, options, said):
    status, _, err = run(*options)
    assert (status, err.count("\n")) == (2, 1)
    assert all(each in err for each in said), err


@pytest.mark.parametrize(
    ("options", "folder"),
    [
        (["--manifest", "s3://b/x/m.parquet"], "s3://b/x"),
        (["--manifest", "s3://b/x/"], "s3://b"),
        (["--manifest", "s3://b/x/*.parquet"], "s3://b/x"),
        (["--manifest", "/a/m.parquet"], "/a"),
        (["--manifest", "/a/m.parquet", "--image-folder", "s3://b/p"], "s3://b/p"),
        (["--manifest", "s3://b/m.parquet", "--image-folder", "/p"], "/p"),
    ],
)
def test_where_relative_pictures_start(options, folder):
    from grounding.localize_options import build_parser

    assert command._image_folder(build_parser().parse_args(options)) == folder
