/* @TITLE@: self-test
 *
 * SPDX-License-Identifier: Apache-2.0
 * Made by disc-stream @SOFTWARE@: `disc-stream export --target c --with-test`. Do not edit; export again.
 *
 * Labels @N_TESTS@ windows and compares labels and distances, bit by bit, with what the model gave where it was
 * exported. A difference means that compiler, options or processor do not compute as the model needs.
 */
#include "@HEADER@"

#ifndef DISC_TEST_MAIN
#define DISC_TEST_MAIN 1 /* 0: leave out main, and call disc_self_test */
#endif

#define DISC_TESTS @N_TESTS@u

static const float windows[DISC_TESTS][DISC_INPUT][DISC_CHANNELS] = {
@WINDOWS@
};

static const int32_t labels[DISC_TESTS] = {
@LABELS@
};

static const uint32_t distances[DISC_TESTS] = { /* bits of floats */
@DISTANCES@
};

/* Gives the number of windows with another result. */
int disc_self_test(void)
{
    static disc_state state;
    disc_result result;
    union {
        float value;
        uint32_t bits;
    } distance;
    int wrong = 0;
    unsigned i, n;

    for (i = 0; i < DISC_TESTS; ++i) {
        int complete = 0;
        disc_reset(&state);
        for (n = 0; n < DISC_INPUT; ++n) {
            complete = disc_push(&state, windows[i][n], &result);
        }
        distance.value = complete ? result.distance : -1.0f;
        wrong += !complete || result.label != labels[i] || distance.bits != distances[i];
    }
    return wrong;
}

#if DISC_TEST_MAIN
#include <stdio.h>

int main(void)
{
    const int wrong = disc_self_test();

    printf("%s: %d of %u windows differ\n", DISC_MODEL, wrong, DISC_TESTS);
    return wrong == 0 ? 0 : 1;
}
#endif
