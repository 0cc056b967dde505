/* The samples under the taper, folded for the Fourier sums: cosines are the same for n and for the n-th
 * sample from the end, sines are opposite. Afterwards work[n] is the sum of the two and work[length - n]
 * their difference. */
static void disc_transform(float work[DISC_INPUT])
{
    unsigned n;

    for (n = 0; n < DISC_INPUT; ++n) {
        work[n] *= disc_taper[n];
    }
    for (n = 1; 2u * n < DISC_INPUT; ++n) {
        const float front = work[n], back = work[DISC_INPUT - n];
        work[n] = front + back;
        work[DISC_INPUT - n] = front - back;
    }
}

/* The power of frequency k of what was folded. */
static float disc_power(const float work[DISC_INPUT], unsigned k)
{
    float re = work[0], im = 0.0f;
    unsigned angle = 0;
    unsigned n;

    for (n = 1; 2u * n < DISC_INPUT; ++n) {
        angle = angle + k < DISC_INPUT ? angle + k : angle + k - DISC_INPUT;
        re += work[n] * disc_cosine[angle];
        im += work[DISC_INPUT - n] * disc_sine[angle];
    }
    if (2u * n == DISC_INPUT) { /* the middle one has no partner */
        re += k % 2u ? -work[n] : work[n];
    }
    return re * re + im * im;
}
