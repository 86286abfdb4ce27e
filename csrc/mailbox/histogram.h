/* How long something took, counted in buckets that double: the first one is up
 * to 1 microsecond, each next one up to twice as much, the last one is without
 * an end. Values only, of one thread.
 *   - the counts sum up to how often it was noted;
 *   - nanoseconds is the sum of all that was. */
#ifndef PN_MAILBOX_HISTOGRAM_H
#define PN_MAILBOX_HISTOGRAM_H

#include <stddef.h>
#include <stdint.h>

/* The last bucket but one ends at 2**26 microseconds: 67 seconds. */
#define PN_HISTOGRAM_BUCKETS 28

/* All zeros is a valid empty one. */
typedef struct {
    uint64_t nanoseconds;
    uint64_t counts[PN_HISTOGRAM_BUCKETS];
} pn_histogram;

/* The bucket of so many nanoseconds; less than none counts as none. */
static inline size_t
pn_histogram_bucket(int64_t nanoseconds)
{
    if (nanoseconds <= 1000)
        return 0;
    uint64_t above = ((uint64_t)nanoseconds - 1) / 1000; /* at least 1 */
    size_t bucket = 64 - (size_t)__builtin_clzll(above);
    return bucket < PN_HISTOGRAM_BUCKETS ? bucket : PN_HISTOGRAM_BUCKETS - 1;
}

static inline void
pn_histogram_note(pn_histogram *histogram, int64_t nanoseconds)
{
    histogram->counts[pn_histogram_bucket(nanoseconds)]++;
    if (nanoseconds > 0)
        histogram->nanoseconds += (uint64_t)nanoseconds;
}

/* How often it was noted. */
uint64_t pn_histogram_count(const pn_histogram *histogram);

/* The largest number of nanoseconds in a bucket; 0 for the last one, which has
 * none. */
uint64_t pn_histogram_bound(size_t bucket);

#endif
