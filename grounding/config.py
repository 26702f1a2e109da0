"""Configuration: frozen dataclasses, read from YAML and `key=value` overrides; an unknown key is an error."""

import dataclasses
import math
import re
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

import yaml

from grounding.config_values import Texts, convert, is_nothing
from grounding.errors import GroundingError, did_you_mean

T = TypeVar("T")

METHOD = "contrastive_mwp"  # how word maps are made: see `grounding.methods`
TOP_K = 5  # regions a phrase
CLIP_DEPTH = 0.5  # where the map of a CLIP is read: see `MapConfig`
TINY, HUGE = 1e-12, 1e6  # limits for form's sake: more than 0, and not endless
_MOST: Final = 1_000_000  # characters of a file
_ITEM: Final = r"(?:[^][{}\"',]|\{[^{}]*\}|\[[^][,]*\])+"  # of a list, such as `s/{00..04}.tar`, which is no YAML


def method_setting(method: str) -> dict[str, str]:
    """Say what the settings of a run hold of its method: nothing of the default one, as in earlier runs."""
    return {} if method == METHOD else {"method": method}


def require(name: str, value: float, low: float, high: float) -> None:
    """Raise a `GroundingError` unless a number lies in [low, high]; NaN lies nowhere."""
    if not low <= value <= high:
        expected = _at_most(high) if value > high else _range(low, high)
        raise GroundingError(f"configuration key '{name}' is {_shown(value)}: expected {expected}")


def _range(low: float, high: float) -> str:
    """What numbers are allowed: bounds that are there for form's sake are not said."""
    least = "more than 0" if 0 < low <= TINY else f"at least {_shown(low)}"
    if high >= HUGE:
        return least
    return f"more than 0 and {_at_most(high)}" if 0 < low <= TINY else f"{_shown(low)} to {_shown(high)}"


def _at_most(high: float) -> str:
    return f"at most {_shown(high)}"


def _shown(number: float) -> str:
    """A number as people write it: `1,000,000` rather than `1000000.0`."""
    return f"{int(number):,}" if math.isfinite(number) and number == int(number) else f"{number:g}"


def limited(default: Any, low: float, high: float, **metadata: str) -> Any:
    """A field of a configuration whose number, or each of whose numbers, lies in [low, high]; None is allowed."""
    return field(default=default, metadata={"limits": (low, high), **metadata})


def check_limits(config: Any, group: str = "") -> None:
    """Raise a `GroundingError` unless the numbers of a configuration lie where `limited` says.

    Args:
        group: of its keys, such as `maps.`.
    """
    for each in dataclasses.fields(config):
        value = getattr(config, each.name)
        for number in value if isinstance(value, tuple) else [value]:
            if "limits" in each.metadata and number is not None:
                require(f"{group}{each.name}", number, *each.metadata["limits"])


@dataclass(frozen=True, slots=True)
class MapConfig:
    """From tags to a phrase map. Widths are shares of the picture's side.

    `stride` None reads the map at the layer that the classifier recommends, or else at stride 16. Of the layers of this
    stride, `depth` is the share of the way up from the one nearest the picture, 0, to the one nearest the classifier,
    1: of a vision transformer, the share of its blocks below. None is the first; of a CLIP and of any network of tokens
    it is `CLIP_DEPTH`, and the stride is the closest to 16 that there is.

    `contrast` and `prompt` are for networks that read texts (`clip:NAME`). What is taken away from the map of a phrase:
    that of the `dual` unit, or the mean of those of `background` prompts, or of the caption's other `phrases`. The text
    of a phrase is the `prompt`, in which it stands for `{}`; None leaves it to the classifier.
    """

    stride: int | None = limited(None, 1, 1024)
    depth: float | None = limited(None, 0, 1)
    contrast: Literal["dual", "background", "phrases"] = "dual"
    prompt: str | None = None
    residual: Literal["split", "main", "signed"] = "split"
    bias: Literal["none", "share"] = "none"
    resolution: int = limited(96, 8, 1024)
    point_smoothing: float = limited(1 / 16, 0, 1)
    box_smoothing: float = limited(1 / 48, 0, 1)
    centre_prior: float = limited(0.4, 0, 100)

    def __post_init__(self) -> None:
        check_limits(self, "maps.")


@dataclass(frozen=True, slots=True)
class RegionConfig:
    """From a phrase map to ranked boxes: by the mass inside over a power of the share of the picture that they cover.

    The power is `gamma + spread_gamma * ln(1 / spread)`, where `spread` is the share of the picture that the map is
    spread over: the more concentrated a map, the smaller its boxes. For a phrase that names people it is less by
    `closeness_gamma * (closeness - usual_closeness)`, where `closeness` is the mean log-odds of the tags face, hair,
    hand, head and mouth for the photograph (nothing changes without them): the closer, the larger. Each of `turns` is
    added to the power for a ranking of its own; the best boxes of each are taken in turns, so that several scales are
    among the first. `sharpness` is how sure the scores of regions are (see `regions.confidence`); with the value that
    `tools/fit_scores.py` fits, without boxes, a score says how often the box of another reading of the evidence agrees.
    """

    proposals: Literal["windows", "selective-search", "edge-boxes"] = "windows"
    windows: int = limited(16, 1, 48)
    gamma: float = limited(0.1, 0, 10)
    spread_gamma: float = limited(0.2, 0, 10)
    closeness_gamma: float = limited(0.2, 0, 10)
    usual_closeness: float = limited(-4.2, -100, 100)
    turns: tuple[float, ...] = limited((0.0, 0.3, -0.15), -10, 10)
    nms_iou: float = limited(0.5, 0, 1)
    sharpness: float = limited(7.5, TINY, 1000)

    def __post_init__(self) -> None:
        check_limits(self, "regions.")
        require("the number of regions.turns", len(self.turns), 1, 10)


@dataclass(frozen=True, slots=True)
class WholeConfig:
    """How far people reach: the tags of clothes and body parts that the picture shows say where a person ends.

    `amount` is how much of their maps is added to the person's own, of which there is 1; 0 leaves it alone. `reach` is
    the width of a Gaussian round the person's point, as a share of the picture's side. `gamma` is added to the power
    of the area of such a person's boxes.
    """

    amount: float = limited(2.0, 0, 100)
    reach: float = limited(0.25, TINY, 100)
    gamma: float = limited(0.1, -10, 10)

    def __post_init__(self) -> None:
        check_limits(self, "wholes.")


@dataclass(frozen=True, slots=True)
class LocalizerConfig:
    """Everything between a picture with a caption and its regions, but the classifier.

    With `context` `caption`, what a caption says about a phrase beside its own words counts: which of two people, what
    they wear, left and right. With `none`, each phrase is found by itself. A phrase whose presence is below
    `min_presence` is `absent`; None takes the threshold of the classifier's presence model, and without one nothing is
    absent.
    """

    maps: MapConfig = field(default_factory=MapConfig)
    regions: RegionConfig = field(default_factory=RegionConfig)
    wholes: WholeConfig = field(default_factory=WholeConfig)
    context: Literal["caption", "none"] = "caption"
    min_presence: float | None = limited(None, 0, 1)

    def __post_init__(self) -> None:
        check_limits(self)


def build(cls: type[T], values: Mapping[str, Any], where: str = "", root: Any = None) -> T:
    """Make a configuration dataclass from plain values, or from texts that stand for them.

    A field whose metadata say what it was "formerly" called refuses that name and says its own. What may be left out
    (its default is None, empty or a group) is switched off by None or by one of the texts `none`, `null`, `~` and ``.
    A single value where a list is expected is a list of one.

    Args:
        where: the group, such as `maps.`.
        root: the dataclass of the whole tree, in whose keys an unknown one is looked for.

    Raises:
        GroundingError: an unknown key (with the nearest known one, or its new name), or a value of another type.
    """
    root = root or cls
    hints, new_names = typing.get_type_hints(cls), _new_names(cls)
    defaults = {each.name: each.default for each in dataclasses.fields(typing.cast(Any, cls))}
    arguments = {}
    for key, value in values.items():
        name = f"{where}{key}"
        if key in new_names:
            raise GroundingError(f"configuration key '{name}' has a new name: write '{where}{new_names[key]}'")
        if key not in hints:
            raise GroundingError(f"unknown configuration key '{name}': {_advice(cls, key, value, where, root)}")
        if dataclasses.is_dataclass(hints[key]):
            arguments[key] = _group(hints[key], value, name, root)
        elif is_nothing(value) and defaults[key] in (None, "", ()):
            arguments[key] = defaults[key]
        else:
            arguments[key] = convert(value, hints[key], name)
    return cls(**arguments)


def _advice(cls: Any, key: str, value: Any, where: str, root: Any) -> str:
    """Where an unknown key may belong: one of that name in another group, or the nearest of its own."""
    leaf = next(iter(value), key) if isinstance(value, Mapping) else key
    if elsewhere := [name for name in _keys(root) if name.rpartition(".")[2] == leaf]:
        return f"did you mean {elsewhere[0]!r}?"
    hints = typing.get_type_hints(cls)
    return did_you_mean(str(key), hints, f"known keys: {', '.join(hints)}", where)


def _keys(cls: Any, where: str = "") -> list[str]:
    """Every key of a tree of configuration dataclasses, such as `maps.stride`."""
    hints = typing.get_type_hints(cls)
    return [
        name
        for key, kind in hints.items()
        for name in (_keys(kind, f"{where}{key}.") if dataclasses.is_dataclass(kind) else [f"{where}{key}"])
    ]


def with_new_names(cls: Any, values: Mapping[str, Any]) -> dict[str, Any]:
    """Rename the keys of values that an earlier version wrote for a configuration dataclass."""
    hints, new_names = typing.get_type_hints(cls), _new_names(cls)
    current = {new_names.get(key, key): value for key, value in values.items()}
    return {
        key: with_new_names(hints[key], value) if dataclasses.is_dataclass(hints.get(key)) else value
        for key, value in current.items()
    }


def _new_names(cls: Any) -> dict[str, str]:
    return {each.metadata["formerly"]: each.name for each in dataclasses.fields(cls) if "formerly" in each.metadata}


def _group(kind: Any, value: Any, name: str, root: Any) -> Any:
    """A group of keys; nothing stands for all defaults."""
    if is_nothing(value):
        value = {}
    if not isinstance(value, Mapping):
        raise GroundingError(f"configuration key '{name}' is {value!r}: expected a group of keys")
    return build(kind, value, f"{name}.", root)


def load(cls: type[T], path: Path | None, overrides: Sequence[str] = ()) -> T:
    """Read a configuration from YAML, changed by `key=value` overrides (dots go down: `maps.resolution=64`).

    Args:
        cls: the configuration: `LocalizerConfig`, or another tree of frozen dataclasses.
        path: a YAML file; None for the defaults.
        overrides: `key=value`, later ones last.

    Raises:
        GroundingError: a missing or broken file, an override without `=`, or what `build` refuses.
    """
    return build(cls, given(path, overrides))


def given(path: Path | None, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """The values of a YAML file, changed by overrides, as plain values or texts; errors as `load`."""
    values = {} if path is None else _read(path)
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals:
            raise GroundingError(f"override '{override}' has no value: expected key=value")
        group = values
        *path_to, last = key.strip().split(".")
        for part in path_to:
            if is_nothing(group.get(part)):
                group[part] = {}
            group = group[part]
            if not isinstance(group, dict):
                raise GroundingError(f"override '{override}': '{part}' is no group of keys")
        group[last] = _value(override, text)
    return values


def _read(path: Path) -> dict[str, Any]:
    """The values of a YAML file, as texts."""
    try:
        with path.open(encoding="utf-8") as file:
            text = file.read(_MOST + 1)
        if len(text) > _MOST:
            raise GroundingError(f"configuration {path} has over {_MOST:,} characters: is it one?")
        values = yaml.load(text, Texts) or {}
    except OSError as error:
        raise GroundingError(f"configuration {path} cannot be read: {error.strerror}") from error
    except GroundingError:
        raise
    except (yaml.YAMLError, ValueError) as error:  # ValueError: no UTF-8
        raise GroundingError(f"configuration {path} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(values, dict):
        raise GroundingError(f"configuration {path} holds no keys: expected `key: value` lines")
    return values


def _value(override: str, text: str) -> Any:
    """The value of an override: YAML, or a list of names with braces, or else the text; a list must be closed."""
    try:
        return yaml.load(text, Texts)
    except yaml.YAMLError as error:
        if not text.lstrip().startswith("["):
            return text
        if found := re.fullmatch(rf"\[({_ITEM}(?:,{_ITEM})*)\]", text.strip()):
            return [item.strip() for item in re.findall(_ITEM, found[1])]
        reason = getattr(error, "problem", None) or error
        raise GroundingError(f"override '{override}' is not YAML ({reason}): expected a list such as [a, b]") from error
