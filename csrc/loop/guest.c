#include "loop/guest.h"

#include "base/alloc.h"
#include "base/status.h"

#include <uv.h>

struct pn_guest {
    uv_loop_t uv;
    uv_async_t wakeup;
};

/* Who is woken looks himself for what there is to do. */
static void
on_wakeup(uv_async_t *wakeup)
{
    (void)wakeup;
}

static int
init(pn_guest *guest)
{
    int err = uv_loop_init(&guest->uv);
    if (err < 0)
        return err;

    err = uv_async_init(&guest->uv, &guest->wakeup, on_wakeup);
    if (err < 0)
        goto close_loop;
    /* libuv enters its handles into its own set at its next turn only. */
    pn_guest_serve(guest);
    return 0;

close_loop:
    uv_loop_close(&guest->uv);
    return err;
}

pn_guest *
pn_guest_new(int *err)
{
    pn_guest *guest = pn_alloc(sizeof *guest);
    *err = guest == NULL ? PN_ENOMEM : init(guest);
    if (*err < 0) {
        pn_free(guest);
        return NULL;
    }
    return guest;
}

void
pn_guest_free(pn_guest *guest)
{
    if (guest == NULL)
        return;
    uv_close((uv_handle_t *)&guest->wakeup, NULL);
    (void)uv_run(&guest->uv, UV_RUN_NOWAIT);
    (void)uv_loop_close(&guest->uv);
    pn_free(guest);
}

void
pn_guest_forked(pn_guest *guest)
{
    (void)uv_loop_fork(&guest->uv);
}

int
pn_guest_fd(const pn_guest *guest)
{
    return uv_backend_fd(&guest->uv);
}

void
pn_guest_wake(pn_guest *guest)
{
    (void)uv_async_send(&guest->wakeup);
}

void
pn_guest_serve(pn_guest *guest)
{
    (void)uv_run(&guest->uv, UV_RUN_NOWAIT);
}
