"""What turns top-down signals into word maps: contrastive Excitation Backprop, or another method."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from grounding import attention, baselines
from grounding.attention import Tape, record, text_signal
from grounding.attention.excitation import DEFAULT_STRIDE
from grounding.attention.graph import Value
from grounding.attention.layers import indexed_layer, layers_of_stride, mixed, same_signal
from grounding.attention.mass import tell_losses
from grounding.baselines.methods import Method as Baseline
from grounding.baselines.shared import prepare
from grounding.config import CLIP_DEPTH, METHOD, MapConfig
from grounding.errors import GroundingError, did_you_mean
from grounding.regions.maps import normalize
from grounding.tagging.clip_classifier import Classifier, ClipClassifier
from grounding.tagging.network import TagNetwork
from grounding.tagging.towers import Towers

Explained = Literal["logits", "mean scores", "probabilities"]


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Encoding:
    """A picture as a classifier sees it, after one forward pass. Never changes.

    Attributes:
        classifier: with its network on the device of the images.
        images: (1, 3, S, S) of the network's `dtype`, its input.
        tape: the recorded forward pass, with the scores that the walk starts from; of this picture alone, or of
            several that were encoded together.
        probabilities: (T,) float32, of the tags.
        row: which of the pictures of the tape this is.
    """

    classifier: Classifier
    images: Tensor = field(repr=False)
    tape: Tape = field(repr=False)
    probabilities: Tensor = field(repr=False)
    row: int = 0

    def __repr__(self) -> str:
        size, dtype = tuple(self.images.shape), str(self.images.dtype).removeprefix("torch.")
        return f"Encoding({size} {dtype} on {self.images.device}, {len(self.probabilities):,} tag probabilities)"


def encode(classifier: Classifier, images: Tensor) -> Encoding:
    """Run one forward pass on (1, 3, S, S) images, cast to what the network computes in, and record it."""
    (encoding,) = encode_together(classifier, images)
    return encoding


def encode_together(classifier: Classifier, images: Tensor) -> list[Encoding]:
    """Run one forward pass on (N, 3, S, S) images as `encode` does: N encodings with one tape."""
    images = images.to(classifier.dtype)
    tape = record(classifier.evidence, images)  # the scores that the walk starts from, and the pooled logits
    probabilities = classifier.probabilities(tape.outputs[1].float()).cpu()
    return [Encoding(classifier, images[n : n + 1], tape, probabilities[n], n) for n in range(len(images))]


class Cosines(nn.Module):
    """The features of a CLIP over the length of their projection: weighed by a text of length 1, they give cosines."""

    def __init__(self, network: Towers) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, S, S) -> (N, C)."""
        features: Tensor = self.network(images)
        lengths: Tensor = self.network.project(features).norm(dim=-1, keepdim=True)
        return features / lengths.clamp(min=1e-12)


class Method(Protocol):
    """Turns the top-down signals of words into their maps."""

    def __call__(self, encoding: Encoding, signals: Tensor, config: MapConfig) -> Tensor:
        """Make the map of each signal.

        Args:
            encoding: the picture.
            signals: (K, T), a weight for each output of the classifier.
            config: where and how a map is read; a method may use what applies to it.

        Returns:
            (K, h, w) float, at least 0, over the whole picture at any resolution; all zero without evidence.

        Raises:
            GroundingError: the method cannot work on this classifier.
        """


def contrastive_mwp(encoding: Encoding, signals: Tensor, config: MapConfig) -> Tensor:
    """Walk contrastively: what is above 0 of MWP less the MWP of the dual signal, channels summed.

    Of a CLIP, the MWP of a text and that of the text negated, its dual, are first made shares of what gets to the
    places (`less`): how much stays with a class token differs between the two, and would decide. With another
    `contrast` than `dual` its plain MWP, from which that of other texts is then taken (`WordMaps`).
    """
    if config.contrast != "dual":
        return mwp(encoding, signals, config)
    if isinstance(encoding.classifier, ClipClassifier):
        both = mwp(encoding, torch.cat([signals, -signals]), config)  # for the texts, and against them
        return less(*both.split(len(signals)))
    return _walk(encoding, signals, config, contrast=True)[encoding.row].clamp(min=0)


def less(own: Tensor, other: Tensor) -> Tensor:
    """What is above 0 of (K, h, w) maps less others, all of which are at least 0 and first made to sum to 1."""
    return (normalize(own) - normalize(other)).clamp(min=0)


def mwp(encoding: Encoding, signals: Tensor, config: MapConfig) -> Tensor:
    """Walk without the contrast: MWP, channels summed."""
    return _walk(encoding, signals, config, contrast=False)[encoding.row]


def _walk(encoding: Encoding, signals: Tensor, config: MapConfig, contrast: bool) -> Tensor:
    """(N, K, h, w), of all pictures of the tape, with a warning where little of the signals arrives."""
    tape, place = encoding.tape, map_place(encoding, config)
    if isinstance(encoding.classifier, ClipClassifier):
        signals = text_signal(tape, signals)
    (found,) = attention.readings(
        tape, signals, [place], contrast=contrast, residual=config.residual, bias=config.bias, watch="mean"
    )
    if not isinstance(encoding.classifier, ClipClassifier):  # much stays with a class token, which is no loss
        tell_losses(found)
    return found.maps


@dataclass(frozen=True, slots=True)
class Explanation:
    """A method of `grounding.baselines`, as a `Method`: its map clamped at 0 and no finer than the working resolution.

    Attributes:
        baseline: the method.
        explained: what it explains: the classifier's `logits`; its `probabilities`; or the `mean scores`, the logits
            with mean pooling in place of the pooling of a `TagNetwork` (of another network, simply its logits). Of a
            CLIP always the cosine.
        at_layer: whether it reads the layer that the walk would read, else the image or what it chooses itself.
    """

    baseline: Baseline
    explained: Explained = "logits"
    at_layer: bool = False

    def __call__(self, encoding: Encoding, signals: Tensor, config: MapConfig) -> Tensor:
        """As `Method`."""
        model = explained_model(encoding.classifier, self.explained)
        layer = layer_name(encoding, model, config) if self.at_layer else None
        images = encoding.images
        if images.dtype.itemsize < 4:  # what LRP divides by would underflow in half precision
            model, images = copy.deepcopy(model).float(), images.float()
        maps = self.baseline(model, images, signals, layer)[0].clamp(min=0)  # (K, h, w)
        height, width = (min(side, config.resolution) for side in maps.shape[1:])
        return functional.adaptive_avg_pool2d(maps, (height, width))


def maps_together(
    method: Method, encodings: Sequence[Encoding], signals: Sequence[Tensor], config: MapConfig
) -> list[Tensor]:
    """Make the maps of N pictures, in one walk where they are all that one tape has and the method walks.

    Args:
        signals: (K, T) of each picture, each of any K.

    Returns:
        (K, h, w) of each picture, as the method gives them for it alone, but for rounding.
    """
    most = max(map(len, signals), default=0)
    walks = method in (contrastive_mwp, mwp) and all(map(len, signals))
    walks = walks and not any(
        isinstance(each.classifier, ClipClassifier) for each in encodings
    )  # signals of each picture
    if not walks or [each.row for each in encodings] != list(range(pictures_of(encodings))):
        return [method(encoding, own, config) for encoding, own in zip(encodings, signals, strict=True)]
    padded = [own[torch.arange(most) % len(own)] for own in signals]  # repeated: other signals would change the mass
    contrast = method is contrastive_mwp
    maps = _walk(encodings[0], torch.stack(padded, 1), config, contrast)  # (N, K, h, w)
    maps = maps.clamp(min=0) if contrast else maps
    return [found[: len(own)] for found, own in zip(maps, signals, strict=True)]


def pictures_of(encodings: Sequence[Encoding]) -> int:
    """How many pictures the tape of these encodings has; 0 where they have several tapes, or there are none."""
    tapes = {id(encoding.tape): encoding.tape for encoding in encodings}
    return next(iter(tapes.values())).output.shape[0] if len(tapes) == 1 else 0


def explained_model(classifier: Classifier, explained: Explained) -> nn.Module:
    """Return a module around the classifier's own network that returns what is explained, (N, T)."""
    network = classifier.network
    modules: list[nn.Module] = [network]
    if isinstance(classifier, ClipClassifier):
        modules = [Cosines(classifier.network)]
        modules[0].training = False  # eval() would reach into the network
    elif explained == "mean scores" and isinstance(network, TagNetwork):
        modules = [network.features, nn.AdaptiveAvgPool2d(1).eval(), nn.Flatten().eval(), network.head]
    elif explained == "probabilities":
        modules.append((nn.Sigmoid() if classifier.multi_label else nn.Softmax(1)).eval())
    model = nn.Sequential(*modules)
    model.training = False  # eval() would reach into the network
    return model


def layer_name(encoding: Encoding, model: nn.Module, config: MapConfig) -> str:
    """Find the name of the module whose output is the layer that maps are read at, and which runs once.

    Raises:
        GroundingError: there is none.
    """
    tape, value, own = encoding.tape, map_place(encoding, config), slice(encoding.row, encoding.row + 1)
    held = [each.content()[own] for each in (value, same_signal(tape, value)) if each.tensor is not None]
    runs: dict[str, list[bool]] = {}
    model, images = prepare(model, encoding.images)
    for name, module in model.named_modules():

        def note(module: nn.Module, inputs: object, output: object, name: str = name) -> None:
            equal = isinstance(output, Tensor) and any(_same(output, content) for content in held)
            runs.setdefault(name, []).append(equal)

        module.register_forward_hook(note)
    with torch.no_grad():
        model(images)
    names = [name for name, equal in runs.items() if name and equal == [True]]
    if not names:
        raise GroundingError(
            "no module of the network ends once and at the layer that maps are read at: choose another maps.stride"
        )
    return names[-1]


def find_method(name: str) -> Method:
    """Return the method of this name.

    Raises:
        GroundingError: there is none, with the nearest known one.
    """
    if name not in METHODS:
        advice = did_you_mean(name, METHODS, f"expected one of {', '.join(METHODS)}")
        raise GroundingError(f"unknown method '{name}': {advice}")
    return METHODS[name]


def method_name(method: Method) -> str:
    """What `METHODS` calls it, or else its own name."""
    own = getattr(method, "__name__", type(method).__name__)
    return next((name for name, known in METHODS.items() if known is method), own)


def map_place(encoding: Encoding, config: MapConfig) -> Value:
    """The layer at which a map is read: by the configuration's stride and depth, else the classifier's layer."""
    classifier, tape = encoding.classifier, encoding.tape
    if classifier.map_layer is not None and config.stride is None and config.depth is None:
        return indexed_layer(tape, classifier.map_layer)
    stride = config.stride or DEFAULT_STRIDE
    found = layers_of_stride(tape, stride, closest=config.stride is None)
    has_tokens = len(found[-1].shape) == 3  # (N, L, C): all layers of a vision transformer have one stride
    halfway = isinstance(classifier, ClipClassifier) or has_tokens
    if not halfway:
        found = layers_of_stride(tape, stride)
    depth = CLIP_DEPTH if config.depth is None and halfway else config.depth
    if depth is None:
        return found[0]
    found = mixed(tape, found) or found
    return found[round(depth * (len(found) - 1))]


def _same(output: Tensor, content: Tensor) -> bool:
    """Say whether two tensors differ by rounding alone; either may have been computed in less than full precision."""
    if output.shape != content.shape:
        return False
    full = min(output.element_size(), content.element_size()) >= 4
    difference = torch.linalg.vector_norm(output.float() - content.float())
    return bool(difference <= (1e-4 if full else 0.05) * torch.linalg.vector_norm(content.float()))


METHODS: Mapping[str, Method] = {
    METHOD: contrastive_mwp,
    "mwp": mwp,
    "cam": Explanation(baselines.cam, "mean scores"),
    "grad_cam": Explanation(baselines.grad_cam, at_layer=True),
    "gradient": Explanation(baselines.gradient),
    "guided_backprop": Explanation(baselines.guided_backprop),
    "deconvnet": Explanation(baselines.deconvnet),
    "lrp": Explanation(baselines.lrp, "mean scores"),
    "rise": Explanation(baselines.rise, "probabilities"),
}
