#!/bin/sh
# All of the settled regime, for a machine with a GPU: sh results/settled.sh [--dry-run | options of bench run]
# Finished runs are skipped and interrupted ones continue, so it can be stopped and started again at any time.
set -e
ALL="--protocol closed-set --protocol cross-domain --protocol anomaly --protocol calibration --protocol boundary"
SEEDS="--seed 0 --seed 1 --seed 2"
METHODS="--method softmax --method gmmseg --method agmm --method segsort"
CODEC="--method gss --set method.samples=0"
PATCHES="$CODEC --set method.codec=patch"
FURTHER="$*"
READOUTS="--method linear --method gaussian --method mixture --method neighbours --method temperature"

run() {
    bench run --recipe settled --results results $SEEDS "$@"
}

# read_out OPTIONS: each read-out of the networks of the finished runs of OPTIONS, where their models are on this machine
read_out() {
    for id in $(run "$@" --dry-run | sed -n 's/: finished$//p'); do
        if [ -e "results/runs/$id/model.safetensors" ]; then
            bench run $READOUTS --features "$id" --results results $ALL $FURTHER
        fi
    done
}

# Dense labels: Toyscapes, and photographs with the domain shift in both directions
for dataset in toyscapes camvid idd_lite; do
    run --dataset $dataset $ALL --method majority $METHODS "$@"
    run --dataset $dataset $ALL $PATCHES "$@"
done
# Ranks as a function of budget
for steps in 450 1800 7200; do
    run --dataset toyscapes --set recipe.steps=$steps $ALL --method majority $METHODS "$@"
    run --dataset toyscapes --set recipe.steps=$steps $ALL $PATCHES "$@"
    run --dataset toyscapes --set recipe.steps=$steps $ALL $CODEC "$@"
    run --dataset toyscapes --set recipe.steps=$steps $ALL $CODEC --set method.variant=ft-w --set method.window_depth=1 "$@"
    run --dataset toyscapes --set recipe.steps=$steps $ALL --method gmmseg --set method.preset=official "$@"
done
# Few labels
for labels in points scribbles clicks-20; do
    run --dataset toyscapes --supervision $labels $ALL $METHODS "$@"
done
run --dataset toyscapes --supervision none $ALL --method segsort --set method.regions=hed "$@"
# Features and read-outs
for steps in 450 3600; do
    for method in softmax gmmseg agmm segsort; do
        read_out --dataset toyscapes --set recipe.steps=$steps --method $method
    done
    read_out --dataset toyscapes --set recipe.steps=$steps $PATCHES
done
# From softmax to GMMSeg, one ingredient a rung, from both weights
for steps in 450 3600; do
    STEPS=$steps sh results/ladder.sh "$@"
    STEPS=$steps sh results/ladder.sh --encoder-weights none "$@"
done
# GMMSeg: as released, by the paper's density, with soft assignment, and with other starts of variances and means
for dataset in toyscapes camvid; do
    for change in preset=official preset=paper variance_prior=200; do
        run --dataset $dataset $ALL --method gmmseg --set method.$change "$@"
    done
done
run --dataset toyscapes $ALL --method gmmseg --set method.preset=paper --set method.assign=soft "$@"
run --dataset toyscapes $ALL --method gmmseg --set method.estimate=means "$@"
run --dataset toyscapes $ALL --method gmmseg --set method.gamma_mean=0.99 --set method.em_interval=1 "$@"
# Published forms of the other methods
run --dataset toyscapes $ALL $PATCHES --set method.fusion=normalised --set method.auxiliary_fusion=separate "$@"
run --dataset toyscapes $ALL $PATCHES --set method.loss_mean=all "$@"
run --dataset toyscapes $ALL --method agmm --supervision points --set method.align_corners=true "$@"
run --dataset toyscapes $ALL --method agmm --supervision points --set method.self_weight=0 "$@"
run --dataset toyscapes $ALL --method agmm --supervision points --set method.ramp=0.3 "$@"
run --dataset toyscapes $ALL --method segsort --set method.enlarge_embeddings=true "$@"
run --dataset toyscapes $ALL --method segsort --set method.neighbours=5 "$@"
run --dataset toyscapes $ALL --method segsort --set method.dim=16 "$@"
run --dataset toyscapes $ALL --method segsort --set method.iterations=15 "$@"
