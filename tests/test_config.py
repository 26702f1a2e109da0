"""Configuration files and overrides."""

import pytest

from grounding.config import LocalizerConfig, TrainConfig, load
from grounding.errors import GroundingError


def test_an_empty_configuration_is_the_default(tmp_path):
    (tmp_path / "c.yaml").write_text("")
    assert load(LocalizerConfig, tmp_path / "c.yaml") == load(LocalizerConfig, None) == LocalizerConfig()


def test_a_file_is_changed_by_overrides(tmp_path):
    (tmp_path / "c.yaml").write_text("tags: 5\nstudent:\n  epochs: 3\n  learning_rate: 1e-3\n  channels: [4, 8]\n")
    config = load(TrainConfig, tmp_path / "c.yaml", ["student.epochs=7", "output=there", "teacher.head_penalty=1"])
    assert (config.tags, config.student.epochs, config.output) == (5, 7, "there")
    assert config.student.learning_rate == 1e-3
    assert config.student.channels == (4, 8)
    assert config.teacher.head_penalty == 1.0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tag: 5", "unknown configuration key 'tag': did you mean 'tags'"),
        ("student:\n  epoch: 5", "did you mean 'student.epochs'"),
        ("xyzzy: 5", "known keys: output"),
        ("tags: many", "'tags' is 'many': expected int"),
        ("tags: 1.5", "expected int"),
        ("tags: true", "expected int"),
        ("student: 5", "expected a group of keys"),
        ("student:\n  channels: 5", "expected a list"),
        ("student:\n  channels: [a]", r"'student.channels\[0\]' is 'a': expected int"),
        ("student:\n  learning_rate: fast", "expected float"),
        ("- 1", "holds no keys"),
        ("tags: [", "is not YAML"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, text, message):
    (tmp_path / "c.yaml").write_text(text)
    with pytest.raises(GroundingError, match=message) as caught:
        load(TrainConfig, tmp_path / "c.yaml")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "override",
    ["maps.resolution=0", "maps.stride=0", "maps.centre_prior=.nan", "regions.windows=-1", "regions.gamma=.inf",
     "regions.nms_iou=1.5", "maps.point_smoothing=-1"],
)  # fmt: skip
def test_values_out_of_range(override):
    with pytest.raises(GroundingError, match=f"'{override.partition('=')[0]}' is .*: expected"):
        load(LocalizerConfig, None, [override])


def test_a_file_that_is_no_text(tmp_path):
    (tmp_path / "c.yaml").write_bytes(b"\x89PNG\xff")
    with pytest.raises(GroundingError, match="is not YAML"):
        load(LocalizerConfig, tmp_path / "c.yaml")


@pytest.mark.parametrize("override", ["tags=[", "tags=2024-99-99"])
def test_an_override_that_is_no_yaml(override):
    with pytest.raises(GroundingError, match="is not YAML"):
        load(TrainConfig, None, [override])


@pytest.mark.parametrize(("override", "message"), [("tags", "has no value"), ("tags.x=1", "is no group of keys")])
def test_wrong_overrides(tmp_path, override, message):
    (tmp_path / "c.yaml").write_text("tags: 5")
    with pytest.raises(GroundingError, match=message):
        load(TrainConfig, tmp_path / "c.yaml", [override])
