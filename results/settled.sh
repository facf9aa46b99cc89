#!/bin/sh
# What the settled regime lacks still, for a machine with a GPU: sh results/settled.sh [--dry-run | options of bench run]
# Finished runs are skipped and interrupted ones continue, so it can be stopped and started again at any time.
set -e
ALL="--protocol closed-set --protocol cross-domain --protocol anomaly --protocol calibration --protocol boundary"
SEEDS="--seed 0 --seed 1 --seed 2"
PATCHES="--method gss --set method.codec=patch --set method.samples=0"

run() {
    bench run --recipe settled --results results $SEEDS "$@"
}

# Ranks as a function of budget
for steps in 450 1800 7200; do
    run --dataset toyscapes --set recipe.steps=$steps --method majority --method softmax --method gmmseg --method agmm \
        --method segsort "$@"
    run --dataset toyscapes --set recipe.steps=$steps $PATCHES "$@"
done
# Photographs, and the domain shift in both directions
for dataset in camvid idd_lite; do
    run --dataset $dataset $ALL --method majority --method softmax --method gmmseg --method agmm --method segsort "$@"
    run --dataset $dataset $ALL $PATCHES "$@"
done
# Few labels
for labels in points scribbles clicks-20; do
    run --dataset toyscapes --supervision $labels $ALL --method softmax --method gmmseg --method agmm --method segsort "$@"
done
run --dataset toyscapes --supervision none $ALL --method segsort --set method.regions=hed "$@"
# GMMSeg: as released, by the paper's density, and with the initial variance as a prior
for change in preset=official preset=paper variance_prior=200; do
    run --dataset toyscapes $ALL --method gmmseg --set method.$change "$@"
done
# Published forms of the other methods
run --dataset toyscapes $ALL $PATCHES --set method.fusion=normalised --set method.auxiliary_fusion=separate "$@"
run --dataset toyscapes $ALL $PATCHES --set method.loss_mean=all "$@"
run --dataset toyscapes $ALL --method agmm --supervision points --set method.align_corners=true "$@"
run --dataset toyscapes $ALL --method segsort --set method.enlarge_embeddings=true "$@"
