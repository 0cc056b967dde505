/* @TITLE@
 *
 * SPDX-License-Identifier: Apache-2.0
 * Made by disc-stream @SOFTWARE@: `disc-stream export --target c`. Do not edit; export again.
 *
 * Model      @NAME@, version @VERSION@
 * Graph      sha256 @GRAPH_SHA256@
 * Catalogue  sha256 @CATALOGUE_SHA256@
 * Learned    @METHOD@ on @DATASET@, @N_WINDOWS@ windows
 *
 * C99. The same samples give the same bits with every compiler and on every processor with IEEE 754 single
 * precision, with or without a floating-point unit: there are additions, subtractions, multiplications and
 * divisions of floats in a fixed order, and no call into a mathematical library. What would change the
 * order, or the rounding, is refused or switched off here.
 */
#include "@HEADER@"

#include <float.h>

#if defined(__FAST_MATH__)
#error "compile without -ffast-math: it changes the order of sums"
#endif
#if FLT_EVAL_METHOD != 0
#error "compile such that float is computed as float (on 32-bit x86: -msse2 -mfpmath=sse)"
#endif
/* No multiplication and addition in one rounding. GCC ignores the standard's pragma. */
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC optimize("fp-contract=off")
#else
#pragma STDC FP_CONTRACT OFF
#endif

/* -- The model: what was learned ------------------------------------------------------------------------ */

/* Probability of going on with an activity from one window to the next, and of changing to any one other. */
#define DISC_STAY @STAY@
#define DISC_MOVE @MOVE@

@TABLES@

/* mu: the centroid of each row. */
static const float disc_centroids[DISC_ROWS][DISC_EMBEDDING] = {
@CENTROIDS@
};

/* Squared distance from which on a window of a row is unknown; below 0 for never. */
static const float disc_unknown_above[DISC_ROWS] = {
@UNKNOWN_ABOVE@
};

/* 95 % quantile of the squared distances in training; 0 if that is not known. */
static const float disc_distance_q95[DISC_ROWS] = {
@DISTANCE_Q95@
};

/* The public cluster of each row, as an index of disc_ids. */
static const uint16_t disc_cluster_of[DISC_ROWS] = {
@CLUSTER_OF@
};

const int32_t disc_ids[DISC_CLUSTERS] = {
@IDS@
};

/* -- Arithmetic ----------------------------------------------------------------------------------------- */

typedef union {
    float value;
    uint32_t bits;
} disc_float;

static float disc_within(float x, float limit) /* a NaN stays one */
{
    return x > limit ? limit : x < -limit ? -limit : x;
}

/* Square root of a number that is not negative, or a NaN: Heron's steps from a guess by halving the exponent.
 * Three make the relative error smaller than rounding does. */
static float disc_sqrt(float x)
{
    disc_float guess;
    float root;

    if (!(x > 0.0f)) {
        return x;
    }
    guess.value = x;
    guess.bits = (guess.bits >> 1) + 0x1fbd1df5u;
    root = guess.value;
    root = 0.5f * (root + x / root);
    root = 0.5f * (root + x / root);
    root = 0.5f * (root + x / root);
    return root;
}

/* -- From a window to its embedding --------------------------------------------------------------------- */

@ENCODE@

/* -- From an embedding to a label ----------------------------------------------------------------------- */

/* Student's t with one degree of freedom: q[k] is proportional to 1 / (1 + squared distance), added up over
 * the rows of each public cluster. */
static void disc_assign(const float z[DISC_EMBEDDING], disc_result *result)
{
    float distance[DISC_ROWS];
    float similarity[DISC_ROWS];
    float total = 0.0f;
    float nearest;
    unsigned row = 0, best = 0;
    unsigned k, j;

    for (k = 0; k < DISC_ROWS; ++k) {
        float sum = 0.0f;
        for (j = 0; j < DISC_EMBEDDING; ++j) {
            const float difference = z[j] - disc_centroids[k][j];
            sum += difference * difference;
        }
        distance[k] = sum;
        similarity[k] = 1.0f / (1.0f + sum);
        total += similarity[k];
    }
    for (k = 0; k < DISC_CLUSTERS; ++k) {
        result->q[k] = 0.0f;
    }
    for (k = 0; k < DISC_ROWS; ++k) {
        similarity[k] /= total;
        result->q[disc_cluster_of[k]] += similarity[k];
    }
    for (k = 1; k < DISC_CLUSTERS; ++k) {
        if (result->q[k] > result->q[best]) {
            best = k;
        }
    }
    nearest = -1.0f;
    for (k = 0; k < DISC_ROWS; ++k) {
        if (disc_cluster_of[k] == best && similarity[k] > nearest) {
            nearest = similarity[k];
            row = k;
        }
    }
    result->label = disc_ids[best];
    result->confidence = result->q[best];
    result->distance = distance[row];
    result->novelty = disc_distance_q95[row] > 0.0f ? distance[row] / disc_distance_q95[row] : -1.0f;
    result->smoothed = result->label;
    result->smoothed_confidence = result->confidence;
    if (disc_unknown_above[row] >= 0.0f && distance[row] > disc_unknown_above[row]) {
        result->label = DISC_UNKNOWN;
        result->confidence = 1.0f - disc_unknown_above[row] / distance[row];
    }
}

#if DISC_SMOOTHING
/* The density of Student's t in as many dimensions as the embedding has is a power of q: q^((1 + d) / 2). */
static float disc_likelihood(float ratio)
{
    const float root = disc_sqrt(ratio);
    float power = 1.0f;
    unsigned n;

    for (n = 0; n < DISC_EMBEDDING + 1u; ++n) {
        power *= root;
    }
    return power;
}

/* Forward filter of a hidden Markov model whose states are the clusters (Rabiner 1989). */
static void disc_smooth(disc_state *state, disc_result *result)
{
    float highest = result->q[0];
    float total = 0.0f;
    unsigned best = 0;
    unsigned k;

    for (k = 1; k < DISC_CLUSTERS; ++k) {
        if (result->q[k] > highest) {
            highest = result->q[k];
        }
    }
    for (k = 0; k < DISC_CLUSTERS; ++k) {
        float p = disc_likelihood(result->q[k] / highest);
        if (state->has_belief) {
            p *= DISC_MOVE + (DISC_STAY - DISC_MOVE) * state->belief[k];
        }
        state->belief[k] = p;
        total += p;
    }
    for (k = 0; k < DISC_CLUSTERS; ++k) {
        state->belief[k] /= total;
        if (state->belief[k] > state->belief[best]) {
            best = k;
        }
    }
    state->has_belief = 1;
    result->smoothed = disc_ids[best];
    result->smoothed_confidence = state->belief[best];
}
#endif

static void disc_label(disc_state *state, disc_result *result)
{
    float z[DISC_EMBEDDING];

    result->window = state->windows++;
    if (!disc_encode(state, z)) {
        unsigned k;
        for (k = 0; k < DISC_CLUSTERS; ++k) {
            result->q[k] = 0.0f;
        }
        result->label = result->smoothed = DISC_NO_LABEL;
        result->confidence = result->smoothed_confidence = 0.0f;
        result->distance = 0.0f;
        result->novelty = -1.0f;
        return;
    }
    disc_assign(z, result);
#if DISC_SMOOTHING
    disc_smooth(state, result);
#endif
    if (result->label == DISC_UNKNOWN) {
        result->smoothed = DISC_UNKNOWN;
        result->smoothed_confidence = result->confidence;
    }
}

/* -- The stream ----------------------------------------------------------------------------------------- */

void disc_reset(disc_state *state)
{
    state->next = 0;
    state->missing = DISC_INPUT;
    state->windows = 0;
#if DISC_SMOOTHING
    state->has_belief = 0;
#endif
}

int disc_push(disc_state *state, const float sample[DISC_CHANNELS], disc_result *result)
{
    unsigned channel;

    for (channel = 0; channel < DISC_CHANNELS; ++channel) {
        state->ring[state->next][channel] = sample[channel];
    }
    state->next = (uint16_t)(state->next + 1u == DISC_INPUT ? 0u : state->next + 1u);
    if (--state->missing > 0u) {
        return 0;
    }
    state->missing = DISC_HOP;
    disc_label(state, result);
    return 1;
}

#if DISC_NAMES
/* -- Names ---------------------------------------------------------------------------------------------- */

const char *disc_name(int32_t label)
{
    static const char *const names[DISC_CLUSTERS] = {
@NAMES@
    };
    unsigned k;

    for (k = 0; k < DISC_CLUSTERS; ++k) {
        if (disc_ids[k] == label) {
            return names[k];
        }
    }
    return label == DISC_UNKNOWN ? "unknown" : "no label";
}
#endif
