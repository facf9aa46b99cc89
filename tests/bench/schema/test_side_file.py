"""Names in the side file."""

import numpy as np

from bench.schema import side_file


def test_arrays_are_found_by_the_names_that_are_built():
    arrays = {
        side_file.under("closed-set", "test", reading) + kind: np.full(1, number)
        for number, (reading, kind) in enumerate([("", "ids"), ("", "confusion"), ("bank swap", "confusion")])
    }
    assert [*arrays] == ["closed-set/test/ids", "closed-set/test/confusion", "closed-set/test/bank swap/confusion"]
    found = side_file.of(arrays, ["confusion", "losses"], "closed-set", "test", "bank swap")
    assert found == {"confusion": arrays["closed-set/test/bank swap/confusion"]}
    assert side_file.of(arrays, ["ids"], "closed-set", "test") == {"ids": arrays["closed-set/test/ids"]}
    assert side_file.of(arrays, ["ids"], "closed-set", "val") == {}


def test_a_target_is_no_beginning_of_another():
    assert not "closed-set/test-seq05vd/ids".startswith(side_file.under("closed-set", "test"))


def test_protocol_and_kind_are_told_whatever_stands_between_them():
    for name in ("anomaly/road_anomaly/test/msp/histogram", "anomaly/x/histogram"):
        assert side_file.protocol_and_kind(name) == ("anomaly", "histogram")
