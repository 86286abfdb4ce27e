#include "check.h"

#include "sys/libraries.h"

#include <dlfcn.h>

static void
test_a_loaded_library_is_counted(void)
{
    uint64_t before = pn_libraries_added();
    CHECK(before > 0);
    CHECK_INT(pn_libraries_added(), before);
    void *library = dlopen("libresolv.so.2", RTLD_NOW);
    if (library == NULL)
        return; /* no such thing here */
    uint64_t with = pn_libraries_added();
    CHECK(with > before);
    dlclose(library);
    CHECK_INT(pn_libraries_added(), with);
}

int
main(void)
{
    RUN(test_a_loaded_library_is_counted);
    return 0;
}
