/* What does waiting for a descriptor cost: by an epoll set, by uv_poll, by an
 * epoll set within libuv's?
 *
 *     cc -O2 -o waiting benchmarks/loop/waiting.c -luv && ./waiting
 *
 * One thread, one socket pair; nanoseconds, four interleaved rounds. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include <uv.h>

#define COUNT 300000

static int pair[2];
static int inner; /* the epoll set within libuv's */

static int64_t
now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void
put(void)
{
    if (write(pair[1], "x", 1) != 1)
        abort();
}

static void
take(void)
{
    char byte;
    if (read(pair[0], &byte, 1) != 1)
        abort();
}

#define MEASURE(what, body)                                                   \
    do {                                                                      \
        int64_t start_ = now();                                               \
        for (int i_ = 0; i_ < COUNT; i_++) {                                  \
            body;                                                             \
        }                                                                     \
        printf("  %s %.0f", what, (double)(now() - start_) / COUNT);          \
    } while (0)

static int
wait_in(int set, int ms)
{
    struct epoll_event events[64];
    return epoll_wait(set, events, 64, ms);
}

static void
on_byte(uv_poll_t *handle, int status, int events)
{
    (void)handle, (void)status, (void)events;
    take();
}

static void
on_set(uv_poll_t *handle, int status, int events)
{
    (void)handle, (void)status, (void)events;
    if (wait_in(inner, 0) > 0)
        take();
}

static void
ours(void)
{
    struct epoll_event in = {.events = EPOLLIN};
    int set = epoll_create1(0);
    printf("own epoll set:   ");
    epoll_ctl(set, EPOLL_CTL_ADD, pair[0], &in);
    MEASURE("wake-up", put(); if (wait_in(set, 1000) > 0) take());
    MEASURE("empty", wait_in(set, 0));
    MEASURE("watch+look+unwatch",
            epoll_ctl(set, EPOLL_CTL_DEL, pair[0], &in);
            epoll_ctl(set, EPOLL_CTL_ADD, pair[0], &in); wait_in(set, 0));
    printf("\n");
    close(set);
}

static void
by_uv_poll(void)
{
    uv_loop_t loop;
    uv_poll_t poll;
    uv_handle_t *handle = (uv_handle_t *)&poll;
    printf("uv_poll for each:");
    uv_loop_init(&loop);
    uv_poll_init(&loop, &poll, pair[0]);
    uv_poll_start(&poll, UV_READABLE, on_byte);
    MEASURE("wake-up", put(); uv_run(&loop, UV_RUN_ONCE));
    MEASURE("empty", uv_run(&loop, UV_RUN_NOWAIT));
    MEASURE("stop+start+look", uv_poll_stop(&poll);
            uv_poll_start(&poll, UV_READABLE, on_byte);
            uv_run(&loop, UV_RUN_NOWAIT));
    uv_close(handle, NULL);
    uv_run(&loop, UV_RUN_NOWAIT);
    MEASURE("init+start+look+close", uv_poll_init(&loop, &poll, pair[0]);
            uv_poll_start(&poll, UV_READABLE, on_byte);
            uv_run(&loop, UV_RUN_NOWAIT); uv_close(handle, NULL);
            uv_run(&loop, UV_RUN_NOWAIT));
    uv_loop_close(&loop);
    printf("\n");
}

static void
within_uv(void)
{
    uv_loop_t loop;
    uv_poll_t poll;
    struct epoll_event in = {.events = EPOLLIN};
    printf("set within libuv:");
    inner = epoll_create1(0);
    epoll_ctl(inner, EPOLL_CTL_ADD, pair[0], &in);
    uv_loop_init(&loop);
    uv_poll_init(&loop, &poll, inner);
    uv_poll_start(&poll, UV_READABLE, on_set);
    MEASURE("wake-up", put(); uv_run(&loop, UV_RUN_ONCE));
    MEASURE("empty", uv_run(&loop, UV_RUN_NOWAIT));
    MEASURE("watch+look+unwatch",
            epoll_ctl(inner, EPOLL_CTL_DEL, pair[0], &in);
            epoll_ctl(inner, EPOLL_CTL_ADD, pair[0], &in);
            uv_run(&loop, UV_RUN_NOWAIT));
    uv_close((uv_handle_t *)&poll, NULL);
    uv_run(&loop, UV_RUN_NOWAIT);
    uv_loop_close(&loop);
    close(inner);
    printf("\n");
}

int
main(void)
{
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair) < 0)
        abort();
    for (int round = 0; round < 4; round++) {
        printf("write and read:  ");
        MEASURE("alone", put(); take());
        printf("\n");
        ours();
        by_uv_poll();
        within_uv();
    }
    return 0;
}
