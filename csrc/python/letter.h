/* A letter: a message inside one process, with its texts, and its payload as
 * bytes or its value by reference. Made by the sender with the GIL held, owned
 * by the box, then by the waiting of a cell. */
#ifndef PN_PYTHON_LETTER_H
#define PN_PYTHON_LETTER_H

#include "base/ref.h"
#include "mailbox/envelope.h"
#include "mailbox/park.h"
#include "mailbox/queue.h"
#include "mailbox/waiting.h"
#include "python/state.h"

struct pn_told;

typedef struct {
    pn_queue_node node; /* in a box; first */
    union {
        pn_waiting_entry entry; /* in a cell's backlog, */
        pn_parked parked;       /* or in a mailbox's park */
    };
    pn_envelope env; /* its texts point to `texts` */
    pn_ref payload;
    PyObject *value;      /* in place of a payload; strong */
    size_t weight;        /* bytes of the payload, or of texts in the value */
    PyObject *known;      /* BaseCommand, or NULL; strong */
    struct pn_told *told; /* who waits while it is parked, or NULL */
    char texts[];
} pn_letter;

/* A new letter. The payload passes to it on success; value and known may be
 * NULL. NULL: no memory. */
pn_letter *pn_letter_new(const pn_envelope *env, pn_ref *payload,
                         PyObject *value, PyObject *known);

/* Needs the GIL; may run anybody's code. */
void pn_letter_free(pn_letter *letter);

static inline pn_letter *
pn_letter_of_node(pn_queue_node *node)
{
    return (pn_letter *)node;
}

pn_letter *pn_letter_of_entry(pn_waiting_entry *entry);
pn_letter *pn_letter_of_parked(pn_parked *entry);

/* Whether a value may pass by reference: an immutable scalar of a built-in
 * type, or a tuple of them. */
bool pn_letter_may_share(PyObject *value);

/* About how many bytes such a value takes. */
size_t pn_letter_weigh(PyObject *value);

#endif
