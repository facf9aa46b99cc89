"""The one loop of all protocols: what is shared, and who answers for a fault."""

from __future__ import annotations

import errno
import subprocess
import sys
from functools import partial

import numpy as np
import pytest
import torch

from bench.checks.method import TinyNetwork
from bench.checks.protocol import Guess
from bench.common.errors import RunFailed
from bench.config.tables import InferenceConfig
from bench.model.predictor import Predictor
from bench.plugins import registry
from bench.runs import plan as planning
from bench.schema.record import ProtocolResult
from bench.scoring.protocols import ClosedSet, CrossDomain
from bench.scoring.protocols.base import Evaluation, Found, Image, ImageCounts, Metric, Pass, Protocol
from bench.scoring.protocols.corruptions import Corruptions
from bench.scoring.score import score
from datasets.base import Sample
from methods.capabilities import Diagnoses, Diagnosis

SOURCE = "toyscapes_mini"


class Right(Protocol):
    """Right pixels."""

    name = "right"
    title = "Right"
    columns = (Metric("right", "Right"),)
    kinds = ("right",)

    @classmethod
    def count(cls, image):
        return {"right": np.array(int((image.predicted == image.label).sum()))}

    @classmethod
    def metrics(cls, counts):
        return {"right": counts["right"] * 1e-9}


def broken(**facts):
    return type("Broken", (Right,), {"name": "broken", **facts})


def raising(error):
    def work(cls, *_):
        raise error

    return classmethod(work)


@pytest.fixture
def evaluation(data_root, tmp_path):
    def make(method=Guess, wrapped=lambda open_: open_):
        source = registry.datasets.get(SOURCE)
        predictor = Predictor(method(None, TinyNetwork(), source.classes), InferenceConfig(), torch.device("cpu"))
        return Evaluation(predictor, source, wrapped(planning.opener(data_root, False)), tmp_path)

    return make


def outcomes(evaluation, *protocols):
    """By protocol and target; what is known of closed-set scores reaches the other protocols."""
    found, known = {}, ProtocolResult(version="1")
    for done in score(evaluation, {protocol: protocol.targets(evaluation.source) for protocol in protocols}):
        found |= {(outcome.protocol.name, outcome.target): outcome for outcome in done}
        known.targets = {t: o.scores for (name, t), o in found.items() if name == "closed-set" and o.scores}
        evaluation.results = {"closed-set": known}
    return found


def test_protocols_see_labels_that_can_be_an_index(evaluation):
    dataset = evaluation().open(SOURCE, "val")
    image = Image(dataset[0], evaluation().predictor)
    assert image.label.dtype == torch.int64
    assert torch.equal(image.label, dataset.label(0).long())


def test_every_image_is_predicted_once_for_all_protocols(evaluation, monkeypatch):
    seen = []
    predict = Predictor.__call__
    monkeypatch.setattr(Predictor, "__call__", lambda self, image: seen.append(id(image)) or predict(self, image))
    e = evaluation()
    protocols = [registry.protocols.get(name) for name in registry.protocols.names()]
    found = outcomes(e, *protocols)
    splits = {target for protocol in protocols for target in protocol.targets(e.source)}
    # The drops are from the closed-set scores of the same loop: no image is predicted for them.
    corrupted = 75 * sum(len(e.open(*target)) for target in Corruptions.targets(e.source))
    assert len(seen) == sum(len(e.open(*target)) for target in splits) + corrupted
    assert all(outcome.scores is not None for outcome in found.values())


def test_protocols_alone_and_together_have_the_same_numbers(evaluation):
    protocols = [registry.protocols.get(name) for name in registry.protocols.names() if name != "cross-domain"]
    together = outcomes(evaluation(), *protocols)
    apart = {place: outcome for p in protocols for place, outcome in outcomes(evaluation(), p).items()}
    assert apart.keys() == together.keys()
    assert {name for name, _ in apart} == {protocol.name for protocol in protocols}
    for place, alone in apart.items():
        assert together[place].scores == alone.scores
        np.testing.assert_equal(together[place].statistics, alone.statistics)


def test_the_drop_waits_for_the_closed_set_scores_of_the_same_loop(evaluation):
    found = outcomes(evaluation(), CrossDomain, ClosedSet)
    known = found["closed-set", "test"].scores.metrics["miou"]
    drops = [o.scores.metrics["source_miou"] for (name, _), o in found.items() if name == "cross-domain"]
    assert drops == [known] * 4


@pytest.mark.parametrize(
    "facts",
    [
        {"count": raising(ValueError("boom"))},
        {"count": raising(SystemExit(3))},
        {"count": raising(FileNotFoundError(errno.ENOENT, "no such file", "table.csv"))},
        {"count": classmethod(lambda cls, image: {"other": np.zeros(1)})},
        {"metrics": raising(KeyError("boom"))},
        {"metrics": classmethod(lambda cls, counts: {"stranger": 1.0})},
        {"metrics": classmethod(lambda cls, counts: {"right": "high"})},
        {"score": raising(AttributeError("boom"))},
        {"per_class": raising(ZeroDivisionError("boom"))},
    ],
)
def test_a_bug_of_a_protocol_fails_that_protocol_only(evaluation, facts):
    found = outcomes(evaluation(), broken(**facts), ClosedSet)
    plain = outcomes(evaluation(), ClosedSet)
    assert found["closed-set", "test"].scores == plain["closed-set", "test"].scores
    failed = found["broken", "test"]
    assert failed.scores is None
    assert failed.reason
    assert "\n" not in failed.reason


def test_counts_that_change_their_shape_fail_the_protocol_and_name_the_image(evaluation):
    shapes = iter(range(1, 99))
    found = outcomes(evaluation(), broken(count=classmethod(lambda cls, image: {"right": np.zeros(next(shapes))})))
    assert "has counts of shapes" in found["broken", "test"].reason


@pytest.mark.parametrize("where", ["predict", "diagnose"])
def test_a_fault_of_the_method_is_not_put_on_the_protocol_that_asks_first(evaluation, where):
    def fail(self, *_):
        raise RuntimeError("the method")

    method = type("Failing", (Diagnoses, Guess), {"diagnose": lambda *_: Diagnosis(), where: fail})
    with pytest.raises(RuntimeError, match="the method"):
        outcomes(evaluation(method), ClosedSet, Right)


def test_a_full_disk_is_not_put_on_the_protocol(evaluation):
    with pytest.raises(OSError, match="No space"):
        outcomes(evaluation(), broken(count=raising(OSError(errno.ENOSPC, "No space left on device", "x"))))


def test_what_a_protocol_says_of_the_run_fails_the_run(evaluation):
    with pytest.raises(RunFailed, match="boom"):
        outcomes(evaluation(), broken(count=raising(RunFailed("boom"))))


def test_a_protocol_that_needs_several_passes_predicts_in_the_first(evaluation, monkeypatch):
    log = []

    class Twice(Right):
        name = "twice"

        @classmethod
        def score(cls, e, dataset):
            for n in (1, 2):
                yield [Pass(dataset, Meter(n))]
            log.append("end")
            return cls.found({"": counted()}, ["a"], [])

    class Meter:
        def __init__(self, n):
            self.n = n

        def update(self, image):
            log.append((self.n, image.id, self.n == 1 and image.prediction.size is not None))

        def merge(self, other):
            pass

    def counted():
        images = ImageCounts()
        images.add("a", {"right": np.ones(())})
        return images

    calls = []
    predict = Predictor.__call__
    monkeypatch.setattr(Predictor, "__call__", lambda self, image: calls.append(1) or predict(self, image))
    e = evaluation()
    (outcome,) = (o for done in score(e, {Twice: [(SOURCE, "test")]}) for o in done)
    assert outcome.scores.metrics == {"right": 1e-9}
    images = len(e.open(SOURCE, "test"))
    assert len(calls) == images
    assert [entry[0] for entry in log[:-1]] == [1] * images + [2] * images


def test_a_protocol_may_find_that_it_needs_no_pass(evaluation):
    class Without(Right):
        @classmethod
        def score(cls, e, dataset):
            yield []
            yield []
            return Found({"right": 0.5})

    (outcome,) = (o for done in score(evaluation(), {Without: [(SOURCE, "test")]}) for o in done)
    assert outcome.scores.metrics == {"right": 0.5}


def test_the_protocol_is_closed_however_the_loop_ends(evaluation):
    ended = []

    class Tidy(Right):
        name = "tidy"

        @classmethod
        def score(cls, e, dataset):
            try:
                yield [Pass(dataset, partial(int))]  # no meter: it has no update
            finally:
                ended.append(1)

    assert [o.scores for done in score(evaluation(), {Tidy: [(SOURCE, "test")]}) for o in done] == [None]
    assert ended == [1]

    class Interrupted(BaseException):
        pass

    with pytest.raises(Interrupted):
        [*score(evaluation(), {key: [(SOURCE, "test")] for key in (broken(count=raising(Interrupted())), Tidy)})]
    assert ended == [1, 1]


def test_whole_numbers_with_many_zeros_are_kept_as_the_others(evaluation):
    rng = np.random.default_rng(0)
    arrays = [(rng.random((9, 11)) < share) * rng.integers(1, 9, (9, 11)) for share in (0.0, 0.1, 0.9)]
    images = ImageCounts()
    for i, array in enumerate(arrays):
        images.add(str(i), {"whole": array.astype(np.int32), "real": array / 3})
    stacked = images.stacked(["2", "0", "1"])
    assert stacked["whole"].dtype == np.int32
    assert np.array_equal(stacked["whole"], [arrays[i] for i in (2, 0, 1)])
    assert np.array_equal(stacked["real"], [arrays[i] / 3 for i in (2, 0, 1)])


def test_an_image_is_not_predicted_before_it_is_asked_for():
    image = Image(
        Sample(torch.zeros(3, 2, 2, dtype=torch.uint8), torch.zeros(2, 2), "i"), lambda _: pytest.fail("asked")
    )
    assert (image.id, image.size, image.failure) == ("i", (2, 2), None)


def test_descriptions_and_metrics_need_no_torch():
    code = """
import sys
import numpy as np
from bench.plugins import registry
from bench.scoring.described import shown
protocols = [registry.protocols.get(name) for name in registry.protocols.names()]
assert len(protocols) >= 5 and all(p.title and p.columns for p in protocols)
closed = shown("closed-set")
print(float(closed.metrics(closed.condensed({"confusion": np.eye(3)[None]}))["miou"][0]), "torch" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1.0", "False"]
