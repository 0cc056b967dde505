/* Natural logarithm of a positive number: ln 2 times the exponent, and the series of the inverse hyperbolic
 * tangent for what is left, which lies between the roots of 1/2 and 2. A NaN stays one. */
static float disc_log(float x)
{
    disc_float part;
    int32_t exponent;
    float s, square, series;

    if (x != x) {
        return x;
    }
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

/* No sum runs over what a sensor reads, only over how it changes, so that a large constant part (gravity, the
 * pressure of the air) costs no digits: `moved` is a signal less its first sample, and `path` the sum of its
 * steps, which is the same, unless a step or a difference was clipped. */

/* One channel into `moved` and `path`; gives its first sample, told from the mean in training. */
static float disc_load_channel(disc_state *state, unsigned channel)
{
    const float first = state->ring[state->next][channel];
    const float scale = disc_scale[channel];
    float before = first, path = 0.0f;
    unsigned row = state->next;
    unsigned n;

    for (n = 0; n < DISC_INPUT; ++n) {
        const float value = state->ring[row][channel];
        state->moved[n] = disc_within((value - first) * scale, DISC_FARTHEST_SAMPLE);
        path += disc_within((value - before) * scale, DISC_FARTHEST_SAMPLE);
        state->path[n] = path;
        before = value;
        row = row + 1u == DISC_INPUT ? 0u : row + 1u;
    }
    return disc_within((first - disc_offset[channel]) * scale, DISC_FARTHEST_SAMPLE);
}

#if DISC_AXES > 0
/* The magnitudes of one sensor's axes likewise; gives the first one. A difference of two magnitudes is that of
 * their squares, added up over the axes as (a - b) (a + b), over their sum. */
static float disc_load_magnitude(disc_state *state, unsigned sensor)
{
    const unsigned channel = sensor * DISC_AXES;
    const float *const first = &state->ring[state->next][channel];
    const float *before = first;
    float first_size = 0.0f, size_before = 0.0f, path = 0.0f;
    unsigned row = state->next;
    unsigned n, axis;

    for (n = 0; n < DISC_INPUT; ++n) {
        const float *const now = &state->ring[row][channel];
        float square = 0.0f, from_first = 0.0f, step = 0.0f;
        float size;
        for (axis = 0; axis < DISC_AXES; ++axis) {
            const float scale = disc_scale[channel + axis];
            const float value = disc_within(now[axis] * scale, DISC_FARTHEST_SAMPLE);
            from_first += disc_within((now[axis] - first[axis]) * scale, DISC_FARTHEST_SAMPLE)
                          * (value + disc_within(first[axis] * scale, DISC_FARTHEST_SAMPLE));
            step += disc_within((now[axis] - before[axis]) * scale, DISC_FARTHEST_SAMPLE)
                    * (value + disc_within(before[axis] * scale, DISC_FARTHEST_SAMPLE));
            square += value * value;
        }
        size = disc_sqrt(square + DISC_TINY_VARIANCE);
        if (n == 0) {
            first_size = size_before = size;
        }
        state->moved[n] = from_first / (size + first_size);
        path += step / (size + size_before);
        state->path[n] = path;
        size_before = size;
        before = now;
        row = row + 1u == DISC_INPUT ? 0u : row + 1u;
    }
    return first_size;
}
#endif

/* Removes the mean, and gives it. */
static float disc_centre(float x[DISC_INPUT])
{
    const float mean = disc_mean(x);
    unsigned n;

    for (n = 0; n < DISC_INPUT; ++n) {
        x[n] -= mean;
    }
    return mean;
}

/* Adds one descriptor, times its row of the linear map, to the embedding. */
static void disc_project(float z[DISC_EMBEDDING], unsigned descriptor, float value)
{
    unsigned j;

    for (j = 0; j < DISC_EMBEDDING; ++j) {
        z[j] += value * disc_map[descriptor][j];
    }
}

/* Level, spread and power in each band of the signal that was loaded. It is one of `of` signals, whose
 * descriptors begin at `base`: first all levels, then all spreads, then the bands of each. */
static disc_moments disc_describe(disc_state *state, float z[DISC_EMBEDDING], float first, unsigned base,
                                  unsigned signal, unsigned of)
{
    const unsigned bands = base + 2u * of + signal * DISC_BANDS;
    disc_moments moments;
    unsigned band, k;

    moments.mean = disc_centre(state->moved);
    moments.variance = disc_mean_square(state->moved);
    disc_project(z, base + signal, first + moments.mean);
    disc_project(z, base + of + signal, disc_log(moments.variance + DISC_TINY_VARIANCE));
    (void)disc_centre(state->path);
    disc_transform(state->path);
    for (band = 0; band < DISC_BANDS; ++band) {
        float power = 0.0f;
        for (k = disc_band_edges[band]; k < disc_band_edges[band + 1u]; ++k) {
            power += disc_power(state->path, k);
        }
        disc_project(z, bands + band, disc_log(power + DISC_TINY_POWER));
    }
    return moments;
}

#if DISC_CHANNELS > 1
/* The mean product of `moved`, which holds one channel, centred, and of another channel. */
static float disc_covariance(const disc_state *state, unsigned channel)
{
    const float first = state->ring[state->next][channel];
    const float scale = disc_scale[channel];
    const float mean = state->moments[channel].mean;
    unsigned row = state->next;
    float sum = 0.0f;
    unsigned n;

    for (n = 0; n < DISC_INPUT; ++n) {
        const float moved = disc_within((state->ring[row][channel] - first) * scale, DISC_FARTHEST_SAMPLE);
        sum += state->moved[n] * (moved - mean);
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
        (void)disc_centre(state->moved);
        for (j = i + 1u; j < DISC_CHANNELS; ++j) {
            disc_project(z, base++, disc_covariance(state, j) / deviation[i] / deviation[j]);
        }
    }
}
#endif

#define DISC_EACH (2u + DISC_BANDS) /* descriptors of one signal */

/* The embedding of the last samples; gives 0 if it is not a number, because a sample is none. */
static int disc_encode(disc_state *state, float z[DISC_EMBEDDING])
{
    unsigned i;

    for (i = 0; i < DISC_EMBEDDING; ++i) {
        z[i] = 0.0f;
    }
    for (i = 0; i < DISC_CHANNELS; ++i) {
        const float first = disc_load_channel(state, i);
        state->moments[i] = disc_describe(state, z, first, 0, i, DISC_CHANNELS);
    }
#if DISC_AXES > 0
    for (i = 0; i < DISC_SENSORS; ++i) {
        const float first = disc_load_magnitude(state, i);
        (void)disc_describe(state, z, first, DISC_CHANNELS * DISC_EACH, i, DISC_SENSORS);
    }
#endif
#if DISC_CHANNELS > 1
    disc_correlate(state, z, (DISC_CHANNELS + DISC_SENSORS) * DISC_EACH);
#endif
    for (i = 0; i < DISC_EMBEDDING; ++i) {
        z[i] = disc_within(z[i] + disc_shift[i], DISC_FARTHEST_EMBEDDING);
    }
    return z[0] == z[0];
}
