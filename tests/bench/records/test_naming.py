"""What people call a configuration by itself."""

import pytest

from bench.config import tables as config
from bench.config.tables import FeatureSource
from bench.plugins import registry
from bench.records.naming import Variant, name, named


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


@pytest.mark.parametrize(
    ("configuration", "short"),
    [
        ("gmmseg", "gmmseg"),
        ("gmmseg (preset=paper)", "gmmseg-paper"),
        ("gmmseg (preset=paper, components=3)", "gmmseg-paper"),
        ("gss (version 2, codec=patch, hidden=128, heads=4, samples=0)", "gss-patch"),
        ("gss (version 2, variant=ft-w, inverse_training=predictions, window_depth=1)", "gss-ft-w-predictions"),
        ("gmmseg (mem_correct_only=false)", "gmmseg"),
        ("segsort (region_maps=abcdef01, clusters=64)", "segsort"),
        ("softmax (bank=a.npz@12345678)", "softmax"),
        ("linear on gss (codec=patch)", "linear"),
    ],
)
def test_a_short_name_has_the_words_among_the_settings_and_no_numbers_switches_files_or_hashes(configuration, short):
    config = made("softmax").model_copy(update={"method_name": short.partition("-")[0]})
    assert Variant.of(config, configuration).called() == short


def test_a_short_name_is_the_same_whatever_stands_beside_it():
    patch = made("gss", codec="patch")
    variants = [Variant.of(config, name(config)) for config in (patch, made("gss"), made("gmmseg", preset="paper"))]
    assert {*named(variants).label.values()} == {"gmmseg-paper", "gss", "gss-patch"}
    assert [*named(variants[:1]).label.values()] == ["gss-patch"]


def test_settings_stand_in_brackets_only_where_two_would_be_called_alike():
    configs = [made("gss", codec="patch", samples=samples) for samples in (2, 3)] + [made("gss", samples=3)]
    variants = [Variant.of(config, name(config)) for config in configs]
    assert {*named(variants).label.values()} == {"gss-patch (samples=2)", "gss-patch (samples=3)", "gss"}


def test_read_outs_are_called_by_the_short_name_of_the_network_and_in_full_where_two_would_be_called_alike():
    def fitted(*settings):
        names = [f"gss (codec=patch, samples={count})" for count in settings]
        configs = [
            made("linear").model_copy(update={"features": FeatureSource(run="r", name=text, hash="0" * 64)})
            for text in names
        ]
        return [*named(Variant.of(config, name(config)) for config in configs).label.values()]

    assert fitted(0) == ["linear on gss-patch"]
    assert fitted(0, 2) == [f"linear (features=gss (codec=patch, samples={count})) on gss-patch" for count in (0, 2)]
