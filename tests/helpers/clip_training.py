"""A CLIP of a few thousand weights, to be taught colours by a classifier that sees them."""

from pathlib import Path

from torch import nn

from helpers.benchmarks import write_classifier
from helpers.training import draw_shapes

TINY = """
model: clip
output: {folder}/run
embedding: 16
epochs: 2
batch_size: 8
tags_per_step: 4
phrases: 1
teacher: {folder}/teacher
teacher_size_px: 64
data: {{sources: [{table}], cache_size_px: 64}}
vision: {{width: 0.125, image_size_px: 64}}
text: {{layers: 1, heads: 5, length: 8}}
"""
TAGS = ("red", "green", "blue", "circle", "square", "triangle")


def write_tiny(folder: Path, count: int = 24) -> Path:
    """Pictures of shapes, a teacher that sees colours, and a configuration, which is returned."""
    write_classifier(folder / "teacher", tags=TAGS)
    path = folder / "clip.yaml"
    path.write_text(TINY.format(folder=folder, table=draw_shapes(folder / "shapes", count)))
    return path


def wake(clip):
    """Make the random weights of a MobileNet so large that something gets through it."""
    for module in clip.model.vision_model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)
    return clip
