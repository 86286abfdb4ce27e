#include "actor/intensity.h"

#include "base/alloc.h"
#include "base/status.h"

int
pn_intensity_init(pn_intensity *intensity, uint32_t max, int64_t within)
{
    *intensity = (pn_intensity){.within = within, .max = max};
    if (max == 0)
        return PN_OK;
    intensity->times = pn_alloc_zeroed(max, sizeof *intensity->times);
    return intensity->times == NULL ? PN_ENOMEM : PN_OK;
}

void
pn_intensity_free(pn_intensity *intensity)
{
    pn_free(intensity->times);
    *intensity = (pn_intensity){0};
}

bool
pn_intensity_count(pn_intensity *intensity, int64_t now)
{
    uint32_t max = intensity->max, next = intensity->next;
    if (max == 0)
        return false;
    if (intensity->count == max &&
        now - intensity->times[next] < intensity->within)
        return false;
    intensity->times[next] = now;
    intensity->next = (next + 1) % max;
    intensity->count += intensity->count < max;
    return true;
}

int64_t
pn_backoff_delay(int64_t backoff, int64_t most, uint32_t attempts,
                 uint64_t random)
{
    int64_t delay = backoff < most ? backoff : most;
    for (uint32_t i = 0; i < attempts && delay > 0 && delay < most; i++)
        delay = delay > most / 2 ? most : delay * 2;
    int64_t half = delay / 2;
    return half + (int64_t)(random % (uint64_t)(delay - half + 1));
}
