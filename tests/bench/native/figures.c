/* Samples with their quantiles as JSON, and the CPU time of processes. */
#include "harness.h"
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

void samples_add(Samples *samples, int64_t ns) {
    if (samples->len == samples->cap) {
        samples->cap = samples->cap ? samples->cap * 2 : 4096;
        samples->values = realloc(samples->values, samples->cap * sizeof *samples->values);
        if (!samples->values) die("out of memory");
    }
    samples->values[samples->len++] = ns < 0 ? 0 : ns > UINT32_MAX ? UINT32_MAX : ns;
}

static int compare(const void *one, const void *other) {
    uint32_t a = *(const uint32_t *)one, b = *(const uint32_t *)other;
    return (a > b) - (a < b);
}

static double quantile_ms(const Samples *samples, double share) {
    size_t at = samples->len * share;
    return samples->len ? samples->values[at < samples->len ? at : samples->len - 1] / 1e6 : -1;
}

void samples_print(const char *name, Samples *samples) {
    if (samples->len) qsort(samples->values, samples->len, sizeof *samples->values, compare);
    printf(",\"%s\":{\"num\":%zu,\"p50_ms\":%.4f,\"p99_ms\":%.4f,\"max_ms\":%.4f}", name, samples->len,
           quantile_ms(samples, 0.5), quantile_ms(samples, 0.99), quantile_ms(samples, 1));
    samples->len = 0;
}

int64_t cpu_ns(int pid) {
    clockid_t clock = CLOCK_PROCESS_CPUTIME_ID;
    struct timespec time;
    if (pid && clock_getcpuclockid(pid, &clock)) return 0;
    if (clock_gettime(clock, &time)) return 0;
    return time.tv_sec * 1000000000LL + time.tv_nsec;
}
