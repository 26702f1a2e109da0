"""`python -m grounding.serve label-studio`: the localizer as a service for another tool."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from grounding.commands import Parser, add_localizer_options, exit_status, path_option
from grounding.errors import GroundingError

PORT: Final = 9090  # as of Label Studio's other backends
_SECRET, _KEY = "GROUNDING_SECRET", "LABEL_STUDIO_API_KEY"
_LOOPBACK: Final = ("127.0.0.1", "::1", "localhost")

EPILOG = f"""\
examples:
  python -m grounding.serve label-studio
  python -m grounding.serve label-studio --label-studio-url http://localhost:8080 --files photos/
  python -m grounding.serve label-studio --host 0.0.0.0 --name host.docker.internal

Give its address, http://localhost:{PORT}, in Label Studio under Settings > Model. Pictures that Label Studio holds are
read from --label-studio-url, with the key in {_KEY}; its local files from --files. Where {_SECRET} is set,
every call must give it as the password of basic authentication. docs/guides/integrations.md explains it.

exit status: 2 bad input, said in one line; 130 interrupted; 143 terminated (SIGTERM)."""


def build_parser() -> argparse.ArgumentParser:
    """Build the options, without importing anything heavy."""
    parser = Parser(
        prog="python -m grounding.serve",
        description="Answer another tool over HTTP.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    tools = parser.add_subparsers(dest="tool", required=True, metavar="TOOL")
    backend = tools.add_parser(
        "label-studio",
        help="a machine learning backend that drafts boxes in Label Studio",
        description="Draft the boxes of a Label Studio project: a machine learning backend.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_backend_options(backend)
    add_localizer_options(backend.add_argument_group("how"))
    return parser


def _add_backend_options(backend: argparse.ArgumentParser) -> None:
    what = backend.add_argument_group("what is drafted")
    most = "at most N boxes a label; those after the first are other readings of the evidence (default: 1)"
    what.add_argument("--boxes", type=int, default=1, metavar="N", help=most)
    least = "draft nothing for a label whose presence is below P, from 0 to 1 (default: as the classifier recommends)"
    what.add_argument("--min-presence", type=float, metavar="P", help=least)
    where = backend.add_argument_group("who calls, and where the pictures are")
    where.add_argument("--port", type=int, default=PORT, metavar="N", help=f"0 for any free port (default: {PORT})")
    where.add_argument("--host", default="127.0.0.1", metavar="ADDRESS", help="where to listen (default: 127.0.0.1)")
    names = "names under which it is called from elsewhere, such as host.docker.internal from a container"
    where.add_argument("--name", nargs="+", default=[], metavar="NAME", help=names)
    url = "where Label Studio is, such as http://localhost:8080, to read the pictures that it holds"
    where.add_argument("--label-studio-url", metavar="URL", help=url)
    files = "the folder of Label Studio's local files; pictures are read from nowhere else on this machine"
    where.add_argument("--files", type=path_option, metavar="DIR", help=files)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    options = build_parser().parse_args(arguments)
    return exit_status(lambda: _label_studio(options))


def _label_studio(options: argparse.Namespace) -> int:
    from grounding.web.options import check_extra

    check_extra("grounding serve", "serve", "starlette", "uvicorn")
    if options.host not in _LOOPBACK and not options.name:
        raise GroundingError(
            f"--host {options.host} lets other machines in: say under which names, such as --name host.docker.internal"
        )
    from grounding.config import LocalizerConfig, load
    from grounding.integrations.label_studio.backend import application
    from grounding.integrations.label_studio.pictures import Pictures
    from grounding.integrations.label_studio.predictions import Drafter
    from grounding.pipeline import Localizer
    from grounding.web.guard import LOCAL_NAMES
    from grounding.web.server import serve

    pictures = Pictures(options.label_studio_url, os.environ.get(_KEY, "").strip() or None, _absolute(options.files))
    presence = [] if options.min_presence is None else [f"min_presence={options.min_presence}"]
    config = load(LocalizerConfig, options.config, [*options.set, *presence])
    localizer = Localizer.from_pretrained(options.classifier, config, options.device, options.method)
    app = application(
        Drafter(localizer, pictures, options.boxes), [*LOCAL_NAMES, *options.name], os.environ.get(_SECRET)
    )
    if options.host not in _LOOPBACK and not os.environ.get(_SECRET):
        print(
            f"warning: whoever reaches {options.host} may ask for boxes: set {_SECRET} to keep others out",
            file=sys.stderr,
        )
    serve(app, "Label Studio backend", options.port, PORT, open_browser=False, host=options.host)
    return 0


def _absolute(folder: Path | None) -> Path | None:
    return None if folder is None else folder.absolute()


if __name__ == "__main__":
    sys.exit(main())
