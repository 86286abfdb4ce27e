/* How many processors this process may keep busy. Thread-safe, no state, no
 * memory of its own; reads files, so not for hot paths. */
#ifndef PN_SYS_CPUS_H
#define PN_SYS_CPUS_H

/* Those to which the scheduler keeps the calling thread; at least 1. */
int pn_cpus_affinity(void);

/* The time that the control group of this process may take, in whole
 * processors, rounded down but at least 1; 0 if nothing limits it. The
 * strictest of the group and of all around it that can be seen, of version 2
 * (cpu.max) and of version 1 (cpu.cfs_quota_us). What cannot be read limits
 * nothing. Files are sought below root: "" but in tests. */
int pn_cpus_quota(const char *root);

/* The lesser of the two; at least 1. */
int pn_cpus_usable(void);

#endif
