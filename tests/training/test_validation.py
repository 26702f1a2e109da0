"""Validation while training gives the numbers of `grounding.evaluate`."""

import json

from grounding.evaluate import main as evaluate
from grounding.tagging.sources import load_classifier
from grounding.training.config import ValidationConfig
from grounding.training.validation import Validation
from helpers.entities import write_entities
from helpers.training import log_rows, write_config


def test_validation_says_what_evaluation_says(train, tmp_path):
    config = write_config(tmp_path)
    entities = write_entities(tmp_path / "entities", photographs=True)
    photographs = entities / "photographs"
    measured = [
        f"validation.images=[{photographs}]",
        f"validation.annotations={entities}",
        "validation.every=2",
        "map_layer=-2",
    ]
    status, _, lines = train(config, *measured)
    assert status == 0
    trivial = "centre point: pointing/phrase 40.0, whole image: recall@1/merged-box 15.0 percent"
    assert f"validation on val, all 5 images; {trivial}" in lines
    log = log_rows(tmp_path / "run")
    assert [row["pointing/phrase"] != "" for row in log] == [False, True, True]
    told = f"epoch 3: pointing/phrase {float(log[2]['pointing/phrase']):.1f}, recall@1/merged-box"
    assert any(line.startswith(told) for line in lines)
    folder = tmp_path / "run" / "classifier"
    options = [
        "--images",
        photographs,
        "--annotations",
        entities,
        "--classifier",
        folder,
        "--output",
        tmp_path / "scored",
        "--set",
        "context=none",
    ]
    assert evaluate(["flickr30k", *map(str, options)]) == 0
    metrics = json.loads((tmp_path / "scored" / "metrics.json").read_text())["run"]
    again = Validation(ValidationConfig((str(photographs),), str(entities))).measure(load_classifier(folder), "cpu")
    assert again == {name: metrics[name]["value"] for name in ("pointing/phrase", "recall@1/merged-box")}
