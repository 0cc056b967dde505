#define DISC_HALF (DISC_INPUT / 2u)

/* The spectrum of `work` under the taper, in place: a Fourier transform of half the length of pairs of
 * samples taken as complex numbers (radix 2), from which that of the samples is put together. Afterwards
 * work[2k] is the power of frequency k, and work[1] that of the highest one. */
static void disc_sort_pairs(float work[DISC_INPUT])
{
    unsigned i, j = 0, bit;

    for (i = 1; i < DISC_HALF; ++i) { /* j is i with its bits in reverse */
        for (bit = DISC_HALF >> 1; j & bit; bit >>= 1) {
            j ^= bit;
        }
        j |= bit;
        if (i < j) {
            const float re = work[2u * i], im = work[2u * i + 1u];
            work[2u * i] = work[2u * j];
            work[2u * i + 1u] = work[2u * j + 1u];
            work[2u * j] = re;
            work[2u * j + 1u] = im;
        }
    }
}

static void disc_transform_pairs(float work[DISC_INPUT])
{
    unsigned length, start, k;

    for (length = 1; length < DISC_HALF; length *= 2u) {
        const unsigned step = DISC_HALF / length; /* of the table, whose circle has 2 * DISC_HALF steps */
        for (k = 0; k < length; ++k) {
            const float c = disc_cosine[k * step], s = disc_sine[k * step];
            for (start = k; start < DISC_HALF; start += 2u * length) {
                float *const a = work + 2u * start;
                float *const b = a + 2u * length;
                const float re = b[0] * c + b[1] * s;
                const float im = b[1] * c - b[0] * s;
                b[0] = a[0] - re;
                b[1] = a[1] - im;
                a[0] += re;
                a[1] += im;
            }
        }
    }
}

static void disc_transform(float work[DISC_INPUT])
{
    unsigned n, k;
    float highest;

    for (n = 0; n < DISC_INPUT; ++n) {
        work[n] *= disc_taper[n];
    }
    disc_sort_pairs(work);
    disc_transform_pairs(work);
    highest = work[0] - work[1];
    for (k = 1; 2u * k <= DISC_HALF; ++k) {
        float *const low = work + 2u * k;
        float *const high = work + 2u * (DISC_HALF - k);
        const float even_re = 0.5f * (low[0] + high[0]), even_im = 0.5f * (low[1] - high[1]);
        const float odd_re = 0.5f * (low[1] + high[1]), odd_im = 0.5f * (high[0] - low[0]);
        const float c = disc_cosine[k], s = disc_sine[k];
        const float re = odd_re * c + odd_im * s, im = odd_im * c - odd_re * s;
        high[0] = (even_re - re) * (even_re - re) + (even_im - im) * (even_im - im);
        low[0] = (even_re + re) * (even_re + re) + (even_im + im) * (even_im + im);
    }
    work[1] = highest * highest;
}

static float disc_power(const float work[DISC_INPUT], unsigned k)
{
    return k == DISC_HALF ? work[1] : work[2u * k];
}
