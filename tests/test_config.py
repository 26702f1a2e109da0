"""Configuration files and overrides."""

import operator

import pytest

from grounding.config import LocalizerConfig, build, load
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
        ("tags: many", "'tags' is 'many': expected a whole number"),
        ("tags: 1.5", "'tags' is '1.5': expected a whole number"),
        ("tags: true", "expected a whole number"),
        ("tags: .inf", "expected a whole number"),
        ("tags: 1e400", "expected a whole number"),
        ("epochs:", "'epochs' is empty: expected a whole number"),
        ("output:", "'output' is empty: expected a text"),
        ("output: [a]", r"'output' is \['a'\]: expected a text"),
        ("bf16: 2", "'bf16' is '2': expected true or false"),
        ("log: json", "'log' is 'json': expected one of csv, tensorboard"),
        ("train:\n  head_only: true", "unknown configuration key 'train': did you mean 'head_only'"),
        ("network:\n  flip: 1", "unknown configuration key 'network.flip': did you mean 'augmentation.flip'"),
        ("network: 5", "expected a group of keys"),
        ("network:\n  channels: {a: 5}", r"'network.channels' is {'a': '5'}: expected a whole number"),
        ("network:\n  channels: a", r"'network.channels' is 'a': expected a whole number"),
        ("network:\n  channels: [a]", r"'network.channels\[0\]' is 'a': expected a whole number"),
        ("teacher:\n  sizes_px: none", r"'teacher.sizes_px' is 'none': expected a whole number"),
        ("learning_rate: fast", "'learning_rate' is 'fast': expected a number"),
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


def test_an_override_that_is_no_yaml():
    with pytest.raises(GroundingError, match="is not YAML"):
        load(TrainConfig, None, ["tags=["])


VALUES = [  # override, where it goes, its value
    ("network.weights=none", "network.weights", ""),
    ("network.weights=null", "network.weights", ""),
    ("network.weights=", "network.weights", ""),
    ("network.weights=None", "network.weights", ""),
    ("network.weights=~", "network.weights", ""),
    ('network.weights=""', "network.weights", ""),
    ("network.initial=NULL", "network.initial", ""),
    ("validation.annotations=none", "validation.annotations", ""),
    ("validation.images=none", "validation.images", ()),
    ("teacher.classifiers=", "teacher.classifiers", ()),
    ("map_layer=none", "map_layer", None),
    ("head_learning_rate=", "head_learning_rate", None),
    ("network.channels=none", "network.channels", None),
    ("network.pooling=none", "network.pooling", None),
    ("network.pooling=top-k", "network.pooling", "top-k"),
    ("validation.images=val", "validation.images", ("val",)),
    ("data.sources=[s/{00..04}.tar]", "data.sources", ("s/{00..04}.tar",)),
    ("data.sources=[{a,b}/*.tar, s/[ab].csv]", "data.sources", ("{a,b}/*.tar", "s/[ab].csv")),
    ("data.sources=a.tar", "data.sources", ("a.tar",)),
    ("data.sources=[a.tar, b.tar]", "data.sources", ("a.tar", "b.tar")),
    ("data.sources=x-{0..4}.tar", "data.sources", ("x-{0..4}.tar",)),
    ("data.sources=*.tar", "data.sources", ("*.tar",)),
    ("data.sources={a,b}.tar", "data.sources", ("{a,b}.tar",)),
    ("network.frozen=conv1", "network.frozen", ("conv1",)),
    ("network.options=output_stride=16", "network.options", ("output_stride=16",)),
    ("teacher.sizes_px=448", "teacher.sizes_px", (448,)),
    ("teacher.sizes_px=384, 448", "teacher.sizes_px", (384, 448)),
    ("network.frozen=a,b", "network.frozen", ("a,b",)),  # a text may hold commas
    ("output=2024-11-28", "output", "2024-11-28"),
    ("output=007", "output", "007"),
    ("data.caption_column=no", "data.caption_column", "no"),
    ("data.caption_column=none", "data.caption_column", "none"),
    ("tags='3'", "tags", 3),
    ("tags=3.0", "tags", 3),
    ("tags=1e3", "tags", 1000),
    ("map_layer=-4", "map_layer", -4),
    ("learning_rate=1e-3", "learning_rate", 1e-3),
    ("learning_rate=1", "learning_rate", 1.0),
    ("bf16=no", "bf16", False),
    ("head_only=Yes", "head_only", True),
]


@pytest.mark.parametrize(("override", "key", "value"), VALUES)
def test_values_say_what_they_say(tmp_path, override, key, value):
    recipe = "network: {weights: pretrained}\nvalidation: {images: [x], annotations: y}\nmap_layer: -3\n"
    (tmp_path / "c.yaml").write_text(recipe)
    more = ["network.weights=none"] * override.startswith("network.initial")
    more += ["validation.images=none"] * override.startswith("validation.annotations")
    read = operator.attrgetter(key)(load(TrainConfig, tmp_path / "c.yaml", [override, *more]))
    assert (read, type(read)) == (value, type(value))


def test_one_turn_is_a_list_of_one():
    assert load(LocalizerConfig, None, ["regions.turns=0"]).regions.turns == (0.0,)


@pytest.mark.parametrize("text", ["validation:\n", "validation: null\n", "validation: {}\n", "validation: none\n"])
def test_a_group_without_keys_is_the_default(tmp_path, text):
    (tmp_path / "c.yaml").write_text(text)
    assert load(TrainConfig, tmp_path / "c.yaml") == TrainConfig()
    assert load(TrainConfig, tmp_path / "c.yaml", ["validation.limit=7"]).validation.limit == 7


def test_a_group_is_switched_off(tmp_path):
    (tmp_path / "c.yaml").write_text("validation: {images: [x], annotations: y}")
    assert load(TrainConfig, tmp_path / "c.yaml", ["validation=none"]).validation.images == ()


def test_plain_values_are_values_too():
    values = {
        "tags": 3,
        "learning_rate": 1,
        "bf16": False,
        "network": {"channels": [4], "strides": [2]},
        "map_layer": None,
    }
    assert build(TrainConfig, values).network.channels == (4,)
    for wrong in ({"tags": True}, {"tags": 2.5}, {"learning_rate": False}, {"bf16": 1}, {"output": 5}, {"seed": None}):
        with pytest.raises(GroundingError, match="expected"):
            build(TrainConfig, wrong)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("epochs=0", "'epochs' is 0: expected at least 1"),
        ("epochs=1000001", "'epochs' is 1,000,001: expected at most 1,000,000"),
        ("seed=-1", "'seed' is -1: expected at least 0"),
        ("validation.limit=0", "'validation.limit' is 0: expected at least 1"),
        ("loss.words=-1", "'loss.words' is -1: expected at least 0"),
        ("loss.words=nan", "'loss.words' is nan: expected at least 0"),
        ("loss.words=inf", "'loss.words' is inf: expected at most 1,000,000"),
        ("max_grad_norm=0", "'max_grad_norm' is 0: expected more than 0"),
        ("learning_rate=-1", "'learning_rate' is -1: expected more than 0 and at most 10"),
        ("learning_rate=11", "'learning_rate' is 11: expected at most 10"),
        ("ema=1", "'ema' is 1: expected at most 0.99999"),
        ("ema=-0.5", "'ema' is -0.5: expected 0 to 0.99999"),
        ("image_size_px=8", "'image_size_px' is 8: expected 16 to 8,192"),
        ("map_layer=3", "'map_layer' is 3: expected at most -2"),
    ],
)
def test_limits_are_said_as_people_write_them(override, message):
    with pytest.raises(GroundingError) as error:
        load(TrainConfig, None, [override])
    assert str(error.value) == f"configuration key {message}"


@pytest.mark.parametrize(("override", "message"), [("tags", "has no value"), ("tags.x=1", "is no group of keys")])
def test_wrong_overrides(tmp_path, override, message):
    (tmp_path / "c.yaml").write_text("tags: 5")
    with pytest.raises(GroundingError, match=message):
        load(TrainConfig, tmp_path / "c.yaml", [override])
