"""What those who carry the project on rely on: short advice, decisions of one form, one version in three places."""

import re

import pytest
import yaml
from huggingface_hub import ModelCard

import grounding
from helpers.paths import ROOT, load_script

FORMS = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))
DECISIONS = sorted((ROOT / "docs" / "decisions").glob("[0-9]*.md"))
HEADINGS = ["Context", "Decision", "Alternatives weighed", "Consequences", "How we would know it was wrong"]
KINDS = {"markdown", "input", "textarea", "dropdown", "checkboxes"}  # what GitHub knows


def newest(changelog):
    """The version and the date of the newest heading that has a number."""
    return re.search(r"^## (\d+\.\d+\.\d+) - (\d{4}-\d{2}-\d{2})$", changelog, re.MULTILINE).groups()


def test_one_version_in_the_package_the_changelog_and_the_citation():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert newest((ROOT / "CHANGELOG.md").read_text()) == (citation["version"], citation["date-released"])
    assert citation["version"] == grounding.__version__


def test_what_comes_next_has_its_place_above_what_was_released():
    headings = re.findall(r"^## (.*)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings[0] == "Unreleased"
    versions = [tuple(map(int, heading.split(" - ")[0].split("."))) for heading in headings[1:]]
    assert versions == sorted(set(versions), reverse=True)
    assert len(versions) >= 1


def test_the_citation_names_the_papers_behind_it():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert (citation["cff-version"], citation["license"]) == ("1.2.0", "Apache-2.0")
    assert citation["title"]
    assert citation["message"]
    assert citation["authors"] == [{"name": "The grounding authors"}]
    papers = [known["value"] for paper in citation["references"] for known in paper["identifiers"]]
    assert sorted(papers) == ["arXiv:1505.04870", "arXiv:1608.00507", "arXiv:1805.08819", "arXiv:2003.04719"]


def test_the_advice_to_contributors_fits_two_screens():
    lines = (ROOT / "CONTRIBUTING.md").read_text().splitlines()
    assert len(lines) <= 90
    assert max(map(len, lines)) <= 120


@pytest.mark.parametrize("path", DECISIONS, ids=lambda path: path.stem[:4])
def test_a_decision_says_what_was_weighed_and_what_would_show_it_wrong(path):
    text = path.read_text()
    assert re.findall(r"^## (.*)$", text, re.MULTILINE) == HEADINGS
    assert all(part.strip() for part in re.split(r"^## .*$", text, flags=re.MULTILINE))
    assert text.startswith(f"# {path.stem[:4]}: ")
    assert re.search(r"^Decided on \d{4}-\d{2}-\d{2}", text, re.MULTILINE)
    assert len(text.split()) <= 650  # a page
    assert f"({path.name})" in (path.parent / "README.md").read_text()


def test_decisions_are_numbered_without_gaps():
    assert [int(path.stem[:4]) for path in DECISIONS] == list(range(1, len(DECISIONS) + 1))
    assert len(DECISIONS) >= 5


@pytest.mark.parametrize("path", [path for path in FORMS if path.stem != "config"], ids=lambda path: path.stem)
def test_an_issue_form_is_one_that_github_reads(path):
    form = yaml.safe_load(path.read_text())
    assert form["name"]
    assert form["description"]
    assert {field["type"] for field in form["body"]} <= KINDS
    fields = [field for field in form["body"] if field["type"] != "markdown"]
    assert fields
    assert all(field["attributes"]["label"] for field in fields)
    assert len({field["id"] for field in fields}) == len(fields)
    assert path.stem == "question" or any(
        "python -m grounding --version" in field["attributes"]["label"] and field["validations"]["required"]
        for field in fields
    )


def test_there_is_a_form_for_each_kind_of_report():
    assert {path.stem for path in FORMS} >= {"bug", "config", "question", "unsupported-operation", "wrong-localization"}


def test_hooks_are_of_this_environment_or_of_the_index_and_strip_no_notebook():
    (repository,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert repository["repo"] == "local"
    hooks = {hook["id"]: hook for hook in repository["hooks"]}
    assert set(hooks) >= {"ruff-check", "ruff-format", "check-yaml", "check-toml", "check-added-large-files"}
    assert not any("nbstripout" in str(hook) for hook in hooks.values())
    for hook in hooks.values():
        pinned = [re.search(r"==\d", wanted) for wanted in hook.get("additional_dependencies", [])]
        assert hook["language"] == "system" or (pinned and all(pinned)), hook["id"]


def test_the_model_card_has_metadata_that_the_hub_reads_and_repeats_what_was_measured():
    card = ModelCard((ROOT / "grounding" / "tagging" / "embedded" / "README.md").read_text())
    assert (card.data.license, card.data.language, card.data.library_name) == ("apache-2.0", "en", "grounding")
    table = load_script("published_table")
    measured = table.measured(table.MEASURED.read_text())
    results = {result.metric_type: result.metric_value for result in card.data.eval_results}
    assert len(results) >= 3
    assert {name: str(value) for name, value in results.items()} == {name: measured[name] for name in results}


def test_the_card_has_the_values_by_entity_type_of_the_measured_table():
    protocols = ("pointing/phrase", "recall@1/merged-box", "recall@5/merged-box")
    table = (ROOT / "docs" / "results" / "flickr30k-val.md").read_text().split("## By entity type")[1]
    rows = [[cell.strip("` ") for cell in line.split("|")[1:-1]] for line in re.findall(r"^\|.*", table, re.MULTILINE)]
    types = rows[0][1:]
    measured = {row[0]: dict(zip(types, row[1:], strict=True)) for row in reversed(rows) if len(row) == 9}
    card = (ROOT / "grounding" / "tagging" / "embedded" / "README.md").read_text()
    own = re.findall(r"^\| (\w+ \([\d,]+\)) \|(.*)\|$", card, re.MULTILINE)
    assert [name for name, _ in own] == types
    for name, cells in own:
        values = [re.match(r" ([\d.]+) \[", cell)[1] for cell in cells.split("|")]
        assert values == [measured[protocol][name] for protocol in protocols]


def test_the_words_of_captions_are_counted_by_picture_and_by_caption():
    shares = load_script("caption_words").shares
    found = shares([["A woman walks.", "Two dogs , a girl"], ["A MAN in white", "the womanly snow"]])
    assert found["women and girls"] == (0.5, 0.5)
    assert found["men and boys"] == (0.5, 0.25)
    assert found["dogs"] == (0.5, 0.25)
    assert found["people called white"] == found["cats"] == (0, 0)
