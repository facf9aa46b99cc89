import numpy as np
import torch
from sklearn.linear_model import LogisticRegression

from methods.linear import Linear, logistic_regression


def blobs(n=600, classes=4, channels=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    centres = 2 * torch.randn(classes, channels, generator=generator)
    labels = torch.randint(classes, (n,), generator=generator)
    scale = torch.tensor([0.01, 1.0, 30.0])
    return (centres[labels] + torch.randn(n, channels, generator=generator)) * scale + 5, labels


def test_it_is_the_logistic_regression_of_scikit_learn():
    x, y = blobs()
    weights = torch.rand(len(y), generator=torch.Generator().manual_seed(1)) + 0.5
    weight, bias = logistic_regression(x, y, weights, 4, l2=1e-3)
    share = (weights / weights.sum()).double().numpy()
    mean = (share[:, None] * x.double().numpy()).sum(0)
    std = np.sqrt((share[:, None] * (x.double().numpy() - mean) ** 2).sum(0))
    reference = LogisticRegression(C=1 / 1e-3, tol=1e-10, max_iter=10_000)
    reference.fit((x.double().numpy() - mean) / std, y.numpy(), sample_weight=share)
    expected = reference.predict_proba((x.double().numpy() - mean) / std)
    found = (x @ weight.t() + bias).softmax(1)
    np.testing.assert_allclose(found.numpy(), expected, atol=2e-4)


def test_a_constant_feature_gets_no_weight():
    x, y = blobs()
    x[:, 1] = 7.0
    weight, _ = logistic_regression(x, y, torch.ones(len(y)), 4, l2=1e-3)
    assert weight[:, 1].tolist() == [0.0] * 4


def test_classes_count_as_often_as_they_are_though_a_sample_is_drawn(fitted, monkeypatch):
    monkeypatch.setattr("methods.linear.PER_CLASS", 200)
    generator = torch.Generator().manual_seed(0)
    labels = (torch.rand(8000, generator=generator) < 0.1).long()
    noise = torch.randn(8000, 3, generator=generator)  # says nothing of the class: only frequencies are left
    posterior = fitted(Linear, noise, labels, 3, l2=0.1).predict(torch.zeros(1, 3, 1, 1)).logits.softmax(1).flatten()
    torch.testing.assert_close(posterior, torch.tensor([0.9, 0.1, 0.0]), atol=0.02, rtol=0)
