"""The table of layers: its names are taken back, its numbers are the walks', its reasons the errors'."""

import copy
import pickle
import re

import pytest
import timm
import torch
from torch import nn

from grounding.attention import contrastive_mwp, mwp, record
from grounding.attention.layers import layers
from grounding.attention.rows import LayerRow, LayerTable
from grounding.errors import GroundingError
from helpers.errors import facts

IMAGES = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
CLASSES = [0, 3]


class Network(nn.Module):
    """A residual block whose sum is no module's, an operation without a rule below it, and one branch unused."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.stem, self.wave = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1)
        self.block = nn.Sequential(nn.Conv2d(4, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, 1, 1), nn.ReLU())
        self.skip, self.gate = nn.Conv2d(4, 8, 1, 2), nn.Linear(8, 8)
        nn.init.constant_(self.wave.bias, 0.5)  # alive
        self.drop, self.fc, self.unused = nn.Dropout(), nn.Linear(8, 5), nn.Linear(2, 2)

    def forward(self, x):
        x = torch.sin(self.wave(self.stem(x).relu()).relu())
        x = self.block(x) + self.skip(x).relu()
        x = (x * self.gate(x.mean((2, 3))).sigmoid()[:, :, None, None]).flip(2)
        return self.fc(self.drop(x.mean((2, 3))))


EXPECTED = [  # name, shape, stride, usable
    ("inputs[0]", (2, 3, 16, 16), 1, "aten.sin.default of (2x4x16x16) has no Excitation Backprop rule"),
    ("stem", (2, 4, 16, 16), 1, "aten.sin.default of (2x4x16x16) has no Excitation Backprop rule"),
    ("wave", (2, 4, 16, 16), 1, "aten.sin.default of (2x4x16x16) has no Excitation Backprop rule"),
    (5, (2, 4, 16, 16), 1, "yes"),
    ("block.0", (2, 8, 8, 8), 2, "yes"),
    ("block", (2, 8, 8, 8), 2, "yes"),
    ("skip", (2, 8, 8, 8), 2, "yes"),
    (6, (2, 8, 8, 8), 2, "yes"),
    ("gate", (2, 8), None, "no signal gets from the scores to the layer"),
    (7, (2, 8, 8, 8), 2, "yes"),
    (8, (2, 8, 8, 8), None, "above aten.flip.default it is unknown where the places are"),
    (9, (2, 8), None, "above aten.flip.default it is unknown where the places are"),
    ("fc", (2, 5), None, "the layer lies above the contrast"),
]


@pytest.fixture(scope="module")
def tape():
    return record(Network().eval(), IMAGES)


@pytest.fixture(scope="module")
def table(tape):
    return tape.layers()


def test_every_layer_once_from_the_image_up(table):
    assert [(row.name, row.shape, row.stride, row.usable) for row in table] == EXPECTED


def test_numbers_are_those_of_the_layers(tape, table):
    for row in table:
        if isinstance(row.name, int):
            assert layers(tape)[row.name].shape == row.shape


def test_what_the_table_shows_is_taken_back(tape, table):
    for row in table:
        if row.usable == "yes":
            maps = contrastive_mwp(tape, CLASSES, layer=row.name)
            assert maps.shape[2:] == row.shape[2:]
            assert row.mass is not None
        else:
            assert row.mass is None
            with pytest.raises(GroundingError, match=re.escape(row.usable)):
                contrastive_mwp(tape, CLASSES, layer=row.name)
    assert sum(row.usable == "yes" for row in table) == 6


def test_the_mass_is_that_of_the_best_class_of_each_image(tape, table):
    best = [tape.scores.argmax(1).tolist()]
    for row in table:
        if row.mass is not None:
            maps = mwp(tape, best, layer=row.name)
            torch.testing.assert_close(torch.tensor(row.mass), maps.sum((1, 2, 3)).mean(), rtol=1e-5, atol=1e-6)
    assert min(row.mass for row in table if row.mass) < 0.8 < max(row.mass for row in table if row.mass)


def test_the_mass_of_given_signals(tape):
    """The mean over signals and images of what gets there of the sizes of the weights, each signal summing to 1."""
    weights = torch.rand(3, 2, 5) - 0.5
    weights[0, 1] = 0
    shares = weights.abs() / weights.abs().sum(2, keepdim=True).clamp(min=1e-9)
    for signals, plain in ((CLASSES, CLASSES), ([[0, 1]], [[0, 1]]), (3 * weights, shares)):
        for row in tape.layers(signals):
            if row.mass is not None:
                maps = mwp(tape, plain, layer=row.name)
                assert row.mass == pytest.approx(float(maps.sum((2, 3)).mean()), rel=1e-5)
    with pytest.raises(GroundingError, match="output is 9"):
        tape.layers([9])


def test_it_prints_as_a_table(table):
    lines = repr(table).splitlines()
    assert len(lines) == len(table) + 1
    assert lines[0].split() == ["name", "shape", "stride", "mass", "usable"]
    assert len({line.find("2 x ") for line in lines[1:]}) == 1
    assert "'block'" in repr(table)
    assert not any(line != line.rstrip() for line in lines)
    rows = LayerRow("a", (1, 2), 16.0, "yes", 0.5), LayerRow(1, (1, 200), None, "no places", None)
    assert repr(LayerTable(rows)) == (
        "name  shape    stride   mass  usable\n"
        "'a'   1 x 2        16  0.500  yes\n"
        "1     1 x 200                 no places"
    )
    assert "4e-05" in repr(LayerTable((LayerRow("a", (1, 2), 1.5, "yes", 0.00004),)))
    assert repr(LayerTable(())) == "name  shape  stride  mass  usable"


def test_it_is_a_list_that_never_changes(table):
    assert table[0].name == "inputs[0]"
    assert table[-1].name == "fc"
    assert [row.name for row in table[:2]] == ["inputs[0]", "stem"]
    assert isinstance(table[:2], LayerTable)
    assert table[0] in table
    assert pickle.loads(pickle.dumps(table)) == table == copy.deepcopy(table)
    with pytest.raises(TypeError):
        table[0] = table[1]


def test_a_copy_of_a_recording_has_the_same_table():
    tape = record(Network().eval(), x=IMAGES, names=list("abcde"))
    other = pickle.loads(pickle.dumps(tape))
    assert other.layers() == tape.layers()
    assert other.layers(["e"]) == tape.layers([4])
    assert other.layers()[0].name == "x"
    assert other.names == tuple("abcde")


def test_several_inputs_and_what_the_scores_do_not_depend_on():
    model, head = nn.Conv2d(3, 4, 2, 2), nn.Linear(6, 5)
    tape = record(
        lambda image, metadata, unused: head(torch.cat([model(image).relu().mean((2, 3)), metadata], 1)),
        IMAGES,
        torch.rand(2, 2),
        unused=IMAGES.clone(),
    )
    rows = {row.name: row for row in tape.layers()}
    assert rows["inputs[0]"].usable == "yes"
    assert rows["inputs[1]"].usable == "no places"
    assert rows["unused"].usable == "no signal gets from the scores to the layer"
    assert mwp(tape, CLASSES, layer="inputs[1]", channels=True).shape == (2, 2, 2)
    assert mwp(tape, CLASSES, layer="inputs[0]").shape == (2, 2, 16, 16)


def test_an_input_with_the_name_of_a_module_is_called_by_its_place():
    tape = record(Network().eval().forward, x=IMAGES)
    assert tape.input_names == ("x",)

    class Named(nn.Module):
        """Its layer and its input have one name."""

        def __init__(self):
            super().__init__()
            self.stem, self.fc = nn.Conv2d(3, 4, 1), nn.Linear(4, 5)

        def forward(self, *, stem):
            return self.fc(self.stem(stem).relu().mean((2, 3)))

    tape = record(Named().eval(), stem=IMAGES)
    assert [row.name for row in tape.layers()][:2] == ["inputs[0]", "stem"]
    assert mwp(tape, CLASSES, layer="inputs[0]", channels=True).shape[2] == 3
    assert mwp(tape, CLASSES, layer="stem", channels=True).shape[2] == 4


def test_above_the_contrast_and_scores_at_places():
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Conv2d(4, 5, 1), nn.AvgPool2d(4))
    rows = {row.name: row for row in record(model, IMAGES).layers()}
    assert rows["0"].usable == "yes"
    assert rows["2"].usable == rows["3"].usable == "the layer lies above the contrast"


def test_a_network_without_weights_has_a_table_too():
    rows = record(lambda images: images.mean((2, 3)), IMAGES).layers()
    assert [row.usable for row in rows] == ["no convolution or linear layer lies between the inputs and the output"]


def test_weights_of_zero_send_nothing_down():
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    nn.init.zeros_(model[-1].weight)
    tape = record(model.eval(), IMAGES)
    assert {row.name: row.usable for row in tape.layers([0])}["0"] == "nothing gets here"
    with pytest.raises(GroundingError, match=facts("no winning probability", "the classifier's weights", "are 0")):
        mwp(tape, [0], layer="0")


def test_scores_of_one_dimension():
    with pytest.raises(GroundingError, match=facts(r"shape \(2,\)", r"expected scores \(N, T\)")):
        record(lambda images: images.sum((1, 2, 3)), IMAGES).layers()


def test_tokens_have_a_stride_and_only_places_count():
    torch.manual_seed(0)
    model = timm.create_model("vit_tiny_patch16_224", img_size=(32, 48), num_classes=3, depth=2).eval()
    tape = record(model, torch.rand(1, 3, 32, 48))
    rows = {row.name: row for row in tape.layers()}
    assert rows["blocks.0"].stride == 16
    assert rows["blocks.0"].shape == (1, 7, 192)
    best = tape.scores.argmax(1).tolist()
    assert rows["blocks.0"].mass == pytest.approx(float(mwp(tape, best, layer="blocks.0").sum()), rel=1e-4)
    assert rows["blocks.0"].mass < 0.99 * float(mwp(tape, best, layer="blocks.0", channels=True).sum())
