"""Teachers' scores at every place, against the definition; interrupted runs; full disks."""

import itertools
import resource

import numpy as np
import pytest
import torch
from torch import nn

from grounding.errors import GroundingError
from grounding.tagging.classifier import Preprocessing, TagClassifier
from grounding.tagging.network import plain_network, timm_network
from grounding.training.distillation import LOGIT_HIGH, LOGIT_LOW, logits_of_bytes, write_teacher_scores

TAGS = ("man", "hat", "dog")


def teacher(strides=(2, 4), seed=0, mean=(0.0, 0.0, 0.0), tags=TAGS):
    torch.manual_seed(seed)
    network = plain_network([(6, stride) for stride in strides], len(tags), normalised=False).eval()
    nn.init.normal_(network.head.weight, std=8)
    return TagClassifier(network, tags, Preprocessing(999, mean, (0.5, 1.0, 2.0)), f"teacher-{seed}")


def pictures(count, size=24, seed=3):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 3, size, size), dtype=torch.uint8, generator=generator)


def read(path):
    return logits_of_bytes(torch.from_numpy(np.load(path)))


def definition(teachers, picture, sizes_px, cells):
    """(T, cells, cells) logits of the mean probability of one picture."""
    total = np.zeros((len(TAGS), cells, cells))
    for size_px, each in itertools.product(sizes_px, teachers):
        pixels = picture[None].float()
        pixels = nn.functional.interpolate(pixels, (size_px, size_px), mode="bilinear", antialias=True)[0] / 255
        seen = torch.stack(
            [(pixels[c] - each.preprocessing.mean[c]) / each.preprocessing.std[c] for c in range(3)]
        ).unsqueeze(0)
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            features = each.network.features(seen.contiguous(memory_format=torch.channels_last))
            local = each.network.local_scores(features)[0].double()
        coarse = (1 / (1 + (-local).exp())).numpy()
        side = coarse.shape[1]
        for y in range(cells):
            for x in range(cells):
                total[:, y, x] += sample(coarse, (y + 0.5) * side / cells - 0.5, (x + 0.5) * side / cells - 0.5)
    mean = total / len(teachers) / len(sizes_px)
    return np.clip(np.log(mean / (1 - mean)), LOGIT_LOW, LOGIT_HIGH)


def sample(grid, y, x):
    """Bilinear, between the centres of cells; the border goes on outside."""
    side = grid.shape[1]
    y, x = min(max(y, 0), side - 1), min(max(x, 0), side - 1)
    top, left = int(y), int(x)
    below, right = min(top + 1, side - 1), min(left + 1, side - 1)
    upper = grid[:, top, left] * (1 - x + left) + grid[:, top, right] * (x - left)
    lower = grid[:, below, left] * (1 - x + left) + grid[:, below, right] * (x - left)
    return upper * (1 - y + top) + lower * (y - top)


@pytest.mark.parametrize("sizes_px", [[48], [48, 64], [48, 32]])
@pytest.mark.parametrize(
    "teachers",
    [
        [teacher()],
        [teacher(mean=(0.5, 0.25, 0.0))],
        [teacher(), teacher(seed=1, mean=(0.5, 0.5, 0.5))],
        [teacher((4, 4)), teacher((2, 4), seed=1)],
        [teacher((2, 2), seed=1), teacher((2, 4)), teacher((4, 4), seed=2)],
    ],
    ids=["one", "normalised", "two", "grids", "three"],
)
def test_scores_against_their_definition(tmp_path, teachers, sizes_px):
    images = pictures(3)
    cells = max(each.network.features(torch.zeros(1, 3, 48, 48)).shape[2] for each in teachers)
    write_teacher_scores(teachers, TAGS, images, sizes_px, tmp_path / "s.npy")
    stored = np.load(tmp_path / "s.npy", mmap_mode="r")
    assert (stored.shape, stored.dtype) == ((3, 3, cells, cells), np.uint8)
    assert len(np.unique(stored)) > 10
    half_a_step = (LOGIT_HIGH - LOGIT_LOW) / 255 / 2
    for number, picture in enumerate(images):
        wanted = definition(teachers, picture, sizes_px, cells)
        assert np.abs(read(tmp_path / "s.npy")[number].numpy() - wanted).max() < half_a_step + 1e-3


def test_bytes_are_logits():
    assert logits_of_bytes(torch.tensor([0, 255, 170], dtype=torch.uint8)).tolist() == pytest.approx(
        [-12, 6, 0], abs=1e-5
    )
    assert logits_of_bytes(torch.zeros(2, 3, dtype=torch.uint8)).dtype == torch.float32


def test_scores_beyond_the_range_are_clamped(tmp_path):
    sure = teacher()
    with torch.no_grad():
        sure.network.head.weight.zero_()
        sure.network.head.bias.copy_(torch.tensor([50.0, -50.0, 0.0]))
    write_teacher_scores([sure], TAGS, pictures(1), [48], tmp_path / "s.npy")
    assert [np.unique(tag).tolist() for tag in np.load(tmp_path / "s.npy")[0]] == [[255], [0], [170]]


def test_pictures_of_any_size_are_read_one_at_a_time_and_scored_in_groups(tmp_path):
    sizes = [16 + number % 5 for number in range(70)]
    reads, calls = [], []

    class Lazy:
        def __len__(self):
            return 70

        def __getitem__(self, index):
            reads.append(index)
            return pictures(1, sizes[index], seed=index)[0]

    def progress(done, total):
        calls.append((done, total))
        assert len(reads) == done  # nothing is read ahead

    write_teacher_scores([teacher()], TAGS, Lazy(), [16], tmp_path / "s.npy", progress)
    assert calls == [(32, 70), (64, 70), (70, 70)]
    assert reads == list(range(70))
    for number in (0, 33, 69):
        wanted = definition([teacher()], pictures(1, sizes[number], seed=number)[0], [16], 2)
        assert np.abs(read(tmp_path / "s.npy")[number].numpy() - wanted).max() < 0.1


def test_no_pictures(tmp_path):
    write_teacher_scores([teacher()], TAGS, pictures(0), [16], tmp_path / "s.npy")
    assert np.load(tmp_path / "s.npy").shape == (0, 3, 2, 2)


class Interrupted:
    """Pictures that can be read up to one of them."""

    def __init__(self, images, last):
        self.images, self.last, self.reads = images, last, []

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        if index == self.last:
            raise KeyboardInterrupt
        self.reads.append(index)
        return self.images[index]


@pytest.mark.parametrize(("last", "cut", "first"), [(10, 0, 0), (70, 0, 64), (70, 1, 32), (70, 24, 32), (99, 0, 96)])
def test_an_interrupted_run_goes_on(tmp_path, last, cut, first):
    images = pictures(100)
    write_teacher_scores([teacher()], TAGS, images, [16], tmp_path / "whole.npy")
    with pytest.raises(KeyboardInterrupt):
        write_teacher_scores([teacher()], TAGS, Interrupted(images, last), [16], tmp_path / "s.npy")
    assert not (tmp_path / "s.npy").exists()
    (partial,) = tmp_path.glob("s.npy.*.partial")
    partial.write_bytes(partial.read_bytes()[: partial.stat().st_size - cut])  # a write that was cut short
    rest = Interrupted(images, None)
    write_teacher_scores([teacher()], TAGS, rest, [16], tmp_path / "s.npy")
    assert rest.reads == list(range(first, 100))
    assert (tmp_path / "s.npy").read_bytes() == (tmp_path / "whole.npy").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["s.npy", "whole.npy"]


@pytest.mark.parametrize(
    ("teachers", "sizes_px", "count"),
    [([teacher(seed=1)], [16], 100), ([teacher()], [15], 100), ([teacher()], [16, 16], 100), ([teacher()], [16], 99)],
)
def test_what_another_run_left_is_not_continued(tmp_path, teachers, sizes_px, count):
    images = pictures(100)
    with pytest.raises(KeyboardInterrupt):
        write_teacher_scores([teacher()], TAGS, Interrupted(images, 70), [16], tmp_path / "s.npy")
    write_teacher_scores(teachers, TAGS, images[:count], sizes_px, tmp_path / "s.npy")
    write_teacher_scores(teachers, TAGS, images[:count], sizes_px, tmp_path / "whole.npy")
    assert (tmp_path / "s.npy").read_bytes() == (tmp_path / "whole.npy").read_bytes()


def test_a_full_disk_leaves_nothing_behind(tmp_path):
    (tmp_path / "s.npy").write_text("before")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (600, hard))  # bytes: the first 32 pictures fit, the next do not
    try:
        with pytest.raises(
            GroundingError, match=r"teacher scores .*s\.npy cannot be written: File too large"
        ) as caught:
            write_teacher_scores([teacher()], TAGS, pictures(100), [16], tmp_path / "s.npy")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["s.npy"]
    assert (tmp_path / "s.npy").read_text() == "before"


def test_a_folder_that_is_none(tmp_path):
    with pytest.raises(GroundingError, match="cannot be written: No such file"):
        write_teacher_scores([teacher()], TAGS, pictures(1), [16], tmp_path / "none" / "s.npy")
    (tmp_path / "file").write_text("")
    with pytest.raises(GroundingError, match="cannot be written: Not a directory"):
        write_teacher_scores([teacher()], TAGS, pictures(1), [16], tmp_path / "file" / "s.npy")


def test_a_teacher_of_another_shape(tmp_path):
    teachers = [teacher(), teacher(seed=5, tags=("man", "cat", "dog"))]
    with pytest.raises(GroundingError, match="teacher teacher-5 has other tags: tag 2 is 'cat'"):
        write_teacher_scores(teachers, TAGS, pictures(1), [16], tmp_path / "s.npy")
    linear = TagClassifier(nn.Linear(2, 3), TAGS, Preprocessing(16), "linear")
    with pytest.raises(GroundingError, match="teacher linear scores no places"):
        write_teacher_scores([linear], TAGS, pictures(1), [16], tmp_path / "s.npy")
    assert not list(tmp_path.iterdir())


def test_a_timm_teacher(tmp_path):
    torch.manual_seed(0)
    network = timm_network("test_resnet", 3, options={"output_stride": 16}).eval()
    one = TagClassifier(network, TAGS, Preprocessing(64, network.mean, network.std), "timm")
    write_teacher_scores([one], TAGS, pictures(2), [64], tmp_path / "s.npy")
    for number, picture in enumerate(pictures(2)):
        wanted = definition([one], picture, [64], 4)
        assert np.abs(read(tmp_path / "s.npy")[number].numpy() - wanted).max() < 0.1
