/* How often is too often, and how long to wait before the next time. Time and
 * chance are arguments. One thread.
 *   - times holds the latest `count` times, at most `max`, the oldest at
 *     `next` once it is full. */
#ifndef PN_ACTOR_INTENSITY_H
#define PN_ACTOR_INTENSITY_H

#include <stdbool.h>
#include <stdint.h>

#define PN_MAX_RESTARTS (1u << 20)

typedef struct {
    int64_t *times;
    int64_t within; /* ns */
    uint32_t max;
    uint32_t count;
    uint32_t next;
} pn_intensity;

/* At most max, up to PN_MAX_RESTARTS, in less than `within`. PN_OK, or
 * PN_ENOMEM with nothing to free. */
int pn_intensity_init(pn_intensity *intensity, uint32_t max, int64_t within);
void pn_intensity_free(pn_intensity *intensity);

/* Whether there may be one more at now; it is counted then. */
bool pn_intensity_count(pn_intensity *intensity, int64_t now);

/* The delay before one more attempt after so many: backoff, doubled by each
 * of them, at most `most`; half of that and a random part of the other half.
 * backoff and most are 0 or more; random is any 64 bits. */
int64_t pn_backoff_delay(int64_t backoff, int64_t most, uint32_t attempts,
                         uint64_t random);

#endif
