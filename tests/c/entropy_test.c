#include "check.h"

#include "base/status.h"
#include "sys/entropy.h"

#include <sys/wait.h>
#include <unistd.h>

static uint64_t
take_eight(pn_entropy *entropy)
{
    uint8_t bytes[8];
    uint64_t word;
    CHECK_INT(pn_entropy_take(entropy, bytes, 8), PN_OK);
    memcpy(&word, bytes, 8);
    return word;
}

/* A thousand words of 64 bits: two equal ones have a chance of 1 in 10^13. */
static void
test_no_bytes_come_twice(void)
{
    enum { WORDS = 1000 };
    pn_entropy *entropy = pn_entropy_new();
    CHECK(entropy != NULL);
    uint64_t words[WORDS];
    for (int i = 0; i < WORDS; i++) {
        words[i] = take_eight(entropy);
        for (int j = 0; j < i; j++)
            CHECK(words[i] != words[j]);
    }
    pn_entropy_free(entropy);
}

static void
test_every_size_up_to_the_store(void)
{
    pn_entropy *entropy = pn_entropy_new();
    CHECK(entropy != NULL);
    uint8_t out[PN_ENTROPY_STORE];
    for (size_t len = 0; len <= PN_ENTROPY_STORE; len += 64)
        CHECK_INT(pn_entropy_take(entropy, out, len), PN_OK);
    pn_entropy_free(entropy);
}

static void
test_forked_child_gives_other_bytes(void)
{
    pn_entropy *entropy = pn_entropy_new();
    CHECK(entropy != NULL);
    (void)take_eight(entropy);
    int ends[2];
    CHECK_INT(pipe(ends), 0);
    pid_t child = fork();
    CHECK(child >= 0);
    uint64_t mine = take_eight(entropy);
    if (child == 0)
        _exit(write(ends[1], &mine, 8) != 8);
    uint64_t theirs;
    CHECK_INT(read(ends[0], &theirs, 8), 8);
    CHECK(mine != theirs);
    int status;
    CHECK_INT(waitpid(child, &status, 0), child);
    CHECK_INT(status, 0);
    close(ends[0]);
    close(ends[1]);
    pn_entropy_free(entropy);
}

int
main(void)
{
    RUN(test_no_bytes_come_twice);
    RUN(test_every_size_up_to_the_store);
    RUN(test_forked_child_gives_other_bytes);
    return 0;
}
