"""How much of a signal gets to a layer: the sum of what arrives, told in a result, a warning or an error."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from grounding.attention import contrastive_mwp, contrastive_mwp_at, mwp, readings, record
from grounding.attention.mass import LostMassWarning
from grounding.errors import GroundingError
from helpers.oracles import excite, normal, positive


class ByBias(nn.Module):
    """Of its 4 channels over 2 x 2 places the last `deaf` see nothing: they are active by their bias alone."""

    def __init__(self, deaf):
        super().__init__()
        self.body = nn.Conv2d(2, 4, 1)
        self.head = nn.Linear(16, 3)
        with torch.no_grad():
            self.body.weight.copy_(positive(4, 2, 1, 1))
            self.body.weight[4 - deaf :] = -1
            self.body.bias.fill_(5)
            self.head.weight.copy_(normal(3, 16))
        self.double().eval()

    def forward(self, x):
        return self.head(self.body(x).relu().flatten(1))

    def arriving(self, image, signal):
        """What the definition leaves of a signal at the image, and of its dual."""
        features = self.body(image).relu()[0]
        weight = self.body.weight.flatten(1)
        shares = []
        for head in (self.head.weight, -self.head.weight):
            p = excite(head, features.flatten(), signal).reshape(4, 4)
            places = zip(image[0].flatten(1).T, p.T, strict=True)
            shares.append(float(sum(excite(weight, x, at).sum() for x, at in places)))
        return shares


@pytest.fixture
def images():
    return positive(2, 2, 2, 2, seed=5)


SIGNALS = torch.tensor([[1.0, 0, 0], [0, 0, 2.0], [0.5, -1.0, 0]], dtype=torch.float64)


@pytest.mark.parametrize("deaf", [0, 1, 3])
@torch.no_grad()
def test_mass_is_what_the_definition_leaves_of_the_sizes_of_a_signal(images, deaf):
    model = ByBias(deaf)
    tape = record(model, images)
    (plain,), (both,) = (readings(tape, SIGNALS, [0], contrast=contrast) for contrast in (False, True))
    assert plain.mass.shape == both.mass.shape == (2, 3)
    for n, k in torch.cartesian_prod(torch.arange(2), torch.arange(3)).tolist():
        sizes = SIGNALS[k].abs() / SIGNALS[k].abs().sum()
        ours, dual = model.arriving(images[n : n + 1], sizes)
        assert float(plain.mass[n, k]) == pytest.approx(ours, rel=1e-9)
        assert float(both.mass[n, k]) == pytest.approx((ours + dual) / 2, rel=1e-9)
    assert (bool(plain.mass.min() < 0.999)) == (deaf > 0)


def test_readings_have_the_maps_of_the_plain_calls_at_every_layer(images):
    tape = record(ByBias(1), images)
    for reading, maps in zip(
        readings(tape, SIGNALS, ["body", 0]), contrastive_mwp_at(tape, SIGNALS, ["body", 0]), strict=True
    ):
        torch.testing.assert_close(reading.maps, maps, rtol=1e-12, atol=1e-15)
    assert readings(tape, SIGNALS[:0], [0])[0].mass.shape == (2, 0)


def test_the_class_token_takes_mass_from_the_map():
    """Scores of the first token alone: nothing gets to the places, all of it to the tokens."""
    weight, head = positive(3, 2), positive(2, 3)

    def model(images):
        places = functional.linear(images.flatten(2).transpose(1, 2), weight)
        tokens = torch.cat([places[:, :1] * 0 + 1, places], 1)
        return functional.linear(tokens[:, 0], head)

    tape = record(model, positive(1, 2, 2, 2))
    tokens = next(each.outputs[0] for each in tape.operations if each.outputs[0].shape == (1, 5, 3))
    (apart,) = readings(tape, torch.eye(2, dtype=torch.float64), [tokens], contrast=False)
    (units,) = readings(tape, torch.eye(2, dtype=torch.float64), [tokens], contrast=False, channels=True)
    assert apart.mass.tolist() == [[0, 0]]
    assert units.mass.tolist() == [[pytest.approx(1)] * 2]
    with pytest.raises(GroundingError, match="no winning probability gets to the layer of shape 1x5x3"):
        mwp(tape, torch.eye(2, dtype=torch.float64), layer=tokens)


def test_little_mass_is_told_in_one_warning_where_it_is_asked_for(images):
    model = ByBias(deaf=3)
    with torch.no_grad():
        model.head.weight[:, 4:] *= 3  # of the deaf channels
    tape = record(model, images)
    assert float(readings(tape, SIGNALS, [0])[0].mass.mean(1).min()) < 0.2
    with pytest.warns(LostMassWarning, match="little signal arrives: less than a fifth") as told:
        contrastive_mwp(tape, SIGNALS, layer=0)
    assert [warning.filename for warning in told] == [__file__]


@pytest.mark.parametrize("walk", [mwp, contrastive_mwp])
def test_enough_mass_is_not_worth_a_word(images, walk, recwarn):
    walk(record(ByBias(deaf=0), images), SIGNALS, layer=0)
    assert not recwarn.list


def test_a_map_of_zeros_among_others_is_told(images):
    """The second class has no positive weight: without the contrast nothing speaks for it."""
    head = torch.tensor([[1.0, 2], [-1, -1]]).double()
    tape = record(lambda x: functional.linear(x.sum((2, 3)), head), images)
    with pytest.warns(LostMassWarning, match="the map of signal 1 in image 0 is zero everywhere"):
        assert mwp(tape, torch.eye(2).double()).sum((2, 3)).tolist() == [[pytest.approx(1), 0]] * 2
    assert readings(tape, torch.eye(2).double(), [0], contrast=False)[0].mass.tolist() == [[pytest.approx(1), 0]] * 2


@pytest.mark.parametrize("walk", [mwp, contrastive_mwp])
def test_a_layer_that_nothing_gets_to_is_an_error(images, walk):
    tape = record(ByBias(deaf=4), images)
    with pytest.raises(GroundingError, match=r"^no winning probability gets to the layer of shape 2x2x2x2: .*$"):
        walk(tape, SIGNALS, layer=0)
    assert readings(tape, SIGNALS, [0])[0].mass.max() == 0


def test_the_mean_of_all_signals_has_the_mean_of_their_masses(images):
    tape = record(ByBias(deaf=2), images)
    (each,), (mean,) = (readings(tape, SIGNALS, [0], watch=watch) for watch in ("each", "mean"))
    torch.testing.assert_close(mean.mass, each.mass.mean(1, keepdim=True), rtol=1e-12, atol=0)
    assert each.mass.std(1).min() > 0.001


@pytest.mark.parametrize("size", [1, 2, 4])
def test_groups_of_signals_have_the_masses_and_maps_of_all_at_once(images, monkeypatch, size):
    tape = record(ByBias(deaf=2), images)
    (expected,) = readings(tape, SIGNALS, [0])
    monkeypatch.setattr("grounding.attention.excitation.at_once", lambda *arguments: size)
    (found,) = readings(tape, SIGNALS, [0])
    torch.testing.assert_close(found.mass, expected.mass, rtol=1e-12, atol=0)
    torch.testing.assert_close(found.maps, expected.maps, rtol=1e-9, atol=1e-15)


def test_one_dark_image_does_not_cost_another_its_map(images):
    model = ByBias(deaf=0)
    with torch.no_grad():
        model.body.bias.zero_()
    tape = record(model, torch.cat([images[:1], images[1:] * 0]))
    with pytest.warns(LostMassWarning, match="the map of signal 0 in image 1 is zero everywhere"):
        found = mwp(tape, SIGNALS[:1])
    assert found.sum((2, 3))[:, 0].tolist() == [pytest.approx(1), 0]
