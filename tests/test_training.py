"""Losses, targets, views and schedule against their definitions, and one real training of a few steps."""

import io
import json
import math
import tarfile

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import nn
from torch.nn.functional import affine_grid, grid_sample

from grounding.config import StudentConfig
from grounding.datasets.webimages import read_shards
from grounding.errors import GroundingError
from grounding.tagging.network import TagNetwork
from grounding.text.tags import build_tags, tag_targets
from grounding.train import main
from grounding.training.losses import word_loss
from grounding.training.schedule import set_learning_rates
from grounding.training.student import StudentTraining, jitter, random_views, warm_start


def test_word_loss_against_its_definition():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 3, 4, 5, generator=generator)
    targets = torch.rand(2, 3, 4, 5, generator=generator)
    probability = 1 / (1 + torch.exp(-logits.double()))
    terms = -(targets * torch.log(probability) + (1 - targets) * torch.log(1 - probability))
    expected = sum(terms[n, :, y, x].sum() for n in range(2) for y in range(4) for x in range(5)) / (2 * 4 * 5)
    assert word_loss(logits, targets).item() == pytest.approx(float(expected), rel=1e-5)


def test_tags_are_the_most_frequent_stems_by_their_most_frequent_word():
    captions = ["Two dogs run .", "A dog and dogs .", "The dogs running", "A cat runs"]
    assert build_tags(captions, 2) == ["dogs", "run"]
    with pytest.raises(GroundingError, match="3 different words; 9 tags"):
        build_tags(["a red cat", "hat"], 9)


def test_targets_count_captions_not_words():
    captions = ["a dog and a dog", "dogs run", "a cat"]
    assert tag_targets(captions, {"dog": 4, "run": 1, "hors": 0}) == [(1, 0.5), (4, 1.0)]
    assert tag_targets([], {"dog": 4}) == []


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


def test_views_stay_inside_the_picture_and_move_picture_and_scores_alike():
    views = random_views(500, 0.35, torch.Generator().manual_seed(0))
    corners = torch.stack([views @ torch.tensor([x, y, 1.0]) for x in (-1, 1) for y in (-1, 1)])
    assert corners.abs().max() <= 1 + 1e-5
    area = views[:, 0, 0].abs() * views[:, 1, 1]
    assert area.min() >= 0.25  # 0.35 less what clamping a side may cost
    assert 0.3 < (views[:, 0, 0] < 0).float().mean() < 0.7
    ramp = torch.linspace(0, 1, 48).expand(500, 1, 48, 48)
    coarse = nn.functional.adaptive_avg_pool2d(ramp, 12)
    seen = grid_sample(ramp, affine_grid(views, [500, 1, 32, 32], align_corners=False), align_corners=False)
    scored = grid_sample(coarse, affine_grid(views, [500, 1, 8, 8], align_corners=False), align_corners=False)
    inner = nn.functional.adaptive_avg_pool2d(seen, 8)[:, :, 1:-1, 1:-1]
    assert (inner - scored[:, :, 1:-1, 1:-1]).abs().max() < 0.02


def test_jitter_keeps_range_and_draws_once_an_image():
    images = torch.rand(4, 3, 8, 8) * 0.2 + 0.4
    changed = jitter(images, torch.Generator().manual_seed(1))
    assert changed.min() >= 0
    assert changed.max() <= 1
    assert not torch.allclose(changed[0] - images[0], changed[1] - images[1])


def write_shard(path, count=12, size=40, captions=("A red square .", "red things")):
    generator = np.random.default_rng(0)
    with tarfile.open(path, "w") as tar:
        for number in range(count):
            buffer = io.BytesIO()
            Image.fromarray(generator.integers(0, 255, (size, size, 3), np.uint8)).save(buffer, "JPEG")
            for ending, content in (("jpg", buffer.getvalue()), ("json", json.dumps({"captions": captions}).encode())):
                member = tarfile.TarInfo(f"{number:04d}.{ending}")
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))


def test_read_shards(tmp_path):
    write_shard(tmp_path / "a.tar", count=2)
    samples = list(read_shards([tmp_path / "a.tar"]))
    assert [sample.id for sample in samples] == ["0000", "0001"]
    assert samples[0].captions == ("A red square .", "red things")
    assert samples[0].image.size == (40, 40)


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda p: p.unlink(), "does not exist"),
        (lambda p: p.write_bytes(b"x" * 2000), "cannot be read"),
        (lambda p: p.write_bytes(p.read_bytes()[:2500]), "cannot be read|no captions follow"),
        (lambda p: write_shard(p, captions=None), "expected a list of captions"),
    ],
)
def test_broken_shards(tmp_path, harm, message):
    path = tmp_path / "a.tar"
    write_shard(path)
    harm(path)
    with pytest.raises(GroundingError, match=message):
        list(read_shards([path]))


def student(epochs=3, seed=0):
    generator = torch.Generator().manual_seed(5)
    images = torch.randint(0, 256, (8, 3, 32, 32), dtype=torch.uint8, generator=generator)
    targets = (torch.rand(8, 6, generator=generator) < 0.3).float()
    scores = torch.randint(0, 256, (8, 6, 4, 4), dtype=torch.uint8, generator=generator).numpy()
    config = StudentConfig(channels=(8, 8), strides=(2, 4), image_size_px=32, epochs=epochs, batch_size=4)
    return StudentTraining(config, images, targets, scores, seed)


def test_a_resumed_run_ends_with_the_same_weights(tmp_path):
    whole, first = student(), student()
    for _ in range(3):
        whole.run_epoch(lambda *_: None)
    first.run_epoch(lambda *_: None)
    first.save(tmp_path / "s.safetensors")
    second = student()
    second.resume(tmp_path / "s.safetensors")
    assert second.epoch == 1
    for _ in range(2):
        second.run_epoch(lambda *_: None)
    for key, value in whole.network.state_dict().items():
        torch.testing.assert_close(second.network.state_dict()[key], value, rtol=0, atol=0)


def test_training_learns_where_things_are():
    """Tag 0 stands where a picture is bright, tag 1 where it is dark: the student must say so for pictures anew."""
    generator = torch.Generator().manual_seed(1)
    bright = torch.rand(40, 1, 4, 4, generator=generator) < 0.5
    images = bright.repeat_interleave(8, 2).repeat_interleave(8, 3).byte().mul(200).add(20).expand(-1, 3, -1, -1)
    scores = torch.cat([bright, ~bright], 1).byte().mul(255).numpy()
    config = StudentConfig(channels=(8, 16), strides=(2, 4), image_size_px=32, epochs=15, batch_size=8)
    training = StudentTraining(config, images[:32].contiguous(), torch.full((32, 2), 0.5), scores[:32], 0)
    for _ in range(15):
        training.run_epoch(lambda *_: None)
    network = training.network.eval().folded()
    with torch.no_grad():
        local = network.local_scores(network.features(images[32:].float() / 255))
    assert ((local > 0) == torch.cat([bright, ~bright], 1)[32:]).float().mean() > 0.95


def test_a_warm_start_keeps_the_function():
    training = student()
    training.run_epoch(lambda *_: None)
    folded = training.network.eval().folded()
    images = torch.rand(16, 3, 32, 32)
    again = TagNetwork([(8, 2), (8, 4)], tags=6)
    warm_start(again, folded, images)
    torch.testing.assert_close(again.eval()(images), folded(images), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(again.train()(images), folded(images), rtol=1e-2, atol=1e-2)  # batch statistics fit too
    with pytest.raises(GroundingError, match="other layers"):
        warm_start(TagNetwork([(8, 2), (8, 4)], tags=5), folded, images)


@pytest.fixture
def config(tmp_path):
    import timm
    from safetensors.torch import save_file

    torch.manual_seed(0)
    save_file(timm.create_model("mobilenetv1_100", pad_type="same").state_dict(), tmp_path / "teacher.safetensors")
    write_shard(tmp_path / "a.tar")
    (tmp_path / "c.yaml").write_text(
        f"""
output: {tmp_path / "run"}
tags: 3
shown_size_px: 64
data: {{shards: [{tmp_path / "a.tar"}], image_size_px: 32}}
teacher: {{weights: {tmp_path / "teacher.safetensors"}, image_size_px: 64, epochs: 1, batch_size: 4}}
student: {{channels: [8, 8, 8, 16], strides: [2, 2, 2, 2], image_size_px: 32, epochs: 2, batch_size: 4}}
"""
    )
    return tmp_path / "c.yaml"


def test_the_whole_command_runs_and_continues(config, tmp_path, capsys):
    assert main([str(config), "student.epochs=1"]) == 0
    first = load_file(tmp_path / "run" / "classifier" / "model.safetensors")
    written = (tmp_path / "run" / "teacher_scores.npy").stat().st_mtime_ns
    assert main([str(config)]) == 0
    assert (tmp_path / "run" / "teacher_scores.npy").stat().st_mtime_ns == written
    second = load_file(tmp_path / "run" / "classifier" / "model.safetensors")
    assert any(not torch.equal(first[key], second[key]) for key in first)
    assert (tmp_path / "run" / "log.csv").read_text().count("\n") == 2
    from grounding.tagging.sources import load_classifier

    warm = f"student.initial_classifier={tmp_path / 'run' / 'classifier'}"
    assert main([str(config), f"output={tmp_path / 'warm'}", warm, "student.epochs=1"]) == 0
    assert sorted(load_classifier(tmp_path / "run" / "classifier").tags) == ["red", "square", "things"]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("teacher.weights=none.safetensors", "do not exist"),
        ("teacher.model=mobilenetv1_125", "do not fit"),
        ("tags=4", "3 different words"),
        ("data.shards=[]", "no captioned image"),
        ("data.shards=[none.tar]", "does not exist"),
        ("data.shards=[", "is not YAML"),
        ("student.initial_classifier=embedded", "other tags"),
        ("student.epochs=0", "expected 1 to"),
        ("output=/dev/null", "File exists"),
    ],
)
def test_bad_training_input(config, override, message, capsys):  # one line at the end: progress bars stand above
    assert main([str(config), override]) == 2
    assert message in capsys.readouterr().err.splitlines()[-1]


def test_a_folder_belongs_to_one_run(config, tmp_path, capsys):
    assert main([str(config), "student.epochs=1"]) == 0
    for override, key in (("tags=2", "tags"), ("student.channels=[8, 8, 8, 8]", "student"), ("seed=1", "seed")):
        assert main([str(config), override]) == 2
        assert f"another '{key}'" in capsys.readouterr().err.splitlines()[-1]
