#include "sys/entropy.h"

#include "base/status.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>

pn_entropy *
pn_entropy_new(void)
{
    void *page = mmap(NULL, sizeof(pn_entropy), PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED)
        return NULL;
    if (madvise(page, sizeof(pn_entropy), MADV_WIPEONFORK) < 0) {
        (void)munmap(page, sizeof(pn_entropy));
        return NULL;
    }
    return page;
}

void
pn_entropy_free(pn_entropy *entropy)
{
    if (entropy != NULL)
        (void)munmap(entropy, sizeof *entropy);
}

static int
refill(pn_entropy *entropy)
{
    entropy->left = 0;
    size_t have = 0;
    while (have < PN_ENTROPY_STORE) {
        ssize_t got =
            getrandom(entropy->bytes + have, PN_ENTROPY_STORE - have, 0);
        if (got >= 0)
            have += (size_t)got;
        else if (errno != EINTR)
            return -errno;
    }
    entropy->left = have;
    return PN_OK;
}

int
pn_entropy_take(pn_entropy *entropy, uint8_t *out, size_t len)
{
    if (entropy->left < len) {
        int err = refill(entropy);
        if (err < 0)
            return err;
    }
    entropy->left -= len;
    memcpy(out, entropy->bytes + entropy->left, len);
    return PN_OK;
}
