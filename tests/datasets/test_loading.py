import multiprocessing
import sys
from pathlib import Path

import pytest

from datasets.loading import follow_parent


def raised_in_a_loader(path: Path, error: Exception) -> None:
    with open(path, "w") as sys.stderr:
        follow_parent(0)
        sys.excepthook(type(error), error, None)


@pytest.mark.parametrize(
    ("error", "told"), [(ConnectionResetError("by peer"), False), (EOFError(), False), (OSError("disk"), True)]
)
def test_a_loader_is_silent_of_a_parent_that_went_and_of_nothing_else(error, told, tmp_path):
    process = multiprocessing.get_context("fork").Process(target=raised_in_a_loader, args=(tmp_path / "err", error))
    process.start()
    process.join()
    assert process.exitcode == 0
    assert (type(error).__name__ in (tmp_path / "err").read_text()) == told
