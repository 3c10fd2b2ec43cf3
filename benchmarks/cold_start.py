"""From the shell to an answer: `search --photos` against the imports that such a program starts with.

    python -m benchmarks.cold_start --photos DIR --index DIR

DIR is indexed already. Seven times each, alternating; medians, and the memory of each process.
"""

import argparse
import os
import statistics
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TIMES = 7
IMPORTS = "import torch; import timm; import sentence_transformers"


def main() -> None:
    """Print seconds and megabytes of both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--index", type=Path)
    options = parser.parse_args()
    search = ["-m", "crossmodal", "search", "two dogs in the snow", "--photos", str(options.photos)]
    search += ["--index", str(options.index)] if options.index else []
    commands = {"search": search, "imports alone": ["-c", IMPORTS]}
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(TIMES):
        for name, command in commands.items():
            taken, megabytes = _run(command)
            seconds[name].append(taken)
            print(f"{name:14} {taken:.2f} s, {megabytes:,.0f} MB")
    middle = {name: statistics.median(taken) for name, taken in seconds.items()}
    print(
        f"medians: search {middle['search']:.2f} s, imports alone {middle['imports alone']:.2f} s, ratio {middle['search'] / middle['imports alone']:.2f}"
    )


def _run(arguments: list[str]) -> tuple[float, float]:
    started = time.perf_counter()
    process = os.posix_spawn(
        sys.executable, [sys.executable, *arguments], {**os.environ, "PYTHONPATH": str(ROOT)},
        file_actions=[(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)],
    )  # fmt: skip
    _, status, usage = os.wait4(process, 0)
    if status:
        raise SystemExit(f"{' '.join(arguments)} failed.")
    return time.perf_counter() - started, usage.ru_maxrss / 1024


if __name__ == "__main__":
    main()
