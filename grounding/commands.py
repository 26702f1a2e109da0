"""What the command lines share: how bad input, an interruption and a closed standard output end them."""

import argparse
import contextlib
import io
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

from grounding.config import METHOD
from grounding.errors import GroundingError


class Parser(argparse.ArgumentParser):
    """Says what is wrong with the options in one line."""

    def error(self, message: str) -> NoReturn:
        """Exit with status 2."""
        self.exit(2, f"error: {message} (see --help)\n")


def path_option(text: str) -> Path:
    """A path for argparse; `~` is the home, also where quotes kept the shell from saying so."""
    if not text:
        raise argparse.ArgumentTypeError("no name was given")
    return Path(os.path.expanduser(text))  # noqa: PTH111 - never raises


def add_localizer_options(options: argparse._ActionsContainer) -> None:
    """Add the options that make a localizer."""
    options.add_argument(
        "--method",
        default=METHOD,
        metavar="NAME",
        help=f"how word maps are made: {METHOD} (default), mwp, cam, grad_cam, gradient, guided_backprop, deconvnet, "
        "lrp or rise",
    )
    add_classifier_options(options)


def add_classifier_options(options: argparse._ActionsContainer) -> None:
    """Add the options that name a classifier, where it runs and how its maps are read."""
    options.add_argument(
        "--classifier",
        default="embedded",
        metavar="SOURCE",
        help="embedded, a folder, user/name on the Hugging Face hub, torchvision:NAME or timm:NAME, also with =FILE of "
        "your own weights, hf:NAME of transformers, or clip:NAME for any words (see docs/guides/sources.md)",
    )
    options.add_argument(
        "--offline",
        nargs=0,
        action=_Offline,
        help="download nothing, whatever the classifier: the same as HF_HUB_OFFLINE=1",
    )
    options.add_argument("--device", default="cpu", help="cpu, cuda, mps, ... (default: cpu)")
    options.add_argument("--config", type=path_option, metavar="FILE", help="YAML, for example configs/localizer.yaml")
    options.add_argument(
        "--set", nargs="+", default=[], metavar="KEY=VALUE", help="change single keys, for example regions.gamma=0.3"
    )


class _Offline(argparse.Action):
    """Sets HF_HUB_OFFLINE, which `grounding.tagging.hub`, huggingface_hub and every process that is started read."""

    def __call__(self, *_: object) -> None:
        os.environ["HF_HUB_OFFLINE"] = "1"


class Terminated(KeyboardInterrupt):
    """SIGTERM has come: everything ends as it does after Ctrl-C."""


@contextlib.contextmanager
def _termination_as_interrupt() -> Iterator[None]:
    """SIGTERM raises `Terminated` while the block lasts, unless somebody else has said what it does."""

    def end(number: int, frame: object) -> NoReturn:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a second one would disturb the tidying up
        raise Terminated

    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


@contextlib.contextmanager
def _warnings_in_one_line() -> Iterator[None]:
    """Warnings of the package say no file and line: whoever typed a command can do nothing about these."""
    others = warnings.showwarning

    def show(message: Warning | str, category: type[Warning], *where: Any) -> None:
        if category.__module__.startswith("grounding."):
            print(f"warning: {message}", file=sys.stderr)
        else:
            others(message, category, *where)

    with warnings.catch_warnings():
        warnings.showwarning = show  # type: ignore[assignment]  # the signature, which changes with Python
        yield


def exit_status(command: Callable[[], int], advice: str = "") -> int:
    """Run a command and return its exit status.

    Args:
        advice: what to say after `interrupted` or `terminated`.

    Returns:
        What the command does; 2 after one line for bad input, 130 when it is interrupted, 143 after SIGTERM.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace")
    try:
        with _termination_as_interrupt(), _warnings_in_one_line():
            status = command()
        if sys.stdout is not None:  # None where it was closed from the start
            sys.stdout.flush()
        return status
    except GroundingError as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except MemoryError as error:
        reason = " ".join(str(error).split())
        print(f"error: there is not enough memory{reason and f' ({reason})'}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as stop:
        word, number = ("terminated", 143) if isinstance(stop, Terminated) else ("interrupted", 130)
        print(f"{word}: {advice}" if advice else word, file=sys.stderr)
        return number
    except OSError as error:
        if error.filename is not None:
            print(f"error: {error.filename}: {error.strerror}", file=sys.stderr)
            return 2
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is buffered cannot be written either
        if isinstance(error, BrokenPipeError):  # the reader, such as `head`, has seen enough
            return 0
        print(f"error: standard output cannot be written: {error.strerror}", file=sys.stderr)
        return 2
