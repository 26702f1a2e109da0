"""The configurations that the documentation offers, each trained on invented data: two steps with an interruption."""

import json
from pathlib import Path

import pytest
from safetensors.torch import load_file

from grounding.config import given, load
from grounding.tagging.sources import load_classifier
from grounding.train import main
from grounding.training.clip.config import ClipConfig
from grounding.training.config import TrainConfig
from grounding.training.logs import CsvLog
from grounding.training.networks import create_network
from helpers.entities import write_entities
from helpers.paths import ROOT
from helpers.training import COLOURS, SHAPES, draw_shapes, log_rows, write_config, write_voc

WORDS = (*COLOURS, *SHAPES)
SOME_OF_VOC = dict(zip(WORDS, ("aeroplane", "bus", "cat", "dog", "person", "tvmonitor", "train"), strict=True))
SMALL = [
    "tags=7",
    "inference_size_px=64",
    "image_size_px=64",
    "batch_size=8",
    "epochs=2",
    "data.workers=0",
    "network.weights=''",
    "validation.limit=1",
]


def flickr30k(folder):
    """The shapes in Flickr30k's layout, as a table of `captions`; one photograph is left out."""
    table = draw_shapes(folder / "shapes", 13)
    rows = [json.loads(line) for line in table.read_text().splitlines()]
    lines = [f"{row['image']}#{n}\t{text}\n" for row in rows for n, text in enumerate(row["caption"])]
    (folder / "results.token").write_text("".join(lines).replace(".png", ".jpg"))
    for path in (folder / "shapes").glob("*.png"):
        path.rename(path.with_suffix(".jpg"))
    (folder / "val.txt").write_text("012\n")
    (folder / "other").mkdir()
    return [
        *("captions", "flickr30k", folder / "results.token", folder / "shapes"),
        *("--output", folder / "other" / "t.jsonl", "--without", folder / "val.txt"),
    ]


def coco(folder):
    """The shapes in COCO's layout, as a table of `captions`."""
    table = draw_shapes(folder / "shapes", 12)
    rows = [json.loads(line) for line in table.read_text().splitlines()]
    images = [{"id": n, "file_name": row["image"]} for n, row in enumerate(rows)]
    annotations = [{"image_id": n, "caption": text} for n, row in enumerate(rows) for text in row["caption"]]
    (folder / "captions.json").write_text(json.dumps({"images": images, "annotations": annotations}))
    return ["captions", "coco", folder / "captions.json", folder / "shapes", "--output", folder / "t.jsonl"]


def alt_texts(folder):
    """The shapes with a text beside each."""
    for row in map(json.loads, draw_shapes(folder / "shapes", 12).read_text().splitlines()):
        (folder / "shapes" / row["image"]).with_suffix(".txt").write_text(row["caption"][0])
    (folder / "shapes" / "captions.jsonl").unlink()
    return folder / "shapes"


def voc(folder):
    """The shapes in VOC's layout, as a table of `labels`: seven classes, one difficult object."""
    table = draw_shapes(folder / "shapes", 12)
    rows = [json.loads(line)["caption"][0] for line in table.read_text().splitlines()]
    objects = [[(SOME_OF_VOC[word], 0) for word in WORDS if word in row.split()] + [("sofa", 1)] for row in rows]
    write_voc(folder / "VOC2007", table, objects)
    return ["labels", "voc", "--root", folder / "VOC2007", "--split", "trainval", "--output", folder / "t.jsonl"]


def source_of(style, folder):
    """The table or folder that a style of captions or labels gives for `data.sources`."""
    written = style(folder)
    if isinstance(written, Path):
        return written
    assert main([str(argument) for argument in written]) == 0
    return written[written.index("--output") + 1]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("recipe", "style", "architecture"),
    [
        ("resnet50-flickr30k", flickr30k, "timm:test_resnet"),
        ("convnext-coco", coco, "timm:test_convnext"),
        ("web-alt-text", alt_texts, "timm:test_efficientnet"),
        ("teacher", coco, "timm:mobilenetv1_100"),
        ("first-student", coco, "plain"),
        ("embedded", coco, "plain"),
        ("own-words", alt_texts, None),
        ("voc07", voc, "timm:test_resnet"),
        ("coco", voc, "timm:test_resnet"),
        ("cub50", voc, None),
        ("cub", voc, "timm:mobilenetv1_100"),
    ],
)
def test_recipes(train, tmp_path, monkeypatch, recipe, style, architecture):
    config = ROOT / "configs" / f"{recipe}.yaml"
    network = load(TrainConfig, config, ["network.weights=none", "network.initial=none", "head_only=no"]).network
    assert create_network(network, 7).head.out_features == 7  # the test itself trains a smaller one of the kind
    entities = write_entities(tmp_path / "entities", photographs=True)
    overrides = [
        *SMALL,
        f"data.sources=[{source_of(style, tmp_path)}]",
        f"network.architecture={architecture or 'none'}",
    ]
    overrides += [f"validation.images=[{entities / 'photographs'}]", f"validation.annotations={entities}"]
    if architecture == "plain":
        plain = write_config(tmp_path / "plain")
        assert train(plain, "epochs=1", f"data.sources=[{source_of(style, tmp_path / 'again')}]")[0] == 0
        trained = tmp_path / "plain" / "run" / "classifier"
        overrides += [f"teacher.classifiers=[{trained}]", "network.channels=[8, 16, 16]", "network.strides=[2, 2, 2]"]
        overrides += ["map_layer=-2", *([f"network.initial={trained}"] if recipe == "embedded" else [])]
    write = CsvLog.write

    def interrupted(self, row):
        if row["epoch"] == 2:
            raise KeyboardInterrupt
        write(self, row)

    with monkeypatch.context() as patch:
        patch.setattr(CsvLog, "write", interrupted)
        assert train(config, *overrides, "output=run")[0] == 130
    status, _, lines = train(config, *overrides, "output=run")
    assert (status, "going on after epoch 1 of 2" in lines) == (0, True), lines
    assert train(config, *overrides, "output=whole")[0] == 0
    resumed, whole = (load_file(f"{name}/checkpoint.safetensors") for name in ("run", "whole"))
    assert all((resumed[key] == whole[key]).all() for key in whole)
    assert load_classifier("run/classifier").preprocessing.image_size_px == 64
    rows = log_rows(Path("run"))
    assert [row["step"] for row in rows] == ["1", "2"]
    assert rows[1]["recall@1/merged-box"]  # the last protocol of the validation


@pytest.mark.parametrize("path", sorted((ROOT / "configs").glob("*.yaml")), ids=lambda path: path.stem)
def test_configurations_are_read(path):
    kind = ClipConfig if given(path).get("model") == "clip" else TrainConfig
    if path.stem != "localizer":
        assert load(kind, path).output == f"runs/{path.stem}"
