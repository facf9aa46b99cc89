import pytest

from bench.common.errors import UserError
from bench.config import grid as sweeps
from bench.config import tables as config
from bench.plugins import registry
from datasets.base import DataError

SOFTMAX = registry.methods.get("softmax")
GMMSEG = registry.methods.get("gmmseg")
GSS = registry.methods.get("gss")
SEGSORT = registry.methods.get("segsort")

PAPERS = {
    "paper-gmmseg-ade20k": ("gmmseg", "ade20k"),
    "paper-gmmseg-cityscapes": ("gmmseg", "cityscapes"),
    "paper-gmmseg-coco_stuff": ("gmmseg", "coco_stuff_10k"),
    "paper-segsort-voc": ("segsort", "pascal_voc_aug"),
    "paper-segsort-cityscapes": ("segsort", "cityscapes"),
    "paper-agmm-voc": ("agmm", "pascal_voc_aug"),
    "paper-agmm-cityscapes": ("agmm", "cityscapes"),
    "paper-gss-cityscapes": ("gss", "cityscapes"),
    "paper-gss-ade20k": ("gss", "ade20k"),
    "paper-gss-mseg": ("gss", "mseg"),
}
"""By recipe: the method and the data set of the publication."""


def build(*assignments, method=SOFTMAX, dataset="toyscapes_mini", recipe="quick", seed=0):
    ((_, made),) = sweeps.grid([method], dataset, recipe, [seed], [], assignments).runs
    return made


def test_recipe_changes_for_a_data_set_are_applied():
    assert build(dataset="toyscapes_mini").recipe.steps == 4
    assert build(dataset="camvid").recipe.steps == 300


def test_a_recipes_decoder_options_stay_with_its_architecture():
    def network(*tables):
        return config.build(SOFTMAX, "toyscapes", "settled", 0, [{"network": table} for table in tables]).network

    assert network({"architecture": "unet"}).decoder == {}
    assert network({"architecture": "unet", "decoder": {"decoder_use_norm": True}}).decoder == {
        "decoder_use_norm": True
    }
    assert network({"architecture": "unet"}, {"architecture": "fpn"}).decoder == {}
    assert network({"architecture": "fpn"}).decoder == network().decoder != {}


def test_later_sources_win():
    first = {"recipe": {"steps": 7, "optimiser": {"lr": 0.5}}}
    second = {"recipe": {"steps": 9}}
    made = config.build(SOFTMAX, "toyscapes_mini", "quick", 0, [first, second])
    assert made.recipe.steps == 9
    assert made.recipe.optimiser.lr == 0.5
    assert made.recipe.batch_size == 2


@pytest.mark.parametrize("name", config.recipe_names())
def test_every_recipe_builds_for_its_data_sets(name):
    method, dataset = PAPERS.get(name, ("softmax", "camvid"))
    made = config.build(registry.methods.get(method), dataset, name, 0)
    assert made.recipe.name == name
    assert made.recipe.inference.window >= made.recipe.augmentation.crop or made.recipe.inference.mode == "whole"


@pytest.mark.parametrize(
    ("name", "steps", "batch", "crop", "lr", "of_encoder", "encoder"),
    [
        ("paper-gmmseg-ade20k", 160_000, 16, 512, 6e-4, 6e-5, "mit_b5"),
        ("paper-gmmseg-cityscapes", 80_000, 16, 768, 6e-4, 6e-5, "mit_b5"),
        ("paper-gmmseg-coco_stuff", 80_000, 16, 512, 6e-4, 6e-5, "mit_b5"),
        ("paper-segsort-voc", 100_000, 16, 480, 2e-2, 2e-3, "resnet101"),
        ("paper-segsort-cityscapes", 150_000, 8, 720, 3e-2, 3e-3, "resnet101"),
        ("paper-agmm-voc", 80 * (10582 // 64), 64, 321, 1e-2, 1e-3, "resnet101"),
        ("paper-agmm-cityscapes", 240 * round(2975 / 32), 32, 721, 5e-3, 5e-3, "resnet50"),
        ("paper-gss-cityscapes", 80_000, 16, 768, 1.5e-3, 1.5e-3, "resnet101"),
        ("paper-gss-ade20k", 160_000, 32, 512, 1.2e-4, 1.2e-4, "resnet101"),
        ("paper-gss-mseg", 160_000, 16, 512, 1.2e-4, 1.2e-4, "tu-hrnet_w48"),
    ],
)
def test_paper_recipes_have_the_published_schedule(name, steps, batch, crop, lr, of_encoder, encoder):
    method, dataset = PAPERS[name]
    made = config.build(registry.methods.get(method), dataset, name, 0)
    recipe, optimiser = made.recipe, made.recipe.optimiser
    assert (recipe.steps, recipe.batch_size * recipe.accumulate, recipe.augmentation.crop) == (
        steps,
        batch,
        (crop, crop),
    )
    assert (optimiser.lr, optimiser.lr * optimiser.encoder_lr_factor) == pytest.approx((lr, of_encoder))
    assert (optimiser.name, made.network.encoder) == ("sgd" if method in ("segsort", "agmm") else "adamw", encoder)


def test_every_paper_recipe_is_looked_at():
    assert {*PAPERS} == {name for name in config.recipe_names() if name.startswith("paper-")}


def test_paper_recipes_keep_the_papers_components_batch_and_width_of_the_decoder():
    ade = config.build(GMMSEG, "ade20k", "paper-gmmseg-ade20k", 0)
    city = config.build(GMMSEG, "cityscapes", "paper-gmmseg-cityscapes", 0)
    assert (ade.method["components"], city.method["components"]) == (8, 5)
    for made in (ade, city):
        assert made.recipe.batch_size * made.recipe.accumulate == 16
        assert made.network.decoder == {"decoder_segmentation_channels": 768}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a.b=1", 1),
        ("a.b=0.5", 0.5),
        ("a.b=true", True),
        ("a.b=[1, 2]", [1, 2]),
        ("a.b=fpn", "fpn"),
        ("a.b=none", None),
    ],
)
def test_assignments_are_toml_or_else_text(text, value):
    key, written = config.split_assignment(text)
    assert config.nested(key, config.parse_value(written)) == {"a": {"b": value}}


@pytest.mark.parametrize(
    ("assignment", "words"),
    [
        ("recipe.stepz=3", ["recipe.stepz", "recipe.steps"]),
        ("recipe.optimiser.l=3", ["recipe.optimiser.l", "recipe.optimiser.lr"]),
        ("recipe.steps=many", ["recipe.steps", "many"]),
        ("recipe.steps=0", ["recipe.steps"]),
        ("method.colour=1", ["method.colour"]),
        ("reciep.steps=3", ["reciep", "recipe"]),
        ("recipe=3", ["recipe"]),
        ("steps", ["key=value"]),
        ("recipe.augmentation.scale=[2.0, 1.0]", ["scale"]),
        ("recipe.inference.stride=[600, 600]", ["stride"]),
    ],
)
def test_a_wrong_assignment_is_one_sentence_with_the_right_keys(assignment, words):
    with pytest.raises(UserError) as caught:
        build(assignment)
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message


def test_method_configuration_is_validated_and_completed():
    assert build("method.components=2", method=GMMSEG).method["components"] == 2
    with pytest.raises(UserError, match=r"method\.components"):
        build("method.components=0", method=GMMSEG)


def test_fingerprint_changes_with_the_result_and_not_with_the_logging():
    base = build().fingerprint()
    assert build("recipe.workers=1", "recipe.log_every=3", "recipe.checkpoint_every=1").fingerprint() == base
    assert build("recipe.decode_once=true").fingerprint() == base
    for change in ("recipe.steps=5", "network.encoder=resnet18", "recipe.inference.flip=true"):
        assert build(change).fingerprint() != base
    assert build(seed=1).fingerprint() != base


def test_fingerprint_follows_the_bytes_of_local_weights_not_their_path(tmp_path):
    one, two, other = tmp_path / "a.pth", tmp_path / "b.pth", tmp_path / "c.pth"
    one.write_bytes(b"x"), two.write_bytes(b"x"), other.write_bytes(b"y")
    prints = [build(f"network.encoder_weights={p}").fingerprint() for p in (one, two, other)]
    assert prints[0] == prints[1] != prints[2]


def test_record_keeps_no_path_of_the_machine(tmp_path):
    path = tmp_path / "a.pth"
    path.write_bytes(b"x")
    made = build(f"network.encoder_weights={path}")
    assert made.portable().network.encoder_weights == "a.pth"
    assert made.portable().fingerprint() == made.fingerprint()
    assert made.portable().weights_label() == made.weights_label()
    assert build().portable() == build()


def test_unknown_recipe_names_near_matches():
    with pytest.raises(UserError, match="did you mean quick"):
        build(recipe="quik")


def test_recipe_from_a_file(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text("[recipe]\nsteps = 11\n[datasets.toyscapes_mini.recipe]\nbatch_size = 3\n")
    made = build(recipe=str(path))
    assert (made.recipe.name, made.recipe.steps, made.recipe.batch_size) == ("mine", 11, 3)


@pytest.mark.parametrize("content", ["steps = ", "\x00\xff"])
def test_damaged_configuration_file_is_named(tmp_path, content):
    path = tmp_path / "bad.toml"
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(UserError, match=r"bad\.toml"):
        config.read_toml(path)


def test_files_of_a_method_change_the_run_by_content_and_not_by_path(tmp_path):
    one, two, other = tmp_path / "a.safetensors", tmp_path / "b.safetensors", tmp_path / "c.safetensors"
    one.write_bytes(b"x"), two.write_bytes(b"x"), other.write_bytes(b"y")
    first, second, third = (build(f"method.dalle_encoder={p}", method=GSS) for p in (one, two, other))
    assert first.fingerprint() == second.fingerprint() != third.fingerprint()
    assert first.portable().method["dalle_encoder"] == "a.safetensors"
    assert first.portable().fingerprint() == first.fingerprint()


def test_region_maps_change_the_run_by_content_and_not_by_path(tmp_path):
    def build_with(folder):
        tables = {"data": {"regions": str(folder)}, "method": {"regions": "files"}}
        return config.build(SEGSORT, "toyscapes", "quick", 0, [tables])

    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.npy").write_bytes(b"maps")
    first, second = build_with(tmp_path / "a"), build_with(tmp_path / "b")
    assert first.fingerprint() == second.fingerprint() == first.portable().fingerprint()
    assert first.portable().data.regions == "a"
    (tmp_path / "b" / "x.npy").write_bytes(b"other maps")
    assert build_with(tmp_path / "b").fingerprint() != first.fingerprint()
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"data\.regions"):
        build_with(tmp_path / "empty")


@pytest.mark.parametrize(
    ("assignments", "method", "words"),
    [
        (("data.regions=maps",), SOFTMAX, ["data.regions", "softmax", "leave data.regions out"]),
        (("data.regions=maps",), SEGSORT, ["data.regions", "segsort", "--set method.regions=files"]),
        (("data.void_is_unlabelled=true",), SOFTMAX, ["data.void_is_unlabelled", "dense", "leave it out"]),
        (
            ("data.void_is_unlabelled=true", "data.supervision=none"),
            SEGSORT,
            ["data.void_is_unlabelled", "none", "leave it out"],
        ),
    ],
)
def test_data_that_would_not_be_read_is_refused_in_one_sentence(assignments, method, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "maps").mkdir()
    (tmp_path / "maps" / "x.npy").write_bytes(b"maps")
    with pytest.raises(UserError) as caught:
        build(*assignments, method=method)
    assert "\n" not in str(caught.value)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    "assignment",
    ["recipe.optimiser.lr=inf", "recipe.augmentation.scale=[0.5, inf]", "network.decoder.decoder_dropout=nan"],
)
def test_a_number_that_is_not_finite_is_refused(assignment):
    key, _, value = assignment.partition("=")
    with pytest.raises(UserError, match=rf"{key}.*finite number, not {value.strip('[]').split()[-1]}"):
        build(assignment)


def test_a_number_of_the_method_that_is_not_finite_is_refused():
    with pytest.raises(UserError, match=r"method\.vote_smoothing.*finite"):
        build("method.vote_smoothing=inf", method=SEGSORT)


class TestWithoutLabels:
    """``--supervision none``: the settings that learn from images alone, and what cannot."""

    def test_a_method_takes_its_settings_for_it(self):
        made = build("data.supervision=none", method=SEGSORT)
        assert made.method["variant"] == "unsupervised"
        explicit = build("data.supervision=none", "method.variant=unsupervised", method=SEGSORT)
        assert made.fingerprint() == explicit.fingerprint()
        assert build("data.supervision=points", method=SEGSORT).method["variant"] == "supervised"

    @pytest.mark.parametrize(
        ("assignments", "method", "words"),
        [
            ((), SOFTMAX, ["softmax", "no label", "supervision"]),
            (("method.variant=supervised",), SEGSORT, ["method.variant=supervised", "segsort"]),
            (("recipe.class_balanced=true",), SEGSORT, ["--set recipe.class_balanced=false"]),
        ],
    )
    def test_what_needs_labels_is_refused_in_one_sentence(self, assignments, method, words):
        with pytest.raises(UserError) as caught:
            build("data.supervision=none", *assignments, method=method)
        message = str(caught.value)
        assert "\n" not in message
        for word in words:
            assert word in message


@pytest.mark.parametrize(("method", "key"), [("agmm", "variance"), ("agmm", "detach"), ("gmmseg", "class_norm")])
def test_none_is_the_value_of_a_field_that_has_one_of_this_name(method, key):
    made = sweeps.grid([registry.methods.get(method)], "toyscapes_mini", "quick", [0], [], [f"method.{key}=none"])
    assert [run.method[key] for _, run in made.runs] == ["none"]


def test_none_can_be_swept_beside_other_words():
    made = sweeps.grid(
        [registry.methods.get("agmm")],
        "toyscapes_mini",
        "quick",
        [0],
        [],
        ["method.variance=none,uniform,pred_weighted"],
    )
    assert [run.method["variance"] for _, run in made.runs] == ["none", "uniform", "pred_weighted"]


def test_a_recipe_that_was_changed_after_it_was_read_is_read_as_it_is():
    first = config.recipe_tables("quick", "camvid")
    first["recipe"]["optimiser"]["lr"] = 7
    assert config.recipe_tables("quick", "camvid")["recipe"]["optimiser"]["lr"] != 7
