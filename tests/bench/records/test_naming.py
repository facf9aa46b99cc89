"""What people call a configuration by itself."""

import pytest

from bench.config import tables as config
from bench.plugins import registry
from bench.records.naming import name


def made(method, **settings):
    return config.build(registry.methods.get(method), "toyscapes_mini", "quick", 0, [{"method": settings}])


@pytest.mark.parametrize(
    ("method", "settings", "expected"),
    [
        ("softmax", {}, "softmax"),
        ("gmmseg", {"preset": "paper"}, "gmmseg (preset=paper)"),
        ("gmmseg", {"preset": "paper", "components": 3}, "gmmseg (preset=paper, components=3)"),
        ("segsort", {"inference_clusters": 16, "clusters": 9}, "segsort (clusters=9, inference_clusters=16)"),
    ],
)
def test_a_name_has_the_settings_from_which_all_others_follow(method, settings, expected):
    assert name(made(method, **settings)) == expected


def test_a_name_tells_versions_and_partial_data():
    usual = made("softmax")
    partial = usual.data.model_copy(update={"allow_partial": True})
    changed = usual.model_copy(update={"method_version": "3", "data": partial})
    assert name(changed) == "softmax (version 3) on partial data"


def test_a_name_tells_files_by_their_content():
    changed = made("softmax").model_copy(update={"method": {"bank": "a.npz"}, "method_files": {"bank": "12345678" * 8}})
    assert name(changed) == "softmax (bank=a.npz@12345678)"


@pytest.mark.parametrize("method", ["unheard-of", "softmax"])
def test_what_is_not_installed_or_refuses_the_settings_is_called_by_all_of_them(method):
    changed = made("softmax").model_copy(update={"method_name": method, "method": {"gone": 1, "table": {"key": "x"}}})
    assert name(changed) == f"{method} (gone=1, table.key=x)"
