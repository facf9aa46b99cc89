"""Hostile invocations: whatever a command line or a file holds, the answer is one sentence with exit code 2.

To add a case, add a line to one of the tables: what is given, and words that the sentence must contain. No case may
train, leave a record, or write anything outside the results folder.
"""

from __future__ import annotations

import json
import shlex
import shutil
from pathlib import Path

import pytest
from click.testing import Result
from PIL import Image

from tests.command_line import call as in_process

HUGE = 10**12
RUN = "run --method softmax --dataset toyscapes_mini --encoder resnet18"

SETTINGS: list[tuple[str, ...]] = [
    # ``--set`` of a run of softmax, words of the sentence
    ("recipe=3", "recipe is a table"),
    ("method=3", "method is a table"),
    ("network=[]", "network is a table"),
    ("data=none", "data is a table"),
    ("data='x'", "data is a table"),
    ("recipe.augmentation=3", "recipe.augmentation"),
    ("recipe.optimiser=[{}]", "recipe.optimiser"),
    ("recipe.optimiser.lr.deep=3", "recipe.optimiser.lr"),
    ("recipe.inference.window.0=3", "recipe.inference.window"),
    ("recipe.steps=[1]", "recipe.steps"),
    ("recipe.steps=1.5", "recipe.steps"),
    ("recipe.steps=2000-01-01", "recipe.steps"),
    ("recipe.steps=", "recipe.steps"),
    ("recipe.steps=0", "recipe.steps", "greater than or equal to 1"),
    ("recipe.steps=-1", "recipe.steps"),
    (f"recipe.steps={HUGE}", "recipe.steps", "less than or equal to"),
    (f"recipe.steps={'9' * 5000}", "recipe.steps"),
    ("recipe.batch_size=0", "recipe.batch_size"),
    (f"recipe.batch_size={HUGE}", "recipe.batch_size", "less than or equal to"),
    (f"recipe.accumulate={HUGE}", "recipe.accumulate", "less than or equal to"),
    (f"recipe.workers={HUGE}", "recipe.workers", "less than or equal to"),
    ("recipe.workers=-1", "recipe.workers"),
    (f"recipe.checkpoint_every={10**30}", "recipe.checkpoint_every", "less than or equal to"),
    (f"recipe.log_every={10**30}", "recipe.log_every", "less than or equal to"),
    ("recipe.micro_batch=0", "recipe.micro_batch", "from 1 to 4096"),
    ("recipe.micro_batch=1.5", "recipe.micro_batch", "from 1 to 4096"),
    ("recipe.micro_batch=[1]", "recipe.micro_batch"),
    ("recipe.micro_batch=all", "recipe.micro_batch", "auto"),
    ("recipe.micro_batch=3", "recipe.micro_batch", "divisor of 2"),
    ("recipe.micro_batch=16", "recipe.micro_batch", "divisor of 2"),
    ("recipe.precision=64", "recipe.precision"),
    ("recipe.precision=16-mixed", "recipe.precision", "GPU"),
    ("recipe.precision=16-mixed,bf16-mixed", "recipe.precision", "GPU"),
    ("recipe.logger=wandb", "recipe.logger"),
    ("recipe.optimiser.lr=inf", "recipe.optimiser.lr"),
    ("recipe.optimiser.lr=nan", "recipe.optimiser.lr"),
    ("recipe.optimiser.lr=-1", "recipe.optimiser.lr"),
    ("recipe.optimiser.lr=1e300", "recipe.optimiser.lr", "less than or equal to"),
    ("recipe.optimiser.encoder_lr_factor=1e300", "recipe.optimiser.encoder_lr_factor"),
    ("recipe.optimiser.weight_decay=1e300", "recipe.optimiser.weight_decay"),
    ("recipe.optimiser.power=1e300", "recipe.optimiser.power"),
    ("recipe.optimiser.momentum=1", "recipe.optimiser.momentum"),
    ("recipe.optimiser.warmup_ratio=-inf", "recipe.optimiser.warmup_ratio"),
    (f"recipe.optimiser.warmup_steps={10**30}", "recipe.optimiser.warmup_steps"),
    ("recipe.optimiser.clip_norm=nan", "recipe.optimiser.clip_norm"),
    ("recipe.augmentation.crop=[10000000,10000000]", "recipe.augmentation.crop", "4096"),
    ("recipe.augmentation.crop=[31,64]", "recipe.augmentation.crop", "32"),
    ("recipe.augmentation.crop=[64]", "recipe.augmentation.crop"),
    ("recipe.augmentation.crop=64", "recipe.augmentation.crop"),
    ("recipe.augmentation.scale=[1e-300,1e-300]", "recipe.augmentation.scale"),
    ("recipe.augmentation.scale=[1e300,1e300]", "recipe.augmentation.scale"),
    ("recipe.augmentation.scale=[2.0,0.5]", "recipe.augmentation", "scale"),
    ("recipe.augmentation.scale=[nan,nan]", "recipe.augmentation.scale"),
    ("recipe.augmentation.short_side=1000000000", "recipe.augmentation.short_side"),
    ("recipe.augmentation.short_side=1", "recipe.augmentation.short_side"),
    ("recipe.augmentation.flip=2", "recipe.augmentation.flip"),
    ("recipe.augmentation.max_class_share=0", "recipe.augmentation.max_class_share"),
    ("recipe.inference.short_side=1000000000", "recipe.inference.short_side"),
    ("recipe.inference.short_side=0", "recipe.inference.short_side"),
    ("recipe.inference.max_long_side=1000000000", "recipe.inference.max_long_side"),
    ("recipe.inference.scales=[1e9]", "recipe.inference.scales"),
    ("recipe.inference.scales=[1e-9]", "recipe.inference.scales"),
    ("recipe.inference.scales=[]", "recipe.inference.scales"),
    (f"recipe.inference.scales={[1.0] * 1000}", "recipe.inference.scales"),
    ("recipe.inference.scales=[nan]", "recipe.inference.scales"),
    ("recipe.inference.window=[1000000000,1000000000]", "recipe.inference.window"),
    ("recipe.inference.window=[0,0]", "recipe.inference"),
    ("recipe.inference.stride=[0,0]", "recipe.inference.stride"),
    ("recipe.inference.stride=[600,600]", "recipe.inference", "stride"),
    ("recipe.name=../../x", "recipe.name", "letters"),
    ("recipe.name=a/b", "recipe.name", "letters"),
    ("recipe.name=", "recipe.name", "letters"),
    ("recipe.name=.", "recipe.name", "letters"),
    ("recipe.name=.hidden", "recipe.name", "letters"),
    ("recipe.name=-x", "recipe.name", "letters"),
    ("recipe.name='a b'", "recipe.name", "letters"),
    ('recipe.name="a\\nb"', "recipe.name", "letters"),
    ('recipe.name="a\\u0000b"', "recipe.name", "letters"),
    ('recipe.name="a\\u202Eb"', "recipe.name", "letters"),
    ("recipe.name=ünlaut", "recipe.name", "letters"),
    (f"recipe.name={'x' * 61}", "recipe.name", "60"),
    ("recipe.name=none", "recipe.name"),
    ("recipe.name=[]", "recipe.name"),
    ("recipe.description=3", "recipe.description"),
    ("data.name=../toyscapes_mini", "data.name", "letters"),
    ('data.name="toyscapes_mini\\u0000"', "data.name", "letters"),
    ("data.name=cityscapez", "cityscapez"),
    ("data.name=", "data.name"),
    ("data.supervision=fraction-0", "fraction-0"),
    ("data.supervision=fraction-1e-9", "fraction-1e-9"),
    ("data.supervision=fraction-1e-99", "fraction-1e-99"),
    ("data.supervision=fraction-0.00001", "fraction-1e-05", "no pixel"),
    ("data.supervision=fraction-nan", "fraction-nan"),
    ("data.supervision=clicks-0", "clicks-0"),
    ("data.supervision=clicks-9999999999", "clicks-9999999999"),
    ("data.supervision=../../x", "../../x"),
    ("data.supervision=", "supervision"),
    ("data.supervision=3", "data.supervision"),
    ("data.regions=nowhere", "data.regions"),
    ("data.regions=", "data.regions"),
    ('data.regions="a\\u0000b"', "data.regions"),
    ("data.allow_partial=maybe", "data.allow_partial"),
    ("network.architecture=fpnn", "fpnn", "fpn"),
    ("network.architecture=fpn,fpnn", "fpnn"),
    ("network.architecture=", "architecture"),
    ("network.architecture=3", "network.architecture"),
    ("network.encoder=resnet1", "resnet1"),
    ("network.encoder=resnet18,resnet1", "resnet1"),
    ("network.encoder=", "encoder"),
    ("network.encoder=tu-nothing", "nothing"),
    ("network.encoder=timm-nothing", "nothing"),
    ("network.encoder=../../x", "../../x"),
    ("network.encoder_weights=imagenot", "imagenot"),
    ("network.encoder_weights=", "weights"),
    ("network.encoder_weights=missing.pth", "missing.pth"),
    ("network.encoder_weights={folder}", "weights"),
    ("network.encoder_weights={text}", "text.toml"),
    ('network.encoder_weights="a\\u0000b.pth"', "weights"),
    ("network.decoder=3", "network.decoder"),
    ("network.decoder.decoder_pyramid_channels=abc", "decoder_pyramid_channels", "integer"),
    ("network.decoder.decoder_pyramid_channels=64.5", "decoder_pyramid_channels", "integer"),
    ("network.decoder.decoder_pyramid_channels=true", "decoder_pyramid_channels", "integer"),
    ("network.decoder.decoder_pyramid_channels=0", "decoder_pyramid_channels"),
    ("network.decoder.decoder_pyramid_channels=-1", "decoder_pyramid_channels"),
    (f"network.decoder.decoder_pyramid_channels={HUGE}", "decoder_pyramid_channels"),
    ("network.decoder.decoder_pyramid_channels=[1,2]", "decoder_pyramid_channels"),
    ("network.decoder.decoder_pyramid_channels={a=1}", "decoder_pyramid_channels"),
    ("network.decoder.decoder_merge_policy=multiply", "decoder_merge_policy"),
    ("network.decoder.decoder_merge_policy=3", "decoder_merge_policy"),
    ("network.decoder.decoder_dropout=5", "dropout"),
    ("network.decoder.decoder_dropout=nan", "decoder_dropout"),
    ("network.decoder.decoder_interpolation=cubist", "interpolation"),
    ("network.decoder.upsampling=abc", "upsampling"),
    ("network.decoder.encoder_depth=3", "encoder_depth"),
    ("network.decoder.classes=3", "classes"),
    ("nothing=3", "nothing"),
    ("nothing.deep.er=3", "nothing"),
    ("=3", "key=value"),
    ("recipe.steps", "key=value"),
    ("recipe.steps=1,,2", "empty value"),
    ("recipe.steps=1,true", "recipe.steps"),
    ("recipe.workers=0,1", "more than once"),
    (".=3", "unknown key"),
    ("recipe..steps=3", "unknown key"),
    ("recipe.=3", "unknown key"),
    ("method.=3", "unknown key"),
    (f"{'a.' * 2000}a=3", "unknown key"),
]

METHODS: list[tuple[str, ...]] = [
    # method, what is ``--set`` with blanks between, words
    ("majority", "method.smoothing=2", "method.smoothing"),
    ("majority", "method.smoothing=1e-300", "method.smoothing"),
    ("gmmseg", f"method.components={HUGE}", "method.components"),
    ("gmmseg", f"method.memory={HUGE}", "method.memory"),
    ("gmmseg", f"method.push={HUGE}", "method.push"),
    ("gmmseg", f"method.em_interval={10**30}", "method.em_interval"),
    ("gmmseg", f"method.reference_steps={10**400}", "method.reference_steps"),
    ("gmmseg", "method.ridge=1e300", "method.ridge"),
    ("gmmseg", "method.temperature=1e-300", "method.temperature"),
    ("gmmseg", "method.initial_std=1e-300", "method.initial_std"),
    ("gmmseg", "method.sinkhorn_eps=1e-300", "method.sinkhorn_eps"),
    ("gmmseg", "method.aux_weight=1e300", "method.aux_weight"),
    ("gmmseg", "method.preset=[]", "method.preset"),
    ("gmmseg", "method.preset=paperr", "method.preset"),
    ("segsort", f"method.memory_rows={HUGE}", "method.memory_rows"),
    ("segsort", f"method.clusters={HUGE}", "method.clusters"),
    ("segsort", "method.location_weight=1e300", "method.location_weight"),
    ("segsort", "method.vote_smoothing=1e300", "method.vote_smoothing"),
    ("segsort", "method.contour_strength=1e300", "method.contour_strength"),
    ("segsort", "method.regions=files", "data.regions"),
    ("segsort", "method.variant=unsupervised method.regions=files", "data.regions"),
    ("segsort", "data.regions=none method.regions=files", "data.regions"),
    ("agmm", "method.dim=0", "method.dim"),
    ("agmm", "method.self_weight=1e300", "method.self_weight"),
    ("agmm", "method.seg_weight=inf", "method.seg_weight"),
    ("gss", f"method.codec_batch={HUGE}", "method.codec_batch"),
    ("gss", f"method.codec_steps={10**30}", "method.codec_steps"),
    ("gss", f"method.codec_crop={8 * HUGE}", "method.codec_crop"),
    ("gss", f"method.code_dim={HUGE}", "method.code_dim"),
    ("gss", f"method.codec_width={HUGE}", "method.codec_width"),
    ("gss", f"method.restart_every={10**30}", "method.restart_every"),
    ("gss", f"method.hidden={HUGE}", "method.hidden"),
    ("gss", f"method.heads={HUGE}", "method.heads"),
    ("gss", f"method.inverse_images={10**30}", "method.inverse_images"),
    ("gss", f"method.samples={HUGE}", "method.samples"),
    ("gss", "method.codec_lr=1e300", "method.codec_lr"),
    ("gss", "method.colour_temperature=1e300", "method.colour_temperature"),
    ("gss", "method.gumbel_temperature=1e-300", "method.gumbel_temperature"),
    ("gss", "method.token_weight=1e300", "method.token_weight"),
    ("gss", "method.codec=dalle", "dalle_encoder"),
    ("gss", "method.codec=dalle method.dalle_encoder=x.pth method.dalle_decoder=x.pth", "x.pth"),
    ("gss", "method.hidden=99", "hidden"),
    ("softmax", "method.anything=1", "method.anything"),
]

TOML: list[tuple[str, ...]] = [
    # content of a file given as --config and as --recipe, words
    ("recipe=3", "recipe", "table"),
    ("method=3", "method", "table"),
    ("network=3", "network", "table"),
    ("data=[]", "data"),
    ("[data]\nsupervision=3", "data"),
    ("[[recipe]]\nsteps=1", "recipe", "table"),
    ("[[recipe]]", "recipe", "table"),
    ("[recipe]\noptimiser=3", "recipe.optimiser"),
    ("[[recipe.optimiser]]\nlr=1", "recipe.optimiser"),
    ("[recipe]\nname='../x'", "recipe.name", "letters"),
    ("[recipe]\nname=3", "recipe.name"),
    ('[recipe]\nname="a\\u0000b"', "recipe.name", "letters"),
    ("[recipe.steps]\nx=1", "recipe.steps"),
    ("[recipe]\nsteps=inf", "recipe.steps"),
    ("[recipe.optimiser]\nlr=nan", "recipe.optimiser.lr"),
    ("[recipe.optimiser]\nlr=-inf", "recipe.optimiser.lr"),
    ("[recipe]\nsteps=1\nsteps=2", "TOML"),
    ("[recipe", "TOML"),
    ("\x00", "TOML"),
    ("x=3", "unknown key", "'x'"),
    ("'a\\u0000b'=3", "unknown key"),
    ("[recipe]\n''=3", "unknown key"),
    ("[network.decoder]\ndecoder_dropout=[]", "network.decoder.decoder_dropout"),
    ("[network.decoder.decoder_dropout]\nx=1", "network.decoder.decoder_dropout"),
    ("a=" + "[" * 5000 + "]" * 5000, "TOML"),
    (f"a={'9' * 5000}", "TOML"),
]

RECIPES: list[tuple[str, ...]] = [
    # content of a file given as --recipe, words
    ("datasets=3", "datasets", "table"),
    ("[[datasets]]\nx=1", "datasets", "table"),
    ("[datasets]\ntoyscapes_mini=3", "datasets.toyscapes_mini", "table"),
    ("[datasets.toyscapes_mini]\nrecipe=3", "recipe", "table"),
    ("[datasets.toyscapes_mini]\nx=3", "unknown key", "'x'"),
    ("[datasets.toyscapes_mini.method]\nsoftmax=3", "method", "table"),
    ("[method]\nsoftmax=3", "method", "table"),
    ("[[method.softmax]]\nx=1", "method", "table"),
    ("[method.softmax]\nx=1", "method.x"),
]

COMMANDS: list[tuple[str, ...]] = [
    # command line, words; {run} is a finished run of softmax in {results}, {image} a picture, {missing} nothing
    ("run --method nothing --dataset toyscapes_mini", "unknown method", "nothing"),
    ("run --method softmax --dataset nothing", "unknown data set", "nothing"),
    ("run --method '' --dataset toyscapes_mini", "unknown method"),
    ("run --method softmax --dataset ''", "unknown data set"),
    ("run --method ../softmax --dataset toyscapes_mini", "unknown method"),
    ("run --dataset toyscapes_mini", "--method"),
    ("run --method softmax", "--dataset"),
    (f"{RUN} --seed -1", "--seed"),
    (f"{RUN} --seed {HUGE}", "--seed"),
    (f"{RUN} --seed x", "--seed"),
    (f"{RUN} --seed ''", "--seed"),
    (f"{RUN} --supervision ''", "supervision"),
    (f"{RUN} --supervision fraction-2", "fraction-2"),
    (f"{RUN} --supervision scribble", "scribbles"),
    (f"{RUN} --recipe ''", "unknown recipe"),
    (f"{RUN} --recipe nothing", "unknown recipe"),
    (f"{RUN} --recipe {{missing}}.toml", "missing.toml"),
    (f"{RUN} --recipe {{folder}}", "recipe"),
    (f"{RUN} --recipe {{folder}}.toml", "folder.toml"),
    (f"{RUN} --recipe {{image}}", "recipe"),
    (f"{RUN} --recipe '{{spaced}}'", "recipe.name", "letters"),
    (f"{RUN} --recipe ../../quick", "unknown recipe"),
    (f"{RUN} --config ''", "--config"),
    (f"{RUN} --config {{missing}}", "missing"),
    (f"{RUN} --config {{folder}}", "folder"),
    (f"{RUN} --config {{image}}", "image.png"),
    (f"{RUN} --protocol ''", "unknown protocol"),
    (f"{RUN} --protocol nothing", "unknown protocol"),
    (f"{RUN} --device tpu", "--device"),
    (f"{RUN} --device ''", "--device"),
    (f"{RUN} --device cuda", "CUDA"),
    (f"{RUN} --encoder ''", "encoder"),
    (f"{RUN} --encoder nothing", "nothing"),
    (f"{RUN} --encoder-weights ''", "weights"),
    (f"{RUN} --encoder-weights {{missing}}.pth", "missing.pth"),
    (f"{RUN} --encoder-weights {{folder}}", "folder"),
    (f"{RUN} --encoder-weights {{image}}", "image.png"),
    (f"{RUN} --architecture ''", "architecture"),
    (f"{RUN} --architecture nothing --method gmmseg --seed 0 --seed 1", "nothing"),
    (f"{RUN} --encoder nothing --method gmmseg --seed 0 --seed 1", "nothing"),
    (f"{RUN} --encoder-weights {{missing}}.pth --seed 0 --seed 1", "missing.pth"),
    (f"{RUN} --architecture dpt --seed 0 --seed 1", "dpt"),
    (f"{RUN} --results ''", "--results"),
    (f"{RUN} --results {{image}}", "--results"),
    (f"{RUN} --results {{image}}/below", "image.png"),
    (f"{RUN} --results /proc/nothing", "/proc"),
    (f"{RUN} --data-root ''", "--data-root"),
    (f"{RUN} --data-root {{image}}", "image.png"),
    (f"{RUN} --dataset camvid --data-root {{missing}}", "camvid"),
    (f"{RUN} --plugin ''", "--plugin"),
    (f"{RUN} --plugin {{missing}}", "missing"),
    (f"{RUN} --plugin {{folder}}", "folder"),
    (f"{RUN} --plugin {{image}}", "image.png"),
    (f"{RUN} --plugin {{text}}", "text.toml"),
    ("run --method softmax --dataset road_anomaly", "road_anomaly"),
    ("profile softmax", "--dataset"),
    ("profile ''", "no method or run ''"),
    ("profile softmaz --dataset toyscapes_mini", "did you mean softmax"),
    ("profile softmax --dataset nothing", "unknown data set"),
    ("profile softmax --dataset road_anomaly", "no training split"),
    ("profile softmax --dataset toyscapes_mini --set recipe.batch_size=2,4", "one configuration"),
    ("profile softmax --dataset toyscapes_mini --steps 0", "--steps"),
    ("profile softmax --dataset toyscapes_mini --out {image}", "--out"),
    ("profile {run} --dataset toyscapes_mini", "leave out --dataset"),
    ("evaluate ''", "'' is not in"),
    ("evaluate .", "'.' is not in"),
    ("evaluate /", "'/' is not in"),
    ("evaluate nothing", "nothing"),
    ("evaluate ../records", "not in"),
    ("evaluate {run} --protocol nothing", "unknown protocol"),
    ("evaluate {run} --protocol ''", "unknown protocol"),
    ("evaluate {run} --results ''", "--results"),
    ("evaluate {run} --data-root ''", "--data-root"),
    ("evaluate {run} --data-root {image}", "image.png"),
    ("evaluate {run} --device tpu", "--device"),
    ("evaluate {run} --plugin {missing}", "missing"),
    ("evaluate {failed}", "no model", "--force"),
    ("evaluate {traversing}", "traversing"),
    ("evaluate {renamed}", "renamed"),
    ("predict '' {image} --out {out}", "'' is not in"),
    ("predict nothing {image} --out {out}", "nothing"),
    ("predict {run} --out {out}", "IMAGE"),
    ("predict {run} {image} --out ''", "--out"),
    ("predict {run} {image}", "--out"),
    ("predict {run} {image} --out {image}", "--out"),
    ("predict {run} {image} --out {image}/below", "image.png"),
    ("predict {run} '' --out {out}", "IMAGE"),
    ("predict {run} {missing} --out {out}", "missing"),
    ("predict {run} {folder} --out {out}", "folder"),
    ("predict {run} {text} --out {out}", "text.toml"),
    ("predict {run} {text} {image} --out {out}", "text.toml"),
    ("predict {run} {image} {image} --out {out}", "image.png", "twice"),
    ("predict {run} {image} --out {out} --results ''", "--results"),
    ("predict {failed} {image} --out {out}", "failed"),
    ("explain '' test/0000", "'' is not in"),
    ("explain {run} ''", "softmax"),
    ("explain {run} {image}", "softmax"),
    ("explain {run} {missing}", "softmax"),
    ("explain {run} test/0000 --out ''", "--out"),
    ("explain {run} test/0000 --segments 0", "--segments"),
    ("explain {run} test/0000 --segments 1000000", "--segments"),
    ("explain {run} test/0000 --neighbours -1", "--neighbours"),
    ("explain {run} test/0000 --groups 1", "--groups"),
    ("explain {failed} test/0000", "failed"),
    ("sample '' --out {out}", "'' is not in"),
    ("sample {run} --out {out}", "softmax"),
    ("sample {run} --image {image} --out {out}", "softmax"),
    ("sample {run} --image '' --out {out}", "--image"),
    ("sample {run} --image {image} --out ''", "--out"),
    ("sample {run} --image {image} --out {out} --count 0", "--count"),
    ("sample {run} --image {image} --out {out} --count 1000000000", "--count"),
    ("sample {run} --image {image} --out {out} --seed -1", "--seed"),
    ("sample {failed} --out {out}", "failed"),
    ("pictures ''", "RESULTS"),
    ("pictures {missing}", "missing"),
    ("pictures {image}", "image.png"),
    ("pictures {folder}", "folder"),
    ("pictures {results} --out ''", "--out"),
    ("pictures {results} --count 0", "--count"),
    ("pictures {results} --count 1000000000000", "--count"),
    ("pictures {results} --data-root ''", "--data-root"),
    ("pictures --results ''", "--results"),
    ("leaderboard ''", "RESULTS"),
    ("leaderboard {missing}", "missing"),
    ("leaderboard {image}", "image.png"),
    ("leaderboard {folder}", "no record"),
    ("leaderboard {damaged}", "broken.json"),
    ("leaderboard {good} --format xml", "--format"),
    ("leaderboard {good} --out ''", "--out"),
    ("leaderboard {good} --out {image}", "--out"),
    ("leaderboard {good} --out {image}/below", "image.png"),
    ("leaderboard {good} --results {folder}", "--results"),
    ("leaderboard --results ''", "--results"),
    ("export {good}", "--out"),
    ("export {good} --out ''", "--out"),
    ("export {good} --out {folder}", "--out"),
    ("export {good} --out {image}/below", "image.png"),
    ("export {good} --format xml --out {missing}", "--format"),
    ("export {missing} --out {missing}", "no record"),
    ("export {damaged} --out {missing}", "broken.json"),
    ("curve ''  --x method.clusters", "RESULTS"),
    ("curve {good}", "--x"),
    ("curve {good} --x ''", "setting"),
    ("curve {good} --x ../../x", "../../x"),
    ("curve {good} --x recipe.steps", "recipe.steps"),
    ("curve {good} --x recipe.steps --y ../../x", "../../x"),
    ("curve {good} --x recipe.steps --y ''", "metric"),
    ("curve {good} --x recipe.steps --out ''", "--out"),
    ("curve {swept} --x method./../../x", "letters"),
    ("curve {missing} --x recipe.steps", "no record"),
    ("list ''", "methods"),
    ("list nothing", "nothing"),
    ("list methods --plugin {missing}", "missing"),
    ("list methods --plugin ''", "--plugin"),
    ("show ''", "there is no"),
    ("show nothing", "nothing"),
    ("show ../../x", "../../x"),
    ("show {run} --results ''", "--results"),
    ("show softmax --plugin {folder}", "folder"),
    ("new method ''", "letters"),
    ("new method ../x", "letters"),
    ("new method a/b", "letters"),
    ("new method .hidden", "letters"),
    ("new method class", "cannot name"),
    (f"new method {'x' * 300}", "60"),
    ("new method softmax", "softmax"),
    ("new method mine --out ''", "--out"),
    ("new method mine --out {image}", "--out"),
    ("new method mine --out {image}/below", "image.png"),
    ("check ''", "unknown method"),
    ("check nothing", "nothing"),
    ("check softmax --plugin {missing}", "missing"),
    ("check camvid --data-root ''", "--data-root"),
    ("data nothing", "nothing"),
    ("data list --data-root ''", "--data-root"),
    ("data info nothing", "nothing"),
    ("data verify ''", "unknown data set"),
    ("data verify camvid --split nothing", "nothing"),
    ("data verify cityscapes --split test", "not published"),
    ("data verify camvid --workers 0", "--workers"),
    ("data verify camvid --plugin {missing}", "missing"),
    ("data sheet toyscapes_mini --data-root {missing} --out {folder}", "--out"),
    ("data sheet toyscapes_mini --data-root {missing} --out {missing}.jpg", ".png"),
    ("data sheet camvid --data-root {missing}", "camvid"),
    ("data speed toyscapes_mini --data-root {data} --recipe nothing --images 8", "nothing"),
    ("nothing", "nothing"),
    ("new nothing", "nothing"),
]

PLUGIN = """
from methods.softmax import Softmax

class Hostile(Softmax):
    name = "hostile"
"""
DATA = """
from datasets.toyscapes_mini import ToyscapesMini
from datasets.base import Split

class Hostile(ToyscapesMini):
    name = "hostile"
"""

PLUGINS: list[tuple[str, ...]] = [
    # source of a plugin, words; the method or data set in it is named "hostile", or should be
    ("import sys; sys.exit(0)", "SystemExit in line 1"),
    ("raise SystemExit", "SystemExit in line 1"),
    ("raise KeyError(3)", "KeyError"),
    ("raise BaseException", "BaseException"),
    ("def f(:", "syntax error"),
    ("\x00", "plugin.py"),
    ("x = '" + "\u20ac" * 3, "syntax error"),
    ("import nothing_of_that_name", "nothing_of_that_name"),
    ("def f(): f()\nf()", "RecursionError"),
    ("x = 1", "no Method"),
    *[
        (f"{PLUGIN}Hostile.name = {name!r}", "letters")
        for name in ("../../evil", "a/b", ".", "..", "-x", ".x", "a b", "a\nb", "a\0b", "\u202eb", "x" * 61)
    ],
    (f"{PLUGIN}Hostile.name = ''", "no name"),
    (f"{PLUGIN}Hostile.name = 3", "name"),
    (f"{PLUGIN}Hostile.name = None", "name"),
    (f"{PLUGIN}Hostile.name = 'softmax'", "softmax"),
    (f"{PLUGIN}Hostile.Config = None", "Config"),
    (f"{PLUGIN}Hostile.Config = dict", "Config"),
    (f"{PLUGIN}Hostile.version = None", "version"),
    (f"{PLUGIN}Hostile.headline_score = '../../x'", "letters"),
    (f"{PLUGIN}Hostile.density_score = '../../x'", "letters"),
    (f"{DATA}Hostile.name = '../../evil'", "letters"),
    (f"{DATA}Hostile.splits = {{'../x': Split(1)}}", "letters"),
]


class Places(dict[str, str]):
    """What the placeholders of a command line stand for."""


@pytest.fixture(scope="module")
def places(data_root, tmp_path_factory) -> Places:
    """A finished run, and files and folders of every kind that a user may name by mistake."""
    root = tmp_path_factory.mktemp("places") / "deep" / "below"
    good = root / "good"
    line = f"{RUN} --set recipe.steps=2 --protocol closed-set --device cpu --results {good} --data-root {data_root}"
    made = in_process(*shlex.split(line))
    assert made.exit_code == 0, made.output
    (record,) = (good / "records").glob("*.json")
    content = json.loads(record.read_text())

    def write(store: str, name: str, **changes: object) -> str:
        path = root / store / "records" / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({**content, "run_id": name, **changes}))
        return name

    shutil.copytree(good, root / "results")
    write("results", "failed", status="failed", reason="it broke", training=None, checkpoint_hash=None, protocols={})
    write("results", "traversing", run_id="../../traversing")
    write("results", "renamed", run_id=record.stem)
    for value in (1, 2):
        swept = {**content["config"], "method": {"/../../x": value}}
        write("swept", f"swept-{value}", config=swept, fingerprint=str(value))
    (root / "damaged" / "records").mkdir(parents=True)
    (root / "damaged" / "records" / "broken.json").write_text("{")
    for folder in ("folder", "folder.toml"):
        (root / folder).mkdir()
    Image.new("RGB", (64, 64)).save(root / "image.png")
    (root / "text.toml").write_text("[recipe]\n")
    (root / "my recipe.toml").write_text("[recipe]\nsteps=1\n")
    names = {
        "image": "image.png", "text": "text.toml", "spaced": "my recipe.toml", "folder": "folder", "good": "good",
        "results": "results", "swept": "swept", "damaged": "damaged", "missing": "missing", "out": "out",
    }  # fmt: skip
    return Places(
        {key: str(root / name) for key, name in names.items()},
        run=record.stem, failed="failed", traversing="traversing", renamed="renamed", data=str(data_root),
    )  # fmt: skip


@pytest.fixture
def refused(places, tmp_path, monkeypatch):
    """Invoke ``bench`` from an empty folder, and require one sentence, exit code 2, and nothing written."""
    monkeypatch.chdir(tmp_path)
    before = listing(places)

    def call(arguments: list[str], words: tuple[str, ...]) -> None:
        result = invoke(arguments, places)
        assert_sentence(result, words)
        assert listing(places) == before
        assert not list(tmp_path.iterdir())

    return call


def listing(places: Places) -> set[str]:
    """Every file and folder that a hostile name might reach, but for the locks and folders of runs."""
    top = Path(places["good"]).parents[2]
    return {str(path) for path in top.rglob("*") if path.name != ".lock" and path.parent.name != "runs"}


def invoke(arguments: list[str], places: Places) -> Result:
    """``bench`` with the places of results and data where the command takes them and the line names no others."""
    defaults = {"--results": places["results"], "--data-root": places["data"], "--device": "cpu"}
    takes = {
        "run": defaults, "evaluate": defaults, "explain": defaults, "sample": defaults, "profile": defaults,
        "predict": ("--results", "--device"), "pictures": ("--data-root",), "show": ("--results",),
    }  # fmt: skip
    wanted = [name for name in takes.get(arguments[0], ()) if name not in arguments]
    return in_process(*arguments, *(part for name in wanted for part in (name, defaults[name])))


def assert_sentence(result: Result, words: tuple[str, ...]) -> None:
    assert isinstance(result.exception, SystemExit | None), repr(result.exception)
    assert result.exit_code == 2, result.output
    sentence = result.stderr.strip().splitlines()[-1]
    assert sentence.startswith(("error: ", "Error: ")), result.output
    assert len(sentence) < 1000, sentence
    assert "Traceback" not in result.output
    for word in words:
        assert word in sentence, sentence


def filled(line: str, places: Places) -> list[str]:
    """The words of a command line with its placeholders filled."""
    for name, place in places.items():
        line = line.replace(f"{{{name}}}", place)
    return shlex.split(line)


def named(table: list[tuple[str, ...]], fixed: int) -> list:
    """The rows as pytest parameters: the first ``fixed`` cells, then the words."""
    return [pytest.param(*row[:fixed], row[fixed:], id=f"{i}-{row[0][:40]!a}") for i, row in enumerate(table)]


@pytest.mark.parametrize(("setting", "words"), named(SETTINGS, 1))
def test_a_setting_that_cannot_be(refused, places, setting, words):
    setting = setting.replace("{folder}", places["folder"]).replace("{text}", places["text"])
    refused([*shlex.split(RUN), "--set", setting], words)


@pytest.mark.parametrize(("method", "settings", "words"), named(METHODS, 2))
def test_a_setting_of_a_method_that_cannot_be(refused, method, settings, words):
    assigned = [part for setting in settings.split() for part in ("--set", setting)]
    refused(["run", "--method", method, "--dataset", "toyscapes_mini", "--encoder", "resnet18", *assigned], words)


@pytest.mark.parametrize("option", ["--config", "--recipe"])
@pytest.mark.parametrize(("content", "words"), named(TOML, 1))
def test_a_file_of_settings_that_cannot_be(refused, tmp_path_factory, content, words, option):
    refused([*shlex.split(RUN), option, written(tmp_path_factory, "file.toml", content)], words)


@pytest.mark.parametrize(("content", "words"), named(RECIPES, 1))
def test_a_recipe_that_cannot_be(refused, tmp_path_factory, content, words):
    refused([*shlex.split(RUN), "--recipe", written(tmp_path_factory, "file.toml", content)], words)


@pytest.mark.parametrize(("line", "words"), named(COMMANDS, 1))
def test_a_command_line_that_cannot_be(refused, places, line, words):
    refused(filled(line, places), words)


@pytest.mark.parametrize(("source", "words"), named(PLUGINS, 1))
def test_a_plugin_that_cannot_be(refused, tmp_path_factory, source, words):
    refused(["list", "methods", "--plugin", written(tmp_path_factory, "plugin.py", source)], words)


def written(factory: pytest.TempPathFactory, name: str, content: str) -> str:
    path = factory.mktemp("written") / name
    path.write_text(content)
    return str(path)


def test_whatever_a_method_raises_is_a_row_and_the_grid_goes_on(places, tmp_path):
    faults = {
        "__init__": "raise SystemExit(0)", "prepare": "assert False, 'x'", "losses": "raise SystemExit(0)",
        "after_step": "raise type('Own', (Exception,), {})", "finish": "raise SystemExit",
        "predict": "raise SystemExit(0)",
    }  # fmt: skip
    source = "from methods.softmax import Softmax\n" + "".join(
        f"class M{i}(Softmax):\n    name = '{hook}'\n    def {hook}(self, *arguments):\n        {fault}\n"
        for i, (hook, fault) in enumerate(faults.items())
    )
    plugin = tmp_path / "plugin.py"
    plugin.write_text(source)
    methods = " ".join(f"--method {name}" for name in [*faults, "majority"])
    line = f"run {methods} --dataset toyscapes_mini --encoder resnet18 --plugin {plugin} --protocol closed-set"
    result = invoke([*shlex.split(line), "--results", str(tmp_path / "results")], places)
    assert result.exit_code == 1, result.output
    rows = [json.loads(path.read_text()) for path in (tmp_path / "results" / "records").glob("*.json")]
    status = {row["config"]["method_name"]: (row["status"], row["reason"]) for row in rows}
    assert status.pop("majority") == ("complete", None)
    assert {*status} == {*faults}
    for name, (state, reason) in status.items():
        assert state == "failed", name
        assert "plugin.py line" in reason


def test_a_method_that_ends_the_program_breaks_its_contract(tmp_path):
    plugin = tmp_path / "plugin.py"
    plugin.write_text(f"{PLUGIN}    def losses(self, batch):\n        raise SystemExit(0)\n")
    result = in_process("check", "hostile", "--plugin", str(plugin))
    assert result.exit_code == 1
    assert "FAIL  losses" in result.output


def test_a_plugin_that_ends_another_command_is_an_error(places, tmp_path, monkeypatch):
    plugin, results = tmp_path / "plugin.py", str(tmp_path / "results")
    body = "        return sys.exit(0) if os.environ.get('HOSTILE') else super().predict(images)\n"
    plugin.write_text(f"import os, sys\n{PLUGIN}    def predict(self, images):\n{body}")
    line = f"run --method hostile --dataset toyscapes_mini --plugin {plugin} --protocol closed-set --results {results}"
    assert invoke(shlex.split(line), places).exit_code == 0
    monkeypatch.setenv("HOSTILE", "1")
    line = f"predict toyscapes {places['image']} --plugin {plugin} --results {results} --out {tmp_path / 'out'}"
    result = invoke(shlex.split(line), places)
    assert result.exit_code == 1, result.output
    assert "a plugin ended the program" in result.stderr
