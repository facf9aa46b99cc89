"""One rendering process, which the cache starts as ``python -m datasets.toyscapes.worker``.

Renders one worker's share of a split and prints a line after each. It ends when the lines are no longer read
any more, so that no process outlives the one that started it.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from datasets.toyscapes.cache import write_picture


def main(arguments: list[str]) -> None:
    """Render the share of FOLDER SPLIT HEIGHT WIDTH COUNT WORKERS NUMBER."""
    folder, split = Path(arguments[0]), arguments[1]
    height, width, count, workers, number = map(int, arguments[2:])
    for index in range(number, count, workers):
        write_picture(folder, split, index, (height, width))
        try:
            os.write(1, b"\n")
        except BrokenPipeError:
            return


if __name__ == "__main__":
    main(sys.argv[1:])
