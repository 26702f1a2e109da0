"""An invented data set of coloured rectangles, and classifiers made by hand that see one colour each.

Channels 0, 1 and 2 of the network are max(0, one colour less the two others): 1 on a pure colour, 0 on grey, black and
the other colours. The tags red, green and blue each have weight 8 on their own channel, and -1 on the two others.
"""

from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw

from grounding.benchmarks.data import Source
from grounding.benchmarks.measurer import Job
from grounding.benchmarks.methods import MapMaker
from grounding.benchmarks.names import KNOWN
from grounding.benchmarks.page import draw
from grounding.benchmarks.run import run_benchmark
from grounding.config import MapConfig
from grounding.tagging.classifier import Preprocessing, TagClassifier
from grounding.tagging.network import plain_network

COLOURS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255)}
SIDE_PX = 64

# Picture -> its size, and its objects: colour and half-open box. Sizes differ, and some show several colours.
PICTURES = {
    "one.png": ((64, 48), [("red", (4, 4, 24, 20))]),
    "two.png": ((48, 64), [("green", (20, 30, 44, 58))]),
    "three.png": ((80, 40), [("blue", (44, 8, 76, 32))]),
    "four.png": ((64, 64), [("red", (2, 2, 22, 22)), ("blue", (36, 36, 60, 60))]),
    "five.png": ((96, 64), [("green", (8, 8, 28, 28)), ("red", (60, 30, 90, 60))]),
    "six.png": ((64, 64), [("blue", (10, 10, 54, 54))]),
}
ROWS = sum(len(objects) for _, objects in PICTURES.values())
FILES = ["figure.png", "metrics.json", "report.html", "rows.jsonl"]


def picture(size, objects, background=(90, 90, 90)):
    """A flat picture with rectangles."""
    image = Image.new("RGB", size, background)
    pen = ImageDraw.Draw(image)
    for colour, (x0, y0, x1, y1) in objects:
        pen.rectangle((x0, y0, x1 - 1, y1 - 1), fill=COLOURS[colour])
    return image


def write_folder(folder: Path, names=None, pictures=PICTURES, masks=False) -> Path:
    """The pictures with their `labels.csv`.

    Args:
        names: colour -> what the class is called.
        masks: the masks of pictures with one object.
    """
    folder.mkdir(parents=True)
    lines = ["image,class,x0,y0,x1,y1"]
    for name, (size, objects) in pictures.items():
        picture(size, objects).save(folder / name)
        for colour, box in objects:
            class_ = '"{}"'.format((names or {}).get(colour, colour).replace('"', '""'))
            lines.append(",".join([name, class_, *map(str, box)]))
        if masks and len(objects) == 1:
            (folder / "masks").mkdir(exist_ok=True)
            x0, y0, x1, y1 = objects[0][1]
            mask = np.zeros(size[::-1], np.uint8)
            mask[y0:y1, x0:x1] = 255
            Image.fromarray(mask).save(folder / "masks" / name)
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")
    return folder


def write_cub(root: Path, birds) -> Path:
    """Pictures of `PICTURES` with one object each, in the layout of CUB-200-2011.

    Args:
        birds: name of the picture -> whether it is for training; its class is the colour, its id its place from 1.
    """
    names = [colour.title() for colour in COLOURS]
    lists = dict.fromkeys(("images", "image_class_labels", "train_test_split", "bounding_boxes"), "")
    for place, (name, training) in enumerate(birds.items(), 1):
        _, ((colour, (x0, y0, x1, y1)),) = PICTURES[name]
        number = names.index(colour.title()) + 1
        path = f"{number:03d}.{colour.title()}/{Path(name).stem}.jpg"
        (root / "images" / path).parent.mkdir(parents=True, exist_ok=True)
        picture(*PICTURES[name]).save(root / "images" / path, quality=95)
        lists["images"] += f"{place} {path}\n"
        lists["image_class_labels"] += f"{place} {number}\n"
        lists["train_test_split"] += f"{place} {int(training)}\n"
        lists["bounding_boxes"] += f"{place} {x0} {y0} {x1 - x0} {y1 - y0}\n"
    lists["classes"] = "".join(f"{place} {place:03d}.{name}\n" for place, name in enumerate(names, 1))
    for name, text in lists.items():
        (root / f"{name}.txt").write_text(text)
    return root


@torch.no_grad()
def colour_classifier(tags=("red", "green", "blue"), stride=2, multi_label=True) -> TagClassifier:
    """The network of the module's description; further tags see nothing."""
    network = plain_network([(3, stride)], len(tags), normalised=False).eval()
    convolution, head = network.features[0], network.head
    convolution.weight.zero_()
    convolution.bias.zero_()
    convolution.weight[:, :, 1, 1] = 2 * torch.eye(3) - 1
    head.weight.fill_(-1)
    head.weight[:3].add_(9 * torch.eye(3)[: len(tags)])
    head.weight[3:] = -1
    head.bias.fill_(-2)
    return TagClassifier(network, tags, Preprocessing(SIDE_PX), "colours", multi_label)


def write_classifier(folder: Path, **how) -> Path:
    """The classifier as a folder that `--classifier` takes."""
    colour_classifier(**how).save_pretrained(folder)
    return folder


def job(folder: Path, classifier: Path, task="localization", methods=KNOWN, **how) -> Job:
    """A job on such a folder, with few masks of RISE."""
    source = {name: how.pop(name) for name in ("gaze", "limit") if name in how}
    makers = tuple(MapMaker(name, how.get("smoothing"), 40) for name in methods)
    how.pop("smoothing", None)
    return Job(task, Source("folder", folder, **source), str(classifier), makers, MapConfig(stride=2), **how)


def run(job_: Job, output: Path, notes=None, **how):
    """The metrics of a whole run."""
    return run_benchmark(job_, output, draw, (notes if notes is not None else []).append, "colours", **how)
