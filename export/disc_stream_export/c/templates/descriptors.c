/* Natural logarithm of a positive number: ln 2 times the exponent, and the series of the inverse hyperbolic
 * tangent for what is left, which lies between the roots of 1/2 and 2. */
static float disc_log(float x)
{
    disc_float part;
    int32_t exponent;
    float s, square, series;

    part.value = x;
    part.bits += 0x3f800000u - 0x3f3504f3u;
    exponent = (int32_t)(part.bits >> 23) - 127;
    part.bits = (part.bits & 0x007fffffu) + 0x3f3504f3u;
    s = (part.value - 1.0f) / (part.value + 1.0f);
    square = s * s;
    series = square * (0.333333333f + square * (0.2f + square * (0.142857143f + square * 0.111111111f)));
    /* ln 2 in two parts: the product with the first is exact. */
    return (float)exponent * 0.693359375f + (2.0f * (s + s * series) - (float)exponent * 2.12194440e-4f);
}

static float disc_normalised(float value, unsigned channel)
{
    return disc_bounded(value * disc_scale[channel]);
}

/* Sums run in four lanes: sample n goes to lane n mod 4. It is more exact than one lane, and faster. */
static float disc_mean(const float x[DISC_INPUT])
{
    float a = 0.0f, b = 0.0f, c = 0.0f, d = 0.0f;
    unsigned n;

    for (n = 0; n + 4u <= DISC_INPUT; n += 4u) {
        a += x[n];
        b += x[n + 1u];
        c += x[n + 2u];
        d += x[n + 3u];
    }
#if DISC_INPUT % 4 != 0
    for (; n < DISC_INPUT; ++n) {
        a += x[n];
    }
#endif
    return ((a + b) + (c + d)) / (float)DISC_INPUT;
}

static float disc_mean_square(const float x[DISC_INPUT])
{
    float a = 0.0f, b = 0.0f, c = 0.0f, d = 0.0f;
    unsigned n;

    for (n = 0; n + 4u <= DISC_INPUT; n += 4u) {
        a += x[n] * x[n];
        b += x[n + 1u] * x[n + 1u];
        c += x[n + 2u] * x[n + 2u];
        d += x[n + 3u] * x[n + 3u];
    }
#if DISC_INPUT % 4 != 0
    for (; n < DISC_INPUT; ++n) {
        a += x[n] * x[n];
    }
#endif
    return ((a + b) + (c + d)) / (float)DISC_INPUT;
}

@SPECTRUM@

/* The samples of one channel, oldest first, into `work`; 0 if one of them is not a number. */
static int disc_load_channel(disc_state *state, unsigned channel)
{
    unsigned row = state->next;
    unsigned n;
    int is_number = 1;

    for (n = 0; n < DISC_INPUT; ++n) {
        const float value = state->ring[row][channel];
        state->work[n] = value;
        is_number &= value == value;
        row = row + 1u == DISC_INPUT ? 0u : row + 1u;
    }
    return is_number;
}

#if DISC_AXES > 0
/* The magnitudes of one sensor's axes into `work`. */
static void disc_load_magnitude(disc_state *state, unsigned sensor)
{
    unsigned row = state->next;
    unsigned n, axis;

    for (n = 0; n < DISC_INPUT; ++n) {
        float sum = DISC_TINY_VARIANCE;
        for (axis = 0; axis < DISC_AXES; ++axis) {
            const float value = state->ring[row][sensor * DISC_AXES + axis];
            sum += value * value;
        }
        state->work[n] = disc_sqrt(sum);
        row = row + 1u == DISC_INPUT ? 0u : row + 1u;
    }
}
#endif

/* Removes the mean of `work`. Differences to the first sample come before the mean, so that a channel that
 * does not vary has exactly 0 left; what rounding leaves of the mean is removed once more, because it would
 * look like slow motion. */
static disc_moments disc_centre(float work[DISC_INPUT])
{
    disc_moments moments;
    unsigned n;

    moments.first = work[0];
    for (n = 0; n < DISC_INPUT; ++n) {
        work[n] -= moments.first;
    }
    moments.mean = disc_mean(work);
    for (n = 0; n < DISC_INPUT; ++n) {
        work[n] -= moments.mean;
    }
    moments.rest = disc_mean(work);
    for (n = 0; n < DISC_INPUT; ++n) {
        work[n] -= moments.rest;
    }
    moments.variance = disc_mean_square(work);
    return moments;
}

/* Adds one descriptor, times its row of the linear map, to the embedding. */
static void disc_project(float z[DISC_EMBEDDING], unsigned descriptor, float value)
{
    unsigned j;

    for (j = 0; j < DISC_EMBEDDING; ++j) {
        z[j] += value * disc_map[descriptor][j];
    }
}

/* Level, spread and power in each band of the signal in `work`: one of `of` signals, whose descriptors
 * begin at `base` as all levels, then all spreads, then the bands of each. */
static disc_moments disc_describe(float work[DISC_INPUT], float z[DISC_EMBEDDING], unsigned base,
                                  unsigned signal, unsigned of)
{
    const disc_moments moments = disc_centre(work);
    const unsigned bands = base + 2u * of + signal * DISC_BANDS;
    unsigned band, k;

    disc_project(z, base + signal, moments.first + (moments.mean + moments.rest));
    disc_project(z, base + of + signal, disc_log(moments.variance + DISC_TINY_VARIANCE));
    disc_transform(work);
    for (band = 0; band < DISC_BANDS; ++band) {
        float power = 0.0f;
        for (k = disc_band_edges[band]; k < disc_band_edges[band + 1u]; ++k) {
            power += disc_power(work, k);
        }
        disc_project(z, bands + band, disc_log(power + DISC_TINY_POWER));
    }
    return moments;
}

#if DISC_CHANNELS > 1
/* The mean product of `work`, which holds one channel, centred, and of another channel. */
static float disc_covariance(const disc_state *state, unsigned channel)
{
    const disc_moments *moments = &state->moments[channel];
    unsigned row = state->next;
    float sum = 0.0f;
    unsigned n;

    for (n = 0; n < DISC_INPUT; ++n) {
        const float value = ((state->ring[row][channel] - moments->first) - moments->mean) - moments->rest;
        sum += state->work[n] * value;
        row = row + 1u == DISC_INPUT ? 0u : row + 1u;
    }
    return sum / (float)DISC_INPUT;
}

/* The correlation of every pair of channels; those of a still channel go to 0. */
static void disc_correlate(disc_state *state, float z[DISC_EMBEDDING], unsigned base)
{
    float deviation[DISC_CHANNELS];
    unsigned i, j;

    for (i = 0; i < DISC_CHANNELS; ++i) {
        deviation[i] = disc_sqrt(state->moments[i].variance) + DISC_TINY_DEVIATION;
    }
    for (i = 0; i + 1u < DISC_CHANNELS; ++i) {
        (void)disc_load_channel(state, i);
        (void)disc_centre(state->work);
        for (j = i + 1u; j < DISC_CHANNELS; ++j) {
            disc_project(z, base++, disc_covariance(state, j) / deviation[i] / deviation[j]);
        }
    }
}
#endif

#define DISC_EACH (2u + DISC_BANDS) /* descriptors of one signal */

/* The embedding of the last samples; gives 0 if one of them is not a number. */
static int disc_encode(disc_state *state, float z[DISC_EMBEDDING])
{
    unsigned i;

    for (i = 0; i < DISC_EMBEDDING; ++i) {
        z[i] = 0.0f;
    }
    for (i = 0; i < DISC_CHANNELS; ++i) {
        if (!disc_load_channel(state, i)) {
            return 0;
        }
        state->moments[i] = disc_describe(state->work, z, 0, i, DISC_CHANNELS);
    }
#if DISC_AXES > 0
    for (i = 0; i < DISC_SENSORS; ++i) {
        disc_load_magnitude(state, i);
        (void)disc_describe(state->work, z, DISC_CHANNELS * DISC_EACH, i, DISC_SENSORS);
    }
#endif
#if DISC_CHANNELS > 1
    disc_correlate(state, z, (DISC_CHANNELS + DISC_SENSORS) * DISC_EACH);
#endif
    for (i = 0; i < DISC_EMBEDDING; ++i) {
        z[i] = disc_bounded(z[i] + disc_shift[i]);
    }
    return 1;
}
