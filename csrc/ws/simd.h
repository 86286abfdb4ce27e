/* Which vector instructions this machine has. Functions with several
 * versions take the level as an argument in their `_with` form, so that the
 * tests compare the versions with each other. */
#ifndef PN_WS_SIMD_H
#define PN_WS_SIMD_H

#if defined(__x86_64__)
#define PN_SIMD_X86 1
#else
#define PN_SIMD_X86 0
#endif

/* Each level has all that the ones before it have. AVX-512 is not among
 * them: masking and validating run at the speed of memory without it. */
typedef enum {
    PN_SIMD_NONE, /* portable C */
    PN_SIMD_AVX2,
} pn_simd;

/* The best level of this machine: a load and a test. */
static inline pn_simd
pn_simd_best(void)
{
#if PN_SIMD_X86
    if (__builtin_cpu_supports("avx2"))
        return PN_SIMD_AVX2;
#endif
    return PN_SIMD_NONE;
}

#endif
