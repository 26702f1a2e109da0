"""Which pictures a step sees, what stands in for an unreadable one, and that batches depend on nothing else."""

import pytest
import torch

from grounding.config import load
from grounding.errors import GroundingError
from grounding.training.augmentation import augment
from grounding.training.batches import Pictures, batches, plan, seed_for
from grounding.training.config import TrainConfig
from helpers.training import GreyPictures


@pytest.mark.parametrize(
    ("count", "batch", "accumulate", "processes"), [(23, 3, 2, 1), (24, 3, 2, 2), (5, 4, 1, 3), (1, 2, 2, 1)]
)
def test_the_plan_shares_one_order_among_processes(count, batch, accumulate, processes):
    config = TrainConfig(batch_size=batch, gradient_accumulation_steps=accumulate, seed=4)
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


@pytest.mark.parametrize("kept", [0, 32])
@pytest.mark.parametrize(("broken", "wanted"), [([], [0, 1, 2, 3]), ([1, 2], [0, 3, 3, 3]), ([0, 3], [1, 1, 2, 1])])
def test_an_unreadable_picture_is_replaced_by_the_next(kept, broken, wanted):
    pictures = Pictures(GreyPictures(4, broken), kept, lambda: None)
    assert [pictures.at(index)[0] for index in range(4)] == wanted
    assert [int(pictures[index].max()) for index in range(4)] == [10 * index for index in wanted]
    assert sorted(pictures.unreadable) == (broken if kept else [])
    assert pictures[1].shape == ((3, 32, 32) if kept else (3, 30, 40 + wanted[1]))


@pytest.mark.parametrize("kept", [0, 32])
def test_no_picture_can_be_read(kept):
    with pytest.raises(GroundingError, match=r"none of the 3 pictures can be read, such as: p1 is broken"):
        Pictures(GreyPictures(3, range(3)), kept, lambda: None).at(1)


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_are_the_same_whoever_makes_them(workers):
    config = load(TrainConfig, None, [f"data.workers={workers}", "image_size_px=16", "batch_size=3", "epochs=4"])
    pictures = Pictures(GreyPictures(7, [4]), 0, lambda: None)
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
                view = augment(pictures[index], 16, config.augmentation, seed)
                torch.testing.assert_close(batch.pixels[row], view.pixels)
                torch.testing.assert_close(batch.crops[row], view.crop)
                assert bool(batch.flipped[row]) == view.flipped
    later = next(batches(pictures, config, 3))
    assert torch.equal(later.pixels, got[4].pixels)
