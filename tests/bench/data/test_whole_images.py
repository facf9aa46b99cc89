"""Whole images and label maps."""

from types import SimpleNamespace

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


def test_a_rank_reads_its_share_and_no_other_image(mini, fabric, tmp_path):
    read = []

    class Watched(type(mini)):
        def __getitem__(self, index):
            read.append(index)
            return super().__getitem__(index)

    watched = Watched(mini.roots, "train")

    class Curious(Softmax):
        name = "curious"

        def finish(self, context):
            read.clear()
            context.collectives = SimpleNamespace(rank=1, world_size=3)
            for place, batch in context.share():
                assert batch.ids == (watched.items[place].id,)

    train(build("recipe.steps=1", "recipe.workers=0"), watched, fabric, tmp_path, Curious)
    assert sorted(read) == [*range(1, len(watched), 3)]
