"""Broken input of every kind ends in one line: no traceback, no hang, no half of an output, no code that it holds."""

import random

import pytest

from helpers.malformed import KINDS, cases_of
from helpers.malformed.judge import LONGEST, Case, judge

LEAST = {"pictures": 80, "annotations": 85, "tables": 100, "settings": 80, "weights": 120, "archives": 100, "maps": 100}
SEED = 1


@pytest.mark.parametrize("kind", KINDS)
def test_every_reader_refuses_in_one_line(kind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "inputs").mkdir()
    verdicts = [judge(case) for case in cases_of(kind, tmp_path / "inputs", random.Random(f"{SEED} {kind}"))]
    assert [f"{verdict.case.name}: {verdict.fault}" for verdict in verdicts if verdict.fault] == []
    assert len(verdicts) >= LEAST.get(kind, 90)
    assert sum(bool(verdict.said) for verdict in verdicts) > len(verdicts) / 3
    assert [path.name for path in tmp_path.iterdir()] == ["inputs"], "something was written beside the input"


def test_the_judge_sees_every_fault(tmp_path):
    from grounding.errors import GroundingError

    def refuse():
        (tmp_path / "half").mkdir(exist_ok=True)
        raise GroundingError("no")

    def hog():
        bytearray(3 << 30)

    def hang():
        while True:
            pass

    faults = {
        "read": (Case("read", lambda: None), "should be refused"),
        "traceback": (Case("traceback", lambda: [][0]), "IndexError"),
        "memory": (Case("memory", hog), "MemoryError"),
        "half": (Case("half", refuse, absent=tmp_path / "half"), "leaves half behind"),
        "good": (Case("good", refuse, "read"), "can be read"),
        "time": (Case("time", hang), "takes over"),
    }
    for case, words in faults.values():
        assert words in judge(case).fault
    assert judge(Case("refused", refuse)).fault == ""


@pytest.mark.parametrize("line", ["a\nb\r\nc", "x" * 3000, "one" + " word" * 500, "short"])
def test_a_message_is_one_line_that_a_terminal_can_show(line):
    from grounding.errors import GroundingError

    message = str(GroundingError(f"image {line} is missing: expected a file"))
    assert len(message.splitlines()) == 1
    assert len(message) <= LONGEST
    assert message.startswith("image ")
    assert message.endswith("expected a file")
