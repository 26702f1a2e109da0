"""Is contrastive MWP worth its walk? The same classifier, phrases and later steps, with the word maps of other methods.

    python scripts/compare_methods.py --images ../shared/data/flickr-val-00000.tar \\
        --annotations ../shared/data/flickr30k_entities_trainval.zip --output docs/notes/attention-methods.md

Prints (or writes) a page of tables. Smoothing, centre prior, boxes and everything else come after the word maps and are
the package's own. Because their settings were chosen for contrastive MWP, every method is also measured with the
smoothing and the power of the area that suit it best on half of the photographs, on the other half.
"""

import argparse
import contextlib
import copy
import functools
import io
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from tqdm import tqdm

import grounding
from grounding.attention import mwp
from grounding.attention.layers import find_layer, layers
from grounding.config import LocalizerConfig
from grounding.datasets.files import Photographs
from grounding.datasets.flickr30k import EntityImage, Flickr30kEntities
from grounding.errors import GroundingError
from grounding.evaluation.predictions.predictor import predict
from grounding.evaluation.protocols.baselines import baselines
from grounding.evaluation.protocols.measure import measure
from grounding.evaluation.protocols.protocol import HEADLINE, POINTING, Columns, Protocol, recall
from grounding.evaluation.protocols.summary import image_of_phrase
from grounding.evaluation.runs.comparison import compare
from grounding.evaluation.runs.scoring import Run, Selection, select
from grounding.pipeline import Localizer, Scene
from grounding.tagging.network import TagNetwork

OURS = "contrastive MWP"
METHODS = {
    OURS: "the package's own word maps",
    "MWP": "the same walk without the contrast; channels summed",
    "CAM": "the weights of the word times the features before the pooling: local scores without bias, clamped at 0",
    "Grad-CAM": "of the logit of the word, at the layer the map is read at: channels weighted by their mean gradient",
    "Grad-CAM, mean score": "of the score the walk starts from, as if the pooling were the mean",
    "gradient x activation": "of that score, at that layer; channels summed, clamped at 0",
}
SHOWN: tuple[Protocol, ...] = (POINTING[0], POINTING[2], recall(1, "merged-box"), recall(5, "merged-box"))
POINT_SMOOTHINGS, SPREAD_GAMMAS = (1 / 24, 1 / 16, 1 / 12), (0.2, 0.25, 0.3)
_BOXES = "best_iou_"  # the columns that the power of the area decides; the point follows from the smoothing alone

WordMaps = dict[str, dict[str, Tensor]]  # method -> tag -> (h, w)


def main() -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, nargs="+", required=True)
    parser.add_argument("--annotations", type=Path, required=True)
    parser.add_argument("--split", default="val")
    parser.add_argument("--classifier", default="embedded")
    parser.add_argument("--limit", type=int, help="only the first so many photographs")
    parser.add_argument("--output", type=Path, help="write the page here instead")
    options = parser.parse_args()
    try:
        localizer = Localizer.from_pretrained(options.classifier)
        photographs = Photographs(options.images)
        selection = select(Flickr30kEntities(options.annotations), options.split, photographs, options.limit)
        text = page(selection, localizer, measure_all(selection.images, photographs, localizer))
    except GroundingError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if options.output:
        options.output.write_text(text, encoding="utf-8")
    else:
        print(text, end="")
    return 0


def cam(features: Tensor, weights: Tensor) -> Tensor:
    """(C, h, w) features and (K, C) weights of the words -> (K, h, w), at least 0."""
    return torch.einsum("kc,chw->khw", weights, features).clamp(min=0)


def grad_cam(activations: Tensor, gradients: Tensor) -> Tensor:
    """(C, h, w) activations and (K, C, h, w) gradients of the scores there -> (K, h, w), at least 0."""
    return torch.einsum("kc,chw->khw", gradients.mean((2, 3)), activations).clamp(min=0)


def gradient_times_activation(activations: Tensor, gradients: Tensor) -> Tensor:
    """Shapes as `grad_cam`: what each place adds to the score, to first order, where that is above 0."""
    return (gradients * activations).sum(1).clamp(min=0)


def run_above(network: TagNetwork, images: Tensor, activations: Tensor) -> tuple[Tensor, Tensor]:
    """Run the trunk once more, with a leaf in place of the output of the module that gives these activations.

    Returns:
        The leaf, equal to the activations, and (1, D, h', w') the features that the word head sees.

    Raises:
        GroundingError: no module of the network gives them.
    """
    leaves: list[Tensor] = []

    def splice(module: nn.Module, inputs: Any, output: Any) -> Tensor | None:
        if output.shape != activations.shape or not torch.allclose(output, activations, rtol=1e-4, atol=1e-5):
            return None
        leaves.append(activations.clone().requires_grad_())
        return leaves[-1].clone()

    with contextlib.ExitStack() as hooks, torch.enable_grad():
        for module in network.features.modules():
            hooks.callback(module.register_forward_hook(splice).remove)
        features = network.features(images)
    if not leaves:
        raise GroundingError("no module of the network ends at the layer that maps are read at: choose another stride")
    return leaves[-1], features


def gradients_at(layer: Tensor, scores: Tensor, signals: Tensor) -> Tensor:
    """(1, C, h, w) a leaf, (1, T) scores made from it, (K, T) signals -> (K, C, h, w) gradients of signals . scores."""
    found = torch.autograd.grad(scores, layer, signals[:, None], retain_graph=True, is_grads_batched=True)
    return found[0][:, 0]


def word_maps(scene: Scene, tags: Sequence[str]) -> WordMaps:
    """The word maps of every method."""
    if not tags:
        return {method: {} for method in METHODS}
    classifier, config = scene.localizer.classifier, scene.localizer.config.maps
    network = classifier.network
    found = layers(scene._tape)
    recommended = classifier.map_layer if config.stride is None else None
    value = find_layer(scene._tape, config.stride or 16) if recommended is None else found[recommended]
    if not isinstance(network, TagNetwork) or value.tensor is None:
        raise GroundingError(f"'{classifier.name}' is no TagNetwork, or its maps are at no input of a convolution")
    layer, features = run_above(network, classifier.preprocessing(scene.image), value.content())
    signals = torch.zeros(len(tags), len(classifier.tags))
    signals[range(len(tags)), [classifier.tags.index(tag) for tag in tags]] = 1.0
    with torch.enable_grad():
        logits, scores = network.pool(network.local_scores(features), features), network.mean_scores(features)
    of_logits, of_scores = (gradients_at(layer, made, signals) for made in (logits, scores))
    with torch.no_grad():
        stacks = {
            "MWP": mwp(scene._tape, signals, layer=found.index(value), residual=config.residual)[0],
            "CAM": cam(features[0], signals @ network.head.weight),
            "Grad-CAM": grad_cam(layer[0], of_logits),
            "Grad-CAM, mean score": grad_cam(layer[0], of_scores),
            "gradient x activation": gradient_times_activation(layer[0], of_scores),
        }
    ours = {OURS: dict(scene._word_maps(tags))}
    return ours | {method: dict(zip(tags, maps, strict=True)) for method, maps in stacks.items()}


class OtherScene(Scene):
    """A scene with the word maps of a method; the forward pass and the candidate boxes are those of another scene."""

    def __init__(
        self, scene: Scene, config: LocalizerConfig, method: str, maps: Callable[[tuple[str, ...]], WordMaps]
    ) -> None:
        self.__dict__.update(scene.__dict__)
        self.localizer = copy.copy(scene.localizer)
        self.localizer.config, self._method, self._maps = config, method, maps

    def _word_maps(self, tags: Sequence[str]) -> dict[str, Tensor]:
        return self._maps(tuple(tags))[self._method]


Measured = dict[str, dict[LocalizerConfig, Columns]]  # method -> settings -> columns of all phrases


def settings_of(default: LocalizerConfig) -> list[LocalizerConfig]:
    """The default, and a setting for each width and power; the two act on different columns, so pairs will do."""
    pairs = zip(POINT_SMOOTHINGS, SPREAD_GAMMAS, strict=True)
    tried = [
        replace(
            default,
            maps=replace(default.maps, point_smoothing=width),
            regions=replace(default.regions, spread_gamma=gamma),
        )
        for width, gamma in pairs
    ]
    return list(dict.fromkeys([default, *tried]))


def measure_all(images: Sequence[EntityImage], photographs: Photographs, localizer: Localizer) -> Measured:
    """Every method under every setting."""
    settings = settings_of(localizer.config)
    rows: dict[str, dict[LocalizerConfig, list[Columns]]] = {m: {c: [] for c in settings} for m in METHODS}
    for image in tqdm([image for image in images if image.boxed_phrases], unit=" photographs"):
        scene = localizer.encode(grounding.read_image(io.BytesIO(photographs.read(image.id))))
        every_map = functools.cache(functools.partial(word_maps, scene))
        for method, of_settings in rows.items():
            for config, parts in of_settings.items():
                parts.append(measure([image], predict(OtherScene(scene, config, method, every_map), image)))
    return {method: {config: pd.concat(parts) for config, parts in kept.items()} for method, kept in rows.items()}


def own_settings(of_settings: Mapping[LocalizerConfig, Columns], tuned: Any) -> tuple[LocalizerConfig, Columns]:
    """The best width by pointing and the best power by R@1 on the phrases (P,) `tuned`, and the columns under both."""

    def best(protocol: Protocol) -> LocalizerConfig:
        tried = list(of_settings)[-len(POINT_SMOOTHINGS) :]
        return max(tried, key=lambda config: float(np.nanmean(protocol.values(of_settings[config])[tuned])))

    pointing, boxes = best(SHOWN[0]), best(SHOWN[2])
    of_boxes = of_settings[boxes].filter(like=_BOXES)
    return replace(pointing, regions=boxes.regions), of_settings[pointing].assign(**of_boxes)


def page(selection: Selection, localizer: Localizer, measured: Measured) -> str:
    """All tables, as Markdown."""
    images, classifier = selection.images, localizer.classifier
    odd = image_of_phrase(images) % 2 == 1
    default = {method: of_settings[localizer.config] for method, of_settings in measured.items()}
    own = {method: own_settings(of_settings, ~odd) for method, of_settings in measured.items()}
    held_out = {method: columns[odd] for method, (_, columns) in own.items()}
    maps, regions = localizer.config.maps, localizer.config.regions
    lines = [
        "# Attention methods on one classifier",
        "",
        _paragraph(
            f"Flickr30k Entities {selection.split}, {selection.coverage}, {len(odd):,} phrases, percent. Classifier: "
            f"`{classifier.name}`, fingerprint `{classifier.fingerprint()[:12]}`. Only the word maps differ: phrases, "
            "words, smoothing, centre prior and boxes are those of the default configuration. Differences are paired, "
            "with 95% bootstrap intervals over images; protocols as in [protocols.md](../protocols.md). Made by "
            "`scripts/compare_methods.py`."
        ),
        "",
        *(f"- **{method}**: {what}." for method, what in METHODS.items()),
        "",
        "## Default settings, all photographs",
        "",
        f"Point smoothing {maps.point_smoothing:.3g} and spread_gamma {regions.spread_gamma:g}, chosen for {OURS}.",
        "",
        *tables(images, default),
        "",
        "## Own settings, on photographs that they were not chosen on",
        "",
        _paragraph(
            "The defaults suit the maps they were chosen for. Here every method has the best of the point smoothings "
            f"{', '.join(f'{width:.3g}' for width in POINT_SMOOTHINGS)} by `{SHOWN[0].name}`, and the best of the "
            f"spread_gammas {', '.join(f'{gamma:g}' for gamma in SPREAD_GAMMAS)} by `{SHOWN[2].name}`, both on every "
            "other photograph, from the first on; the other settings stay. The results are of the rest."
        ),
        "",
        "| method | point smoothing | spread_gamma |",
        "|---|---|---|",
        *(f"| {m} | {c.maps.point_smoothing:.3g} | {c.regions.spread_gamma:g} |" for m, (c, _) in own.items()),
        "",
        *tables(images[1::2], held_out),
    ]
    return "\n".join(lines) + "\n"


def _paragraph(text: str) -> str:
    return textwrap.fill(text, 120, break_long_words=False, break_on_hyphens=False)


def tables(images: Sequence[EntityImage], columns: Mapping[str, Columns]) -> Iterator[str]:
    """The lines of two tables: the methods and the trivial baselines; contrastive MWP less each other method."""
    names, rule = " | ".join(f"`{protocol.name}`" for protocol in SHOWN), f"|---|{'---|' * len(SHOWN)}"
    yield from (f"| method | {names} |", rule)
    for method, values in {**columns, **baselines(images)}.items():
        numbers = [protocol.values(values) for protocol in SHOWN]
        cells = ["-" if np.isnan(each).all() else f"{100 * np.nanmean(each):.1f}" for each in numbers]
        if set(cells) != {"-"}:
            yield f"| {method} | {' | '.join(cells)} |"
    yield from ("", f"| {OURS} less | {names} |", rule)
    for method in columns:
        if method != OURS:
            sides = [_run(name, images, columns[name]) for name in (method, OURS)]
            found = compare(*sides)[0]["differences"]
            rows = [found[protocol.name] for protocol in SHOWN]
            cells = [f"{row['difference']:+.1f} [{row['low']:+.1f}, {row['high']:+.1f}]" for row in rows]
            yield f"| {method} | {' | '.join(cells)} |"


def _run(name: str, images: Sequence[EntityImage], columns: Columns) -> Run:
    measured = {protocol.name: {"count": 1} for protocol in HEADLINE}
    metrics = {"name": name, "run": measured, "versions": {"grounding": grounding.__version__}}
    return Run(metrics, images, {}, columns, name)


if __name__ == "__main__":
    sys.exit(main())
