"""``recipe.micro_batch``: a batch in parts that fit the memory, over which gradients add up."""

from typing import ClassVar

import pytest
import torch

from bench.common.errors import RunFailed, UserError
from bench.records.store import Store
from bench.runs.plan import require_possible
from bench.training import ranks
from bench.training.loop import CHECKPOINT
from methods.softmax import Softmax
from tests.bench.short import build, killed_at_a_checkpoint, states_equal, train
from tests.bench.training.processes import on_ranks

FOUR = ("recipe.batch_size=4", "recipe.steps=2", "recipe.workers=0", "recipe.augmentation.crop=[64, 96]")


def holding(limit):
    """Softmax on a device that holds ``limit`` images; what passed at once is in ``seen``."""

    class Held(Softmax):
        name = "held"
        seen: ClassVar[list] = []

        def losses(self, batch):
            if len(batch.images) > limit:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
            self.seen.append(batch.ids)
            return super().losses(batch)

    return Held


@pytest.mark.parametrize(
    ("limit", "settings", "said"),
    [
        (3, [], "with 4 crops of 96x64 at once: set recipe.micro_batch below 4 or to auto, or lower recipe.augm"),
        (1, ["recipe.micro_batch=2"], "with 2 crops of 96x64 at once: set recipe.micro_batch below 2 or to auto"),
        (0, ["recipe.micro_batch=1"], "with 1 crop of 96x64 at once: lower recipe.augmentation.crop"),
        (0, ["recipe.micro_batch=auto"], "with a single crop: lower recipe.augmentation.crop"),
    ],
)
def test_out_of_memory_says_what_to_lower(mini, fabric, tmp_path, limit, settings, said):
    with pytest.raises(RunFailed, match=said):
        train(build(*FOUR, *settings), mini, fabric, tmp_path, holding(limit))


def test_auto_takes_the_most_that_fits_and_trains_as_if_it_had_been_asked_for(mini, fabric, tmp_path):
    held = holding(3)
    found = train(build(*FOUR, "recipe.micro_batch=auto"), mini, fabric, tmp_path / "auto", held)
    asked = train(build(*FOUR, "recipe.micro_batch=2"), mini, fabric, tmp_path / "two")
    assert (found.training.micro_batch, asked.training.micro_batch) == (2, None)
    assert [len(ids) for ids in held.seen] == [2, 2] * 4  # twice to find it, in two steps to train
    assert states_equal(found.method.state_dict(), asked.method.state_dict())


def test_where_all_fits_auto_changes_nothing(mini, fabric, tmp_path):
    found = train(build(*FOUR, "recipe.micro_batch=auto"), mini, fabric, tmp_path / "auto")
    whole = train(build(*FOUR), mini, fabric, tmp_path / "whole")
    assert found.training.micro_batch == 4
    assert states_equal(found.method.state_dict(), whole.method.state_dict())


def test_parts_are_those_of_the_batch_and_their_gradients_add_up_to_its(mini, fabric, tmp_path):
    """Without batch statistics: a mean of the parts' means, which have unequal numbers of labelled pixels."""

    class Fixed(Softmax):
        name = "fixed"
        seen: ClassVar[list] = []

        def losses(self, batch):
            self.eval()
            self.seen.append(batch.ids)
            return super().losses(batch)

    once = build(*FOUR, "recipe.steps=1", "recipe.accumulate=2")
    one = train(once, mini, fabric, tmp_path / "one", Fixed)
    once = build(*FOUR, "recipe.steps=1", "recipe.accumulate=2", "recipe.micro_batch=1")
    parts = train(once, mini, fabric, tmp_path / "parts", Fixed)
    assert [len(ids) for ids in Fixed.seen] == [4, 4, *[1] * 8]
    whole, single = sum(Fixed.seen[:2], ()), sum(Fixed.seen[2:], ())
    assert whole == single
    assert one.training.final_losses["total"] == pytest.approx(parts.training.final_losses["total"], rel=0.05)


def test_an_interrupted_run_goes_on_with_what_was_found(mini, fabric, tmp_path):
    settings = build(*FOUR, "recipe.micro_batch=auto", "recipe.checkpoint_every=1")
    whole = train(settings, mini, fabric, tmp_path / "whole", holding(2))
    with killed_at_a_checkpoint():
        train(settings, mini, fabric, tmp_path / "run", holding(2))
    assert (tmp_path / "run" / CHECKPOINT).exists()
    resumed = train(settings, mini, fabric, tmp_path / "run", holding(4))
    assert resumed.training.micro_batch == 2
    assert states_equal(resumed.method.state_dict(), whole.method.state_dict())


def test_the_reason_is_that_of_the_row(bench, tmp_path, monkeypatch):
    monkeypatch.setattr(Softmax, "losses", holding(1).losses)
    outcome = bench("run", "--method", "softmax", "--dataset", "toyscapes_mini", "--set", "recipe.batch_size=2")
    assert outcome.exit_code == 1
    assert "set recipe.micro_batch below 2 or to auto" in outcome.stderr
    (record,) = Store(tmp_path / "results").records()
    assert record.status == "failed"
    assert record.reason.startswith("out of memory in training with 2 crops of")


def test_runs_without_it_keep_their_ids_and_others_have_theirs():
    assert "micro_batch" not in build().content()["recipe"]
    assert (
        len({build(*setting).run_id() for setting in ([], ["recipe.micro_batch=2"], ["recipe.micro_batch=auto"])}) == 3
    )


@pytest.mark.parametrize("value", ["0", "5000", "most"])
def test_what_is_no_size_is_one_sentence(value):
    with pytest.raises(UserError, match=r"^recipe.micro_batch: .*; see `bench show`$"):
        build(f"recipe.micro_batch={value}")


def test_a_size_that_does_not_divide_the_batch_is_refused_before_any_run():
    with pytest.raises(UserError, match=r"recipe.micro_batch=3 does not divide the 4 images of a process"):
        require_possible([build(*FOUR, "recipe.micro_batch=3")], torch.device("cpu"))


def test_ranks_take_what_fits_all_of_them(mini, tmp_path):
    def work(rank):
        fabric = ranks.make_fabric("cpu", "32")
        return train(
            build(*FOUR, "recipe.micro_batch=auto"), mini, fabric, tmp_path / str(rank), holding(2 - rank)
        ).training.micro_batch

    assert on_ranks(2, work, tmp_path) == [1, 1]
