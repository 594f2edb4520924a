/* Sockets on epoll, and times to the microsecond. */
#include "harness.h"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

static int epoll;
static Socket *dead;

void die(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    exit(1);
}

void buffer_add(Buffer *buffer, const void *data, size_t len) {
    if (buffer->len + len + 1 > buffer->cap) {
        buffer->cap = (buffer->len + len + 1) * 2;
        buffer->data = realloc(buffer->data, buffer->cap);
        if (!buffer->data) die("out of memory");
    }
    memcpy(buffer->data + buffer->len, data, len);
    buffer->len += len;
    buffer->data[buffer->len] = 0;
}

void buffer_drop(Buffer *buffer, size_t len) {
    buffer->len -= len;
    memmove(buffer->data, buffer->data + len, buffer->len);
    if (buffer->data) buffer->data[buffer->len] = 0;
}

int64_t now_ns(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000000LL + time.tv_nsec;
}

void loop_start(void) { epoll = epoll_create1(EPOLL_CLOEXEC); }

void loop_add(Socket *socket, uint32_t events) {
    struct epoll_event event = {.events = events, .data.ptr = socket};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, socket->fd, &event)) die("epoll: %s", strerror(errno));
}

void loop_change(Socket *socket, uint32_t events) {
    struct epoll_event event = {.events = events, .data.ptr = socket};
    if (epoll_ctl(epoll, EPOLL_CTL_MOD, socket->fd, &event)) die("epoll: %s", strerror(errno));
}

void loop_close(Socket *socket) {
    if (socket->fd < 0) return;
    close(socket->fd);
    socket->fd = -1;
    socket->next_dead = dead;
    dead = socket;
}

void loop_once(int64_t until_ns) {
    struct epoll_event events[256];
    int64_t wait = until_ns - now_ns();
    if (wait < 0) wait = 0;
    struct timespec timeout = {wait / 1000000000, wait % 1000000000};
    int num = epoll_pwait2(epoll, events, 256, &timeout, NULL);
    for (int i = 0; i < num; i++) {
        Socket *socket = events[i].data.ptr;
        if (socket->fd >= 0) socket->ready(socket, events[i].events);
    }
    while (dead) {
        Socket *next = dead->next_dead;
        free(dead);
        dead = next;
    }
}

static int open_unix(const char *path, bool listening) {
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof name.sun_path) die("too long a path: %s", path);
    strcpy(name.sun_path, path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (listening ? bind(fd, (void *)&name, sizeof name) : connect(fd, (void *)&name, sizeof name)) return -1;
    return fd;
}

static int open_tcp(char *host, bool listening) {
    char *port = strrchr(host, ':');
    if (!port) die("no port: %s", host);
    *port++ = 0;
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_port = htons(atoi(port))};
    inet_pton(AF_INET, host, &name.sin_addr);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (listening) setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (listening ? bind(fd, (void *)&name, sizeof name) : connect(fd, (void *)&name, sizeof name)) return -1;
    return fd;
}

int open_socket(const char *address, bool listening) {
    char copy[256];
    snprintf(copy, sizeof copy, "%s", address);
    int fd = -1;
    if (!strncmp(copy, "unix:", 5)) fd = open_unix(copy + 5, listening);
    else if (!strncmp(copy, "tcp:", 4)) fd = open_tcp(copy + 4, listening);
    if (fd < 0) die("%s: %s", address, strerror(errno));
    if (listening && listen(fd, 4096)) die("%s: %s", address, strerror(errno));
    fcntl(fd, F_SETFL, O_NONBLOCK);
    return fd;
}
