"""A training on labels: each is one tag whole, its targets are 1, and what is wrong with labels is said."""

import json

import pytest
import torch

from grounding.config import load
from grounding.errors import GroundingError
from grounding.tagging.sources import load_classifier
from grounding.training.captions import read_captions
from grounding.training.config import TrainConfig
from helpers.training import draw_shapes, log_rows, write_config

LABELS = [["tv_monitor"], ["Dog", "TV monitor"], ["salt, pepper"], [], ["dog", "Dog"]]


def labelled(folder, labels, *overrides):
    """The configuration of a training on these labels, of pictures of shapes."""
    rows = [json.loads(line) for line in draw_shapes(folder / "shapes", len(labels)).read_text().splitlines()]
    table = folder / "labels.jsonl"
    table.write_text(
        "".join(
            json.dumps({"image": f"shapes/{row['image']}", "labels": each}) + "\n"
            for row, each in zip(rows, labels, strict=True)
        )
    )
    given = [f"data.sources=[{table}]", "data.label_column=labels", f"output={folder / 'run'}", *overrides]
    return load(TrainConfig, None, given)


def test_what_is_read_from_labels(tmp_path):
    data = read_captions(labelled(tmp_path, LABELS))
    # dog three times (twice in the last picture), tv monitor twice in two spellings, the rest once
    assert data.tags == ("dog", "tv monitor", "salt, pepper")
    # one row a picture, the one without labels left out; 2 is the target 1
    assert data.targets.tolist() == [[0, 2, 0], [2, 2, 0], [0, 0, 2], [2, 0, 0]]
    assert data.targets.dtype == torch.uint8
    assert data.shares.tolist() == [0.5, 0.5, 0.25]
    assert data.summary == (
        "4 pictures with 6 labels (left out: 1 picture without a label); 3 tags: dog, tv monitor, salt, pepper"
    )


@pytest.mark.parametrize("given", ["tags=3", "tags=none"])
def test_the_number_of_tags_may_be_said(tmp_path, given):
    assert len(read_captions(labelled(tmp_path, LABELS, given)).tags) == 3


def test_no_number_of_tags_cuts_labels(tmp_path):
    many = [[f"class {number}" for number in range(1200)]]  # more than the words that captions give
    assert len(read_captions(labelled(tmp_path, many)).tags) == 1200


def test_captions_give_a_thousand_tags_unless_another_number_is_said(tmp_path):
    config = write_config(tmp_path)
    text = config.read_text().replace("tags: 7\n", "")
    config.write_text(text)
    with pytest.raises(GroundingError, match="7 different words; 1000 tags"):
        read_captions(load(TrainConfig, config))


def test_rows_of_a_csv_are_joined(tmp_path):
    draw_shapes(tmp_path / "shapes", 2)
    (tmp_path / "t.csv").write_text('File,Class\n000.png,cat\n000.png,"salt, pepper"\n001.png,cat\n')
    given = [f"data.sources=[{tmp_path / 't.csv'}]", "data.image_column=file", "data.label_column=class"]
    data = read_captions(load(TrainConfig, None, [*given, f"data.image_folder={tmp_path / 'shapes'}"]))
    assert (data.tags, data.targets.tolist()) == (("cat", "salt, pepper"), [[2, 2], [2, 0]])


def test_a_folder_with_a_label_beside_each_picture(tmp_path):
    draw_shapes(tmp_path / "shapes", 2)
    (tmp_path / "shapes" / "000.txt").write_text("Eared Grebe\n")
    (tmp_path / "shapes" / "001.json").write_text('{"captions": ["Least Auklet", "Eared Grebe"]}')
    data = read_captions(load(TrainConfig, None, [f"data.sources=[{tmp_path / 'shapes'}]", "data.label_column=any"]))
    assert (data.tags, data.targets.tolist()) == (("eared grebe", "least auklet"), [[2, 0], [2, 2]])


@pytest.mark.parametrize(
    ("labels", "overrides", "message"),
    [
        ([["a"], ["b"]], ["tags=3"], "tags is 3 where the pictures have 2 different labels: each label is a tag"),
        ([["a"], ["b"]], ["tags=1"], "so set tags to 2 or to none"),
        ([["a"], ["a"]], ["tags=2"], "tags is 2 where the pictures have 1 different label:"),
        ([["a"], [""]], [], "1 label is empty: expected a name"),
        ([["a", " "], None], [], "2 labels are empty: expected a name"),
        ([["a"], ["b", "_"]], [], "a label is '_': expected a name with a letter or a digit"),
        ([[], []], [], "labels.jsonl holds no picture with a caption (picture without a caption: 2)"),
        ([["a"], [3]], ["data.label_column=label"], "labels.jsonl has no column 'label': did you mean 'labels'?"),
    ],
)
def test_labels_that_cannot_be_learnt(tmp_path, labels, overrides, message):
    with pytest.raises(GroundingError) as error:
        read_captions(labelled(tmp_path, labels, *overrides))
    assert message in str(error.value)


def test_the_column_is_named_where_it_is_missing(train, tmp_path):
    config = write_config(tmp_path)
    status, out, lines = train(config, "data.label_column=labels", "tags=none")
    assert (status, out, len(lines)) == (2, "", 1)
    assert "captions.jsonl has no column 'labels': it has image, caption; name the right one" in lines[0]
    assert ".label_column" in lines[0]


def test_captions_or_labels(tmp_path):
    with pytest.raises(GroundingError) as error:
        load(TrainConfig, None, ["data.label_column=labels", "data.caption_column=text"])
    assert str(error.value).startswith("data.label_column is 'labels' and data.caption_column 'text': expected one")


def test_rows_that_the_initial_classifier_knows_are_kept(train, tmp_path):
    labelled(tmp_path, [["Dogs"], ["Hyacinth_macaw"], ["Dogs", "umbrella"]])
    status, _, lines = train(
        write_config(tmp_path / "c"),
        *("tags=none", f"data.sources=[{tmp_path / 'labels.jsonl'}]", "data.label_column=labels"),
        *("network.channels=none", "network.strides=none", "network.initial=embedded"),
        *("head_only=true", "epochs=1", "batch_size=3", "learning_rate=1e-9", "weight_decay=0", "bf16=false"),
    )
    assert status == 0, lines
    assert "2 of 3 tags are known to embedded: their rows are kept" in lines
    embedded, trained = load_classifier("embedded"), load_classifier(tmp_path / "c" / "run" / "classifier")
    assert trained.tags == ("dogs", "hyacinth macaw", "umbrella")
    for tag, known in (("dogs", "dog"), ("umbrella", "umbrella")):
        ours = trained.network.head.weight[trained.tags.index(tag)]
        assert torch.allclose(ours, embedded.network.head.weight[embedded.tags.index(known)], atol=1e-2, rtol=1e-2)
    assert len(log_rows(tmp_path / "c" / "run")) == 1


def test_a_training_that_was_begun_before_there_were_labels_goes_on(train, tmp_path, monkeypatch):
    config = write_config(tmp_path)
    config.write_text(config.read_text().replace("tags: 7\n", ""))
    monkeypatch.setattr("grounding.training.captions.DEFAULT_TAGS", 7)
    monkeypatch.setattr("grounding.training.output.DEFAULT_TAGS", 7)
    assert train(config)[0] == 0
    settings = tmp_path / "run" / "config.json"
    values = json.loads(settings.read_text())
    assert values["config"]["tags"] == 7  # the number, as when None did not stand for it
    assert values["config"]["data"].pop("label_column") == ""
    settings.write_text(json.dumps(values))
    status, _, lines = train(config)
    assert (status, lines) == (0, [f"{tmp_path / 'run' / 'classifier'} is there already"])
