"""What ``--set key=a,b,c`` makes a grid of, and what keeps its meaning."""

import pytest

from bench.common.errors import UserError
from bench.config import grid as sweeps
from bench.plugins import registry

SOFTMAX = registry.methods.get("softmax")
GMMSEG = registry.methods.get("gmmseg")
SEGSORT = registry.methods.get("segsort")


def grid(*assignments, methods=(SEGSORT,), seeds=(0,), overrides=()):
    return sweeps.grid(list(methods), "toyscapes_mini", "quick", list(seeds), list(overrides), assignments)


def values(made, read):
    return [read(config) for _, config in made.runs]


def test_a_comma_list_for_one_value_is_a_run_each():
    made = grid("method.clusters=5,10,25")
    assert made.swept == ["method.clusters"]
    assert values(made, lambda c: c.method["clusters"]) == [5, 10, 25]
    assert len({config.run_id() for _, config in made.runs}) == 3


def test_several_keys_make_the_product_with_methods_and_seeds():
    made = grid("recipe.steps=1,2", "recipe.optimiser.lr=0.1,0.2,0.3", methods=(SOFTMAX, GMMSEG), seeds=(0, 7))
    assert made.swept == ["recipe.steps", "recipe.optimiser.lr"]
    found = values(made, lambda c: (c.method_name, c.recipe.steps, c.recipe.optimiser.lr, c.seed))
    assert len(found) == len(set(found)) == 2 * 2 * 3 * 2
    assert found[:3] == [("softmax", 1, 0.1, 0), ("softmax", 1, 0.1, 7), ("softmax", 1, 0.2, 0)]


@pytest.mark.parametrize(
    ("assignment", "read", "expected"),
    [
        ("method.decode=knn,dense", lambda c: c.method["decode"], ["knn", "dense"]),
        ("method.decode='knn', 'dense'", lambda c: c.method["decode"], ["knn", "dense"]),
        ("method.leave_one_out=true, false", lambda c: c.method["leave_one_out"], [True, False]),
        ("method.inference_clusters=none,9", lambda c: c.method["inference_clusters"], [None, 9]),
        ("method.clusters=5,10,5", lambda c: c.method["clusters"], [5, 10]),
        ("data.supervision=dense,points,none", lambda c: c.data.supervision, ["dense", "points", "none"]),
        ("network.decoder.decoder_dropout=0.1,0.2", lambda c: c.network.decoder["decoder_dropout"], [0.1, 0.2]),
        ("recipe.augmentation.short_side=none,128", lambda c: c.recipe.augmentation.short_side, [None, 128]),
    ],
)
def test_values_are_read_as_single_ones_are(assignment, read, expected):
    assert values(grid(assignment), read) == expected


@pytest.mark.parametrize(
    ("assignment", "read", "expected"),
    [
        ("recipe.augmentation.crop=[64, 96]", lambda c: c.recipe.augmentation.crop, (64, 96)),
        ("recipe.inference.scales=[0.5, 1.0]", lambda c: c.recipe.inference.scales, (0.5, 1.0)),
        ("network.decoder={decoder_dropout = 0.1, a = 2}", lambda c: len(c.network.decoder), 2),
        ("recipe.description='one, two'", lambda c: c.recipe.description, "one, two"),
    ],
)
def test_lists_tables_and_quoted_commas_keep_their_meaning(assignment, read, expected):
    made = grid(assignment)
    assert made.swept == []
    assert values(made, read) == [expected]


def test_a_later_assignment_of_a_key_replaces_an_earlier_one():
    assert values(grid("method.clusters=5,10", "method.clusters=7"), lambda c: c.method["clusters"]) == [7]
    assert grid("method.clusters=7", "method.clusters=5,10").swept == ["method.clusters"]


def test_assignments_are_above_the_overrides():
    made = grid("recipe.steps=1,2", overrides=[{"recipe": {"steps": 9, "batch_size": 3}}])
    assert values(made, lambda c: (c.recipe.steps, c.recipe.batch_size)) == [(1, 3), (2, 3)]


@pytest.mark.parametrize(
    ("assignment", "methods", "words"),
    [
        ("method.clusters=5,10", (SEGSORT, SOFTMAX), ["method.clusters", "softmax"]),
        (
            "method.mem_correct_only=true",
            (GMMSEG, SOFTMAX),
            ["'method.mem_correct_only' of softmax", "run gmmseg by its own command"],
        ),
        (
            "method.mem_correct_only=true",
            (SOFTMAX, GMMSEG),
            ["'method.mem_correct_only' of softmax", "run gmmseg by its own command"],
        ),
        ("method.clustrs=5,10", (SEGSORT,), ["method.clustrs", "method.clusters"]),
        ("method.clusters=5,ten", (SEGSORT,), ["method.clusters", "ten"]),
        ("method.clusters=5,0", (SEGSORT,), ["method.clusters"]),
        ("method.clusters=5,,10", (SEGSORT,), ["method.clusters", "empty"]),
        ("method.clusters=5,", (SEGSORT,), ["method.clusters", "empty"]),
        ("recipe.augmentation.crop=64,96", (SEGSORT,), ["recipe.augmentation.crop"]),
        ("recipe.workers=0,1", (SEGSORT,), ["recipe.workers", "more than once"]),
        ("method.kappa=5,5.0", (SEGSORT,), ["method.kappa", "more than once"]),
        ("recipe=1,2", (SEGSORT,), ["recipe"]),
    ],
)
def test_what_does_not_fit_is_one_sentence_before_any_run(assignment, methods, words):
    with pytest.raises(UserError) as caught:
        grid(assignment, methods=methods)
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message
