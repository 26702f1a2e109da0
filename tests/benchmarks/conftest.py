"""The invented data set, classifiers for it, and finished runs, made once."""

import pytest

from helpers.benchmarks import job, run, write_classifier, write_folder


@pytest.fixture(scope="session")
def colours(tmp_path_factory):
    """The folder of pictures."""
    return write_folder(tmp_path_factory.mktemp("data") / "colours")


@pytest.fixture(scope="session")
def classifier(tmp_path_factory):
    """The folder of a classifier that sees red, green and blue."""
    return write_classifier(tmp_path_factory.mktemp("data") / "classifier")


@pytest.fixture(scope="session")
def whole(colours, classifier, tmp_path_factory):
    """A finished localization by every method."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    run(job(colours, classifier), folder)
    return folder


@pytest.fixture(scope="session")
def pointed(colours, classifier, tmp_path_factory):
    """A finished pointing game of three methods."""
    folder = tmp_path_factory.mktemp("runs") / "pointed"
    run(job(colours, classifier, "pointing", ("contrastive-mwp", "gradient", "center")), folder)
    return folder
