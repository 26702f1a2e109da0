"""The ablation of attention: each arm is a configuration, and what is trained is the upper part of the network."""

import argparse
import json

import numpy as np
import pytest
import torch

from grounding.evaluation.protocols.localization import MEAN_MULTIPLES, THRESHOLDS
from grounding.training.batches import Batch
from helpers.paths import ROOT, load_script


@pytest.fixture(scope="module")
def script():
    return load_script("ablate_attention")


@pytest.fixture
def options(script, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    return argparse.Namespace(arms_known=script.ARMS, set=["epochs=2"], weights="w.safetensors", epochs=3)


NAMES = {"table": "t.jsonl", "gaze": "g.csv", "boxes": "b.jsonl"}


def test_every_arm_is_a_configuration_of_its_own(script, options):
    configs = {arm: script.config_of(arm, 1, options, NAMES) for arm in script.ARMS}
    assert len(set(map(repr, configs.values()))) == len(script.ARMS)
    none, both = configs["none"], configs["DGDM + GALA + gaze"]
    assert (none.dgdm.enabled, none.gala.enabled, none.human_maps.source) == (False, False, ())
    assert (both.dgdm.enabled, both.gala.enabled, both.human_maps.source) == (True, True, ("g.csv",))
    assert configs["EB map + gaze"].human_maps.teaches == "excitation"
    assert {(config.seed, config.epochs, config.network.weights) for config in configs.values()} == {
        (1, 2, "w.safetensors")
    }


@pytest.fixture(scope="module")
def network(script):
    from grounding.tagging.network import timm_network

    torch.manual_seed(0)
    return timm_network("mobilenetv1_100", 3, options={"pad_type": "same", "output_stride": 16}).eval()


def test_the_lower_part_and_the_tail_are_the_whole(script, network):
    images = torch.rand(2, 3, 96, 96)
    trunk = network.features.trunk
    with torch.no_grad():
        torch.testing.assert_close(script.Tail(trunk)(script.lower(trunk, images)), network.features(images))
    names = dict(trunk.named_parameters())
    assert all(parameter is names[name] for name, parameter in script.Tail(trunk).named_parameters())


def test_maps_are_read_at_the_cut(script, network):
    from grounding.attention import record
    from grounding.attention.layers import indexed_layer

    tape = record(lambda images: network.mean_scores(network.features(images)), torch.rand(1, 3, 96, 96))
    value = indexed_layer(tape, script.map_layer_of(network))
    with torch.no_grad():
        expected = script.lower(network.features.trunk, torch.rand(1, 3, 96, 96)).shape
    assert value.shape == expected


def test_chosen_pictures_are_counted_anew(script):
    class Four:
        images = None

        def row(self, index, config, seed):
            return Batch(torch.tensor(index), *[torch.tensor(0)] * 2, torch.tensor(index), torch.tensor(index))

    chosen = script.Chosen.__new__(script.Chosen)
    chosen._pictures, chosen._kept = Four(), [1, 3]
    assert len(chosen) == 2
    row = chosen.row(1, None, 0)
    assert (int(row.pixels), int(row.planned), int(row.seen)) == (3, 1, 1)


def test_the_table_has_a_line_an_arm(script, tmp_path):
    draw = np.random.default_rng(0)
    for arm, seed in (("none", 0), ("none", 1), ("DGDM", 0)):
        rows = []
        for image in range(4):
            for method in script.METHODS:
                rows.append(
                    {
                        "method": method,
                        "image": image,
                        "class": 0,
                        "right": image % 2,
                        "predicted": 0 if image % 2 else -1,
                        "largest": "2" * len(THRESHOLDS),
                        "best": "1" * len(THRESHOLDS),
                        "above_mean": "0" * len(MEAN_MULTIPLES),
                        "otsu": 0,
                        **dict(zip(("spearman", "auc", "nss"), draw.random(3).tolist(), strict=True)),
                    }
                )
            rows.append({"method": "people", "image": image, "class": 0, "spearman": 0.5, "auc": 0.9, "nss": 2.0})
        (tmp_path / f"{arm}-{seed}").mkdir()
        (tmp_path / f"{arm}-{seed}" / "measured.json").write_text(
            json.dumps({"arm": arm, "seed": seed, "images": 4, "rows": rows})
        )
    summary = script.summary(json.loads((tmp_path / "none-0" / "measured.json").read_text()))
    assert summary["top-1"] == 50
    assert summary["CAM MaxBoxAcc"] == 100
    assert summary["people Spearman"] == 0.5
    lines = script.table(tmp_path).splitlines()
    assert lines[2].startswith("| none | 2 | 50.0 ± 0.0 | 100.0 ± 0.0 | 33.3 ± 0.0 |")
    assert lines[3].startswith("| DGDM | 1 | 50.0 ± 0.0 |")
    assert lines[7].startswith("| DGDM | +0.0 [+0.0, +0.0] |")
    assert lines[9] == "4 photographs; people Spearman 0.500, people AUC 0.900"
