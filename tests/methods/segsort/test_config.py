import pytest
from pydantic import ValidationError

from methods.segsort import SegSort


def test_defaults_are_the_papers():
    config = SegSort.Config()
    assert (config.dim, config.kappa, config.clusters, config.iterations) == (32, 10, 25, 10)
    assert (config.neighbours, config.memory, config.memory_batches) == (21, "fifo", 2)
    assert (config.decode, config.vote, config.leave_one_out) == ("knn", "plain", True)


@pytest.mark.parametrize(
    "wrong",
    [{"kappa": 0}, {"kappa": 41}, {"clusters": 0}, {"memory": "dead"}, {"variant": "weak"}, {"vote_smoothing": 0}],
)
def test_impossible_values_are_refused(wrong):
    with pytest.raises(ValidationError):
        SegSort.Config(**wrong)
