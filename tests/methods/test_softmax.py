import torch
from torch.nn import functional as F

from methods.base import Batch, upsample
from methods.softmax import Softmax


def build(tiny_network, tiny_classes, classes=3):
    torch.manual_seed(0)
    return Softmax(Softmax.Config(), tiny_network(), tiny_classes(classes))


def test_loss_is_the_mean_over_labelled_pixels_only(tiny_network, tiny_classes, make_batch):
    method = build(tiny_network, tiny_classes)
    batch = make_batch(3)
    loss = method.losses(batch).terms["cross_entropy"]
    logits = upsample(method.predict(batch.images).logits, batch.labels.shape[-2:])
    labelled = batch.labels < 3
    expected = F.cross_entropy(logits.movedim(1, -1)[labelled], batch.labels[labelled])
    torch.testing.assert_close(loss, expected)


def test_a_batch_without_labels_has_a_zero_loss_with_a_graph(tiny_network, tiny_classes):
    method = build(tiny_network, tiny_classes)
    labels = torch.full((1, 16, 16), 255)
    labels[:, :8] = 254
    loss = method.losses(Batch(images=torch.rand(1, 3, 16, 16), labels=labels)).terms["cross_entropy"]
    loss.backward()
    assert loss.item() == 0
    assert not method.classifier.weight.grad.any()


def test_it_learns_and_predicts_at_the_networks_resolution(tiny_network, tiny_classes, make_batch):
    method = build(tiny_network, tiny_classes)
    batch = make_batch(3)
    optimiser = torch.optim.Adam(method.parameters(), lr=0.01)
    first = method.losses(batch).terms["cross_entropy"].item()
    for _ in range(40):
        optimiser.zero_grad()
        loss = method.losses(batch).terms["cross_entropy"]
        loss.backward()
        optimiser.step()
    assert loss.item() < 0.5 * first
    prediction = method.predict(batch.images)
    assert prediction.logits.shape == (2, 3, 9, 12)
    assert prediction.log_density is None


def test_bfloat16_autocast_gives_float32_predictions_and_a_finite_loss(tiny_network, tiny_classes, make_batch):
    method = build(tiny_network, tiny_classes)
    batch = make_batch(3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = method.losses(batch).terms["cross_entropy"]
        logits = method.predict(batch.images).logits
    assert loss.dtype == logits.dtype == torch.float32
    assert loss.isfinite()
