"""What may become of bad input: a `GroundingError` of one line, in time and in little memory, or a proper answer."""

import contextlib
import random
import resource
import signal
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Literal, NoReturn

from grounding.errors import GroundingError

LIMIT_S = 3.0  # of the processor
LONGEST_WAIT_S = 60.0  # for what never comes; long, since the machine may have other work
LIMIT_BYTES = 1 << 30  # of memory beyond what the process has before a case
LONGEST = 1000  # characters of a message
REFUSED, READ, EITHER = "refused", "read", "either"


class OutOfTime(BaseException):
    """A case has taken too long; no reader catches this."""


@dataclass(frozen=True)
class Case:
    """One input and the reader that gets it.

    Attributes:
        call: reads it; a reader that sets rows aside raises the error of the first.
        expected: EITHER where chance decides whether enough is left of it.
        absent: a path that must not exist where it is refused: no half of an output is left.
    """

    name: str
    call: Callable[[], object]
    expected: Literal["refused", "read", "either"] = REFUSED
    absent: Path | None = None


@dataclass(frozen=True)
class Verdict:
    """What became of a case: `fault` is empty where that is right, else what is wrong; `said` is the message."""

    case: Case
    fault: str
    said: str


def judge(case: Case) -> Verdict:
    """Run one case."""
    try:
        with _little_time(), _little_memory(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            case.call()
    except GroundingError as error:
        return Verdict(case, _fault_of(case, str(error)), str(error))
    except OutOfTime:
        return Verdict(case, f"takes over {LIMIT_S:g} s, or waits", "")
    except BaseException as error:  # whatever else it is, a user would see a traceback
        return Verdict(case, f"{type(error).__name__}: {str(error)[:200]}", "")
    return Verdict(case, "is read, and should be refused" if case.expected == REFUSED else "", "")


def _fault_of(case: Case, message: str) -> str:
    if case.expected == READ:
        return f"is refused, and can be read: {message[:200]}"
    if len(message.splitlines()) != 1 or len(message) > LONGEST:
        return f"says {len(message.splitlines())} lines, {len(message):,} characters: {message[:100]!r}"
    if case.absent is not None and case.absent.exists():
        return f"leaves {case.absent.name} behind"
    return ""


@contextlib.contextmanager
def _little_time() -> Iterator[None]:
    def end(number: int, frame: FrameType | None) -> NoReturn:
        raise OutOfTime

    timers = ((signal.ITIMER_PROF, signal.SIGPROF, LIMIT_S), (signal.ITIMER_REAL, signal.SIGALRM, LONGEST_WAIT_S))
    before = [signal.signal(number, end) for _, number, _ in timers]
    try:
        for timer, _, limit in timers:
            signal.setitimer(timer, limit)
        yield
    finally:
        for (timer, number, _), handler in zip(timers, before, strict=True):
            signal.setitimer(timer, 0)
            signal.signal(number, handler)


@contextlib.contextmanager
def _little_memory() -> Iterator[None]:
    limits = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + LIMIT_BYTES, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)


def cut(content: bytes, chance: random.Random) -> bytes:
    """The beginning of a file, at least one byte and less than all."""
    return content[: chance.randrange(1, len(content))]


def flipped(content: bytes, chance: random.Random, bits: int = 3) -> bytes:
    """A file of which some bits are wrong."""
    damaged = bytearray(content)
    for _ in range(bits):
        damaged[chance.randrange(len(damaged))] ^= 1 << chance.randrange(8)
    return bytes(damaged)


def blanked(content: bytes, chance: random.Random) -> bytes:
    """A file whose end was never written: zeros."""
    start = chance.randrange(1, len(content))
    return content[:start] + bytes(len(content) - start)
