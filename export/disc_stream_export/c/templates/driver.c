/* Labels windows from a file, for comparisons: driver WINDOWS RESULTS
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * WINDOWS holds float32 samples, window after window; RESULTS gets the size of the state and a line for each.
 * Every window begins anew, unless DRIVER_STREAM is defined: then the file is one stream, and has a line for
 * each label.
 */
#include <stdio.h>
#include <string.h>

#include "@HEADER@"

#if defined(DRIVER_SYSTICK)
/* Ticks of the core's own timer, downwards in 24 bits. */
static volatile uint32_t *const systick = (volatile uint32_t *)0xe000e010u;

static void start_ticks(void)
{
    systick[1] = 0x00ffffffu;
    systick[2] = 0;
    systick[0] = 5u; /* on, from the processor's clock, no interrupt */
}

static uint32_t ticks_since(uint32_t before)
{
    return (before - systick[2]) & 0x00ffffffu;
}
#define NOW() (systick[2])
#else
static void start_ticks(void) {}
static uint32_t ticks_since(uint32_t before) { return before; }
#define NOW() 0u
#endif

static disc_state state;
static float sample[DISC_CHANNELS];

static uint32_t bits_of(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static void print_result(FILE *out, const disc_result *result, uint32_t ticks)
{
    unsigned k;
    fprintf(out, "%ld %ld %08lx %08lx %08lx %lu", (long)result->label, (long)result->smoothed,
            (unsigned long)bits_of(result->distance), (unsigned long)bits_of(result->novelty),
            (unsigned long)bits_of(result->smoothed_confidence), (unsigned long)ticks);
    for (k = 0; k < DISC_CLUSTERS; ++k) {
        fprintf(out, " %08lx", (unsigned long)bits_of(result->q[k]));
    }
    fputc('\n', out);
}

int main(int argc, char **argv)
{
    FILE *in, *out;
    disc_result result;

    if (argc != 3 || !(in = fopen(argv[1], "rb")) || !(out = fopen(argv[2], "w"))) {
        return 2;
    }
    fprintf(out, "%lu\n", (unsigned long)sizeof state);
    start_ticks();
    disc_reset(&state);
    while (fread(sample, sizeof sample, 1, in) == 1) {
        const uint32_t before = NOW();
        if (disc_push(&state, sample, &result)) {
            print_result(out, &result, ticks_since(before));
#if !defined(DRIVER_STREAM)
            disc_reset(&state);
#endif
        }
    }
    fclose(in);
    return fclose(out) == 0 ? 0 : 2;
}
