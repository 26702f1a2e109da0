"""What people teach a map: the loss against its definition, maps that move with their pictures, and trainings."""

import json
import math

import numpy as np
import pytest
import torch
from torch import nn

from grounding.attention.excitation import contrastive_mwp
from grounding.attention.recorder import record
from grounding.config import load
from grounding.tagging.gala import capture
from grounding.tagging.sources import load_classifier
from grounding.training.attention_config import HumanMapsConfig
from grounding.training.augmentation import augment
from grounding.training.batches import Batch
from grounding.training.captions import read_captions
from grounding.training.config import AugmentationConfig, TrainConfig
from grounding.training.human_maps import HumanTargets, excitation_maps, gala_loss, human_map_loss, read_targets
from helpers.training import draw_shapes, log_rows, no_progress, small_trainer, write_config

GALA = ["gala.enabled=true", "gala.layers=[relu2, relu3]"]


def slow_loss(maps, human, authors):
    """The definition, a picture and a cell at a time; maps and human maps are lists of (h, w) lists."""
    total = 0.0
    for map_, person in zip(maps, human, strict=True):
        normalised = []
        for each in (map_, person):
            values = [value for row in each for value in row]
            size = sum(values) if authors else sum(value * value for value in values)
            normalised.append([value / math.sqrt(max(size, 1e-12)) for value in values])
        total += sum((first - second) ** 2 for first, second in zip(*normalised, strict=True)) / 2
    return total / len(maps)


@pytest.mark.parametrize("normalisation", ["unit", "authors"])
def test_the_loss_against_its_definition(normalisation):
    generator = torch.Generator().manual_seed(0)
    maps, human = (torch.rand(5, 3, 4, generator=generator) for _ in range(2))
    loss = human_map_loss(maps, human[:, None], normalisation)
    assert float(loss) == pytest.approx(slow_loss(maps.tolist(), human.tolist(), normalisation == "authors"), rel=1e-5)


def test_the_loss_by_hand():
    maps = torch.tensor([[[3.0, 4.0]]])  # unit: (0.6, 0.8); authors: (3, 4) / sqrt(7)
    human = torch.tensor([[[[1.0, 0.0]]]])
    assert float(human_map_loss(maps, human, "unit")) == pytest.approx((0.4**2 + 0.8**2) / 2)
    root = math.sqrt(7)
    assert float(human_map_loss(maps, human, "authors")) == pytest.approx(((3 / root - 1) ** 2 + 16 / 7) / 2)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 7.0])
def test_equal_maps_have_no_loss_whatever_their_scale(scale):
    maps = torch.rand(4, 6, 5) + 0.01
    assert float(human_map_loss(maps * scale, maps[:, None], "unit")) == pytest.approx(0, abs=1e-6)
    assert float(human_map_loss(torch.flip(maps, [2]), maps[:, None], "unit")) > 1e-3


def test_human_maps_are_averaged_to_the_cells_of_the_map():
    human = torch.tensor([[1.0, 3.0, 0.0, 0.0], [5.0, 7.0, 0.0, 8.0]])[None, None]  # means 4 and 2
    assert float(human_map_loss(torch.tensor([[[4.0, 2.0]]]), human, "unit")) == pytest.approx(0, abs=1e-6)


def test_blank_maps_have_a_finite_loss_and_gradient():
    blank = torch.zeros(1, 3, 3, requires_grad=True)
    loss = human_map_loss(blank, torch.ones(1, 1, 3, 3), "unit")
    loss.backward()
    assert loss.item() == pytest.approx(0.5)
    assert blank.grad is not None
    assert blank.grad.isfinite().all()


def test_attention_of_several_layers():
    """The mean over layers; the map of a layer is the mean over channels of the squares."""
    generator = torch.Generator().manual_seed(1)
    layers = [torch.randn(2, channels, side, side, generator=generator) for channels, side in ((3, 4), (5, 2))]
    human = torch.rand(2, 1, 8, 8, generator=generator)
    maps = [[(each**2).sum(0) / len(each) for each in layer] for layer in layers]
    people = [human.reshape(2, side, 8 // side, side, 8 // side).mean((2, 4)) for side in (4, 2)]
    expected = sum(
        slow_loss([map_.tolist() for map_ in of_layer], person.tolist(), False)
        for of_layer, person in zip(maps, people, strict=True)
    )
    assert float(gala_loss(layers, human, "unit")) == pytest.approx(expected / 2, rel=1e-5)


def views(pictures, config, size):
    """A batch of one view each of (3, H, W) uint8 pictures."""
    made = [augment(picture, size, config, seed) for seed, picture in enumerate(pictures)]
    index = torch.arange(len(made))
    flipped = torch.tensor([view.flipped for view in made])
    return Batch(torch.stack([v.pixels for v in made]), torch.stack([v.crop for v in made]), flipped, index, index)


def test_maps_move_with_their_pictures():
    """A picture whose red is its own human map: what is seen in a view is the map that the view gets."""
    config = AugmentationConfig(min_crop_scale=0.3, flip=0.5, color_jitter=0.0, grayscale=0.0)
    generator = torch.Generator().manual_seed(3)
    coarse = torch.rand(12, 1, 5, 5, generator=generator)
    maps = nn.functional.interpolate(coarse, (64, 64), mode="bicubic", antialias=True).clamp(0, 1)[:, 0]
    pictures = (maps[:, None].expand(-1, 3, -1, -1) * 255).round().byte()
    batch = views(pictures, config, 64)
    assert set(batch.flipped.tolist()) == {True, False}
    seen = HumanTargets(maps, torch.arange(12)).of(batch, torch.ones(12, dtype=torch.bool))[:, 0]
    torch.testing.assert_close(seen[:, 3:-3, 3:-3], batch.pixels[:, 0, 3:-3, 3:-3], atol=0.02, rtol=0)


def test_pictures_without_a_map_are_left_out():
    targets = HumanTargets(torch.rand(2, 8, 8), torch.tensor([-1, 1, -1, 0]))
    seen = torch.tensor([3, 0, 1])  # the first stands in for one that cannot be read
    whole = torch.tensor([[0.0, 0, 1, 1]] * 3)
    batch = Batch(torch.zeros(3, 3, 8, 8), whole, torch.zeros(3, dtype=torch.bool), torch.tensor([2, 0, 1]), seen)
    taught = targets.taught(batch)
    assert taught.tolist() == [True, False, True]
    torch.testing.assert_close(targets.of(batch, taught)[:, 0], targets.maps[[0, 1]])
    first = targets.taught(batch, 1)
    assert first.tolist() == [True, False, False]
    torch.testing.assert_close(targets.of(batch, first)[:, 0], targets.maps[[0]])
    assert targets.taught(batch, 5).tolist() == taught.tolist()


# Files


def write_maps(folder, names, side=16):
    """`<id>.npy`: everything in one cell, another for each."""
    folder.mkdir()
    for place, name in enumerate(names):
        counts = np.zeros((side, side), np.int64)
        counts[place % side, (3 * place) % side] = 5
        np.save(folder / f"{name}.npy", counts)


def test_maps_are_found_by_the_names_of_the_pictures(tmp_path):
    table = draw_shapes(tmp_path / "shapes", 12)
    write_maps(tmp_path / "maps", ["003", "nobody", "001"])
    write_maps(tmp_path / "more", ["007", "001"])
    config = load(TrainConfig, None, [f"data.sources=[{table}]", "tags=7"])
    images = read_captions(config).images
    sources = (str(tmp_path / "maps"), str(tmp_path / "more"))
    found = read_targets(HumanMapsConfig(source=sources, spread="none"), images)
    have = [place for place, row in enumerate(found.rows.tolist()) if row >= 0]
    assert have == [1, 3, 7]
    assert found.maps.shape == (3, 64, 64)
    assert found.summary == "3 of 12 pictures have a human map (left out: maps of other pictures: 1)"
    later = found.maps[found.rows[1]]  # of "more": row 1, column 3 of 16
    assert later[4:8, 12:16].sum() == pytest.approx(1)
    only = read_targets(HumanMapsConfig(source=sources[:1], spread="none"), images)
    assert only.fingerprint != found.fingerprint
    assert only.fingerprint == read_targets(HumanMapsConfig(source=sources[:1], spread="none"), images).fingerprint


# Trainings


def targets_of(count, without=()):
    maps = torch.rand(count, 64, 64, generator=torch.Generator().manual_seed(4))
    rows = torch.tensor([-1 if place in without else place for place in range(count)])
    return HumanTargets(maps, rows)


def test_the_weighted_loss_is_part_of_the_whole(tmp_path):
    trainer = small_trainer(tmp_path, *GALA, "human_maps.weight=3", human=targets_of(16))
    result = trainer.run_epoch(no_progress)
    assert list(result.parts) == ["words", "human_maps"]
    assert result.loss == pytest.approx(result.parts["words"] + 3 * result.parts["human_maps"], rel=1e-5)
    assert 0 < result.parts["human_maps"] < 1


def last_loss(folder, weight, epochs, *overrides):
    """The loss between maps and people at the end of a training in which all people look at the left."""
    left = torch.zeros(16, 64, 64)
    left[:, :, :24] = 1
    still = ["augmentation.flip=0", "augmentation.min_crop_scale=1", f"epochs={epochs}", f"human_maps.weight={weight}"]
    trainer = small_trainer(folder, *still, *overrides, human=HumanTargets(left, torch.arange(16)))
    return [trainer.run_epoch(no_progress).parts["human_maps"] for _ in range(epochs)][-1]


def test_attention_learns_where_people_look(tmp_path):
    assert last_loss(tmp_path, 10, 30, *GALA) < 0.6 * last_loss(tmp_path, 1e-9, 30, *GALA)


def test_without_any_map_in_a_batch_only_the_words_are_learnt(tmp_path):
    nobody = targets_of(16, without=range(16))
    taught = small_trainer(tmp_path, *GALA, human=nobody)
    alone = small_trainer(tmp_path, *GALA)
    assert taught.run_epoch(no_progress).parts["human_maps"] == 0
    alone.run_epoch(no_progress)
    for key, value in alone.network.state_dict().items():
        torch.testing.assert_close(taught.network.state_dict()[key], value, rtol=1e-5, atol=1e-7)


def test_attention_is_measured_where_it_is(tmp_path):
    """The loss of the trainer is `gala_loss` of what the network's attention is for the pictures with a map."""
    human = targets_of(16, without=[2, 5])
    trainer = small_trainer(
        tmp_path, *GALA, "batch_size=16", "learning_rate=1e-12", "human_maps.per_batch=9", human=human
    )
    with torch.no_grad():
        for name, parameter in trainer.network.named_parameters():
            if name.endswith(("alpha", "beta")):
                parameter.normal_(generator=torch.Generator().manual_seed(6))
    batch = next(iter_batches(trainer))
    expected_network = trainer.network.train()
    with torch.no_grad(), capture(expected_network) as attentions:
        expected_network.features(batch.pixels)
    kept = human.taught(batch, 9)
    assert int(kept.sum()) == 9
    expected = gala_loss([each[kept] for each in attentions], human.of(batch, kept), "unit")
    assert trainer.run_epoch(no_progress).parts["human_maps"] == pytest.approx(float(expected), rel=1e-4)


def iter_batches(trainer):
    from grounding.training.batches import batches

    return batches(trainer.pictures, trainer.config, 0)


@pytest.mark.parametrize("layer", [-2, -5])  # the ReLU of the third block, and of the second
def test_excitation_maps_are_those_of_the_engine(tmp_path, layer):
    network = small_trainer(tmp_path).network.train()
    nn.init.normal_(network.head.weight)
    images = torch.rand(3, 3, 64, 64)
    targets = torch.tensor([[1.0, 0, 0, 0.5, 0, 0, 0], [0, 0, 1, 0, 0, 0, 0], [0.5, 0.5, 0, 0, 0, 0, 0]])
    found = excitation_maps(network, images, targets, layer)
    assert network.training
    assert network.features.norm1.training
    excitation_maps(network.eval(), images, targets, layer)
    assert not network.training
    tape = record(lambda each: network.mean_scores(network.features(each)), images)
    signals = targets / targets.sum(1, keepdim=True)
    for place in range(3):
        expected = contrastive_mwp(tape, signals[place][None], layer=layer)[place, 0].clamp(min=0)
        torch.testing.assert_close(found[place], expected)
    assert float(found.detach().sum()) > 0
    found.square().sum().backward()
    for name in ("features.conv1.weight", "features.norm2.weight", "head.weight"):
        assert network.get_parameter(name).grad.abs().sum() > 0, name


def test_the_map_of_excitation_backprop_learns_where_people_look(tmp_path):
    taught = ["human_maps.teaches=excitation", "map_layer=-2"]
    assert last_loss(tmp_path, 10, 20, *taught) < 0.8 * last_loss(tmp_path, 1e-9, 20, *taught)


# The command


def test_a_training_with_everything_goes_on_and_is_saved(train, tmp_path):
    config = write_config(tmp_path)
    write_maps(tmp_path / "maps", [f"{number:03d}" for number in range(0, 24, 2)])
    overrides = [*GALA, f"human_maps.source={tmp_path / 'maps'}", "dgdm.enabled=true", "dgdm.layers=[relu1, relu3]"]
    status, _, lines = train(config, *overrides)
    assert status == 0
    assert any(line.startswith("12 of 24 pictures have a human map") for line in lines)
    rows = log_rows(tmp_path / "run")
    assert len(rows) == 3
    assert all(0 < float(row["human_maps"]) <= 1 for row in rows)
    classifier = load_classifier(tmp_path / "run" / "classifier")
    assert [name for name, _ in classifier.network.named_parameters() if name.endswith("alpha")] == [
        "features.relu2.gala.alpha",
        "features.relu3.gala.alpha",
    ]
    assert json.loads((tmp_path / "run" / "config.json").read_text())["data"].count("12 human maps") == 1


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["dgdm.enabled=true"], "dgdm.enabled needs dgdm.layers"),
        (["dgdm.enabled=true", "dgdm.layers=[relu22]"], "no module 'relu22': did you mean 'relu2'"),
        (
            ["dgdm.enabled=true", "dgdm.layers=[relu1]", "dgdm.top_k=9"],
            "dgdm.top_k is 9: expected at most the 8 channels",
        ),
        (
            ["dgdm.enabled=true", "dgdm.layers=[relu3]", "dgdm.block_size=9"],
            "dgdm.block_size is 9: expected at most the 8 x 8 cells",
        ),
        (["dgdm.enabled=true", "dgdm.layers=[relu1]", "dgdm.channels=false", "dgdm.spatial=none"], "drops nothing"),
        (["gala.enabled=true"], "gala.enabled needs gala.layers"),
        (["gala.enabled=true", "gala.layers=[relu9]"], "no module 'relu9'"),
        (["human_maps.source=nothing"], "human_maps.source teaches GALA layers where there is none"),
        ([*GALA, "human_maps.source=nothing"], "nothing does not exist: expected a folder"),
        (["head_only=true", "network.initial=embedded", *GALA], "which head_only leaves as it is"),
    ],
)
def test_what_does_not_fit_is_said_before_the_training(train, tmp_path, overrides, message):
    status, _, lines = train(write_config(tmp_path), *overrides)
    assert status == 2
    assert message in lines[-1]
    assert not (tmp_path / "run" / "log.csv").exists()
