"""The check of standardised numbers: parts that are the whole miss by nothing."""

import re

from helpers.entities import write_entities
from helpers.paths import load_script


def test_parts_that_are_the_whole(tmp_path, capsys):
    script, folder = load_script("check_standardised"), write_entities(tmp_path / "entities")
    assert script.main(["--annotations", str(folder), "--images", "5", "--parts", "2"]) == 0
    *lines, last = capsys.readouterr().out.splitlines()
    assert len(lines) == len(script.KNOWN)
    assert all(re.search(r"in 2 of 2 intervals; error 0\.00 standardised, 0\.00 raw$", line) for line in lines)
    assert last == "14 of 14 intervals contain the number of the whole split"
