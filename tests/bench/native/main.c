/* `harness ADDRESS...`: an engine that listens there; each line of standard input is a load to run, each answer a line. */
#include "harness.h"
#include <stdio.h>
#include <string.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <unistd.h>

static char line[4096];
static size_t len;
static bool over;

static void read_order(Socket *socket, uint32_t events) {
    (void)events;
    ssize_t got = read(socket->fd, line + len, sizeof line - 1 - len);
    if (got <= 0) over = true;
    else len += got;
}

int main(int argc, char **argv) {
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    loop_start();
    for (int i = 1; i < argc; i++) engine_listen(argv[i]);
    Socket *input = calloc(1, sizeof *input);
    *input = (Socket){.fd = 0, .ready = read_order};
    loop_add(input, EPOLLIN);
    printf("{\"ready\":true}\n");
    fflush(stdout);
    while (!over) {
        loop_once(now_ns() + 1000000000);
        for (char *end; (end = memchr(line, '\n', len));) {
            char one[sizeof line];
            size_t used = end - line + 1;
            memcpy(one, line, used);
            one[used - 1] = 0;
            memmove(line, line + used, len -= used);
            load_run(one);
        }
    }
    return 0;
}
