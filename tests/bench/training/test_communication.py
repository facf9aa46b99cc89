"""What ranks hand to each other in a step is counted, in the record and shown."""

from bench.commands.catalogue import page
from bench.records.store import Store
from bench.training import ranks
from tests.bench.short import build, train
from tests.bench.training.processes import on_ranks

FEW = ("recipe.batch_size=4", "recipe.steps=2", "recipe.workers=0")


def trained(mini, folder, name, crop):
    """What a step of two ranks hands over, and the parameters and channels of norms of the method."""

    def work(rank):
        settings = build(*FEW, f"recipe.augmentation.crop=[{crop}, {crop}]", method=name)
        made = train(settings, mini, ranks.make_fabric("cpu", "32"), folder / str(rank))
        norms = [module for module in made.method.modules() if hasattr(module, "running_mean")]
        return made.training.bytes_a_step, made.training.parameters, sum(norm.num_features for norm in norms)

    return on_ranks(2, work, folder)


def test_gradients_norms_and_the_counts_of_pixels(mini, tmp_path):
    for sent, parameters, channels in trained(mini, tmp_path, "softmax", 64):
        # Of norms means and variances, and the gradients of both; of the loss a count and two values.
        assert sent == {"gradients": 4 * parameters, "norms": 4 * 4 * channels, "method": 3 * 8}


def test_gmmseg_exchanges_counts_and_sampled_rows_whatever_the_number_of_pixels(mini, tmp_path):
    (small, *_), (other, *_) = trained(mini, tmp_path / "small", "gmmseg", 64)
    (large, *_), _ = trained(mini, tmp_path / "large", "gmmseg", 96)
    assert small == other == large
    assert 3 * 8 < small["method"] < 1_000_000


def test_one_rank_hands_on_nothing(mini, fabric, tmp_path):
    assert train(build(*FEW), mini, fabric, tmp_path).training.bytes_a_step == {}


def test_show_prints_it(finish):
    results = finish("run", "--method", "majority", "--dataset", "toyscapes_mini", "--protocol", "closed-set")
    (record,) = Store(results).records()
    assert "hands the others" not in page(record.run_id, Store(results))
    record.environment.ranks = 2
    record.training.bytes_a_step = {"norms": 20_000, "method": 80_000, "gradients": 17_400_000}
    Store(results).write(record)
    said = "2 ranks, each of which hands the others 17.5 MB (gradients 17.4, method 0.08, norms 0.02) a step"
    assert said in page(record.run_id, Store(results))
