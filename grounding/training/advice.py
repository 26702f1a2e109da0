"""What a training says to people who may expect too much of it."""

from collections.abc import Mapping

from grounding.tagging.classifier import TagClassifier
from grounding.training.captions import Captioned
from grounding.training.config import TrainConfig
from grounding.training.networks import known_line
from grounding.training.validation import PROTOCOLS

EVERYWHERE = 0.9  # share of the pictures that have a label
FEW = 1000  # pictures from which random weights learn little: see docs/guides/training.md


def advice(config: TrainConfig, initial: TagClassifier | None, data: Captioned) -> list[str]:
    """Lines for the start: which tags are known, whether pictures are too few, and which labels are everywhere."""
    return [*_weights(config, initial, data), *_everywhere(data)]


def _weights(config: TrainConfig, initial: TagClassifier | None, data: Captioned) -> list[str]:
    if initial:
        return [known_line(initial, data.tags)] if tuple(initial.tags) != data.tags else []
    count = len(data.images)
    if count >= FEW or config.network.weights or config.teacher.classifiers:
        return []
    return [
        f"{count:,} picture{'s' * (count != 1)} from random weights teach{'es' * (count == 1)} little: "
        "network.initial=embedded goes on from the embedded classifier, with head_only=true in minutes"
    ]


def _everywhere(data: Captioned) -> list[str]:
    """A warning where nearly all pictures have a label: nothing in them says which of its surroundings it is."""
    if data.unit != "label":
        return []
    names = [tag for tag, share in zip(data.tags, data.shares.tolist(), strict=True) if share > EVERYWHERE]
    if not names:
        return []
    shown = ", ".join(names[:3]) + ", ..." * (len(names) > 3)
    return [
        f"warning: over {EVERYWHERE:.0%} of the pictures have the label {shown}: it cannot be told from what "
        "is always beside it; add pictures of the same kind without it"
    ]


def below_the_centre(measured: Mapping[str, float], centre: Mapping[str, float], config: TrainConfig) -> str | None:
    """A line for the end of a training that points no better than the centre of the picture does; None where it does.

    Args:
        measured: percentages by protocol.
        centre: those of the centre of the picture.
        config: of the training.
    """
    name = PROTOCOLS[0].name
    if name not in measured or name not in centre or measured[name] > centre[name]:
        return None
    ways = ["more pictures"]
    if not config.network.initial:
        ways.append("network.initial=embedded")
    if not config.head_only:
        ways.append("head_only=true")
    return (
        f"warning: the classifier points no better than the centre of the picture: {name} {measured[name]:.1f} "
        f"against {centre[name]:.1f}; what may help: {', '.join(ways)}"
    )
