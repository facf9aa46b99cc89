import math

import pytest
import torch
from scipy.special import ive
from torch.nn import functional as F

from methods.base import Collectives, MethodError
from methods.segsort import bank as bank_module
from methods.segsort import density
from methods.segsort.bank import ExactRetrieval, PrototypeBank
from methods.segsort.density import log_normaliser


def unit(rows, dim=6, seed=0):
    return F.normalize(torch.randn(rows, dim, generator=torch.Generator().manual_seed(seed)), dim=1)


def rows_of(features, labels, images=None, purity=None):
    count = len(labels)
    return {
        "features": features,
        "labels": torch.as_tensor(labels),
        "purity": torch.ones(count) if purity is None else torch.as_tensor(purity),
        "images": torch.arange(count) if images is None else torch.as_tensor(images),
        "clusters": torch.zeros(count, dtype=torch.int64),
    }


def filled(features, labels, classes=3, centres=50, threshold=0.0, **columns):
    bank = PrototypeBank(features.shape[1], classes)
    bank.build([rows_of(features, labels, **columns)], threshold, Collectives())
    bank.compress(centres, torch.Generator().manual_seed(0))
    return bank


def test_chunked_retrieval_is_the_full_sort(monkeypatch):
    monkeypatch.setattr(bank_module, "CHUNK_ELEMENTS", 1000)
    features, queries = unit(300), unit(40, seed=1)
    retrieval = ExactRetrieval(features)
    expected = (queries @ features.t()).sort(dim=1, descending=True)
    for bank_rows in (300, 70, 3):
        cosines, rows = retrieval._nearest(queries, 9, bank_rows)
        torch.testing.assert_close(cosines, expected.values[:, :9])
        assert torch.equal(rows, expected.indices[:, :9])
    torch.testing.assert_close(retrieval.nearest(queries, 9)[0], expected.values[:, :9])


def test_faiss_finds_the_same():
    pytest.importorskip("faiss")
    features, queries = unit(300), unit(40, seed=1)
    exact, faiss = ExactRetrieval(features), bank_module.FaissRetrieval(features)
    torch.testing.assert_close(exact.nearest(queries, 9)[0], faiss.nearest(queries, 9)[0])
    assert torch.equal(exact.nearest(queries, 9)[1], faiss.nearest(queries, 9)[1])


def test_faiss_is_asked_for_by_name_before_training_where_it_is_missing(monkeypatch):
    def missing(name):
        raise ImportError(name)

    monkeypatch.setattr(bank_module.importlib, "import_module", missing)
    with pytest.raises(MethodError, match=r"pip install 'genseg-bench\[faiss\]'"):
        PrototypeBank(6, 3, "faiss")
    bank = filled(unit(4), [0, 1, 2, 0])
    bank.retrieval = "faiss"
    with pytest.raises(MethodError, match=r"pip install 'genseg-bench\[faiss\]'"):
        bank.nearest(unit(1), 1)


def test_votes_are_shares_and_k_shrinks_to_the_bank():
    bank = filled(unit(5), [0, 1, 1, 1, 2])
    _, labels = bank.nearest(unit(2, seed=1), 21)
    assert labels.shape == (2, 5)
    torch.testing.assert_close(bank.votes(labels, balanced=False)[0], torch.tensor([0.2, 0.6, 0.2]))
    torch.testing.assert_close(bank.votes(labels, balanced=True)[0], torch.full((3,), 1 / 3))


def test_an_empty_bank_says_so():
    with pytest.raises(MethodError, match="empty"):
        PrototypeBank(4, 3).nearest(unit(1, 4), 1)


def test_impure_clusters_stay_out_but_count_in_the_mean():
    bank = filled(unit(4), [0, 1, 2, 0], threshold=0.6, purity=[1.0, 0.5, 0.7, 0.6])
    assert bank.labels.tolist() == [0, 2, 0]
    assert bank.mean_purity.item() == pytest.approx(0.7)


def test_small_classes_are_their_own_compression():
    features = unit(5)
    bank = filled(features, [2, 0, 0, 2, 2])
    order = bank.centre_labels.argsort(stable=True)
    assert bank.centre_labels[order].tolist() == [0, 0, 2, 2, 2]
    torch.testing.assert_close(bank.centres, features[[1, 2, 0, 3, 4]])
    assert (bank.centre_weights == 1).all()


def test_compression_keeps_the_number_of_prototypes_and_finds_groups():
    groups = unit(3, seed=4)
    features = F.normalize(groups.repeat_interleave(40, 0) + 0.02 * unit(120, seed=5), dim=1)
    bank = filled(features, [0] * 120, centres=10)
    assert len(bank.centres) <= 10
    assert bank.centre_weights.sum() == 120
    assert ((groups @ bank.centres.t()).amax(dim=1) > 0.99).all()


@pytest.mark.parametrize("kappa", [0.5, 6.0, 10.0, 40.0])
@pytest.mark.parametrize("dim", [2, 3, 8, 32, 256])
def test_normaliser_is_the_bessel_functions(dim, kappa):
    nu = dim / 2 - 1
    bessel = math.log(ive(nu, kappa)) + kappa
    expected = nu * math.log(kappa) - dim / 2 * math.log(2 * math.pi) - bessel
    assert log_normaliser(dim, kappa) == pytest.approx(expected, rel=1e-9)


def test_densities_integrate_to_one():
    angles = torch.arange(3600) / 3600 * 2 * math.pi
    circle = torch.stack([angles.cos(), angles.sin()], 1)
    bank = filled(unit(9, dim=2), [0, 0, 0, 0, 1, 1, 1, 1, 1], classes=2)
    scores = bank.mixture(circle, 10.0)
    torch.testing.assert_close(scores.class_log_density.exp().mean(0) * 2 * math.pi, torch.ones(2))
    assert (scores.log_density.exp().mean() * 2 * math.pi).item() == pytest.approx(1, rel=1e-5)


def test_class_scores_are_weighted_log_sum_exp_of_the_full_bank_where_nothing_is_compressed(monkeypatch):
    monkeypatch.setattr(density, "CHUNK_ELEMENTS", 50)
    features, labels = unit(20), torch.arange(20).remainder(3)
    bank = filled(features, labels.tolist())
    queries = unit(15, seed=2)
    found = bank.mixture(queries, 10.0).class_scores
    similarity = 10 * queries @ features.t()
    for label in range(3):
        torch.testing.assert_close(found[:, label], similarity[:, labels == label].logsumexp(1))


def test_a_class_that_the_bank_lacks_has_finite_and_lowest_scores():
    bank = filled(unit(6), [0, 0, 0, 1, 1, 1])
    scores = bank.mixture(unit(8, seed=1), 40.0)
    assert torch.isfinite(scores.class_scores).all()
    assert (scores.class_scores.argmin(1) == 2).all()
    assert (scores.class_log_density.argmin(1) == 2).all()


def test_relabelling_reads_drops_and_can_be_undone():
    features = unit(9)
    bank = filled(features, [0, 1, 2] * 3)
    state = {name: value.clone() for name, value in bank.state_dict().items()}
    before = bank.mixture(features, 10.0)
    bank.relabel([4, 255, -1], 5)
    cosines, labels = bank.nearest(features, 9)
    assert labels.unique().tolist() == [4]
    assert cosines.shape[1] == 3  # classes 1 and 2 are not retrieved
    scores = bank.mixture(features, 10.0).class_scores
    assert scores.shape == (9, 5)
    torch.testing.assert_close(scores[:, 4], before.class_scores[:, 0])
    bank.relabel([1, 1, 1], 2)
    torch.testing.assert_close(bank.mixture(features, 10.0).class_scores[:, 1], before.class_scores.logsumexp(1))
    bank.relabel(range(3), 3)
    assert torch.equal(bank.mixture(features, 10.0).class_scores, before.class_scores)
    assert all(torch.equal(state[name], value) for name, value in bank.state_dict().items())
    with pytest.raises(MethodError, match="one entry per class"):
        bank.relabel([0], 1)


def test_a_state_of_another_size_is_loaded():
    bank, other = filled(unit(7), [0, 1, 2, 0, 1, 2, 0]), filled(unit(3, seed=2), [0, 1, 2])
    other.nearest(unit(1), 1)  # what was built for the old rows must go
    other.load_state_dict(bank.state_dict())
    assert len(other) == 7
    for name, value in bank.state_dict().items():
        assert torch.equal(other.state_dict()[name], value)
    assert other.nearest(unit(1), 21)[0].shape == (1, 7)


def test_a_state_of_another_dimension_is_refused():
    with pytest.raises(RuntimeError, match="size mismatch"):
        PrototypeBank(4, 3).load_state_dict(filled(unit(7), [0] * 7).state_dict())


def test_ranks_gather_different_numbers_of_rows(two_ranks):
    parts = [torch.arange(6.0).view(3, 2), torch.zeros(0, 2)]
    for found in two_ranks(lambda collectives: collectives.gather_rows(parts[collectives.rank])):
        assert torch.equal(found, parts[0])


def test_ranks_build_the_bank_of_one(two_ranks):
    features, labels = unit(11), torch.arange(11).remainder(3)
    expected = filled(features, labels)

    def rank(collectives):
        own = slice(collectives.rank, None, 2)
        bank = PrototypeBank(6, 3)
        bank.build([rows_of(features[own], labels[own], torch.arange(11)[own])], 0.0, collectives)
        return bank

    for bank in two_ranks(rank):
        for name in PrototypeBank.ROWS:
            assert torch.equal(getattr(bank, name), getattr(expected, name))
