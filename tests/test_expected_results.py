"""What configurations, README and the page of results promise is what was measured."""

import re

import pytest
import yaml

from helpers.paths import ROOT, load_script

SCRIPT = load_script("published_table")
MEASURED = SCRIPT.measured(SCRIPT.MEASURED.read_text())


def expected(path):
    """The block of comments `# expected:` of a configuration."""
    (block,) = re.findall(r"^# expected:\n(?:#   .*\n)+", path.read_text(), re.MULTILINE)
    return yaml.safe_load(re.sub(r"^# ", "", block, flags=re.MULTILINE))["expected"]


@pytest.mark.parametrize("path", sorted((ROOT / "configs").glob("*.yaml")), ids=lambda path: path.stem)
def test_each_configuration_carries_its_expected_result(path):
    result = expected(path)
    if result["measured"] is None:
        assert set(result) == {"measured"}
    else:
        assert set(result) == {"measured", "tolerance", "protocol"}
        assert set(result["measured"]) <= set(MEASURED)
        assert 0 < result["tolerance"] <= 1
        for page in re.findall(r"docs/\S+\.md", result["protocol"]):
            text = (ROOT / page).read_text()
            assert all(str(value) in text for value in result["measured"].values())


@pytest.mark.parametrize("name", ["localizer", "embedded"])
def test_the_default_is_expected_to_reach_what_was_measured(name):
    values = expected(ROOT / "configs" / f"{name}.yaml")["measured"]
    assert {protocol: str(value) for protocol, value in values.items()} == {key: MEASURED[key] for key in values}


def test_the_page_of_results_repeats_the_measured_table():
    measured, own = SCRIPT.MEASURED.read_text(), SCRIPT.PAGE.read_text()
    rows = re.findall(r"^\| (`[^`]+`) \| (\*\*[\d.]+\*\* \[[^]]+\]) \|", own, re.MULTILINE)
    assert len(rows) >= 10
    for protocol, value in rows:
        assert re.search(rf"^\| {re.escape(protocol)} \| [\d,]+ \| {re.escape(value)} \|", measured, re.MULTILINE)


def test_the_readme_repeats_the_measured_table():
    readme, measured = (ROOT / "README.md").read_text(), SCRIPT.MEASURED.read_text()
    (header,) = re.findall(r"^\| Flickr30k Entities val.*", readme, re.MULTILINE)
    (row,) = re.findall(r"^\| \*\*`grounding`.*", readme, re.MULTILINE)
    protocols, values = (
        re.findall(pattern, text) for pattern, text in ((r"`[^`]+`", header), (r"\*\*[\d.]+\*\* \[[^]]+\]", row))
    )
    assert len(protocols) == len(values) == 3
    for protocol, value in zip(protocols, values, strict=True):
        assert re.search(rf"^\| {re.escape(protocol)} \| [\d,]+ \| {re.escape(value)} \|", measured, re.MULTILINE)
