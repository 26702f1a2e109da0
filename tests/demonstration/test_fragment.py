"""Answers as HTML, and the addresses of their files."""

import base64
import io
import re
from urllib.parse import parse_qsl, urlsplit

import numpy as np
import pytest
from PIL import Image

from grounding.colours import phrase_colour
from grounding.demonstration.fragment import (
    answer_html,
    asked_again,
    download_path,
    map_uri,
    problem_html,
    sentence_parts,
)
from grounding.demonstration.questions import Question
from grounding.images import sample_scene

HOSTILE = "a man <script>alert(1)</script> in a hat\" onmouseover='alert(2)' & ${alert(3)} {{ 7*7 }}"


@pytest.fixture(scope="module")
def ask(demonstration, tmp_path_factory):
    path = tmp_path_factory.mktemp("one") / "picture.png"
    Image.fromarray(sample_scene()[::2, ::2]).save(path)
    return lambda caption, **settings: demonstration.ask(path, Question(caption, **settings))


@pytest.mark.parametrize(
    "caption",
    [
        "a",
        "run fast",
        "a man in a red hat",
        "A MAN, A HAT.",
        "no dog and a qwrtz",
        HOSTILE,
        "a caf\u00e9\u200b &amp; a dog 🐶",
    ],
)
def test_the_parts_of_a_sentence_are_the_sentence(ask, caption):
    grounding = ask(caption).grounding
    parts = list(sentence_parts(grounding))
    assert "".join(part.text for part in parts) == caption
    assert [part.number for part in parts if part.number is not None] == list(range(len(grounding)))


def test_a_phrase_has_the_colour_of_its_box(ask):
    html = answer_html(ask("a man in a red hat"))
    for number, phrase in enumerate(("a man", "a red hat")):
        colour = re.escape(phrase_colour(number))
        assert re.search(rf'<button [^>]*data-phrase="{number}"[^>]*--colour: {colour}">{phrase}<', html)
        assert re.search(rf'<span class="box first" data-of="{number}" style="--colour: {colour};', html)


def test_boxes_are_shares_of_the_picture(ask):
    answer = ask("a red hat", top_k=2)
    height, width = answer.grounding.image.shape[:2]
    first, second = answer.grounding[0].regions
    html = answer_html(answer)
    for region, kind in ((first, "box first"), (second, "box dashed")):
        left, top = 100 * region.x0 / width, 100 * region.y0 / height
        assert re.search(rf'class="{kind}"[^>]*;left:{left:.2f}%;top:{top:.2f}%;', html)


def test_badges_in_one_corner_stand_beside_each_other(ask):
    html = answer_html(ask("a hat, a hat and a hat"))
    assert re.findall(r'class="badge" data-phrase="(\d)" style="--shift: (\d)"', html) == [
        ("0", "0"),
        ("1", "1"),
        ("2", "2"),
    ]


@pytest.mark.parametrize(
    ("caption", "status", "drawn"),
    [
        ("a zebra", "absent", 'class="box first dashed"'),
        ("no man", "absent", None),
        ("a qwrtz", "out-of-vocabulary", None),
    ],
)
def test_what_is_not_found_is_said(ask, caption, status, drawn):
    html = answer_html(ask(caption))
    assert f'class="phrase {status}"' in html
    assert ('class="box' in html) == (drawn is not None)
    assert drawn is None or drawn in html


def test_a_sentence_without_a_phrase(ask):
    html = answer_html(ask("running"))
    assert "There is no noun phrase" in html
    assert "data-phrase" not in html


def test_methods_tags_and_remark(ask):
    html = answer_html(ask("a man", compare=True), "<b>not so</b>")
    assert re.findall(r"<figcaption>([^<]*)", html) == ["contrastive MWP", "MWP", "CAM"]
    assert "<li style=" in html
    assert "&lt;b&gt;not so&lt;/b&gt;" in html
    assert "figcaption" not in answer_html(ask("a man"))


def test_a_method_that_does_not_work_here_says_why(ask):
    from dataclasses import replace

    answer = replace(ask("a man"), compared={"cam": "no <layer>"})
    assert "CAM: no &lt;layer&gt;" in answer_html(answer)


@pytest.mark.parametrize("line", [HOSTILE, "image <img src=x onerror=alert(1)>.png is no picture"])
def test_what_comes_from_outside_is_text(ask, line):
    for html in (problem_html(line), answer_html(ask(line)), answer_html(ask("a man"), line)):
        assert not re.search(r"<script|<img src=x|<[^>]*(onmouseover|onerror)=", html)
    assert (
        problem_html("a < b")
        == '<div class="answer" data-answer>\n<p class="problem" role="alert">a &lt; b</p>\n</div>'
    )


def test_a_map_is_strongest_where_the_phrase_map_is(ask):
    grounded = ask("a red hat").grounding[0]
    content = base64.b64decode(map_uri(grounded).partition(",")[2])
    alpha = np.asarray(Image.open(io.BytesIO(content)))[:, :, 3]
    place = np.array(np.unravel_index(alpha.argmax(), alpha.shape)) / alpha.shape
    true = np.array(np.unravel_index(grounded.grid_map.argmax(), grounded.grid_map.shape)) / grounded.grid_map.shape
    assert alpha.max() == round(255 * 0.9 - 0.5)
    assert np.abs(place - true).max() < 0.03


@pytest.mark.parametrize(
    "question", [Question("a man"), Question("a & b=c? ü\n", 3, 2, 0.25), Question("a \ud800 b", 1, None, 0.0)]
)
def test_a_question_stands_in_the_address(ask, question):
    from dataclasses import replace

    path = download_path(replace(ask("a man"), question=question), "result.csv")
    address = urlsplit(path)
    assert re.fullmatch(r"/download/[0-9a-f]{64}/result\.csv", address.path)
    again = asked_again(dict(parse_qsl(address.query, keep_blank_values=True)))
    assert again == replace(question, caption=question.caption.replace("\ud800", "?"))
