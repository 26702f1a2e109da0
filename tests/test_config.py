"""Configuration files and overrides."""

import pytest

from grounding.config import LocalizerConfig, load
from grounding.errors import GroundingError
from grounding.training.config import TrainConfig


def test_an_empty_configuration_is_the_default(tmp_path):
    (tmp_path / "c.yaml").write_text("")
    assert load(LocalizerConfig, tmp_path / "c.yaml") == load(LocalizerConfig, None) == LocalizerConfig()


def test_a_file_is_changed_by_overrides(tmp_path):
    (tmp_path / "c.yaml").write_text(
        "tags: 5\nlearning_rate: 1e-3\nnetwork:\n  pooling: average\n  channels: [4, 8]\n  strides: [2, 1]\n"
    )
    config = load(TrainConfig, tmp_path / "c.yaml", ["network.pooling=top-k", "output=there", "loss.head_penalty=1"])
    assert (config.tags, config.network.pooling, config.output) == (5, "top-k", "there")
    assert config.learning_rate == 1e-3
    assert config.network.channels == (4, 8)
    assert config.loss.head_penalty == 1.0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tag: 5", "unknown configuration key 'tag': did you mean 'tags'"),
        ("loss:\n  word: 5", "did you mean 'loss.words'"),
        ("xyzzy: 5", "known keys: output"),
        ("tags: many", "'tags' is 'many': expected int"),
        ("tags: 1.5", "expected int"),
        ("tags: true", "expected int"),
        ("network: 5", "expected a group of keys"),
        ("network:\n  channels: 5", "expected a list"),
        ("network:\n  channels: [a]", r"'network.channels\[0\]' is 'a': expected int"),
        ("learning_rate: fast", "expected float"),
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
