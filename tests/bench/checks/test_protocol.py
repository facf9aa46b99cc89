"""``bench check`` on protocols: good ones pass, and every rule catches one that breaks it."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pytest

from bench.checks import protocol as protocol_contract
from bench.checks.protocol import CHECKS, Subject, check
from bench.plugins import registry
from bench.scoring.protocols.base import Metric, Protocol


class Good(Protocol):
    """Share of the valid pixels that are right."""

    name = "good"
    title = "Good"
    columns = (Metric("share", "Share"), Metric("pixels", "Pixels", None, percent=False, high=np.inf))
    kinds = ("sums",)

    @classmethod
    def count(cls, image):
        valid = image.label < len(image.scores)
        right = valid & (image.predicted == image.label)
        return {"sums": np.array([int(right.sum()), int(valid.sum())])}

    @classmethod
    def metrics(cls, counts):
        right, valid = np.moveaxis(np.asarray(counts["sums"], float), -1, 0)
        share = np.divide(right, valid, out=np.full_like(right, np.nan), where=valid > 0)
        return {"share": share, "pixels": np.where(valid > 0, valid, np.nan)}


@pytest.fixture(scope="module")
def folder(data_root):
    return data_root


@pytest.mark.parametrize("name", registry.protocols.names())
def test_every_protocol_of_the_suite_honours_the_contract(name, folder):
    subject = Subject(registry.protocols.get(name), folder)
    for rule in CHECKS:
        rule(subject)


def test_the_whole_check_names_its_rules():
    outcomes = dict(check(Good))
    assert len(outcomes) == len(CHECKS)
    assert set(outcomes.values()) == {None}
    assert "metrics take leading axes" in outcomes


class WithState(Good):
    seen: ClassVar[list] = []

    @classmethod
    def count(cls, image):
        cls.seen.append(image.id)
        return {"sums": super().count(image)["sums"] * len(cls.seen)}


def changed(**facts):
    return type("Changed", (Good,), {"__doc__": "Changed.", **facts})


def counting(work):
    """A protocol with ``work(counts of Good, image)`` for counts."""
    return changed(count=classmethod(lambda cls, image: work(Good.count(image), image)))


def measuring(work):
    """A protocol with ``work(metrics of Good, counts)`` for metrics."""
    return changed(metrics=classmethod(lambda cls, counts: work(Good.metrics(counts), counts)))


def in_place(counts, image):
    image.scores.mul_(2)
    return counts


def last_axis_alone(values, counts):
    return {name: value if np.ndim(value) == 0 else value.reshape(-1)[0] for name, value in values.items()}


RULES = {
    "check_it_describes_itself": [
        (changed(name="Not A Name"), "no lower-case-name"),
        (changed(version=1), "version"),
        (changed(title=None), "title"),
        (changed(__doc__=None), "docstring"),
        (changed(columns=()), "columns is empty"),
        (changed(columns=(*Good.columns, Good.columns[0])), "twice"),
        (changed(columns=Good.columns[::-1]), "put the headline first"),
        (changed(primary=("other",)), "primary names other"),
        (changed(kinds=("a/b",)), "slash"),
    ],
    "check_counts_are_arrays_of_fixed_shapes": [
        (counting(lambda counts, image: {"sums": counts["sums"].tolist()}), "no NumPy array"),
        (counting(lambda counts, image: {**counts, "map": image.predicted.numpy()}), "other shapes"),
        (counting(lambda counts, image: {"sums": counts["sums"] * np.inf}), "not finite"),
        (counting(lambda counts, image: {"sums": counts["sums"].astype(str)}), "does not add up"),
        (changed(kinds=("sums", "others")), "others, which count does not give"),
    ],
    "check_counting_leaves_scores_and_labels_alone": [(counting(in_place), "in place")],
    "check_an_images_counts_are_its_own": [(WithState, "depend on those counted before")],
    "check_void_does_not_count": [
        (
            counting(lambda counts, image: {"sums": counts["sums"] + int((image.predicted[:3] == 1).sum())}),
            "void pixels",
        )
    ],
    "check_nothing_labelled_is_undefined_not_an_error": [
        (measuring(lambda values, counts: {**values, "share": np.nan_to_num(values["share"])}), "share must be NaN"),
        (measuring(lambda values, counts: {**values, "share": counts["sums"][..., 0] / counts["sums"][..., 1]}), ""),
    ],
    "check_numbers_are_in_their_columns_and_ranges": [
        (measuring(lambda values, counts: {**values, "share": 100 * values["share"]}), "outside of its range 0 to 1"),
        (measuring(lambda values, counts: {**values, "other": values["share"]}), "other, which is none of columns"),
        (measuring(lambda values, counts: {"pixels": values["pixels"]}), "no number of the headline"),
    ],
    "check_metrics_take_leading_axes": [
        (measuring(last_axis_alone), "of shape ()"),
        (measuring(lambda values, counts: {**values, "share": values["share"] * 0 + np.nanmean(values["share"])}), ""),
    ],
    "check_condensing_is_linear": [
        (changed(condensed=classmethod(lambda cls, counts: {"sums": counts["sums"] ** 2})), "not the sum"),
    ],
    "check_the_side_file_gives_the_recorded_numbers": [
        (changed(found=classmethod(lambda cls, *of: with_another_share(Good.found(*of)))), "the record says"),
    ],
    "check_the_order_of_images_does_not_matter": [
        (changed(found=classmethod(lambda cls, counted, ids, names: of_the_first(counted, ids, names))), "order"),
    ],
}


def with_another_share(found):
    found.metrics = {**found.metrics, "share": found.metrics["share"] / 2}
    return found


def of_the_first(counted, ids, names):
    return Good.found.__func__(Good, counted, ids[:1], names)


@pytest.mark.parametrize(
    ("rule", "protocol", "words"), [(rule, *case) for rule, cases in RULES.items() for case in cases]
)
def test_every_rule_catches_what_breaks_it(rule, protocol, words, folder):
    with pytest.raises(Exception, match=r"(?s)") as caught:
        getattr(protocol_contract, rule)(Subject(protocol, folder))
    assert words in str(caught.value)


def test_every_rule_has_a_counter_example():
    assert {*RULES} == {rule.__name__ for rule in CHECKS}
