"""The losses of a CLIP against their definitions, and its epochs."""

import math

import numpy as np
import pytest
import torch

from grounding.config import load
from grounding.datasets.webimages import CaptionedImages
from grounding.errors import GroundingError
from grounding.training.batches import Pictures
from grounding.training.clip.config import ClipConfig
from grounding.training.clip.features import write_features
from grounding.training.clip.model import Clip, words_of
from grounding.training.clip.texts import read_texts
from grounding.training.clip.trainer import ClipTrainer
from grounding.training.distillation import LOGIT_HIGH, LOGIT_LOW
from helpers.clip_training import TAGS, wake, write_tiny


def trainer(folder, *overrides, held_out=0):
    if not (folder / "clip.yaml").exists():
        write_tiny(folder)
    config = load(ClipConfig, folder / "clip.yaml", overrides)
    images = CaptionedImages(config.data.sources)
    texts = read_texts(TAGS, images.captions, held_out)
    torch.manual_seed(config.seed)
    clip = wake(Clip(config, words_of(caption for captions in images.captions for caption in captions)))
    write_features(clip, Pictures(images, 64, lambda: None), folder / "features.npy")
    scores = np.random.default_rng(0).integers(0, 256, (len(images), len(TAGS), 8, 8), np.uint8)
    return ClipTrainer(config, clip, np.load(folder / "features.npy"), texts, scores)


def test_targets_are_the_mean_logits_of_the_tags_of_a_text(tmp_path):
    ours = trainer(tmp_path, "tags_per_step=3", "phrases=2", held_out=3)  # green and square
    batch = ours.batch([3, 8])
    assert batch.targets.shape == (2, len(batch.texts), 2, 2)
    assert len(batch.texts) > 3
    names = ("red", "blue", "circle", "triangle")
    assert ours.texts.tags == names
    for row, index in enumerate((3, 8)):
        scores = LOGIT_LOW + ours.scores[index].astype(float) / 255 * (LOGIT_HIGH - LOGIT_LOW)  # (T, 8, 8)
        for text, targets in zip(batch.texts, batch.targets[row], strict=True):
            said = [TAGS.index(name) for name in names if name in text.split()]
            expected = np.mean([scores[tag] for tag in said], 0).reshape(2, 4, 2, 4).mean((1, 3))
            assert np.allclose(targets, expected, atol=1e-4), text


def test_losses_are_their_definitions(tmp_path):
    ours = trainer(tmp_path)
    batch, student = ours.batch([0, 1, 2]), ours.student.double()
    batch = type(batch)(
        batch.features.double(),
        batch.targets.double(),
        batch.texts,
        batch.weights.double(),
        batch.captions,
        batch.captioned,
    )
    with torch.no_grad():
        student.bias += torch.randn(student.bias.shape, generator=torch.Generator().manual_seed(0)).double()
        found = ours.losses(batch)
        model = student.model
        unit = lambda x: x / x.norm(dim=-1, keepdim=True)  # noqa: E731
        hidden = ours.clip.places(batch.features)
        images = unit(model.visual_projection(torch.cat([hidden.mean(1, keepdim=True), hidden], 1)))
        texts = unit(model.get_text_features(**ours.clip.tokens(batch.texts)).pooler_output)
        captions = unit(model.get_text_features(**ours.clip.tokens(batch.captions)).pooler_output)
    scale, bias = student.scale.exp().tolist(), student.bias.detach()
    places, picture = [], []
    for b in range(3):
        for s, row in enumerate(batch.weights):
            logits = batch.targets[b, s].flatten()
            for place, y in enumerate(logits):
                score = scale[0] * images[b, 1 + place] @ texts[s] + bias[0] @ row
                places.append(bce(float(score), float(y)))
            whole = math.log(sum(math.exp(y) for y in logits) / len(logits))
            picture.append(bce(float(scale[1] * images[b, 0] @ texts[s] + bias[1] @ row), whole))
    assert float(found["places"]) == pytest.approx(sum(places) / 3 / 4, rel=1e-6)
    assert float(found["picture"]) == pytest.approx(sum(picture) / 3, rel=1e-6)
    cosines = float(model.logit_scale.detach().exp()) * images[:, 0] @ captions.T
    both = [-torch.log_softmax(each, 1).diagonal().mean() for each in (cosines, cosines.T)]
    assert float(found["captions"]) == pytest.approx(float(sum(both)) / 2, rel=1e-6)


def bce(score, logit):
    p = 1 / (1 + math.exp(-logit))
    q = 1 / (1 + math.exp(-score))
    return -p * math.log(q) - (1 - p) * math.log(1 - q)


def test_losses_without_weight_are_not_computed(tmp_path):
    ours = trainer(tmp_path, "loss.places=0", "loss.picture=0")
    assert set(ours.losses(ours.batch([0, 1]))) == {"captions"}
    only = trainer(tmp_path, "loss.captions=0", "loss.picture=0")
    assert set(only.losses(only.batch([0, 1]))) == {"places"}


def test_a_training_that_goes_on_ends_where_it_would_have_ended(tmp_path):
    whole, first, second = (trainer(tmp_path) for _ in range(3))
    for _ in range(2):
        whole.run_epoch(lambda means: None)
    first.run_epoch(lambda means: None)
    first.save(tmp_path / "c.safetensors")
    second.resume(tmp_path / "c.safetensors")
    second.run_epoch(lambda means: None)
    states = [each.student.state_dict() for each in (whole, second)]
    assert all(torch.equal(a, b) for a, b in zip(*(state.values() for state in states), strict=True))
    assert (second.epoch, second.step) == (2, 6)


def test_what_it_learns(tmp_path):
    ours = trainer(tmp_path, "epochs=12", "learning_rate=5e-3", "tags_per_step=6")
    losses = [ours.run_epoch(lambda means: None) for _ in range(12)]
    assert losses[-1]["captions"] < losses[0]["captions"]
    table = ours.clip.model.text_model.embeddings.token_embedding.weight
    assert torch.allclose(table.norm(dim=1), torch.ones(len(table)), atol=1e-5)  # words stay as they were


def test_a_loss_without_end(tmp_path):
    ours = trainer(tmp_path)
    with torch.no_grad():
        ours.student.bias.fill_(math.inf)
    with pytest.raises(GroundingError, match=r"the loss is (nan|inf) in epoch 1: lower learning_rate"):
        ours.run_epoch(lambda means: None)
