import pytest
import torch

from methods.gmmseg import assignment
from methods.gmmseg.assignment import one_hot, sinkhorn


def plan_of(*arguments, **options):
    return sinkhorn(*arguments, **options).softmax(dim=1)


def one_class(log_density, iterations=3, epsilon=0.05):
    """The plan of a single class as the specification describes it, in the linear domain."""
    n, components = log_density.shape
    plan = (log_density / log_density.abs().max() / epsilon).exp()
    plan /= plan.sum()
    for _ in range(iterations):
        plan /= plan.sum(dim=0, keepdim=True)
        plan /= components
        plan /= plan.sum(dim=1, keepdim=True)
        plan /= n
    return plan * n


def problem(n=3000, classes=7, components=5, seed=0):
    generator = torch.Generator().manual_seed(seed)
    log_density = 60 + 15 * torch.randn(n, components, generator=generator, dtype=torch.float64)
    labels = torch.randint(classes + 1, (n,), generator=generator)
    return log_density, labels


@pytest.mark.parametrize("iterations", [1, 3, 20])
def test_all_classes_at_once_agree_with_a_loop_over_classes(iterations):
    log_density, labels = problem()
    found = plan_of(log_density, labels, 7, iterations)
    for label in range(7):
        rows = labels == label
        expected = one_class(log_density[rows], iterations)
        torch.testing.assert_close(found[rows], expected)
        assert torch.equal(found[rows].argmax(1), expected.argmax(1))


@pytest.mark.parametrize("replicas", [2, 7, 256])
def test_partial_results_of_a_class_add_up_to_the_same_plan(monkeypatch, replicas):
    log_density, labels = problem()
    expected = sinkhorn(log_density, labels, 7)
    monkeypatch.setitem(assignment.REPLICAS, "cpu", replicas)
    torch.testing.assert_close(sinkhorn(log_density, labels, 7), expected)


def test_float32_assigns_as_float64():
    log_density, labels = problem()
    exact = sinkhorn(log_density, labels, 7).argmax(1)
    assert (sinkhorn(log_density.float(), labels, 7).argmax(1) == exact).float().mean() > 0.999


def test_flat_densities_are_balanced():
    generator = torch.Generator().manual_seed(3)
    log_density = -60 + 0.5 * torch.randn(2000, 5, generator=generator)
    log_density[:, 2] += 3
    counts = one_hot(sinkhorn(log_density, torch.zeros(2000, dtype=torch.int64), 1)).sum(0)
    assert counts.min() > 300
    assert log_density.argmax(1).bincount(minlength=5)[2] > 1900


def test_many_iterations_reach_both_marginals():
    log_density, labels = problem(n=200, classes=1)
    labels[:] = 0
    plan = plan_of(log_density, labels, 1, iterations=500)
    torch.testing.assert_close(plan.sum(1), torch.ones(200, dtype=torch.float64))
    torch.testing.assert_close(plan.sum(0), torch.full((5,), 40.0, dtype=torch.float64), rtol=1e-3, atol=0)


def test_small_classes_and_absent_classes():
    log_density, labels = problem(n=3)
    labels[:] = torch.tensor([4, 4, 2])
    found = plan_of(log_density, labels, 7)
    assert found.isfinite().all()
    torch.testing.assert_close(found[:2], one_class(log_density[:2]))


def test_extreme_temperatures_and_zero_densities_are_finite():
    log_density, labels = problem()
    assert plan_of(log_density.float(), labels, 7, epsilon=1e-4).isfinite().all()
    assert plan_of(torch.zeros(10, 5), torch.zeros(10, dtype=torch.int64), 7).isfinite().all()


def test_pixels_without_a_class_do_not_disturb_the_others():
    log_density, labels = problem()
    labelled = labels < 7
    disturbed = torch.where(labelled.unsqueeze(1), log_density, 1e6)
    torch.testing.assert_close(plan_of(disturbed, labels, 7)[labelled], plan_of(log_density, labels, 7)[labelled])


def test_ties_go_to_the_lowest_component():
    assert torch.equal(one_hot(torch.full((2, 3), 1 / 3)), torch.tensor([[1.0, 0, 0], [1.0, 0, 0]]))
