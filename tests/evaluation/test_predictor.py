"""The localizer of a job."""

from grounding.config import LocalizerConfig
from grounding.evaluation.predictor import Job, Predictor
from grounding.methods import METHODS


def test_a_job_names_its_method():
    job = Job((), "embedded", LocalizerConfig(), "cpu")
    assert Predictor(job).localizer.method is METHODS["contrastive_mwp"]
    assert Predictor(Job((), "embedded", LocalizerConfig(), "cpu", "mwp")).localizer.method is METHODS["mwp"]
