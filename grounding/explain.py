"""What a classifier saw, for its best outputs: MWP, contrastive MWP and dual MWP at two depths.

The paper visualises the evidence for a decision in this way: arXiv 1608.00507, maps as in sections 3.2 and 3.3.
"""

import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from torch import Tensor

from grounding.attention.excitation import Layer, readings
from grounding.attention.graph import Tape, Value
from grounding.attention.layers import find_layer, layers, reshaped
from grounding.attention.outputs import Output
from grounding.attention.recorder import record
from grounding.attention.signals import class_number
from grounding.attention.spatial import grid
from grounding.attention.two_towers import similarities
from grounding.errors import GroundingError
from grounding.images import RgbImage, check_image
from grounding.painting import signed_picture, tiled

Map = npt.NDArray[np.float32]

_CELL_PX = 200
_MAPS = ("MWP (for)", "contrastive MWP", "dual MWP (against)")


@dataclass(frozen=True, eq=False, slots=True)
class Evidence:
    """Where one layer holds the evidence for one output.

    Attributes:
        layer: the module whose output it is, or `image`.
        mwp: (h, w) float32, sums to 1 less what falls on units that nothing excites: what speaks for the output.
        dual_mwp: (h, w) float32, the same for the dual signal, the classifier with the weights -W: what speaks against.
        contrastive_mwp: (h, w) float32, signed, the first less the second.
        mass: the sum of `mwp`: the share of the evidence for the output that gets to this layer.
    """

    layer: str
    mwp: Map = field(repr=False)
    contrastive_mwp: Map = field(repr=False)
    dual_mwp: Map = field(repr=False)
    mass: float


@dataclass(frozen=True, eq=False, slots=True)
class Prediction:
    """One output of the classifier.

    Attributes:
        index: among the outputs.
        name: its name, or `output 7` where none was given.
        score: what the network returned.
        probability: softmax over all outputs, or the sigmoid of this one.
        evidence: one entry a layer, the one nearest the scores first, or in the order asked for.
    """

    index: int
    name: str
    score: float
    probability: float
    evidence: tuple[Evidence, ...]


@dataclass(frozen=True, eq=False, slots=True)
class Explanation:
    """The outputs that were asked about; shown in a notebook as its `grid`.

    Attributes:
        predictions: best first, or in the order asked for.
        picture: (H, W, 3) uint8, as the model saw it.
    """

    predictions: tuple[Prediction, ...]
    picture: RgbImage = field(repr=False)

    def grid(self) -> Image.Image:
        """A row for each prediction, three maps for each depth."""
        return _grid(self)

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.grid().save(buffer, "PNG")
        return buffer.getvalue()


def explain(
    model: Callable[..., Any],
    image: Tensor,
    top: int | None = None,
    *,
    text: Tensor | None = None,
    output: Output | None = None,
    outputs: Sequence[int | str] | None = None,
    layers: Sequence[Layer] | None = None,
    strides: Sequence[float] | None = None,
    names: Sequence[str] | None = None,
    picture: npt.NDArray[Any] | Image.Image | str | Path | None = None,
    multi_label: bool = False,
) -> Explanation:
    """The evidence for the best outputs of a classifier, in one forward pass.

    Args:
        model: in evaluation mode, or a function; takes (1, C, H, W) and returns scores (1, T).
        image: (C, H, W) or (1, C, H, W) floating point, prepared as the model wants it.
        top: how many outputs, highest score first; by default 3, or all of fewer.
        text: (T, D) embeddings of texts, which are explained in place of outputs: the model has two towers (what
            open_clip and Hugging Face call a CLIP), or is the tower of images alone, and returns embeddings (1, D). The
            scores are the products of the rows with the image's embedding, made 1 long: cosines, where the rows are 1
            long too; times the model's scale of logits, they give its probabilities. The maps do not depend on lengths.
        output: which of what the model returns are the scores, or the embeddings, as in `record`.
        outputs: explain these instead: positions, or names of `names`.
        layers: read here: names of modules or entries of `attention.layers.layers`, as in `mwp`. By default the last
            layer with signal at its places (the last block of a vision transformer may have all of it on the class
            token), and nearest the image the one of up to twice its sides (with less than eight times its places); only
            one where these are the same.
        strides: or read the layers at these strides.
        names: T names of the outputs.
        picture: to draw under the maps, as `check_image` takes it: the picture as the model saw it, resized and cropped
            alike. By default the tensor itself, stretched to its own range.
        multi_label: the outputs are independent, and the probability of each is its sigmoid.

    Raises:
        GroundingError: an image, a number of outputs, names or layers that do not fit, scores that are not (1, T);
            and all that `record` and `contrastive_mwp` raise.
    """
    image = _one_image(image)
    given = None if picture is None else check_image(picture)
    if text is not None:
        model, output = similarities(model, text, output), None
    tape = record(model, image, output=output, names=names)
    scores = _scores(tape)
    names = tape.names or [f"output {index}" for index in range(len(scores))]
    chosen = _top(scores, top) if outputs is None else _chosen(outputs, names)
    depths = _depths(tape, chosen, layers, strides)
    plain, signed = (readings(tape, chosen, depths, contrast=contrast, watch="none") for contrast in (False, True))
    labels = [_label(tape, depth) for depth in depths]
    probabilities = scores.sigmoid() if multi_label else scores.softmax(0)
    predictions = []
    for k, index in enumerate(chosen):
        read = zip(labels, plain, signed, strict=True)
        evidence = tuple(_evidence(label, ours.maps[0, k], both.maps[0, k]) for label, ours, both in read)
        numbers = float(scores[index]), float(probabilities[index])
        predictions.append(Prediction(index, names[index], *numbers, evidence))
    return Explanation(tuple(predictions), _stretched(image) if given is None else given)


def _evidence(layer: str, plain: Tensor, difference: Tensor) -> Evidence:
    """The walk is linear in the signal, so what the contrast took away from the MWP is the dual MWP."""
    ours, signed, dual = (each.float().cpu().numpy() for each in (plain, difference, plain - difference))
    return Evidence(layer, ours, signed, dual, float(plain.sum()))


def _one_image(image: Tensor) -> Tensor:
    """(1, C, H, W)"""
    if not isinstance(image, Tensor) or not image.is_floating_point():
        given = f"{image.dtype} tensor" if isinstance(image, Tensor) else type(image).__name__
        raise GroundingError(
            f"the image is a {given}: expected a floating point tensor, prepared as the model wants it"
        )
    batch = image[None] if image.dim() == 3 else image
    if batch.dim() != 4 or len(batch) != 1 or 0 in batch.shape:
        raise GroundingError(f"the image has shape {tuple(image.shape)}: expected one image, (C, H, W) or (1, C, H, W)")
    return batch.detach()


def _stretched(image: Tensor) -> RgbImage:
    """(1, C, H, W) -> (H, W, 3): its own range becomes 0 to 255; grey unless there are three channels."""
    pixels = image[0].double().cpu()
    pixels = pixels if len(pixels) == 3 else pixels.mean(0, keepdim=True).expand(3, -1, -1)
    span = float(pixels.max() - pixels.min())
    pixels = (pixels - pixels.min()) / (span or 1.0)
    return np.asarray((pixels * 255).round().permute(1, 2, 0).numpy(), np.uint8)


def _scores(tape: Tape) -> Tensor:
    """(T,)"""
    scores = tape.scores.detach()
    if scores.dim() != 2 or len(scores) != 1 or not scores.shape[1]:
        raise GroundingError(f"the model returned scores {tuple(scores.shape)}: expected (1, T)")
    return scores[0].double()


def _top(scores: Tensor, top: int | None) -> list[int]:
    """Positions of the highest scores, of equals the first."""
    if top is None:
        top = min(3, len(scores))
    if type(top) is not int or not 1 <= top <= len(scores):
        raise GroundingError(f"top is {top}: expected a number from 1 to {len(scores)}, the outputs of the model")
    return sorted(range(len(scores)), key=lambda index: -float(scores[index]))[:top]


def _chosen(outputs: Sequence[int | str], names: Sequence[str]) -> list[int]:
    if isinstance(outputs, str) or not outputs:
        raise GroundingError("outputs are empty or a text: expected a list of positions or names")
    return [class_number(output, len(names), names) for output in outputs]


def _depths(
    tape: Tape, signals: Sequence[int], asked: Sequence[Layer] | None, strides: Sequence[float] | None
) -> list[Layer]:
    """The layers to read, for `mwp`."""
    if asked is not None and strides is not None:
        raise GroundingError("both layers and strides were given: expected one of them")
    if isinstance(asked, str) or (asked is not None and not asked) or (strides is not None and not strides):
        raise GroundingError("layers or strides are empty or a text: expected a list such as ['layer4', 'layer3']")
    if asked is not None:
        return list(asked)
    cuts = layers(tape)
    if strides is not None:
        return [cuts.index(find_layer(tape, stride)) for stride in strides]
    skipped = reshaped(tape)
    sides = {at: grid(value) for at, value in enumerate(cuts) if value not in skipped}
    places = {at: math.prod(pair) for at, pair in sides.items() if pair and math.prod(pair) > 1}
    if not places:
        raise GroundingError("no layer of the model has more than one place: nothing to show a map of")
    coarse = [at for at in places if places[at] == places[max(places)]]
    found = readings(tape, signals, coarse, contrast=False, watch="none")
    reached = [at for at, reading in zip(coarse, found, strict=True) if bool(reading.maps.any())]
    last = max(reached or coarse)
    finer = min(at for at in places if places[at] < 8 * places[last])
    return list(dict.fromkeys([last, finer]))


def _label(tape: Tape, layer: Layer) -> str:
    if isinstance(layer, str):
        return layer
    value = layer if isinstance(layer, Value) else layers(tape)[layer]
    makers = (operation.module for operation in tape.operations if value in operation.outputs)
    return next(makers, "image") or f"layer {layer}"


def _grid(explanation: Explanation) -> Image.Image:
    """A row for each prediction: the picture, then MWP, contrastive MWP and dual MWP at each depth.

    Warm is what speaks for the output, cold what speaks against it. Each map is as bright as its largest value.
    """
    small = Image.fromarray(explanation.picture)
    small.thumbnail((2 * _CELL_PX, 2 * _CELL_PX))
    picture = np.array(small)
    first = explanation.predictions[0]
    titles = ["prediction"]
    for evidence in first.evidence:
        height, width = evidence.mwp.shape
        titles += [f"{kind}\n{evidence.layer} {height} x {width}" for kind in _MAPS]
    rows, captions = [], []
    for prediction in explanation.predictions:
        row = [small]
        for evidence in prediction.evidence:
            maps = evidence.mwp, evidence.contrastive_mwp, -evidence.dual_mwp
            row += [signed_picture(picture, values) for values in maps]
        rows.append(row)
        arrived = [evidence.mass for evidence in prediction.evidence]
        lost = f"\n{', '.join(f'{mass:.0%}' for mass in arrived)} arrives" if min(arrived) < 0.995 else ""
        captions.append(f"{prediction.name}\nscore {prediction.score:.2f}, {prediction.probability:.1%}{lost}")
    return tiled(rows, titles, captions, _CELL_PX)
