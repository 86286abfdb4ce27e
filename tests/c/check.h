/* The test harness: CHECK ends the program with the place and the values.
 * A test is a function without arguments; RUN names it on stdout. */
#ifndef PN_TEST_CHECK_H
#define PN_TEST_CHECK_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(condition)                                                      \
    do {                                                                      \
        if (!(condition)) {                                                   \
            fprintf(stderr, "%s:%d: %s: CHECK(%s)\n", __FILE__, __LINE__,     \
                    __func__, #condition);                                    \
            exit(1);                                                          \
        }                                                                     \
    } while (0)

#define CHECK_INT(got, wanted)                                                \
    do {                                                                      \
        long long got_ = (long long)(got), wanted_ = (long long)(wanted);     \
        if (got_ != wanted_) {                                                \
            fprintf(stderr, "%s:%d: %s: %s is %lld, wanted %lld\n", __FILE__, \
                    __LINE__, __func__, #got, got_, wanted_);                 \
            exit(1);                                                          \
        }                                                                     \
    } while (0)

#define RUN(test)                                                             \
    do {                                                                      \
        test();                                                               \
        printf("ok %s\n", #test);                                             \
    } while (0)

/* Of failing_alloc.c. After fail_after(n), the n-th allocation from now (0 is
 * the next) and all after it give NULL; fail_never() ends that. live_blocks()
 * counts what was allocated and not freed. One thread at a time. */
void fail_after(long n);
void fail_never(void);
long live_blocks(void);

/* A seeded generator (xorshift64*), so that a failing run can be replayed:
 * the seed comes from PN_SEED or the clock, and is printed. */
typedef struct {
    uint64_t state;
} test_random;

void test_random_init(test_random *random);
uint64_t test_random_next(test_random *random);

#endif
