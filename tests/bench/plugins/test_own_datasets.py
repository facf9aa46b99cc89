import types

import pytest

from bench.common.errors import UserError
from bench.plugins import own_datasets


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """``datasets`` at a place of the test's choice, and another distribution of that name that claims a place."""

    def make(text, claimed=None):
        initial = tmp_path / "datasets" / "__init__.py"
        if text is not None:
            initial.parent.mkdir()
            initial.write_text(text)
        spec = types.SimpleNamespace(origin=None if text is None else str(initial))
        monkeypatch.setattr(own_datasets.importlib.util, "find_spec", lambda name: spec)

        def distribution(name):
            if claimed is None:
                raise own_datasets.importlib.metadata.PackageNotFoundError(name)
            return types.SimpleNamespace(locate_file=lambda file: tmp_path / claimed / file)

        monkeypatch.setattr(own_datasets.importlib.metadata, "distribution", distribution)

    return make


@pytest.mark.parametrize(
    ("text", "claimed", "words"),
    [
        ("import pyarrow", "", "hides this suite's package"),
        ("import pyarrow", None, "hides this suite's package"),
        ("GENSEG_BENCH = True", "", "installed over this suite's"),
        (None, None, "lost its __init__.py"),
    ],
    ids=["other-last", "other-elsewhere", "other-first", "other-uninstalled"],
)
def test_another_datasets_package_is_found_whichever_was_installed_first(installed, text, claimed, words):
    installed(text, claimed)
    with pytest.raises(UserError, match=words) as caught:
        own_datasets.require_own_datasets()
    assert "pip install --force-reinstall --no-deps genseg-bench" in str(caught.value)


@pytest.mark.parametrize("claimed", [None, "elsewhere"])
def test_another_datasets_package_in_another_place_does_no_harm(installed, claimed):
    installed("GENSEG_BENCH = True", claimed)
    own_datasets.require_own_datasets()
