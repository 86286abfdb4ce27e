#include "base/status.h"

#include <string.h>

const char *
pn_status_text(int status)
{
    switch (status) {
    case PN_OK:
        return "success";
    case PN_MORE:
        return "more is needed";
    case PN_ENOMEM:
        return "out of memory";
    case PN_EPROTO:
        return "protocol error";
    case PN_ETOOBIG:
        return "message too big";
    case PN_EUTF8:
        return "invalid UTF-8";
    case PN_ECLOSED:
        return "closed";
    case PN_EFULL:
        return "queue full";
    case PN_EVERSION:
        return "wire version mismatch";
    case PN_EAUTH:
        return "peer not authenticated";
    default:
        break;
    }
    /* strerrordesc_np is thread-safe and allocates nothing (glibc 2.32). */
    const char *text = status < 0 ? strerrordesc_np(-status) : NULL;
    return text != NULL ? text : "unknown status";
}
