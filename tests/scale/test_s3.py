"""The whole way over S3: manifest, pictures and output in buckets of a server on this machine."""

import json

import pytest

from grounding.scale import processes
from grounding.scale.worker import Worker
from helpers.benchmarks import write_classifier
from helpers.scale import write_manifest

pytest.importorskip("s3fs")


@pytest.fixture
def bucket(monkeypatch):
    """An empty bucket that fsspec finds through the environment, and its filesystem."""
    server = pytest.importorskip("moto.server")
    import s3fs

    serving = server.ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    serving.start()
    host, port = serving.get_host_and_port()
    for name, value in (
        ("AWS_ENDPOINT_URL", f"http://{host}:{port}"),
        ("AWS_ACCESS_KEY_ID", "id"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
        ("AWS_DEFAULT_REGION", "us-east-1"),
    ):
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()
    files = s3fs.S3FileSystem()
    files.mkdir("bucket")
    yield files
    s3fs.S3FileSystem.clear_instance_cache()
    serving.stop()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_a_manifest_in_a_bucket(run, bucket, tmp_path, monkeypatch):
    write_manifest(tmp_path, 12, broken=(2,))
    for path in tmp_path.iterdir():
        bucket.put_file(str(path), f"bucket/in/{path.name}")
    classifier = write_classifier(tmp_path / "c")

    def here(job, partitions, workers):
        worker = Worker(job, 1)
        for partition in partitions:
            yield partition, worker.do(partition)

    monkeypatch.setattr(processes, "run", here)
    arguments = ["--classifier", classifier, "--set", "maps.stride=2", "--workers", "1"]
    arguments += ["--manifest", "s3://bucket/in/m.parquet", "--output", "s3://bucket/out"]
    for _ in range(2):  # the second time nothing is left to do
        status, _, err = run(*arguments)
        assert status == 1, err
        assert "1 of 12 captions failed" in err
        assert "image s3://bucket/in/missing-2.png cannot be read: no such file" in err
    bucket.invalidate_cache()
    assert sorted(bucket.find("bucket/out")) == [
        "bucket/out/failed/part-000000.parquet",
        "bucket/out/failed/part-000001.parquet",
        "bucket/out/results/part-000000.parquet",
        "bucket/out/results/part-000001.parquet",
        "bucket/out/settings.json",
        "bucket/out/summary.json",
    ]
    assert json.loads(bucket.cat_file("bucket/out/summary.json"))["results"] == 11
    status, _, err = run(*arguments[:-1], "s3://no-such-bucket/out")
    assert (status, err.count("\n")) == (2, 1)
    assert "s3://no-such-bucket/out" in err
