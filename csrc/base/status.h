/* What functions of the engine return: zero is success, positive means "not
 * yet", negative is a failure. PN_E* start at -5001, clear of errno, so
 * that one int carries both: a failed system call is reported as -errno. */
#ifndef PN_BASE_STATUS_H
#define PN_BASE_STATUS_H

#define PN_OK 0
#define PN_MORE 1 /* more input, or more room, is needed; nothing is wrong */

enum {
    PN_ENOMEM = -5001,   /* the allocator gave nothing */
    PN_EPROTO = -5002,   /* bytes that no correct peer sends */
    PN_ETOOBIG = -5003,  /* over a configured size limit */
    PN_EUTF8 = -5004,    /* text that is not UTF-8 */
    PN_ECLOSED = -5005,  /* the link or object is closed */
    PN_EFULL = -5006,    /* a bounded queue has no room */
    PN_EVERSION = -5007, /* the peer speaks another wire version */
    PN_EAUTH = -5008,    /* the peer could not prove who it is */
};

/* One English phrase for a code of ours or a negated errno; never NULL. The
 * text lives as long as the program. */
const char *pn_status_text(int status);

#endif
