#include "sys/descriptors.h"

#include "base/status.h"

#include <unistd.h>

void
pn_descriptors_close(pn_descriptors *fds)
{
    pn_descriptors_lose(fds);
    for (size_t i = 0; i < fds->come_count; i++)
        (void)close(fds->come[i].fd);
    *fds = (pn_descriptors){0};
}

/* --- the sender --- */

static int *
slot(pn_descriptors *fds, size_t index)
{
    return &fds->leaving[(fds->first + index) % PN_DESCRIPTORS_LEAVING];
}

int
pn_descriptors_attach(pn_descriptors *fds, int fd, uint64_t *serial)
{
    if (fds->resting || fds->attached == PN_DESCRIPTORS_LEAVING)
        return PN_EFULL;
    *slot(fds, fds->waiting++) = fd;
    fds->attached++;
    *serial = ++fds->last_attached;
    return PN_OK;
}

int
pn_descriptors_retract(pn_descriptors *fds)
{
    if (fds->waiting == 0)
        return -1;
    fds->attached--;
    fds->last_attached--;
    return *slot(fds, --fds->waiting);
}

int
pn_descriptors_next(const pn_descriptors *fds)
{
    return fds->waiting == 0 ? -1 : fds->leaving[fds->first];
}

void
pn_descriptors_left(pn_descriptors *fds)
{
    (void)close(*slot(fds, 0));
    fds->first = (fds->first + 1) % PN_DESCRIPTORS_LEAVING;
    fds->waiting--;
}

void
pn_descriptors_lose(pn_descriptors *fds)
{
    fds->resting = fds->resting || fds->waiting > 0;
    while (fds->waiting > 0)
        pn_descriptors_left(fds);
}

void
pn_descriptors_rest(pn_descriptors *fds)
{
    fds->attached = 0;
    fds->resting = false;
}

/* --- the receiver --- */

int
pn_descriptors_came(pn_descriptors *fds, int fd)
{
    fds->last_come++;
    if (fd < 0)
        return PN_OK;
    if (fds->come_count == PN_DESCRIPTORS_COME) {
        (void)close(fd);
        return PN_EPROTO;
    }
    fds->come[fds->come_count++] = (pn_descriptor){fds->last_come, fd};
    return PN_OK;
}

int
pn_descriptors_claim(pn_descriptors *fds, uint64_t serial)
{
    if (serial > fds->last_come)
        fds->last_come = serial; /* the sender has lost it */
    for (size_t i = 0; i < fds->come_count; i++) {
        if (fds->come[i].serial == serial) {
            int fd = fds->come[i].fd;
            fds->come[i] = fds->come[--fds->come_count];
            return fd;
        }
    }
    return -1;
}

bool
pn_descriptors_check(const pn_descriptors *fds)
{
    for (size_t i = 0; i < fds->come_count; i++) {
        for (size_t j = 0; j < i; j++)
            if (fds->come[i].serial == fds->come[j].serial)
                return false;
        if (fds->come[i].fd < 0 || fds->come[i].serial > fds->last_come)
            return false;
    }
    return fds->waiting <= fds->attached &&
           fds->attached <= PN_DESCRIPTORS_LEAVING &&
           fds->attached <= fds->last_attached &&
           !(fds->resting && fds->waiting > 0);
}
