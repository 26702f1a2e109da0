"""The page itself: Gradio's fields around the answers of a `Demonstration`, and the application that serves them."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from grounding.demonstration.admission import Admission, Check, number_from, picture_in, text, yes_or_no
from grounding.demonstration.downloads import download_route
from grounding.demonstration.examples import Example, write_examples
from grounding.demonstration.fragment import answer_html, problem_html
from grounding.demonstration.questions import MOST_REGIONS, Demonstration, Question
from grounding.errors import GroundingError

if TYPE_CHECKING:
    from starlette.types import ASGIApp

MOST_BYTES: Final = 24 << 20  # of an uploaded picture
_MOST_CHARACTERS: Final = 100_000  # that the page sends; it is told where a sentence is longer than is read
_SESSIONS: Final = 16  # whose last values Gradio remembers
_STATIC: Final = Path(__file__).parent / "static"
_SETTINGS: Final = {
    "GRADIO_ANALYTICS_ENABLED": "False",
    "GRADIO_RUN_HISTORY": "False",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "MPLBACKEND": "agg",  # Gradio looks for one at the first call
}
_TOP_K: Final = "The best one has a full line, the others are dashed."
_DEPTH: Final = "The layer that is read: 1 is near the picture, fine and restless; the last near the answer. Usual: {}."
_LEAST: Final = "A phrase with a lower presence is called absent."
_COMPARE: Final = "Contrastive MWP, plain MWP and CAM, beside each other."
# Gradio's page has scripts and styles inside it and makes functions of its templates; all of them come from here.
HEADERS: Final = {
    "content-security-policy": "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; object-src 'none'; "
    "base-uri 'self'; form-action 'self'; frame-ancestors 'none'",
    "x-frame-options": "DENY",
}
_INTRODUCTION: Final = """# Where in the picture is it?

Drop in a photograph and say what is in it. Each phrase lights up with the place that speaks for it. \
The model has never been shown a box, and nothing leaves this machine."""
_HEAD: Final = '<link rel="stylesheet" href="/page/demo.css"><script src="/page/demo.js" defer></script>'


class Settings(NamedTuple):
    """What the fields below the sentence say, in their order."""

    top_k: float
    depth: float
    least: float
    compare: bool


@contextlib.contextmanager
def gradio_settings(folder: Path) -> Iterator[None]:
    """Have Gradio keep its files in a folder and tell nobody anything, while the block lasts."""
    wanted = {**_SETTINGS, "GRADIO_TEMP_DIR": str(folder), "GRADIO_EXAMPLES_CACHE": str(folder / "examples")}
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def application(demonstration: Demonstration, folder: Path, kept_s: int) -> "ASGIApp":
    """The page as an ASGI application inside its `Guard`; call it and serve it inside `gradio_settings`.

    Args:
        folder: for uploaded pictures.
        kept_s: after which they are deleted.
    """
    import gradio
    from fastapi import FastAPI
    from starlette.staticfiles import StaticFiles

    from grounding.web.guard import Guard
    from grounding.web.requests import answer_errors

    blocks = _blocks(demonstration, write_examples(folder), kept_s)
    blocks.state_session_capacity = _SESSIONS
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    answer_errors(app)
    app.router.routes.append(download_route(demonstration))
    app.mount("/page", StaticFiles(directory=_STATIC))
    gradio.mount_gradio_app(
        app,
        blocks,
        "/",
        footer_links=[],
        run_history=False,
        ssr_mode=False,
        pwa=False,
        mcp_server=False,
        enable_monitoring=False,
        max_file_size=MOST_BYTES,
        theme=_theme(),
        head=_HEAD,
    )
    return Guard(Admission(app, _fields(blocks, folder)), headers=HEADERS)


def _blocks(demonstration: Demonstration, examples: list[Example], kept_s: int) -> Any:
    """Gradio's page, on which the first example is lit."""
    import gradio as gr

    depths, first = demonstration.depths, examples[0]
    usual = Settings(1, depths.usual + 1, round(demonstration.least, 2), True)
    with gr.Blocks(title="grounding", analytics_enabled=False, delete_cache=(max(1, kept_s // 6), kept_s)) as blocks:
        gr.Markdown(_INTRODUCTION, elem_classes="introduction")
        with gr.Row(elem_classes="page"):
            with gr.Column(scale=4, min_width=320, elem_classes="left"):
                picture = gr.Image(str(first.picture), label="Picture", sources=["upload", "clipboard"], height=280)
                caption = gr.Textbox(
                    first.caption, label="Sentence", placeholder=first.caption, max_length=_MOST_CHARACTERS
                )
                button = gr.Button("Light up the sentence", variant="primary")
                gr.Markdown("Or try one of these:")
                tries = [gr.Button(each.title, icon=each.picture, elem_classes="example") for each in examples]
                settings = _settings(usual, len(depths.maps))
            with gr.Column(scale=6, min_width=320, elem_classes="right"):
                shown = _lit(demonstration, first.picture, first.caption, usual)
                answer = gr.HTML(shown, js_on_load=None, apply_default_css=False)

        def light(picture: dict[str, Any] | None, caption: str | None, *values: Any) -> str:
            path = None if picture is None else Path(picture["path"])
            return _lit(demonstration, path, caption or "", Settings(*values))

        def show(example: Example) -> Any:
            def shown(*values: Any) -> tuple[str, str, str]:
                lit = _lit(demonstration, example.picture, example.caption, Settings(*values), example.failure)
                return str(example.picture), example.caption, lit

            return shown

        # The values come as the page sends them: Gradio would open the picture, and raise over one that is none.
        limits: dict[str, Any] = {"concurrency_limit": 4, "concurrency_id": "light", "preprocess": False}
        fields = [picture, caption, *settings]
        asking = [button.click, caption.submit, picture.upload]
        gr.on(asking, light, fields, answer, api_name="light", trigger_mode="always_last", **limits)
        limits["api_visibility"] = "private"
        picture.clear(
            lambda: _lit(demonstration, None, "", usual), None, answer, **limits
        )  # the picture is still there
        for setting in settings:
            setting.change(light, fields, answer, trigger_mode="always_last", show_progress="hidden", **limits)
        for example, pressed in zip(examples, tries, strict=True):
            pressed.click(show(example), settings, [picture, caption, answer], show_progress="minimal", **limits)
    return blocks


def _settings(usual: Settings, depths: int) -> list[Any]:
    """The fields of `Settings`, in their order."""
    import gradio as gr

    with gr.Accordion("Settings", elem_classes="settings"):
        top_k = gr.Slider(1, MOST_REGIONS, usual.top_k, step=1, label="Boxes a phrase", info=_TOP_K)
        info = _DEPTH.format(usual.depth)
        several = depths > 1
        depth = gr.Slider(1, depths, usual.depth, step=1, label="Depth of the map", info=info, visible=several)
        least = gr.Slider(0, 1, usual.least, step=0.01, label="Minimum presence", info=_LEAST)
        compare = gr.Checkbox(usual.compare, label="Compare three methods", info=_COMPARE)
    return [top_k, depth, least, compare]


def _lit(demonstration: Demonstration, picture: Path | None, caption: str, settings: Settings, remark: str = "") -> str:
    """The answer as HTML, or what is wrong with the question."""
    question = Question(caption, int(settings.top_k), int(settings.depth), float(settings.least), settings.compare)
    try:
        return answer_html(demonstration.ask(picture, question), remark)
    except GroundingError as error:
        return problem_html(str(error))


def _fields(blocks: Any, folder: Path) -> dict[int, list[Check]]:
    """What the fields of each function of the page can have."""
    return {number: [_check_of(each, folder) for each in function.inputs] for number, function in blocks.fns.items()}


def _check_of(component: Any, folder: Path) -> Check:
    kind = component.get_block_name()
    if kind == "image":
        return picture_in(folder)
    if kind == "slider":
        return number_from(component.minimum, component.maximum)
    return {"textbox": text, "checkbox": yes_or_no}[kind]


def _theme() -> Any:
    """Gradio's own, with the fonts of the machine and colours that can be read."""
    import gradio as gr

    sans = ["system-ui", "sans-serif"]
    mono = ["ui-monospace", "monospace"]
    theme = gr.themes.Default(primary_hue="blue", secondary_hue="blue", neutral_hue="slate", font=sans, font_mono=mono)
    return theme.set(
        body_text_color_subdued="*neutral_600",
        body_text_color_subdued_dark="*neutral_300",
        block_info_text_color="*neutral_600",
        block_info_text_color_dark="*neutral_300",
        button_primary_background_fill="*primary_700",
        button_primary_background_fill_hover="*primary_800",
        button_primary_background_fill_dark="*primary_700",
        button_primary_background_fill_hover_dark="*primary_600",
    )
