"""The parts of the trainer against their definitions, and a training that must reach its target."""

import copy
import math

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from grounding.config import load
from grounding.errors import GroundingError
from grounding.tagging.classifier import Preprocessing, TagClassifier
from grounding.tagging.network import plain_network
from grounding.text.tags import build_tags, tag_targets
from grounding.training.batches import Pictures, batches, plan, seed_for
from grounding.training.captions import read_captions
from grounding.training.config import TrainConfig
from grounding.training.networks import create_network
from grounding.training.schedule import parameter_groups, set_learning_rates
from grounding.training.trainer import Trainer, update_average
from grounding.training.views import crop_scores, random_view
from helpers.training import write_config


def test_tags_are_the_most_frequent_stems_by_their_most_frequent_word():
    captions = ["Two dogs run .", "A dog and dogs .", "The dogs running", "A cat runs"]
    assert build_tags(captions, 2) == ["dogs", "run"]
    with pytest.raises(GroundingError, match="3 different words; 9 tags"):
        build_tags(["a red cat", "hat"], 9)


@pytest.mark.parametrize("captions", [[], ["", "the , of ."]])
def test_captions_without_a_usable_word(captions):
    with pytest.raises(GroundingError, match="no usable word"):
        build_tags(captions, 1)


def test_targets_count_captions_not_words():
    captions = ["a dog and a dog", "dogs run", "a cat"]
    assert tag_targets(captions, {"dog": 4, "run": 1, "hors": 0}) == [(1, 0.5), (4, 1.0)]
    assert tag_targets([], {"dog": 4}) == []


def test_what_is_read_from_captions(tmp_path):
    config = load(TrainConfig, write_config(tmp_path))
    data = read_captions(config)
    assert sorted(data.tags) == sorted(["red", "green", "blue", "yellow", "circle", "square", "triangle"])
    for captions, row in zip(data.images.captions, data.targets, strict=True):
        assert {tag for tag, twice in zip(data.tags, row, strict=True) if twice} == set(captions[0].split()) - {
            "a",
            "and",
        }
        assert set(row.tolist()) <= {0, 2}  # both captions name everything
    assert data.shares.tolist() == pytest.approx((data.targets > 0).double().mean(0).tolist())
    assert data.summary.startswith("24 pictures with 48 captions; 7 tags: ")
    (tmp_path / "shapes" / "more.jsonl").write_text(
        '{"image": "000.png", "caption": "red"}\n{"image": "1", "caption": "a"}\n'
    )
    more = read_captions(
        load(TrainConfig, tmp_path / "c.yaml", [f"data.sources=[{tmp_path / 'shapes' / 'more.jsonl'}]", "tags=1"])
    )
    assert more.targets.tolist() == [[1]]
    assert "1 pictures with 1 captions (left out: 1 " in more.summary
    assert more.fingerprint != data.fingerprint


def test_schedule_warms_up_and_ends_near_zero():
    optimizer = torch.optim.SGD([{"params": [nn.Parameter(torch.ones(1))], "peak": 2.0}], lr=1.0)
    rates = []
    for step in range(100):
        set_learning_rates(optimizer, step, 100)
        rates.append(optimizer.param_groups[0]["lr"])
    assert rates[:5] == pytest.approx([0.4, 0.8, 1.2, 1.6, 2.0])
    assert rates[52] == pytest.approx(2 * 0.5 * (1 + math.cos(math.pi * 47 / 95)))
    assert rates[4:] == sorted(rates[4:], reverse=True)
    assert 0 < rates[-1] < 0.002


def test_decay_is_for_matrices_and_the_head_has_its_own_peak():
    network = plain_network([(4, 2), (6, 2)], 5)
    network.freeze(["conv1"])
    config = TrainConfig(learning_rate=0.1, head_learning_rate=0.3, weight_decay=0.2)
    found = {
        name: (group["weight_decay"], group["peak"])
        for group in parameter_groups(network, config)
        for name, parameter in network.named_parameters()
        if any(parameter is one for one in group["params"])
    }
    assert found == {
        "features.conv2.weight": (0.2, 0.1),
        **{f"features.norm{n}.{kind}": (0.0, 0.1) for n in (1, 2) for kind in ("weight", "bias")},
        "head.weight": (0.2, 0.3),
        "head.bias": (0.0, 0.3),
    }
    assert {group["peak"] for group in parameter_groups(network, TrainConfig(learning_rate=0.1))} == {0.1}


def test_the_moving_average_against_its_definition():
    network = nn.BatchNorm1d(2)
    average = copy.deepcopy(network)
    weight, mean = network.weight.detach().double(), network.running_mean.double()
    generator = torch.Generator().manual_seed(0)
    for step in range(30):
        with torch.no_grad():
            network.weight.copy_(torch.randn(2, generator=generator))
            network.running_mean.copy_(torch.randn(2, generator=generator))
            network.num_batches_tracked += 1
        update_average(average, network, 0.7, step)
        kept = min(0.7, (1 + step) / (10 + step))
        weight = kept * weight + (1 - kept) * network.weight.detach().double()
        mean = kept * mean + (1 - kept) * network.running_mean.double()
    torch.testing.assert_close(average.weight.double(), weight, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(average.running_mean.double(), mean, rtol=1e-5, atol=1e-6)
    assert average.num_batches_tracked == 30


@pytest.mark.parametrize(
    ("count", "batch", "accumulate", "processes"), [(23, 3, 2, 1), (24, 3, 2, 2), (5, 4, 1, 3), (1, 2, 2, 1)]
)
def test_the_plan_shares_one_order_among_processes(count, batch, accumulate, processes):
    config = TrainConfig(batch_size=batch, accumulate=accumulate, seed=4)
    whole = batch * accumulate * processes
    for epoch in (0, 1):
        shares = [plan(count, config, epoch, rank, processes) for rank in range(processes)]
        alone = plan(count, TrainConfig(batch_size=whole, seed=4), epoch)  # the same steps in one part
        assert len(alone) == max(1, count // whole)
        for number, step in enumerate(alone):
            parts = [share[number * accumulate : (number + 1) * accumulate] for share in shares]
            assert sorted(i for share in parts for part in share for i in part) == sorted(step)
        assert all(len(part) == batch for share in shares for part in share)
        seen = [index for step in alone for index in step]
        assert max(seen.count(index) for index in range(count)) == -(-whole // count if count < whole else -1)
    assert plan(count, config, 0) == plan(count, config, 0)
    assert count == 1 or plan(count, config, 0) != plan(count, config, 1)


def test_seeds_differ_by_everything_they_depend_on():
    uses = ("order", "view", "network")
    seeds = {
        seed_for(use, seed, epoch, index) for use in uses for seed in (0, 1) for epoch in (0, 1) for index in (0, 1)
    }
    assert len(seeds) == 24


class Some:
    """Pictures of one grey each; those in `broken` cannot be read."""

    def __init__(self, count, broken=()):
        self.count, self.broken, self.ids = count, set(broken), [f"p{n}" for n in range(count)]

    def __len__(self):
        return self.count

    def read(self, index):
        if index in self.broken:
            raise GroundingError(f"p{index} is broken")
        return Image.new("RGB", (40 + index, 30), (10 * index,) * 3)


@pytest.mark.parametrize("kept", [0, 32])
@pytest.mark.parametrize(("broken", "wanted"), [([], [0, 1, 2, 3]), ([1, 2], [0, 3, 3, 3]), ([0, 3], [1, 1, 2, 1])])
def test_an_unreadable_picture_is_replaced_by_the_next(kept, broken, wanted):
    pictures = Pictures(Some(4, broken), kept, lambda: None)
    assert [pictures.at(index)[0] for index in range(4)] == wanted
    assert [int(pictures[index].max()) for index in range(4)] == [10 * index for index in wanted]
    assert sorted(pictures.unreadable) == (broken if kept else [])
    assert pictures[1].shape == ((3, 32, 32) if kept else (3, 30, 40 + wanted[1]))


@pytest.mark.parametrize("kept", [0, 32])
def test_no_picture_can_be_read(kept):
    with pytest.raises(GroundingError, match=r"none of the 3 pictures can be read, such as: p1 is broken"):
        Pictures(Some(3, range(3)), kept, lambda: None).at(1)


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_are_the_same_whoever_makes_them(workers):
    config = load(TrainConfig, None, [f"data.workers={workers}", "image_size_px=16", "batch_size=3", "epochs=4"])
    pictures = Pictures(Some(7, [4]), 0, lambda: None)
    torch.manual_seed(3)
    before = torch.get_rng_state()
    got = list(batches(pictures, config, 1))
    assert torch.equal(torch.get_rng_state(), before)
    assert len(got) == 3 * 2
    for epoch in (1, 2, 3):
        parts = plan(7, config, epoch)
        for batch, part in zip(got[2 * epoch - 2 : 2 * epoch], parts, strict=True):
            assert batch.planned.tolist() == part
            assert batch.seen.tolist() == [5 if index == 4 else index for index in part]
            for row, index in enumerate(batch.seen.tolist()):
                seed = seed_for("view", 0, epoch, part[row])
                view = random_view(pictures[index], 16, config.views, seed)
                torch.testing.assert_close(batch.pixels[row], view.pixels)
                torch.testing.assert_close(batch.crops[row], view.crop)
                assert bool(batch.flipped[row]) == view.flipped
    later = next(batches(pictures, config, 3))
    assert torch.equal(later.pixels, got[4].pixels)


def small(tmp_path, *overrides, count=16):
    """A trainer of a plain network on shapes, with teacher scores of chance."""
    if not (tmp_path / "shapes").exists():
        write_config(tmp_path, count)
    teach = "teacher.classifiers=[embedded]" if any("loss.teacher" in override for override in overrides) else "seed=0"
    config = load(TrainConfig, tmp_path / "c.yaml", ["bf16=false", teach, *overrides])
    data = read_captions(config)
    torch.manual_seed(0)
    pictures = Pictures(data.images, 64, lambda: None)
    scores = np.random.default_rng(0).integers(0, 256, (count, 7, 4, 4), np.uint8) if config.loss.teacher else None
    return Trainer(config, create_network(config.network, 7), pictures, data.targets, scores)


def no_progress(loss):
    """Nothing is shown."""


def equal_states(one, other):
    return all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))


def test_parts_of_a_step_add_up_to_the_whole(tmp_path):
    """Without batch statistics, 2 x 2 x 4 pictures move the weights as 16 do."""
    ends = []
    for overrides in (["batch_size=16"], ["batch_size=4", "accumulate=4"], ["batch_size=4", "accumulate=2"]):
        trainer = small(tmp_path, *overrides, "loss.teacher=1", "loss.head_penalty=0.1", "epochs=2")
        for module in trainer.network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.track_running_stats, module.train = True, lambda mode: None  # stays in evaluation mode
                nn.Module.train(module, False)
        for _ in range(2):
            trainer.run_epoch(no_progress)
        ends.append(trainer)
    assert [trainer.step for trainer in ends] == [2, 2, 4]
    for key, value in ends[0].network.state_dict().items():
        torch.testing.assert_close(ends[1].network.state_dict()[key], value, rtol=1e-4, atol=1e-6)
    assert not equal_states(ends[0].network, ends[2].network)


def test_the_loss_is_the_weighted_sum_of_its_parts(tmp_path):
    weights = {"words": 0.5, "teacher": 2.0, "contrast": 0.25, "head_penalty": 0.125}
    trainer = small(tmp_path, *(f"loss.{name}={weight}" for name, weight in weights.items()))
    result = trainer.run_epoch(no_progress)
    assert list(result.parts) == list(weights)
    assert result.loss == pytest.approx(sum(weights[name] * value for name, value in result.parts.items()), rel=1e-5)
    assert all(value > 0 for value in result.parts.values())
    assert list(small(tmp_path).run_epoch(no_progress).parts) == ["words"]


def test_losses_of_a_network_that_says_the_same_everywhere(tmp_path):
    """With head weights 0 every logit is the bias b: a loss is the mean over pictures of sum_t log(1 + e^b) - y b."""
    trainer = small(tmp_path, "loss.teacher=1", "learning_rate=1e-12", "views.smallest_crop=0.3", "batch_size=16")
    generator = torch.Generator().manual_seed(2)
    bias = torch.randn(7, generator=generator)
    trainer.targets = torch.randint(0, 3, (16, 7), dtype=torch.uint8, generator=generator)
    with torch.no_grad():
        trainer.network.head.bias.copy_(bias)
    parts = trainer.run_epoch(no_progress).parts
    batch = next(batches(trainer.pictures, trainer.config, 0))
    logits = torch.from_numpy(trainer.scores).double() / 255 * 18 - 12  # LOGIT_LOW to LOGIT_HIGH
    seen = crop_scores(logits[batch.seen], batch.crops, batch.flipped, 8)
    for name, target in (("words", trainer.targets[:, :, None, None] / 2), ("teacher", seen.sigmoid())):
        b = bias.double()[:, None, None]
        by_hand = (torch.log1p(torch.exp(b)) - target * b).sum(1).mean()
        assert parts[name] == pytest.approx(float(by_hand), rel=1e-5)


def test_the_head_penalty_is_the_sum_of_squares(tmp_path):
    trainer = small(tmp_path, "loss.head_penalty=1e-3", "learning_rate=1e-12")
    nn.init.normal_(trainer.network.head.weight)
    squares = float(trainer.network.head.weight.detach().double().square().sum())
    assert trainer.run_epoch(no_progress).parts["head_penalty"] == pytest.approx(squares, rel=1e-5)


def test_a_network_sees_pictures_as_its_classifier_does(tmp_path):
    config = load(TrainConfig, None, ["network.architecture=timm:test_resnet", "bf16=false"])
    trainer = Trainer(
        config, create_network(config.network, 2), Pictures(Some(1), 0, lambda: None), torch.ones(1, 2), None
    )
    network = trainer.network.eval()
    nn.init.normal_(network.head.weight)
    pixels = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    classifier = TagClassifier(network, ["a", "b"], Preprocessing(64, network.mean, network.std), "here")
    assert network.std != (1.0, 1.0, 1.0)
    with torch.no_grad():
        pooled = trainer._scoring(pixels)[1]
        torch.testing.assert_close(pooled, classifier.evidence(classifier.preprocessing.normalise(pixels))[1])


def test_the_words_of_an_unreadable_picture_are_not_learnt(tmp_path):
    ends = []
    for first in (0, 2):
        trainer = small(tmp_path, "loss.teacher=1")
        trainer.pictures = Pictures(Some(16, [0]), 0, lambda: None)
        trainer.targets[0], trainer.scores[0] = first, 100 * first
        assert trainer.run_epoch(no_progress).replaced == (0,)
        ends.append(trainer.network)
    assert equal_states(*ends)


@pytest.mark.parametrize("overrides", [[], ["ema=0.9", "loss.teacher=1", "accumulate=2", "bf16=true"]])
def test_a_resumed_training_ends_with_the_same_weights(tmp_path, overrides):
    whole, first = small(tmp_path, *overrides), small(tmp_path, *overrides)
    for _ in range(3):
        whole.run_epoch(no_progress)
    first.run_epoch(no_progress)
    first.save(tmp_path / "c.safetensors")
    torch.manual_seed(99)  # a new process has another random state
    second = small(tmp_path, *overrides, "seed=0")
    with torch.no_grad():
        second.network.head.weight.fill_(1.0)
    second.resume(tmp_path / "c.safetensors")
    assert (second.epoch, second.step) == (1, first.step)
    for _ in range(2):
        second.run_epoch(no_progress)
    assert equal_states(second.network, whole.network)
    assert equal_states(second.learnt, whole.learnt)
    assert (whole.learnt is whole.network) == (not overrides)


def test_the_average_lags_behind(tmp_path):
    trainer = small(tmp_path, "ema=0.99")
    before = copy.deepcopy(trainer.learnt)
    trainer.run_epoch(no_progress)
    assert not equal_states(trainer.learnt, trainer.network)
    assert not equal_states(trainer.learnt, before)


def test_frozen_parts_stay_and_need_something_to_learn(tmp_path):
    trainer = small(tmp_path, "network.frozen=[conv1, norm1]")
    before = copy.deepcopy(trainer.network)
    trainer.run_epoch(no_progress)
    changed = {k for k, v in before.state_dict().items() if not torch.equal(v, trainer.network.state_dict()[k])}
    assert not any(name in key for key in changed for name in ("conv1", "norm1"))
    assert {"features.conv2.weight", "features.norm2.running_mean", "head.weight"} <= changed


def test_a_loss_that_is_no_number_ends_the_training(tmp_path):
    trainer = small(tmp_path)
    with torch.no_grad():
        trainer.network.head.weight.fill_(math.nan)
    with pytest.raises(GroundingError, match="the loss is nan after epoch 1: try a smaller learning_rate"):
        trainer.run_epoch(no_progress)


def test_training_learns_where_things_are(tmp_path):
    """Tag 0 stands where a picture is bright, tag 1 where it is dark: the network must say so for pictures anew."""
    bright = np.random.default_rng(1).random((40, 4, 4)) < 0.5
    images = Some(32)
    images.read = lambda i: Image.fromarray(np.kron(bright[i], np.full((8, 8), 200)).astype(np.uint8) + 20).convert(
        "RGB"
    )
    (tmp_path / "c.yaml").write_text(
        "{epochs: 15, batch_size: 8, image_size_px: 32, loss: {teacher: 1, words: 0.1}, "
        "teacher: {classifiers: [embedded]}, network: {channels: [8, 16], strides: [2, 4]}}"
    )
    config = load(TrainConfig, tmp_path / "c.yaml")
    scores = np.stack([bright, ~bright], 1).astype(np.uint8)[:32] * 255
    torch.manual_seed(0)
    trainer = Trainer(
        config,
        create_network(config.network, 2),
        Pictures(images, 32, lambda: None),
        torch.ones(32, 2, dtype=torch.uint8),
        scores,
    )
    for _ in range(15):
        trainer.run_epoch(no_progress)
    network = trainer.network.folded()
    anew = (
        torch.from_numpy(np.kron(bright[32:], np.full((8, 8), 200)) + 20).float()[:, None].expand(-1, 3, -1, -1) / 255
    )
    with torch.no_grad():
        local = network.local_scores(network.features(anew))
    assert ((local > 0).numpy() == np.stack([bright, ~bright], 1)[32:]).mean() > 0.95


def mean_average_precision(scores, present):
    """Of (N, T) scores: the mean over tags of the mean precision at each of its pictures."""
    found = []
    for column, truth in zip(scores.T, present.T, strict=True):
        ranked = truth[np.argsort(-column)]
        found.append(np.mean([ranked[: place + 1].mean() for place in np.flatnonzero(ranked)]))
    return float(np.mean(found))


def test_mean_average_precision_by_hand():
    scores = np.array([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3]])
    assert mean_average_precision(scores, np.array([[1, 0], [0, 0], [1, 1]])) == pytest.approx(
        ((1 + 2 / 3) / 2 + 1) / 2
    )


def test_two_hundred_pictures_are_learnt(tmp_path):
    write_config(tmp_path, 200)
    deeper = ["network.channels=[16, 32, 64, 64]", "network.strides=[2, 2, 2, 1]"]
    config = load(TrainConfig, tmp_path / "c.yaml", ["epochs=30", "batch_size=20", *deeper])
    data = read_captions(config)
    torch.manual_seed(0)
    pictures = Pictures(data.images, 64, lambda: None)
    trainer = Trainer(config, create_network(config.network, 7), pictures, data.targets, None)
    seen = torch.stack([pictures[index] for index in range(200)]).float() / 255
    reached = []
    for epoch in range(config.epochs):
        trainer.run_epoch(no_progress)
        if epoch in (0, config.epochs - 1):
            with torch.no_grad():
                reached.append(
                    mean_average_precision(trainer.learnt.folded()(seen).numpy(), (data.targets > 0).numpy())
                )
    assert reached[0] < 0.8
    assert reached[1] >= 0.95
