import torch

from methods.majority import Majority


def build(tiny_network, tiny_classes, classes=4):
    return Majority(Majority.Config(), tiny_network(), tiny_classes(classes))


def maps():
    yield torch.tensor([[0, 0, 0, 2], [255, 254, 2, 0]])
    yield torch.tensor([[1, 1], [255, 0]])


def test_it_predicts_the_frequencies_of_the_labelled_pixels(tiny_network, tiny_classes, make_context):
    method = build(tiny_network, tiny_classes)
    method.prepare(make_context(label_maps=maps))
    logits = method.predict(torch.rand(2, 3, 33, 46)).logits
    assert logits.shape == (2, 4, 9, 12)
    posterior = logits.softmax(dim=1)
    expected = torch.tensor([5, 2, 2, 0]) / 9
    torch.testing.assert_close(posterior[1, :, 3, 7], expected, atol=1e-5, rtol=0)
    assert logits.isfinite().all()
    assert logits[0, 3, 0, 0] == logits.min()


def test_without_any_label_every_class_is_equally_likely(tiny_network, tiny_classes, make_context):
    method = build(tiny_network, tiny_classes)
    method.prepare(make_context(label_maps=lambda: iter([torch.full((3, 3), 255)])))
    torch.testing.assert_close(method.log_frequency.exp(), torch.full((4,), 0.25))


def test_state_goes_through_the_state_dict(tiny_network, tiny_classes, make_context):
    method = build(tiny_network, tiny_classes)
    method.prepare(make_context(label_maps=maps))
    other = build(tiny_network, tiny_classes)
    other.load_state_dict(method.state_dict())
    assert torch.equal(other.log_frequency, method.log_frequency)


def test_ranks_agree_with_one_rank_whether_maps_are_shared_or_split(
    tiny_network, tiny_classes, make_context, two_ranks
):
    single = build(tiny_network, tiny_classes)
    single.prepare(make_context(label_maps=maps))

    def prepared(collectives, source):
        method = build(tiny_network, tiny_classes)
        method.prepare(make_context(collectives=collectives, label_maps=source))
        return method.log_frequency

    same = two_ranks(lambda collectives: prepared(collectives, maps))
    split = two_ranks(lambda collectives: prepared(collectives, lambda: iter([list(maps())[collectives.rank]])))
    for found in same + split:
        assert torch.equal(found, single.log_frequency)
