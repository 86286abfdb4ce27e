/* Runs a fuzz target once over each file of a folder: a regression test that
 * needs no libFuzzer. The target ends the program if its oracle is wrong. */
#include <dirent.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* In a block of exactly its size, so that a read beyond its end shows. */
static int
replay(int fd)
{
    struct stat status;
    if (fd < 0 || fstat(fd, &status) < 0)
        return -1;
    size_t size = (size_t)status.st_size;
    uint8_t *data = malloc(size > 0 ? size : 1);
    if (data == NULL || read(fd, data, size) != (ssize_t)size) {
        free(data);
        return -1;
    }
    (void)LLVMFuzzerTestOneInput(data, size);
    free(data);
    return 0;
}

int
main(int argc, char **argv)
{
    DIR *folder = argc == 2 ? opendir(argv[1]) : NULL;
    const struct dirent *entry;
    int count = 0;
    if (folder == NULL) {
        fprintf(stderr, "usage: %s FOLDER\n", argv[0]);
        return 2;
    }
    while ((entry = readdir(folder)) != NULL) {
        if (entry->d_name[0] == '.')
            continue;
        int fd = openat(dirfd(folder), entry->d_name, O_RDONLY | O_CLOEXEC);
        if (replay(fd) < 0) {
            perror(entry->d_name);
            return 1;
        }
        (void)close(fd);
        count++;
    }
    (void)closedir(folder);
    printf("%d seeds\n", count);
    return count > 0 ? 0 : 1;
}
