#include "mailbox/histogram.h"

uint64_t
pn_histogram_count(const pn_histogram *histogram)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < PN_HISTOGRAM_BUCKETS; i++)
        sum += histogram->counts[i];
    return sum;
}

uint64_t
pn_histogram_bound(size_t bucket)
{
    if (bucket + 1 >= PN_HISTOGRAM_BUCKETS)
        return 0;
    return (uint64_t)1000 << bucket;
}
