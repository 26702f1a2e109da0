"""The methods behind one call: their maps, their smoothing, and what they cost."""

import numpy as np
import pytest
import torch

from grounding.benchmarks.methods import PIXEL_SMOOTHING, MapMaker, costs, read_map_config
from grounding.benchmarks.names import KNOWN
from grounding.config import MapConfig
from grounding.errors import GroundingError
from grounding.methods import encode
from grounding.regions.maps import smooth, upsample
from grounding.tagging.classifier import Preprocessing, TagClassifier
from helpers.benchmarks import COLOURS, SIDE_PX, colour_classifier, picture
from helpers.errors import facts

CONFIG = MapConfig(stride=2)
PIXELS = ("gradient", "guided", "deconv", "lrp")
BOX = {"red": (6, 10, 22, 30), "blue": (40, 34, 60, 58)}


@pytest.fixture(scope="module")
def classifier():
    return colour_classifier()


@pytest.fixture(scope="module")
def encoding(classifier):
    """A square picture with a red and a blue box."""
    image = picture((SIDE_PX, SIDE_PX), list(BOX.items()))
    return encode(classifier, classifier.preprocessing(np.asarray(image)))


def test_grad_cam_is_cam_where_one_linear_layer_follows_the_pooling(encoding, classifier):
    """The derivative of the pooled score is, on the mean over places, the weights of the class: at the last layer."""
    signals = classifier.signals(["red", "blue"])
    cam, grad_cam = (MapMaker(name)(encoding, signals, CONFIG, 40, 90) for name in ("cam", "grad-cam"))
    scale = (cam.amax((1, 2)) / grad_cam.amax((1, 2)))[:, None, None]
    torch.testing.assert_close(grad_cam * scale, cam, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", KNOWN)
def test_maps_are_over_the_whole_picture_and_at_least_0(encoding, classifier, name):
    maps = MapMaker(name, rise_masks=20)(encoding, classifier.signals(["red", "blue"]), CONFIG, 40, 90)
    assert (maps.shape, maps.dtype) == ((2, 40, 90), torch.float32)
    assert maps.min() >= 0
    assert maps.amax((1, 2)).min() > 0


@pytest.mark.parametrize("name", [name for name in KNOWN if name not in ("center", "rise")])
def test_each_method_points_at_the_colour_that_is_asked_for(encoding, classifier, name):
    """The channel of a colour is 0 outside its box, so there is no evidence for it anywhere else."""
    maps = MapMaker(name)(encoding, classifier.signals(["red", "blue"]), CONFIG, SIDE_PX, SIDE_PX).numpy()
    for map_, (x0, y0, x1, y1) in zip(maps, BOX.values(), strict=True):
        row, column = divmod(int(map_.argmax()), SIDE_PX)
        assert x0 - 1 <= column <= x1
        assert y0 - 1 <= row <= y1


def test_rise_points_with_enough_masks(encoding, classifier):
    """Its cells are 10 px wide, and masks that show more of the colour raise its probability."""
    few, many = (
        MapMaker("rise", rise_masks=masks)(encoding, classifier.signals(["red"]), CONFIG, SIDE_PX, SIDE_PX)[0]
        for masks in (2, 600)
    )
    assert not torch.equal(few, many)
    x0, y0, x1, y1 = BOX["red"]
    row, column = divmod(int(many.argmax()), SIDE_PX)
    assert x0 - 5 <= column <= x1 + 5
    assert y0 - 5 <= row <= y1 + 5


def test_the_center_is_a_gaussian_of_a_quarter_of_each_side(encoding, classifier):
    maps = MapMaker("center")(encoding, classifier.signals(list(COLOURS)), CONFIG, 30, 60)
    across = np.exp(-0.5 * (((np.arange(60) + 0.5) / 60 - 0.5) / 0.25) ** 2)
    down = np.exp(-0.5 * (((np.arange(30) + 0.5) / 30 - 0.5) / 0.25) ** 2)
    expected = down[:, None] * across
    assert maps.shape == (3, 30, 60)
    for map_ in maps.numpy():
        np.testing.assert_allclose(map_, expected, atol=2e-3)  # interpolated between places of a coarser grid


@pytest.mark.parametrize("name", [name for name in KNOWN if name != "rise"])
@pytest.mark.parametrize("given", [None, 0.0, 0.1], ids=["papers", "none", "a tenth"])
def test_smoothing(encoding, classifier, name, given):
    """Without a word: 0.02 of the longer side for maps of pixels, none for others; else what is given, for all."""
    signals = classifier.signals(["red"])
    maker = MapMaker(name, given)
    share = given if given is not None else 0.02 if name in PIXELS else 0.0
    fine = upsample(maker.coarse(encoding, signals, CONFIG).float(), 40, 90)
    torch.testing.assert_close(maker(encoding, signals, CONFIG, 40, 90), smooth(fine, share * 90).clamp(min=0))
    assert PIXEL_SMOOTHING == 0.02


def test_smoothing_is_seen(encoding, classifier):
    signals = classifier.signals(["red"])
    sharp, soft = (MapMaker("gradient", share)(encoding, signals, CONFIG, 64, 64) for share in (0.0, 0.1))
    assert soft.max() < sharp.max()
    assert soft.sum().item() == pytest.approx(sharp.sum().item(), rel=0.1)


def test_costs_by_hand(classifier):
    """Flops are two for each multiplication: a 3 x 3 convolution from 3 to 3 channels at 32 x 32 places, and the head,
    once on the mean of the places (where the walk starts) and once on each place (what is pooled).
    """
    convolution, mean_head, head = 2 * 32 * 32 * 3 * 3 * 9, 2 * 3 * 3, 2 * 32 * 32 * 3 * 3
    forward = convolution + mean_head + head
    logits = convolution + head  # what the baselines explain has no head on the mean
    makers = [MapMaker(name, rise_masks=40) for name in ("center", "gradient", "rise", "mwp", "contrastive-mwp")]
    found = costs(makers, classifier, CONFIG)
    assert list(found) == [maker.name for maker in makers]
    assert found["center"] == (0, 0)  # it does not look
    # The picture is shown, shown again for its derivative, and the derivative goes back through both layers, for each
    # class; a derivative of weights is not taken.
    assert found["gradient"] == pytest.approx(((forward + 2 * logits) / forward, logits / forward), rel=1e-9)
    # Shown, shown again to check the model, and once with each of 40 masks; further classes weigh the same scores: 3
    # multiplications and then one for each of 64 x 64 pixels.
    weigh = 2 * 3 + 2 * 64 * 64
    one, further = found["rise"]
    assert one == pytest.approx(1 + logits * 2 / forward + 39 + weigh / forward, abs=0.05)
    assert further == pytest.approx(weigh / forward, abs=0.05)
    # Down to three features through the rows of the head that the tags have: Z of each row, which is filled up to four,
    # and what each signal, and their mean, give through all of them; with contrast, twice.
    one, two = (2 * 3 * 4 + 2 * (rows + 1) * rows * 3 for rows in (1, 2))
    for name, walks in (("mwp", 1), ("contrastive-mwp", 2)):
        assert found[name][0] == pytest.approx(1 + walks * one / forward, rel=1e-9)
        assert found[name][1] == pytest.approx(walks * (two - one) / forward, rel=1e-9)


def test_more_masks_cost_one_forward_pass_each(classifier):
    few, many = (costs([MapMaker("rise", rise_masks=masks)], classifier, CONFIG)["rise"] for masks in (1, 4000))
    assert many[0] - few[0] == 3999
    assert many[1] == few[1]


def test_costs_of_a_classifier_with_one_tag():
    assert costs([MapMaker("gradient")], colour_classifier(("red",)), CONFIG)["gradient"][1] == 0


def test_a_method_that_cannot_work_on_a_classifier_is_named():
    """CAM needs features whose mean is classified; here each place has weights of its own."""
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 2, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(72, 2))
    classifier = TagClassifier(network.eval(), ("a", "b"), Preprocessing(8), "flat")
    encoding = encode(classifier, torch.rand(1, 3, 8, 8))
    with pytest.raises(GroundingError, match=r"^method cam: the scores are not one linear layer"):
        MapMaker("cam")(encoding, classifier.signals(["a"]), CONFIG, 8, 8)
    assert MapMaker("gradient")(encoding, classifier.signals(["a"]), CONFIG, 8, 8).max() > 0


def test_read_map_config(tmp_path):
    assert read_map_config(None, []) == MapConfig()
    found = read_map_config(None, ["maps.stride=8", "maps.resolution=64", "maps.residual=main"])
    assert (found.stride, found.resolution, found.residual) == (8, 64, "main")
    path = tmp_path / "c.yaml"
    path.write_text("maps:\n  stride: 4\n")
    assert read_map_config(path, []).stride == 4
    assert read_map_config(path, [" maps.stride=2"]).stride == 2


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("regions.gamma=0.3", facts("'regions.gamma' changes nothing here", "expected maps.stride")),
        ("maps.smoothing=0.1", facts("'maps.smoothing' changes nothing here")),
        ("maps.strid=8", facts("'maps.strid' changes nothing here")),
        ("maps.stride=soon", facts("maps.stride")),
    ],
)
def test_an_override_that_changes_nothing_is_refused(override, message):
    with pytest.raises(GroundingError, match=message):
        read_map_config(None, [override])
