"""The door of the page."""

import pytest

from grounding.demo import build_parser, main


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--keep", "0"], "--keep is 0: expected at least 1"),
        (["--set", "maps.strid=8"], "unknown configuration key 'maps.strid'"),
        (["--classifier", "nowhere:at-all"], "nowhere"),
        (["--method", "contrastive"], "unknown method 'contrastive'"),
    ],
)
def test_bad_options_are_one_line(in_empty_folder, arguments, line):
    status, out, err = in_empty_folder(main, *arguments)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("error: ")
    assert line in err


def test_without_gradio_it_says_what_to_install(in_empty_folder, monkeypatch):
    monkeypatch.setattr("grounding.web.options.find_spec", lambda _: None)
    status, _, err = in_empty_folder(main)
    assert (status, err) == (2, "error: grounding.demo needs gradio: pip install 'grounding[demo]'\n")


def test_options():
    options = build_parser().parse_args(
        ["--classifier", "clip:NAME", "--device", "cuda", "--method", "mwp", "--no-browser"]
    )
    assert (options.classifier, options.device, options.method) == ("clip:NAME", "cuda", "mwp")
    assert (options.port, options.no_browser, options.keep) == (None, True, 3600)


@pytest.mark.parametrize(
    ("arguments", "host", "warning"),
    [([], "127.0.0.1", ""), (["--host", "0.0.0.0"], "0.0.0.0", "warning: whoever reaches 0.0.0.0 may use the page\n")],
)
def test_it_listens_on_this_machine_unless_told_otherwise(in_empty_folder, monkeypatch, arguments, host, warning):
    pytest.importorskip("gradio")
    served = []
    monkeypatch.setattr("grounding.pipeline.Localizer.from_pretrained", lambda *_: None)
    monkeypatch.setattr("grounding.demonstration.questions.Demonstration", lambda _: None)
    monkeypatch.setattr("grounding.demonstration.page.application", lambda *_: None)
    monkeypatch.setattr("grounding.web.server.serve", lambda *given: served.append(given[-1]))
    status, _, err = in_empty_folder(main, *arguments)
    assert (status, err, served) == (0, warning, [host])
