"""Braces, globs and ~ in the names of sources."""

from pathlib import Path

import pytest

from grounding.datasets.sources import expand, with_home
from helpers.captioned import refused

FILES = (
    "s/0008.tar",
    "s/0009.tar",
    "s/0010.tar",
    "s/8.tar",
    "s/b/1.tar",
    "s/c/1.tar",
    "a[1].tar",
    "x{1}.tar",
    "y{a,b}.tar",
)


@pytest.fixture
def files(tmp_path, monkeypatch):
    for name in FILES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.mark.parametrize(
    ("source", "paths"),
    [
        ("s/8.tar", ["s/8.tar"]),
        ("gone.tar", ["gone.tar"]),  # who reads it says that it does not exist
        ("s/{0008..0010}.tar", ["s/0008.tar", "s/0009.tar", "s/0010.tar"]),
        ("s/{0010..0008}.tar", ["s/0010.tar", "s/0009.tar", "s/0008.tar"]),
        ("s/{8..10}.tar", ["s/8.tar", "s/9.tar", "s/10.tar"]),
        ("s/{008..10}.tar", ["s/008.tar", "s/009.tar", "s/010.tar"]),
        ("s/{0..6..3}.tar", ["s/0.tar", "s/3.tar", "s/6.tar"]),
        ("s/{b,c}/1.tar", ["s/b/1.tar", "s/c/1.tar"]),
        ("s/{b,c}/{1..2}.tar", ["s/b/1.tar", "s/b/2.tar", "s/c/1.tar", "s/c/2.tar"]),
        ("{s/{b,c},t}/1.tar", ["s/b/1.tar", "t/1.tar", "s/c/1.tar"]),
        ("s/00*.tar", ["s/0008.tar", "s/0009.tar", "s/0010.tar"]),
        ("s/000?.tar", ["s/0008.tar", "s/0009.tar"]),
        ("s/00[01]?.tar", ["s/0008.tar", "s/0009.tar", "s/0010.tar"]),
        ("s/**/1.tar", ["s/b/1.tar", "s/c/1.tar"]),
        ("s/{b,c}/*.tar", ["s/b/1.tar", "s/c/1.tar"]),
        ("~/s/8.tar", ["~/s/8.tar"]),
        ("~/s/*9.tar", ["~/s/0009.tar"]),
        ("~no-such-user/{1,2}.tar", ["~no-such-user/1.tar", "~no-such-user/2.tar"]),
        # names, not patterns
        ("a[1].tar", ["a[1].tar"]),
        ("x{1}.tar", ["x{1}.tar"]),
        ("y{a,b}.tar", ["y{a,b}.tar"]),
        ("z{}.tar", ["z{}.tar"]),
        ("z{a}{..}.tar", ["z{a}{..}.tar"]),
        ("z{1..b}.tar", ["z{1..b}.tar"]),
    ],
)
def test_what_a_source_stands_for(files, source, paths):
    assert expand(source) == [with_home(path) for path in paths]
    assert expand(Path(source)) == [with_home(path) for path in paths]


def test_the_home(files, tmp_path):
    assert with_home("~/a") == with_home(Path("~/a")) == tmp_path / "a"
    assert with_home("~no-such-user/a") == Path("~no-such-user/a")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("s/none*.tar", "no file matches s/none*.tar: expected"),
        ("s/{b,d}/*.tar", "no file matches s/d/*.tar: expected"),
        ("~/none*.tar", "none*.tar: expected"),
        ("https://a.b/{0..9}.tar", "https://a.b/{0..9}.tar is an address: download it first"),
        ("s3://a/b.tar", "is an address: download it first"),
        ("", "a source is an empty name: expected files or folders"),
        ("pipe:curl x", "is an address"),
        ("{0..1000000}.tar", "{0..1000000}.tar stands for over 1,000,000 files"),
        ("{0..9999}{0..9999}.tar", "stands for over 1,000,000 files"),
    ],
)
def test_sources_that_stand_for_nothing(files, source, message):
    assert message in refused(expand, source)
