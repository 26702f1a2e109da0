"""Agreement with people while training: the numbers of `evaluate agreement`, and what is refused before it starts."""

import json
from dataclasses import replace

import pytest

from grounding.config import load
from grounding.errors import GroundingError
from grounding.evaluate import main as evaluate
from grounding.training.config import TrainConfig, ValidationConfig
from grounding.training.validation import Validation
from helpers.benchmarks import colour_classifier, write_cub
from helpers.errors import facts
from helpers.training import log_rows, write_config

BIRDS = {"one.png": False, "two.png": True, "three.png": False, "six.png": False}  # six is bird 4
GAZE = """\
1,1,64,48,10,10,200,30,40,50
2,1,64,48,12,12,100
3,1,64,48,20,8,100
1,3,80,40,60,20,100
2,3,80,40,50,12,100,20,20,30
1,4,64,64,30,30,100
3,4,64,64,40,40,100,5,5,20
"""
NAMES = ["agreement/spearman", "agreement/auc", "agreement/spearman/ceiling", "agreement/auc/ceiling"]
SCORES = ["Spearman", "AUC", "Spearman / ceiling", "AUC / ceiling"]


@pytest.fixture(scope="module")
def birds(tmp_path_factory):
    """The root and the gaze."""
    folder = tmp_path_factory.mktemp("birds")
    (folder / "gaze.csv").write_text(GAZE)
    return write_cub(folder / "CUB_200_2011", BIRDS), folder / "gaze.csv"


def settings(birds, **more):
    root, gaze = birds
    return ValidationConfig(**{"dataset": "cub", "root": str(root), "gaze": str(gaze), **more})


def colours(**how):
    return replace(colour_classifier(**how), map_layer=-2)


def agreement(birds, folder, *more):
    """Method -> number -> value of `evaluate agreement`."""
    root, gaze = birds
    colours().save_pretrained(folder / "classifier")
    options = ["--root", root, "--gaze", gaze, "--classifier", folder / "classifier", "--output", folder / "out"]
    assert evaluate(["agreement", *map(str, options), "--methods", "contrastive-mwp,center", *more]) == 0
    methods = json.loads((folder / "out" / "metrics.json").read_text())["methods"]
    return {method: [numbers[name].get("value") for name in SCORES] for method, numbers in methods.items()}


@pytest.mark.parametrize("viewers", [(), (1, 3)])
def test_validation_says_what_evaluation_says(birds, tmp_path, viewers):
    validation = Validation(settings(birds, viewers=viewers))
    measured = validation.measure(colours(), "cpu")
    expected = agreement(birds, tmp_path, *(["--viewers", *map(str, viewers)] if viewers else []))
    assert list(measured) == NAMES
    assert list(measured.values()) == pytest.approx([100 * value for value in expected["contrastive-mwp"]], abs=1e-4)
    assert list(validation.centre.values()) == pytest.approx([100 * value for value in expected["center"]], abs=1e-4)
    people, centre, box = expected["people, split half"], expected["center"], expected["true box"]
    whose = " of viewers 1, 3" if viewers else ""
    assert validation.summary == (
        f"validation on CUB test, 3 pictures with fixations{whose}; "
        f"people, split half: agreement/spearman {100 * people[0]:.1f} agreement/auc {100 * people[1]:.1f}; "
        f"centre: agreement/spearman {100 * centre[0]:.1f} agreement/auc {100 * centre[1]:.1f}; "
        f"true box: agreement/spearman {100 * box[0]:.1f} agreement/auc {100 * box[1]:.1f} percent"
    )


def test_a_limit_counts_pictures_that_were_looked_at(birds, tmp_path):
    (tmp_path / "gaze.csv").write_text("".join(line + "\n" for line in GAZE.splitlines() if ",4," in line[:4]))
    few = Validation(settings((birds[0], tmp_path / "gaze.csv"), limit=1))
    assert "CUB test, 1 picture with" in few.summary
    assert few.measure(colours(), "cpu") == few.measure(colours(), "cpu", limit=1)
    assert "2 pictures" in Validation(settings(birds, limit=2)).summary


def test_one_viewer_has_no_ceiling(birds):
    validation = Validation(settings(birds, viewers=(2,)))
    assert list(validation.measure(colours(), "cpu")) == NAMES[:2]
    assert "people" not in validation.summary


def test_pictures_without_a_tag_are_left_out(birds):
    validation = Validation(settings(birds))
    some = validation.measure(colours(tags=("grebe", "wren", "blue")), "cpu")
    assert some != validation.measure(colours(), "cpu")
    assert list(some) == NAMES
    with pytest.raises(GroundingError, match="no tag"):
        validation.measure(colours(tags=("grebe", "wren", "tern")), "cpu")


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"root": ""}, ("without its root or gaze", "validation.root")),
        ({"gaze": ""}, ("without its root or gaze", "validation.gaze")),
        ({"dataset": None}, ("need validation.dataset",)),
        ({"images": ("photographs",), "annotations": "entities"}, ("expected one of them",)),
        ({"split": "val"}, ("split 'val' is not known", "test")),
        ({"method": "cam,mwp"}, ("'cam,mwp'", "expected one method")),
        ({"method": "camm"}, ("unknown method 'camm'", "cam")),
        ({"viewers": (9,)}, ("no viewer 9", "1, 2, 3")),
        ({"gaze": "no.csv"}, ("no.csv cannot be read",)),
        ({"root": "nowhere"}, ("nowhere",)),
    ],
    ids=str,
)
def test_bad_input_is_said_before_training(birds, more, said):
    with pytest.raises(GroundingError, match=facts(*said)) as error:
        Validation(settings(birds, **more))
    assert "\n" not in str(error.value)


def test_a_broken_picture_is_said_before_training(tmp_path):
    root = write_cub(tmp_path / "birds", BIRDS)
    (tmp_path / "gaze.csv").write_text(GAZE)
    path = root / "images" / "003.Blue" / "six.jpg"
    header, scan, data = path.read_bytes().rpartition(b"\xff\xda")
    path.write_bytes(header + scan + data[:20])
    with pytest.raises(GroundingError, match="4"):
        Validation(settings((root, tmp_path / "gaze.csv")))


def test_a_training_logs_it(birds, train, tmp_path):
    root, gaze = birds
    keys = f"validation.dataset=cub validation.root={root} validation.gaze={gaze} validation.viewers=[1,2]".split()
    status, _, lines = train(write_config(tmp_path), *keys, "validation.every=2", "map_layer=-2")
    assert status == 0
    assert any(line.startswith("validation on CUB test, 3 pictures with fixations of viewers 1, 2") for line in lines)
    log = log_rows(tmp_path / "run")
    assert [row["agreement/auc/ceiling"] != "" for row in log] == [False, True, True]
    assert log[2]["pointing/phrase"] == ""
    assert f"epoch 3: agreement/spearman {float(log[2]['agreement/spearman']):.1f}" in "\n".join(lines)


def test_keys_from_the_command_line():
    config = load(TrainConfig, None, ["validation.dataset=cub", "validation.root=a", "validation.gaze=b"])
    assert (config.validation.given, config.validation.split, config.validation.viewers) == (True, None, ())
    assert not load(TrainConfig, None, []).validation.given
