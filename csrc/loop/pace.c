#include "loop/pace.h"

void
pn_pace_hurry(pn_pace *pace)
{
    pace->looked = 0;
}

bool
pn_pace_is_due(pn_pace *pace, int64_t now)
{
    return pace->looked == 0 || ++pace->turns >= PN_PACE_TURNS ||
           now - pace->looked >= PN_PACE_NS;
}

void
pn_pace_looked(pn_pace *pace, int64_t now)
{
    pace->looked = now;
    pace->turns = 0;
}
