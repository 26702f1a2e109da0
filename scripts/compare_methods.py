"""Is contrastive MWP worth its walk? The same classifier, phrases and later steps, with the word maps of other methods.

    python scripts/compare_methods.py --images ../shared/data/flickr-val-00000.tar \\
        --annotations ../shared/data/flickr30k_entities_trainval.zip --output docs/notes/attention-methods.md

Prints (or writes) a page of tables. Each phrase is found by the maps of its own words, without the caption around it
and without the parts of people. Smoothing, centre prior, boxes and everything else come after the word maps and are the
package's own. Because their settings were chosen for contrastive MWP, every method is also measured with the
smoothing and the power of the area that suit it best on half of the photographs, on the other half.
"""

import argparse
import io
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from tqdm import tqdm

import grounding
from grounding import baselines, methods
from grounding.baselines.methods import read_layer
from grounding.baselines.shared import checked_weights, gradients, prepare
from grounding.config import LocalizerConfig, MapConfig, WholeConfig
from grounding.datasets.files import Photographs
from grounding.datasets.flickr30k import EntityImage, Flickr30kEntities
from grounding.errors import GroundingError
from grounding.evaluation.predictions.predictor import predict
from grounding.evaluation.protocols.baselines import baselines as trivial_answers
from grounding.evaluation.protocols.measure import measure
from grounding.evaluation.protocols.protocol import HEADLINE, POINTING, Columns, Protocol, recall
from grounding.evaluation.protocols.summary import image_of_phrase
from grounding.evaluation.runs.comparison import compare
from grounding.evaluation.runs.scoring import Run, Selection, select
from grounding.methods import Encoding, Explanation, Method, explained_model, layer_name
from grounding.pipeline import Localizer

OURS = "contrastive MWP"
SETTINGS = LocalizerConfig(wholes=WholeConfig(amount=0), context="none")  # the words' own maps alone
SHOWN: tuple[Protocol, ...] = (POINTING[0], POINTING[2], recall(1, "merged-box"), recall(5, "merged-box"))
POINT_SMOOTHINGS, SPREAD_GAMMAS = (1 / 24, 1 / 16, 1 / 12), (0.2, 0.25, 0.3)
_BOXES = "best_iou_"  # the columns that the power of the area decides; the point follows from the smoothing alone


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
        localizer = Localizer.from_pretrained(options.classifier, SETTINGS)
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


@torch.inference_mode(False)
@torch.enable_grad()
def gradient_times_activation(encoding: Encoding, signals: Tensor, config: MapConfig) -> Tensor:
    """What each place of the layer adds to the mean scores, to first order, where that is above 0: (K, h, w)."""
    model = explained_model(encoding.classifier, "mean scores")
    name = layer_name(encoding, model, config)
    model, images = prepare(model, encoding.images)
    _, features, scores = read_layer(model, images.requires_grad_(), name)  # (1, C, h, w), (1, T)
    slopes = gradients(scores, checked_weights(signals, scores), features)  # (K, 1, C, h, w)
    return (slopes * features.detach()).sum(2)[:, 0].clamp(min=0)


def remembering(method: Method) -> Method:
    """The method, asked once about the same words of a picture: settings that act later share its maps."""
    known: WeakKeyDictionary[Encoding, dict[bytes, Tensor]] = WeakKeyDictionary()

    def maps(encoding: Encoding, signals: Tensor, config: MapConfig) -> Tensor:
        of_picture = known.setdefault(encoding, {})
        key = signals.numpy().tobytes()
        if key not in of_picture:
            of_picture[key] = method(encoding, signals, config)
        return of_picture[key]

    return maps


METHODS: dict[str, tuple[str, Method]] = {
    OURS: ("the package's own word maps", methods.METHODS["contrastive_mwp"]),
    "MWP": ("the same walk without the contrast; channels summed", methods.METHODS["mwp"]),
    "CAM": (
        "the weights of the word times the features before the pooling: local scores without bias, clamped at 0",
        methods.METHODS["cam"],
    ),
    "Grad-CAM": (
        "of the logit of the word, at the layer the map is read at: channels weighted by their mean gradient",
        methods.METHODS["grad_cam"],
    ),
    "Grad-CAM, mean score": (
        "of the score the walk starts from, as if the pooling were the mean",
        Explanation(baselines.grad_cam, "mean scores", at_layer=True),
    ),
    "gradient x activation": (
        "of that score, at that layer; channels summed, clamped at 0",
        gradient_times_activation,
    ),
}

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
    """Every method under every setting; a photograph is encoded once."""
    localizers = {
        name: {
            config: Localizer(localizer.classifier, config, str(localizer.device), method)
            for config in settings_of(localizer.config)
        }
        for name, method in ((name, remembering(method)) for name, (_, method) in METHODS.items())
    }
    rows: dict[str, dict[LocalizerConfig, list[Columns]]] = {
        name: {config: [] for config in of_settings} for name, of_settings in localizers.items()
    }
    for image in tqdm([image for image in images if image.boxed_phrases], unit=" photographs"):
        scene = localizer.encode(grounding.read_image(io.BytesIO(photographs.read(image.id))))
        for name, of_settings in localizers.items():
            for config, other in of_settings.items():
                rows[name][config].append(measure([image], predict(scene.under(other), image)))
    return {name: {config: pd.concat(parts) for config, parts in kept.items()} for name, kept in rows.items()}


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
            "with 95% bootstrap intervals over images; protocols as in [protocols.md](../reference/protocols.md). "
            "Made by `scripts/compare_methods.py`."
        ),
        "",
        *(f"- **{name}**: {what}." for name, (what, _) in METHODS.items()),
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
    for method, values in {**columns, **trivial_answers(images)}.items():
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
    metrics = {"name": name, "settings": {}, "run": measured, "versions": {"grounding": grounding.__version__}}
    return Run(metrics, images, {}, columns, name)


if __name__ == "__main__":
    sys.exit(main())
