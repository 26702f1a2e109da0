"""`python -m grounding.demo`: a page to try it on, in the browser of this machine."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from grounding.commands import Parser, add_localizer_options, exit_status
from grounding.config import LocalizerConfig, load
from grounding.errors import check_at_least_one
from grounding.web.options import add_page_options, check_extra

PORT = 7860
LOOPBACK = "127.0.0.1"
EPILOG = """\
examples:
  python -m grounding.demo
  python -m grounding.demo --classifier torchvision:resnet50 --method grad_cam --port 0 --no-browser

The page listens on 127.0.0.1 only, unless --host says otherwise, and asks nothing of any other machine.

exit status: 2 bad input, said in one line; 130 ended by Ctrl-C, 143 terminated."""


def build_parser() -> argparse.ArgumentParser:
    """Build the options, without importing anything heavy."""
    parser = Parser(
        prog="python -m grounding.demo",
        description="Open a page on which a photograph and a sentence light up, phrase by phrase.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_localizer_options(parser.add_argument_group("how"))
    page = parser.add_argument_group("the page")
    add_page_options(page, PORT)
    host = "where the page listens (default: 127.0.0.1); 0.0.0.0 in a container whose port only this machine has"
    page.add_argument("--host", default=LOOPBACK, metavar="ADDRESS", help=host)
    keep = "delete an uploaded picture after so many seconds (default: 3600), and all of them at the end"
    page.add_argument("--keep", type=int, default=3600, metavar="SECONDS", help=keep)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    options = build_parser().parse_args(arguments)
    return exit_status(lambda: _show(options))


def _show(options: argparse.Namespace) -> int:
    """Load and warm everything, and serve the page until Ctrl-C."""
    check_extra("grounding.demo", "demo", "gradio")
    check_at_least_one("--keep", options.keep)
    config = load(LocalizerConfig, options.config, options.set)
    from tempfile import TemporaryDirectory

    from grounding.demonstration.page import application, gradio_settings
    from grounding.demonstration.questions import Demonstration
    from grounding.pipeline import Localizer
    from grounding.web.server import serve

    demonstration = Demonstration(Localizer.from_pretrained(options.classifier, config, options.device, options.method))
    with TemporaryDirectory(prefix="grounding-demo-") as name, gradio_settings(Path(name)):
        app = application(demonstration, Path(name), options.keep)
        if options.host != LOOPBACK:
            print(f"warning: whoever reaches {options.host} may use the page", file=sys.stderr)
        serve(app, "demo", options.port, PORT, not options.no_browser, options.host)
    return 0


if __name__ == "__main__":
    sys.exit(main())
