import numpy as np
import pytest

from bench.runs.rescore import merge, merge_statistics
from bench.schema.record import DatasetInfo, ProtocolResult, Scores
from bench.scoring.metrics.confusion import harmonic_mean
from bench.scoring.protocols import Anomaly, ClosedSet, CrossDomain

INFO = DatasetInfo(name="x", split="y", images=1, fingerprint="f")


def result(version="1", status="complete", summary=None, **mious):
    targets = {
        name: Scores(
            dataset=INFO,
            metrics={"miou": miou, "drop": 0.9 - miou},
            by_reading={"other": {"miou": miou / 2, "drop": 0.1}},
        )
        for name, miou in mious.items()
    }
    return ProtocolResult(version=version, status=status, targets=targets, summary=summary or {})


def test_targets_that_only_the_old_result_has_are_kept_in_the_order_of_the_protocol():
    merged = merge(CrossDomain, result(night=0.2, fog=0.3), result(rain=0.4, fog=0.5), ["night", "fog", "rain"])
    assert [*merged.targets] == ["night", "fog", "rain"]
    assert [s.metrics["miou"] for s in merged.targets.values()] == [0.2, 0.5, 0.4]


def test_summary_of_a_merged_result_is_over_all_targets():
    merged = merge(CrossDomain, result(night=0.2), result(fog=0.4), ["night", "fog"])
    assert merged.summary == {"harmonic_mean": harmonic_mean([0.2, 0.4]), "mean_drop": pytest.approx(0.6)}
    assert merged.summary_by_reading == {}
    assert merged.headline is None
    old = result(night=0.2)
    old.summary_by_reading = {"other": {"harmonic_mean": 0.1}}
    merged = merge(CrossDomain, old, result(fog=0.4), ["night", "fog"])
    assert merged.summary_by_reading["other"]["harmonic_mean"] == pytest.approx(harmonic_mean([0.1, 0.2]))


def test_headline_of_a_closed_set_result_is_the_first_target_whichever_was_scored_last():
    old, new = result(test=0.5), result(val=0.6)
    for scores in (*old.targets.values(), *new.targets.values()):
        del scores.metrics["drop"]
    merged = merge(ClosedSet, old, new, ["test", "val"])
    assert (merged.headline, merged.summary) == ("test", {"miou": 0.5})


def test_what_a_protocol_states_and_does_not_derive_from_its_targets_is_kept():
    old = result(summary={"closed_set_miou": 0.5}, a=0.1)
    assert merge(Anomaly, old, result(b=0.2), ["a", "b"]).summary == {"closed_set_miou": 0.5}


def test_a_result_that_is_not_complete_never_replaces_one_that_is():
    complete, skipped = result(a=0.1), result(status="skipped")
    assert merge(CrossDomain, complete, skipped, []) is complete
    assert merge(CrossDomain, skipped, complete, []) is complete
    assert merge(CrossDomain, None, skipped, []) is skipped


def test_versions_do_not_mix():
    new = result(version="2", b=0.2)
    assert merge(CrossDomain, result(a=0.1), new, ["a", "b"]) is new


def test_arrays_of_a_target_that_is_scored_again_are_replaced_and_no_others():
    old = {"closed-set/test/ids": np.zeros(1), "closed-set/test/gone/confusion": np.zeros(1)}
    old |= {"closed-set/test-seq05vd/ids": np.ones(1), "anomaly/x/test/ids": np.ones(1)}
    new = {"closed-set/test/ids": np.full(1, 2)}
    merged = merge_statistics(old, new, "closed-set", result(test=0.1).targets)
    assert {key: float(array[0]) for key, array in merged.items()} == {
        "closed-set/test/ids": 2, "closed-set/test-seq05vd/ids": 1, "anomaly/x/test/ids": 1
    }  # fmt: skip
