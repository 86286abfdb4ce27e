#include "sys/segshelf.h"

#include "base/alloc.h"
#include "base/map.h"
#include "base/status.h"
#include "sys/segment.h"

#include <errno.h>
#include <stdatomic.h>
#include <unistd.h>

typedef struct mapped {
    struct mapped *next; /* among the returned */
    pn_segshelf *shelf;
    uint64_t id;
    uint8_t *data;
    size_t size;
    bool lent;
} mapped;

struct pn_segshelf {
    atomic_size_t refs;
    _Atomic(mapped *) returned; /* any thread pushes; closed_mark at the end */
    mapped *collected;          /* loop thread: what was taken of it */
    pn_map by_id;
    size_t bytes;
    size_t byte_limit;
    size_t count_limit;
};

/* What `returned` holds once nobody collects any more: no real entry. */
static mapped *
closed_mark(pn_segshelf *shelf)
{
    return (mapped *)(void *)shelf;
}

pn_segshelf *
pn_segshelf_new(size_t byte_limit, size_t count_limit)
{
    pn_segshelf *shelf = pn_alloc_zeroed(1, sizeof *shelf);
    if (shelf == NULL)
        return NULL;
    atomic_init(&shelf->refs, 1);
    shelf->byte_limit = byte_limit;
    shelf->count_limit = count_limit;
    return shelf;
}

/* Acquire pairs with the release of the others' last use of the shelf. */
static void
unref(pn_segshelf *shelf)
{
    if (atomic_fetch_sub_explicit(&shelf->refs, 1, memory_order_acq_rel) == 1)
        pn_free(shelf);
}

static void
unmap(mapped *entry)
{
    pn_segment_unmap(entry->data, entry->size);
    pn_free(entry);
}

/* Any thread: the last of a lent payload was dropped. The release publishes
 * all that was done with the memory to who takes the stack. */
static void
give_back(void *owner)
{
    mapped *entry = owner;
    pn_segshelf *shelf = entry->shelf;
    mapped *top = atomic_load_explicit(&shelf->returned, memory_order_relaxed);
    do {
        if (top == closed_mark(shelf))
            break;
        entry->next = top;
    } while (!atomic_compare_exchange_weak_explicit(
        &shelf->returned, &top, entry, memory_order_release,
        memory_order_relaxed));
    if (top == closed_mark(shelf))
        unmap(entry);
    unref(shelf);
}

static void
unmap_all(mapped *list)
{
    while (list != NULL) {
        mapped *next = list->next;
        unmap(list);
        list = next;
    }
}

void
pn_segshelf_close(pn_segshelf *shelf)
{
    size_t cursor = 0;
    const pn_map_entry *item;
    if (shelf == NULL)
        return;
    while ((item = pn_map_next(&shelf->by_id, &cursor)) != NULL) {
        mapped *entry = item->value;
        if (!entry->lent)
            unmap(entry);
    }
    pn_map_free(&shelf->by_id);
    unmap_all(shelf->collected);
    unmap_all(atomic_exchange_explicit(&shelf->returned, closed_mark(shelf),
                                       memory_order_acquire));
    unref(shelf);
}

static int
add(pn_segshelf *shelf, uint64_t id, size_t size, int fd)
{
    if (pn_map_get(&shelf->by_id, id) != NULL)
        return PN_EPROTO;
    if (fd < 0)
        return -EMFILE;
    if (shelf->by_id.count >= shelf->count_limit ||
        size > shelf->byte_limit - shelf->bytes)
        return PN_EFULL;
    mapped *entry = pn_alloc_zeroed(1, sizeof *entry);
    if (entry == NULL)
        return PN_ENOMEM;
    *entry = (mapped){.shelf = shelf, .id = id, .size = size};
    int err = pn_segment_map(fd, size, &entry->data);
    if (err < 0) {
        pn_free(entry);
        return err;
    }
    err = pn_map_put(&shelf->by_id, id, entry);
    if (err < 0)
        unmap(entry);
    else
        shelf->bytes += size;
    return err;
}

int
pn_segshelf_add(pn_segshelf *shelf, uint64_t id, size_t size, int fd)
{
    int err = add(shelf, id, size, fd);
    if (fd >= 0)
        (void)close(fd);
    return err;
}

int
pn_segshelf_lend(pn_segshelf *shelf, uint64_t id, size_t used, pn_ref *out)
{
    mapped *entry = pn_map_get(&shelf->by_id, id);
    if (entry == NULL || entry->lent || used > entry->size)
        return PN_EPROTO;
    entry->lent = true;
    atomic_fetch_add_explicit(&shelf->refs, 1, memory_order_relaxed);
    *out = (pn_ref){
        .data = entry->data,
        .size = used,
        .owner = entry,
        .release = give_back,
    };
    return PN_OK;
}

int
pn_segshelf_drop(pn_segshelf *shelf, uint64_t id)
{
    mapped *entry = pn_map_get(&shelf->by_id, id);
    if (entry == NULL || entry->lent)
        return PN_EPROTO;
    (void)pn_map_take(&shelf->by_id, id);
    shelf->bytes -= entry->size;
    unmap(entry);
    return PN_OK;
}

bool
pn_segshelf_returned(pn_segshelf *shelf, uint64_t *id)
{
    if (shelf->collected == NULL)
        shelf->collected = atomic_exchange_explicit(&shelf->returned, NULL,
                                                    memory_order_acquire);
    mapped *entry = shelf->collected;
    if (entry == NULL)
        return false;
    shelf->collected = entry->next;
    entry->next = NULL;
    entry->lent = false;
    *id = entry->id;
    return true;
}

size_t
pn_segshelf_count(const pn_segshelf *shelf)
{
    return shelf->by_id.count;
}
