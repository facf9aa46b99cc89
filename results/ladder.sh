#!/bin/sh
# From softmax to GMMSeg, one ingredient a rung: sh results/ladder.sh [--dry-run | options of bench run]
# STEPS sets the length. Finished runs are skipped and interrupted ones continue, so it can be stopped and started again.
set -e

rung() {
    bench run --dataset toyscapes --recipe settled --set recipe.steps="${STEPS:-450}" --results results \
        --seed 0 --seed 1 --seed 2 "$@"
}

COSINES="--method gmmseg --set method.class_norm=temperature"
LEARNT="$COSINES --set method.estimate=nothing"
rung --method softmax "$@"
# + a projection to 64 channels
rung --method softmax --set method.projection=64 "$@"
# + unit features and one learnt prototype a class: cosines over a learnt temperature
rung $LEARNT --set method.aux_weight=0 --set method.components=1 "$@"
# + five prototypes a class, of which the nearest counts
rung $LEARNT --set method.aux_weight=0 "$@"
# + the loss over components, to which Sinkhorn assigns pixels
rung $LEARNT "$@"
# + means that are estimated from memories instead of learnt
rung $COSINES --set method.estimate=means "$@"
# + variances
rung $COSINES "$@"
# + LayerNorm over classes in place of the temperature
rung --method gmmseg "$@"
