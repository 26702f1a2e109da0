"""What is read from captions: tags, targets and a summary for people."""

import pytest

from grounding.config import load
from grounding.training.captions import read_captions
from grounding.training.config import TrainConfig
from helpers.training import write_config


def test_what_is_read_from_captions(tmp_path):
    config = load(TrainConfig, write_config(tmp_path))
    data = read_captions(config)
    assert sorted(data.tags) == sorted(["red", "green", "blue", "yellow", "circle", "square", "triangle"])
    for captions, row in zip(data.images.captions, data.targets, strict=True):
        assert {tag for tag, twice in zip(data.tags, row, strict=True) if twice} == set(captions[0].split()) - {
            "a",
            "and",
        }
        assert set(row.tolist()) <= {0, 2}  # both captions name everything
    assert data.shares.tolist() == pytest.approx((data.targets > 0).double().mean(0).tolist())
    assert data.summary.startswith("24 pictures with 48 captions; 7 tags: ")
    (tmp_path / "shapes" / "more.jsonl").write_text(
        '{"image": "000.png", "caption": "red"}\n{"image": "1", "caption": "a"}\n'
    )
    more = read_captions(
        load(TrainConfig, tmp_path / "c.yaml", [f"data.sources=[{tmp_path / 'shapes' / 'more.jsonl'}]", "tags=1"])
    )
    assert more.targets.tolist() == [[1]]
    assert "1 picture with 1 caption (left out: 1 " in more.summary
    assert more.fingerprint != data.fingerprint
