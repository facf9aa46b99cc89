import torch
from torch.nn import functional as F

from methods.base import Batch, upsample
from methods.softmax import Softmax


def build(tiny_network, tiny_classes, classes=3, **config):
    torch.manual_seed(0)
    return Softmax(Softmax.Config(**config), tiny_network(), tiny_classes(classes))


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


def test_it_classifies_a_projection_where_there_is_one(tiny_network, tiny_classes, make_batch):
    method, images = build(tiny_network, tiny_classes, projection=5), make_batch(3).images
    convolution, norm, _ = method.projection
    dense = method.network(images).dense.double()
    convolved = torch.einsum("bdhw,pd->bphw", dense, convolution.weight[:, :, 0, 0].double())
    scaled = convolved / (1 + norm.eps) ** 0.5  # what batch norm does before it has seen anything
    weight, bias = method.classifier.weight[:, :, 0, 0].double(), method.classifier.bias.double()
    expected = torch.einsum("bphw,cp->bchw", scaled.clamp(min=0), weight) + bias[:, None, None]
    torch.testing.assert_close(method.eval().predict(images).logits.double(), expected, atol=1e-6, rtol=0)


def test_without_a_projection_it_has_the_classifier_alone(tiny_network, tiny_classes):
    own = {key for key in build(tiny_network, tiny_classes).state_dict() if not key.startswith("network.")}
    assert own == {"classifier.weight", "classifier.bias"}


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
