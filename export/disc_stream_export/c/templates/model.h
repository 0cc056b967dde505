/* @TITLE@
 *
 * SPDX-License-Identifier: Apache-2.0
 * Made by disc-stream @SOFTWARE@: `disc-stream export --target c`. Do not edit; export again.
 *
 * Labels the motion stream of one device, on the device. Give it every sample in the order in which it was
 * measured, @RATE_TEXT@ a second; it gives one label every @HOP_SECONDS@ s.
 *
 *     static disc_state state;
 *     disc_result result;
 *     disc_reset(&state);
 *     for (;;) {
 *         float sample[DISC_CHANNELS];
 *         wait_for_sample(sample);
 *         if (disc_push(&state, sample, &result)) { use(result.smoothed); }
 *     }
 *
 * Channels of a sample, in this order:
@CHANNELS@
 *
 * It allocates nothing and keeps all it knows in `disc_state`. It calls nothing but what compilers call by
 * themselves: memset and memcpy, and, where there is no floating-point unit, their routines for floats.
 */
#ifndef DISC_MODEL_H
#define DISC_MODEL_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* 1: the table of names is compiled in (disc_name). */
#ifndef DISC_NAMES
#define DISC_NAMES 1
#endif

/* 1: labels are also smoothed over time, by the filter that the server uses. */
#ifndef DISC_SMOOTHING
#define DISC_SMOOTHING 1
#endif

#define DISC_MODEL "@VERSION@" /* version of the bundle that this is */
#define DISC_RATE_HZ @RATE@f /* samples a second */
#define DISC_CHANNELS @N_CHANNELS@u
#define DISC_INPUT @N_INPUT@u /* samples that a label is made of */
#define DISC_HOP @HOP@u /* samples from one label to the next */
#define DISC_EMBEDDING @N_EMBEDDING@u
#define DISC_ROWS @N_ROWS@u /* centroids */
#define DISC_CLUSTERS @N_CLUSTERS@u /* public clusters: rows that were merged count as one */

/* In the place of a cluster's id. */
#define DISC_UNKNOWN (-1) /* farther from its centroid than known motion */
#define DISC_NO_LABEL (-3) /* the window holds a sample that is not a number */

/* What is known of one window. */
typedef struct {
    uint32_t window;           /* number since disc_reset, from 0 */
    int32_t label;             /* public id of its cluster, or one of the above */
    float confidence;          /* probability of the label, from 0 to 1 */
    int32_t smoothed;          /* the same with what came before taken into account */
    float smoothed_confidence;
    float distance;            /* squared, to the nearest centroid of the most probable cluster */
    float novelty;             /* distance over its 95 % quantile in training; -1 if that is not known */
    float q[DISC_CLUSTERS];    /* soft assignment, in the order of disc_ids; sums to 1 */
} disc_result;

@TYPES@
/* All that is kept of one device. Its fields are no part of the interface. */
typedef struct {
    float ring[DISC_INPUT][DISC_CHANNELS]; /* the last samples */
@SCRATCH@
#if DISC_SMOOTHING
    float belief[DISC_CLUSTERS]; /* the smoothed assignment of the last window */
    uint8_t has_belief;
#endif
    uint16_t next;    /* row of the ring that the next sample goes to: that of the oldest one */
    uint16_t missing; /* samples that the next window still needs */
    uint32_t windows; /* that were complete since disc_reset */
} disc_state;

/* Public ids of the clusters. */
extern const int32_t disc_ids[DISC_CLUSTERS];

/* Forgets everything. To be called before the first sample, and after a gap in the samples. */
void disc_reset(disc_state *state);

/* Takes the next sample.
 *
 * sample: in the units above.
 * result: written if the sample completes a window.
 *
 * Gives 1 if it does, else 0. The call that completes a window takes as long as a label does; the others
 * copy one sample.
 */
int disc_push(disc_state *state, const float sample[DISC_CHANNELS], disc_result *result);

#if DISC_NAMES
/* The name of a label, UTF-8; never a null pointer. */
const char *disc_name(int32_t label);
#endif

#ifdef __cplusplus
}
#endif

#endif
