"""Give every reader of the package broken input of every kind, and say what is not right about its answer.

What is right: an error of one line, in time and in little memory, with nothing left behind; or, where the input is odd
and yet good, an answer. The inputs are made in a temporary folder, the same for a seed; the tests judge them too.

    python scripts/malformed.py --seed 1            # what is wrong
    python scripts/malformed.py --seed 1 --all      # and what every reader says
    python scripts/malformed.py --examples 10000    # as many more for each reader by hypothesis; it stops at a fault
"""

import argparse
import os
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))


def main() -> int:
    """Judge all cases; the status is 1 where a fault is found."""
    from helpers.malformed import all_cases
    from helpers.malformed.judge import judge

    parser = argparse.ArgumentParser(description="Judge how broken input is refused.")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="", metavar="TEXT", help="only cases with this in their name")
    parser.add_argument("--all", action="store_true", help="print what every reader says")
    parser.add_argument("--examples", type=int, default=0, metavar="N", help="hunt with hypothesis instead")
    options = parser.parse_args()
    if options.examples:
        return _hunt(options.examples, options.seed)
    counts: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        for case in all_cases(Path(folder), options.seed):
            if options.only not in case.name:
                continue
            start = time.perf_counter()
            verdict = judge(case)
            took = time.perf_counter() - start
            counts["faults" if verdict.fault else "refused" if verdict.said else "read"] += 1
            if verdict.fault or options.all or took > 0.5:
                print(
                    f"{took:5.2f} s  {case.name:40.40}  {(verdict.fault and 'FAULT ' + verdict.fault) or verdict.said}"
                )
        os.chdir("/")
    print(f"seed {options.seed}: {counts.total()} cases, " + ", ".join(f"{n} {what}" for what, n in counts.items()))
    return 1 if counts["faults"] else 0


def _hunt(examples: int, start: int) -> int:
    """Give every reader so many inputs that hypothesis makes; a wrong answer is raised with the smallest such input."""
    from helpers.malformed.harness import hunt, readers

    for name in readers():
        hunt(name, examples, start)
        print(f"{name}: {examples:,} inputs, only errors of one line", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
