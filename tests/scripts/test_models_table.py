"""The table of models on networks small enough to work out by hand."""

import csv
import importlib
import json
import logging
import warnings

import pytest
import torch
from torch import nn
from torch.nn import functional

from grounding.attention import record
from grounding.attention.layers import layers
from helpers.paths import ROOT


@pytest.fixture
def script(monkeypatch):
    """The module, which sets what belongs to the process: warnings, logging, threads."""
    monkeypatch.syspath_prepend(ROOT / "scripts")
    threads = torch.get_num_threads()
    with warnings.catch_warnings():
        yield importlib.import_module("models_table")
    torch.set_num_threads(threads)
    logging.disable(logging.NOTSET)


@pytest.fixture
def page(script):
    """The module that writes the table and its summary."""
    return importlib.import_module("models_page")


class Running(nn.Module):
    """A convolution and a linear layer with an operation between."""

    def __init__(self, operation=functional.relu, outputs=8):
        super().__init__()
        self.first = nn.Conv2d(3, 4, 4, stride=16, padding=0)
        self.operation = operation
        self.last = nn.Linear(4, outputs)
        for weight in self.parameters():
            weight.data.abs_()

    def forward(self, images):
        return self.last(self.operation(self.first(images)).mean((2, 3)))


def leaky(outputs=8):
    """Output 0 has no positive weight, so its signal falls on Z = 0; the contrast has all of it."""
    model = Running(outputs=outputs)
    model.last.weight.data[0].neg_()
    return model


def dead():
    """No weight above the layer that is read."""
    model = Running()
    model.last.weight.data[1].zero_()
    return model


@pytest.fixture
def tiny(script, monkeypatch, tmp_path):
    """The script with one family of its own, and a function that runs it and returns status, rows and page."""
    built = []
    networks = {
        "good": Running,
        "leaky": leaky,
        "spare": lambda: leaky(outputs=9),
        "dead": dead,
        "odd": lambda: Running(lambda x: x.relu().cumsum(1)),
        "broken": lambda: 1 / 0,
    }

    def build(name, size_px):
        built.append(name)
        model = networks[name]()
        heads = {"": model, " + 16 phrases": lambda images: model(images) @ torch.ones(8, 16)}
        return script_networks.Network(model, size_px, heads if name == "good" else {"": model})

    script_networks = importlib.import_module("models_networks")
    families = {
        "tiny": script_networks.Family("torch", "torch", lambda: list(networks), build),
        "lost": script_networks.Family("no_such_library", "no-such-library", lambda: ["never"], build),
    }
    monkeypatch.setattr(script, "FAMILIES", families)
    monkeypatch.setattr(script, "prepare", lambda network: network.model.eval())

    def run(*options):
        paths = {"--rows": tmp_path / "runs" / "rows.jsonl", "--table": tmp_path / "models.csv"}
        paths["--page"] = tmp_path / "models.md"
        given = [str(part) for pair in paths.items() for part in pair]
        status = script.main([*given, "--threads", str(torch.get_num_threads()), "--size-px", "64", *options])
        lines = paths["--rows"].read_text().splitlines() if paths["--rows"].exists() else []
        page = paths["--page"].read_text() if paths["--page"].exists() else ""
        return status, [json.loads(line) for line in lines[1:]], page

    run.built = built
    return run


@pytest.mark.slow
def test_rows_of_tiny_networks(tiny, tmp_path, capsys):
    status, rows, page = tiny("--repeats", "1")
    assert status == 0
    by_name = {row["name"]: row for row in rows}
    assert [row["kind"] for row in rows] == ["map", "map", "map", "map", "suspect", "named error", "unexpected error"]
    good, lost = by_name["good"], by_name["leaky"]
    assert (good["layer"], good["stride"], good["map"], good["size_px"]) == ("first", 16, [4, 4], 64)
    assert good["parameters_m"] == pytest.approx((3 * 4 * 16 + 4 + 4 * 8 + 8) / 1e6)
    assert good["mass"] == pytest.approx(1, abs=1e-6)
    assert good["error"] == pytest.approx(0, abs=1e-6)
    assert good["absolute"] == pytest.approx(1, abs=1e-6)
    assert good["forward_ms"] > 0
    assert good["multiple"] > 0
    assert by_name["good + 16 phrases"]["map"] == [4, 4]
    assert (lost["mass"], lost["error"], lost["absolute"]) == (0, 1, pytest.approx(1, abs=1e-6))
    assert by_name["spare"]["mass"] == pytest.approx(1, abs=1e-6)  # the signals are the 8 highest scores
    assert by_name["dead"]["problem"] == "a map is all zero"
    assert by_name["odd"]["problem"].startswith("aten.cumsum.default of (1x4x4x4) has no Excitation Backprop rule")
    assert by_name["broken"]["problem"] == "ZeroDivisionError: division by zero"
    assert "| tiny | 7 | 4 | 1 | 1 | 1 |" in page
    assert "| dead | tiny | a map is all zero |" in page
    assert "[a table](models.csv)" in page
    assert "Left out: lost (no-such-library is not installed)." in page
    assert "K = 8 signals" in page
    with (tmp_path / "models.csv").open() as file:
        written = list(csv.DictReader(file))
    assert [row["network"] for row in written] == [row["name"] for row in rows]
    assert [row["outcome"] for row in written] == [row["kind"] for row in rows]
    captured = capsys.readouterr()
    assert "map 4, named error 1, suspect 1, unexpected error 1" in captured.out


def test_trained_weights_have_columns_and_a_table_of_their_own(tiny, script, monkeypatch, tmp_path):
    """Of those here all scores but one lose all: of 8 signals 1 arrives, at the layer and at the image."""
    model = leaky()
    with torch.no_grad():
        model.last.weight[:7] = -1
        model.last.weight[7] = 1
    at_hand = {"good": (model, torch.rand(1, 3, 64, 64))}
    monkeypatch.setattr(script, "trained", lambda family, name, folder: at_hand.get(name))
    status, rows, page = tiny("--repeats", "0", "--match", "[gl]*")
    assert status == 0
    assert [row["trained"] for row in rows] == [[pytest.approx(1 / 8)] * 2] * 2 + [[]]
    assert "| good | tiny | first | 16 | 1 | 0.12 | 0.12 |" in page
    assert "| leaky |" not in page
    with (tmp_path / "models.csv").open() as file:
        written = list(csv.DictReader(file))
    assert [row["mass_trained"] for row in written] == ["0.12", "0.12", ""]


def test_the_embedded_classifier_has_trained_weights_and_timm_where_a_file_is(script, tmp_path):
    trained = importlib.import_module("models_trained").trained
    run, image = trained("grounding", "embedded", None)
    assert record(run, image).scores.shape[0] == 1
    assert trained("timm", "resnet18", tmp_path) is None
    assert trained("torchvision", "resnet18", tmp_path) is None


def test_an_interrupted_run_goes_on(tiny, script, monkeypatch, capsys):
    measure = script.measure

    def interrupted(family, name, options):
        if name == "leaky":
            raise KeyboardInterrupt
        return measure(family, name, options)

    monkeypatch.setattr(script, "measure", interrupted)
    status, rows, page = tiny("--repeats", "0")
    assert (status, [row["name"] for row in rows], page) == (130, ["good", "good + 16 phrases"], "")
    monkeypatch.setattr(script, "measure", measure)
    status, rows, page = tiny("--repeats", "0", "--match", "[gl]*")
    assert (status, [row["name"] for row in rows]) == (0, ["good", "good + 16 phrases", "leaky"])
    assert tiny.built == ["good", "leaky"]
    assert "| tiny | 3 | 3 | 0 | 0 | 0 |" in page
    assert rows[0]["multiple"] is None
    capsys.readouterr()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--match", "nothing"], "no network of tiny is called nothing"),
        (["--families", "lost"], "no network of the families that are installed is called *"),
        (["--signals", "0"], "expected 1 to 16 signals, 0 repeats or more"),
        (["--signals", "3"], "choose other --rows"),
    ],
)
def test_what_cannot_be_run_is_one_line(tiny, capsys, options, message):
    tiny("--repeats", "0", "--match", "good")
    capsys.readouterr()
    status, _, _ = tiny(*options)
    error = capsys.readouterr().err
    assert status == 2
    assert message in error
    assert error.count("\n") == 1


def test_rows_of_something_else_are_refused(tiny, tmp_path, capsys):
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "rows.jsonl").write_text("{}\n[1]\n")
    assert script_error(tiny, capsys).startswith("error: ")


def script_error(run, capsys):
    status, _, _ = run("--repeats", "0")
    assert status == 2
    return capsys.readouterr().err


def conv(channels_in=4, channels_out=4, **options):
    return nn.Conv2d(channels_in, channels_out, 1, **options)


class Residual(nn.Sequential):
    def forward(self, x):
        return x + super().forward(x)


class Gated(nn.Module):
    def __init__(self, pool):
        super().__init__()
        self.pool, self.gate = pool, conv()

    def forward(self, x):
        return x * self.gate(self.pool(x)).sigmoid()


class Attending(nn.Module):
    def forward(self, x):
        tokens = x.flatten(2).transpose(1, 2)
        mixed = functional.scaled_dot_product_attention(*[tokens[:, None]] * 3)[:, 0]
        return mixed.transpose(1, 2).unflatten(2, x.shape[2:])


class Scaled(nn.Module):
    def __init__(self, layer):
        super().__init__()
        self.layer, self.scale = layer, nn.Parameter(torch.ones(4, 1, 1))

    def forward(self, x):
        return self.layer(x) * self.scale


class Function(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


@pytest.mark.parametrize(
    ("middle", "expected"),
    [
        ([], {}),
        ([conv(), nn.ReLU()], {}),
        ([conv()], {"linear bottleneck": 1, "signed input": 1}),
        ([conv(), nn.BatchNorm2d(4), nn.ReLU()], {"batch norm folded": 1}),
        ([nn.BatchNorm2d(4), nn.ReLU()], {"batch norm passed": 1}),
        ([conv(), nn.BatchNorm2d(4)], {"batch norm folded": 1, "linear bottleneck": 1, "signed input": 1}),
        ([conv(), nn.GELU()], {"gelu passed": 1, "signed input": 1}),
        ([nn.GroupNorm(1, 4)], {"group_norm passed": 1, "signed input": 1}),
        ([Residual(conv(), nn.ReLU())], {"sum": 1}),
        ([Residual(conv())], {"linear bottleneck": 1, "signed input": 1, "sum": 1}),
        ([Gated(nn.AdaptiveAvgPool2d(1))], {"channel gate": 1}),
        ([Gated(nn.Identity())], {"gate": 1}),
        ([nn.AdaptiveAvgPool2d(1), Gated(nn.Identity())], {"gate": 1}),
        ([Attending()], {"attention": 1}),
        ([Scaled(conv()), nn.ReLU()], {"layer scale folded": 1}),
        ([Scaled(nn.ReLU())], {"constant factor": 1}),
        ([Function(lambda x: x * (x + 1))], {"product": 1}),
        ([Function(lambda x: x / (x + 1))], {"quotient": 1}),
        ([Function(lambda x: x * 2 + 1)], {}),
        ([Function(lambda x: (x.flatten(2) @ x.flatten(2).mT).unflatten(2, (2, 2)))], {"matrix product": 1}),
    ],
)
def test_notes_say_which_choices_the_walk_meets(script, middle, expected):
    torch.manual_seed(0)
    model = nn.Sequential(conv(3, 4), nn.ReLU(), *middle, Function(lambda x: x.mean((2, 3)).relu()), nn.Linear(4, 5))
    if "signed input" in expected:  # the reader of what the middle leaves is a convolution
        model = nn.Sequential(*model[:-2], conv(), nn.ReLU(), *model[-2:])
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d):
            layer.reset_parameters()  # by this test's random numbers
    tape = record(model.eval(), torch.rand(1, 3, 8, 8))
    assert script.rule_notes(tape, tape.inputs[0]) == expected


@pytest.mark.parametrize(
    ("strides", "expected"),
    [
        ((2, 2, 2, 2, 2), (4, 16.0)),
        ((4, 4, 4), (2, 16.0)),
        ((4, 2), (2, 8.0)),
        ((64,), (1, 64.0)),
        ((128,), (0, 1.0)),  # one cell is no place
    ],
)
def test_the_layer_nearest_to_stride_16_is_read(script, strides, expected):
    sides = [3, *[4] * len(strides)]
    steps = [nn.Conv2d(a, b, 1, stride=step) for a, b, step in zip(sides, sides[1:], strides, strict=False)]
    tape = record(
        nn.Sequential(*steps, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5)), torch.rand(1, 3, 128, 128)
    )
    index, stop = script.layer_to_read(tape)
    assert layers(tape)[index] is stop
    assert (index, 128 / stop.shape[-1]) == expected


def test_cells_are_short_and_say_what_is_wrong(page):
    row = page.Row("timm", "net", 12.345, 224, "layer3.0", 16.0, [14, 14], 0.99999, 1.234e-5, 1.5, 20.4, 3.14159)
    row.notes, row.trained = {"gate": 2, "sum": 1}, [0.0456, 0.00612]
    assert list(page.cells(row).values()) == [
        *["timm", "net", "12.3", "224", "layer3.0", "16", "14x14", "1", "1e-05", "0.046", "0.0061", "1.5", "20", "3.1"],
        *["map", "", "gate 2; sum 1"],
    ]
    broken = page.Row("timm", "net", kind="named error", problem="no rule")
    assert list(page.cells(broken).values()) == ["timm", "net", *[""] * 12, "named error", "no rule", ""]
    assert list(page.table_lines(["a", "b"], [["1", "x|y"]])) == ["| a | b |", "|---|---|", r"| 1 | x\|y |"]


def test_the_summary_counts_by_source(page):
    def row(source, outcome="map", mass="", times="", notes=""):
        return dict.fromkeys(page.COLUMNS, "") | {
            "source": source,
            "outcome": outcome,
            "mass": mass,
            "times": times,
            "notes": notes,
        }

    rows = [row("a", mass="1", times="2"), row("a", mass="0.5", times="9", notes="gelu passed 2; gate 1"), row("a")]
    rows += [row("b", "named error"), row("a", "suspect", mass="0.9", times="3")]
    lines = list(page.sources(rows))
    assert lines[2:] == ["| a | 4 | 3 | 1 | 0 | 0 | 0.9 | 0.5 | 3.0 | 9.0 |", "| b | 1 | 0 | 0 | 1 | 0 |  |  |  |  |"]
    assert [line.split(" | ")[0] for line in page.legend(rows)][2:] == ["| gate", "| ... passed"]


def test_the_documented_summary_is_that_of_the_documented_table(page):
    with (ROOT / "docs" / "results" / "models.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == list(page.COLUMNS)
    assert len({(row["source"], row["network"]) for row in rows}) == len(rows) == 264
    setting = {"signals": 0, "threads": 0, "versions": {}}
    expected = page.page(rows, "../results/models.csv", setting, [])
    documented = (ROOT / "docs" / "reference" / "models.md").read_text().splitlines()
    for line, own in zip(documented, expected, strict=True):
        assert line == own or line.startswith("K = 8 signals")


@pytest.mark.parametrize(
    ("first", "second", "repeats", "expected"),
    [
        ([1, 2, 6], [4, 8, 80], 3, (2000, 4, 3)),
        ([1, 2, 6], [4, 8, 80], 1, (1000, 4, 1)),
        ([70, 2, 6], [70, 8, 80], 3, (70000, 1, 1)),  # patience is over
    ],
)
def test_speed_is_a_ratio_of_medians(script, monkeypatch, first, second, repeats, expected):
    now, runs = [0.0], []
    monkeypatch.setattr(script.time, "perf_counter", lambda: now[0])

    def step(durations):
        left = iter(durations)

        def run():
            runs.append(durations)
            now[0] += next(left)

        return run

    assert (*script.speed(step(first), step(second), repeats), len(runs) / 2) == expected
    assert runs[:2] == [first, second]


@pytest.mark.parametrize(
    ("units", "expected"),
    [
        ([[0.25, 0.75], [0.5, 0.5]], (1.0, 0.0, 1.0)),
        ([[0.25, 0.5], [0.5, 0.625]], (0.75, 0.25, 1.125)),
        ([[0.25, 0.875], [2.0, -0.5]], (1.5, 0.5, 2.5)),
        ([[-0.5, -0.25]], (-0.75, 1.75, 0.75)),
    ],
)
def test_conservation_by_hand(script, units, expected):
    assert script.conservation(torch.tensor(units)) == expected


@pytest.mark.parametrize(
    ("units", "maps", "expected"),
    [
        ([[0.5, 0.5], [1, 0]], [[[[1.0]], [[-1.0]]]], ""),
        ([[0.5, 0.5]], [[[[1.0]]], [[[1.0]]]], "2 maps of one image"),
        ([[0.5, torch.nan]], [[[[1.0]]]], "not finite"),
        ([[0.5, 0.5]], [[[[torch.inf]]]], "not finite"),
        ([[0.5, 0.5], [1, 0]], [[[[1.0]], [[0.0]]]], "a map is all zero"),
        ([[50, -49], [150, -149]], [[[[1.0]], [[1.0]]]], "the sum of |P| grew to 3e+02"),
    ],
)
def test_suspect_numbers_are_named(script, units, maps, expected):
    assert script.trouble(torch.tensor(units), torch.tensor(maps)) == expected


def test_prepared_networks_have_no_dead_branch(script):
    networks = importlib.import_module("models_networks")
    model = nn.Sequential(conv(3, 10), nn.BatchNorm2d(10), nn.Flatten(), nn.Linear(10 * 64, 5), nn.LayerNorm(5))
    nn.init.zeros_(model[1].weight)
    nn.init.zeros_(model[3].weight)
    model[4].scale = nn.Parameter(torch.full((10,), 1e-6))
    model[4].gain = nn.Parameter(torch.zeros(()))
    script.prepare(networks.Network(model, 8, {"": model}))
    for scale in (model[1].weight, model[4].scale):
        assert (scale < 0).nonzero()[:, 0].tolist() == [0, 5]
        assert bool(((scale.abs() >= 0.5) & (scale.abs() <= 1.5)).all())
    assert 0.01 < float(model[3].weight.detach().std()) < 0.03
    assert model[4].gain.item() == 0.5
    for layer, most in ((model[0], 0.02), (model[1], 0.4), (model[3], 0.02)):
        assert 0 <= layer.bias.detach().min() < layer.bias.detach().max() <= most
    assert torch.equal(model[4].weight, torch.ones(5))
    seen = model[0](networks.noise(8, 4))
    torch.testing.assert_close(model[1].running_mean, seen.mean((0, 2, 3)))
    torch.testing.assert_close(model[1].running_var, seen.var((0, 2, 3)))
    assert not any(module.training for module in model.modules())


def test_phrases_are_one_more_linear_layer(script):
    networks = importlib.import_module("models_networks")
    features, phrases = networks.clip_heads(lambda images: images.mean((2, 3))).values()
    images = torch.cat([torch.eye(3)[:, :, None, None], torch.ones(1, 3, 1, 1)])
    texts = phrases(images)
    assert features(images).shape == (4, 3)
    assert texts.shape == (4, 16)
    assert bool((texts < 0).any() and (texts > 0).any())
    torch.testing.assert_close(texts[3], texts[:3].sum(0))


def test_names_are_known_to_the_libraries(script):
    networks = importlib.import_module("models_networks")
    timm = pytest.importorskip("timm")
    names = networks.FAMILIES["timm"].names()
    old = tuple(map(int, timm.__version__.split(".")[:3])) < (1, 0, 31)  # the table was made with this one
    assert old or set(names) <= set(timm.list_models())
    assert len(set(names)) == len(names) >= 40
    assert len(networks.FAMILIES["torchvision"].names()) >= 80


@pytest.mark.parametrize(
    ("family", "name", "size_px", "expected"),
    [
        ("torchvision", "squeezenet1_1", None, 224),
        ("torchvision", "squeezenet1_1", 96, 96),
        ("timm", "lcnet_050", None, 224),
        ("timm", "lcnet_050", 96, 96),
        ("timm", "lcnet_050", 512, 224),
        ("timm", "vit_tiny_patch16_224", 96, 224),
    ],
)
def test_sizes(script, family, name, size_px, expected):
    networks = importlib.import_module("models_networks")
    pytest.importorskip("timm")
    assert networks.FAMILIES[family].build(name, size_px).size_px == expected
