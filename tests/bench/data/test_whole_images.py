"""Whole images and label maps."""

import torch

from methods.softmax import Softmax
from tests.bench.short import build, train


def test_methods_see_whole_label_maps_at_the_scale_of_inference(mini, fabric, tmp_path):
    seen = []

    class Curious(Softmax):
        name = "curious"

        def prepare(self, context):
            seen.extend(context.label_maps())

        def finish(self, context):
            for labels, batch in zip(context.label_maps(), context.images(), strict=True):
                assert torch.equal(labels, batch.labels[0])
                assert labels.dtype == batch.labels.dtype == torch.int64

    config = build()
    inference = config.recipe.inference.model_copy(update={"short_side": 24})
    config = config.model_copy(update={"recipe": config.recipe.model_copy(update={"inference": inference})})
    train(config, mini, fabric, tmp_path / "run", Curious)
    assert {labels.shape for labels in seen} == {(24, 48)}
