/* The engine: vLLM's answers in shape, at next to no cost. Every event of a stream carries the moment of its sending; when
 * one is sent is the load's matter. Aborts by id are heard, and so is a connection that closes. */
#include "harness.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <netinet/in.h>
#include <netinet/tcp.h>

uint64_t engine_tokens, engine_prompts;
static Wire *wires;
static uint64_t num_ids;

static void watch_output(Wire *wire, bool on) {
    if (wire->watches_output == on) return;
    wire->watches_output = on;
    loop_change(&wire->socket, on ? EPOLLIN | EPOLLOUT : EPOLLIN);
}

static void send_bytes(Wire *wire, const char *data, size_t len) {
    if (wire->socket.fd < 0) return;
    if (!wire->out.len) {
        ssize_t sent = send(wire->socket.fd, data, len, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent == (ssize_t)len) return;
        if (sent < 0 && errno != EAGAIN) return; /* the reader's end says it: the connection is closed there */
        if (sent > 0) data += sent, len -= sent;
    }
    buffer_add(&wire->out, data, len);
    watch_output(wire, true);
}

static void release(Wire *wire) {
    wire->client = NULL;
    wire->streaming = false;
    wire->flood_bytes = 0;
}

static void make_frame(Wire *wire) {
    static const char *form = "data: {\"id\":\"%s\",\"object\":\"chat.completion.chunk\",\"created\":1790000000,"
                              "\"model\":\"deepseek-bench\",\"choices\":[{\"index\":0,\"delta\":{" MARK "%019d%.*s\"},"
                              "\"finish_reason\":null}]}\n\n";
    static const char fill[] = "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx";
    char event[FRAME_BYTES - 16];
    int len = snprintf(event, sizeof event, form, wire->id, 0, 0, fill);
    int missing = EVENT_BYTES - len;
    if (missing > 0) len = snprintf(event, sizeof event, form, wire->id, 0, missing, fill);
    wire->frame_len = snprintf(wire->frame, sizeof wire->frame, "%x\r\n%s\r\n", len, event);
    wire->stamp_at = strstr(wire->frame, MARK) + strlen(MARK) - wire->frame;
}

static void stamp(Wire *wire) {
    uint64_t rest = now_ns();
    for (int i = STAMP_DIGITS - 1; i >= 0; i--, rest /= 10) wire->frame[wire->stamp_at + i] = '0' + rest % 10;
    wire->num_events++;
    engine_tokens++;
}

void engine_event(Wire *wire) {
    stamp(wire);
    send_bytes(wire, wire->frame, wire->frame_len);
}

void engine_begin(Wire *wire) {
    char data[FRAME_BYTES + 256];
    wire->streaming = true;
    wire->num_events = 0;
    engine_prompts++;
    make_frame(wire);
    stamp(wire);
    int len = snprintf(data, sizeof data,
                       "HTTP/1.1 200 OK\r\nserver: uvicorn\r\ncontent-type: text/event-stream; charset=utf-8\r\n"
                       "transfer-encoding: chunked\r\n\r\n%s", wire->frame);
    send_bytes(wire, data, len);
}

void engine_flood(Wire *wire, int64_t bytes) {
    wire->flood_bytes = bytes;
    watch_output(wire, true);
}

static int usage(const Wire *wire, char *out, size_t room) {
    return snprintf(out, room,
                    "\"usage\":{\"prompt_tokens\":%d,\"total_tokens\":%u,\"completion_tokens\":%u,"
                    "\"prompt_tokens_details\":{\"cached_tokens\":0}}",
                    PROMPT_TOKENS, PROMPT_TOKENS + wire->num_events, wire->num_events);
}

static void add_chunk(Buffer *out, const char *data) {
    char size[16];
    buffer_add(out, size, snprintf(size, sizeof size, "%zx\r\n", strlen(data)));
    buffer_add(out, data, strlen(data));
    buffer_add(out, "\r\n", 2);
}

void engine_end(Wire *wire, const char *reason) {
    Buffer out = {0};
    char event[768], told[256];
    static const char *open = "data: {\"id\":\"%s\",\"object\":\"chat.completion.chunk\",\"created\":1790000000,"
                              "\"model\":\"deepseek-bench\",\"choices\":";
    int at = snprintf(event, sizeof event, open, wire->id);
    snprintf(event + at, sizeof event - at, "[{\"index\":0,\"delta\":{\"content\":\"\"},\"finish_reason\":\"%s\"}]}\n\n", reason);
    add_chunk(&out, event);
    if (wire->wants_usage) {
        usage(wire, told, sizeof told);
        snprintf(event + at, sizeof event - at, "[],%s}\n\n", told);
        add_chunk(&out, event);
    }
    add_chunk(&out, "data: [DONE]\n\n");
    buffer_add(&out, "0\r\n\r\n", 5);
    release(wire);
    send_bytes(wire, out.data, out.len);
    free(out.data);
}

void engine_answer(Wire *wire, const char *reason) {
    char told[256], body[1024], data[1400];
    bool done = strcmp(reason, "abort") != 0;
    wire->num_events = done ? 5 : 0;
    engine_tokens += wire->num_events;
    engine_prompts += done;
    usage(wire, told, sizeof told);
    int len = snprintf(body, sizeof body,
                       "{\"id\":\"%s\",\"object\":\"chat.completion\",\"created\":1790000000,\"model\":\"deepseek-bench\","
                       "\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"%s\"},"
                       "\"finish_reason\":\"%s\"}],%s}",
                       wire->id, done ? "def add(a, b):\\n    return a + b\\n" : "", reason, told);
    len = snprintf(data, sizeof data,
                   "HTTP/1.1 200 OK\r\nserver: uvicorn\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s", len, body);
    release(wire);
    send_bytes(wire, data, len);
}

/* --- requests */

static void answer_plainly(Wire *wire) {
    static const char *data = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}";
    send_bytes(wire, data, strlen(data));
}

static void abort_by_id(const char *body) {
    for (Wire *wire = wires, *next; wire; wire = next) {
        next = wire->next;
        if (!wire->client || !strstr(body, wire->id)) continue;
        load_cancelled(wire->client);
        if (wire->streaming) engine_end(wire, "abort");
        else engine_answer(wire, "abort");
    }
}

static void take_id(Wire *wire, const char *head) {
    const char *found = strcasestr(head, "\r\nx-request-id:");
    int len = 0;
    if (found) {
        found += strlen("\r\nx-request-id:");
        found += strspn(found, " ");
        len = strcspn(found, "\r");
    }
    if (len > 0 && len < 128) snprintf(wire->id, sizeof wire->id, "chatcmpl-%.*s", len, found);
    else snprintf(wire->id, sizeof wire->id, "chatcmpl-%032lx", ++num_ids);
}

static void handle(Wire *wire, const char *head, const char *body) {
    long run = 0, number = 0;
    const char *who = strstr(body, "bench-run=");
    if (!strncmp(head, "POST /inference/v1/abort_requests", 33)) {
        abort_by_id(body);
        answer_plainly(wire);
    } else if (who && sscanf(who, "bench-run=%ld stream=%ld", &run, &number) == 2 && (wire->client = load_client(run, number))) {
        take_id(wire, head);
        wire->wants_usage = strstr(body, "\"include_usage\":true") || strstr(body, "\"include_usage\": true");
        load_asked(wire->client, wire);
    } else answer_plainly(wire);
}

static void close_wire(Wire *wire) {
    if (wire->client) load_cancelled(wire->client);
    release(wire);
    *wire->link = wire->next;
    if (wire->next) wire->next->link = wire->link;
    free(wire->in.data);
    free(wire->out.data);
    wire->in = wire->out = (Buffer){0};
    loop_close(&wire->socket);
}

void engine_forget(Client *client) {
    for (Wire *wire = wires, *next; wire; wire = next) {
        next = wire->next;
        if (wire->client == client) close_wire(wire);
    }
}

static void read_requests(Wire *wire) {
    while (wire->in.len) {
        char *end = strstr(wire->in.data, "\r\n\r\n"), *length;
        if (!end) return;
        end[2] = 0; /* the head, its last line's end included */
        length = strcasestr(wire->in.data, "\r\ncontent-length:");
        size_t head = end + 4 - wire->in.data, body = length ? strtoul(length + 17, NULL, 10) : 0;
        end[2] = '\r';
        if (wire->in.len < head + body) return;
        end[2] = 0;
        char kept = wire->in.data[head + body];
        wire->in.data[head + body] = 0;
        handle(wire, wire->in.data, wire->in.data + head);
        wire->in.data[head + body] = kept;
        buffer_drop(&wire->in, head + body);
    }
}

static void write_on(Wire *wire) {
    if (wire->out.len) {
        ssize_t sent = send(wire->socket.fd, wire->out.data, wire->out.len, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent > 0) buffer_drop(&wire->out, sent);
    }
    while (!wire->out.len && wire->flood_bytes > 0) {
        wire->flood_bytes -= wire->frame_len;
        engine_event(wire);
    }
    if (!wire->out.len) watch_output(wire, false);
}

static void wire_ready(Socket *socket, uint32_t events) {
    Wire *wire = (Wire *)socket;
    char data[65536];
    if (events & EPOLLOUT) write_on(wire);
    if (!(events & (EPOLLIN | EPOLLHUP | EPOLLERR))) return;
    ssize_t got = recv(wire->socket.fd, data, sizeof data, MSG_DONTWAIT);
    if (got < 0 && errno == EAGAIN) return;
    if (got <= 0) {
        close_wire(wire);
        return;
    }
    buffer_add(&wire->in, data, got);
    read_requests(wire);
}

static void accept_wires(Socket *listener, uint32_t events) {
    (void)events;
    for (int fd, on = 1; (fd = accept4(listener->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0;) {
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        Wire *wire = calloc(1, sizeof *wire);
        wire->socket = (Socket){.fd = fd, .ready = wire_ready};
        wire->next = wires;
        wire->link = &wires;
        if (wires) wires->link = &wire->next;
        wires = wire;
        loop_add(&wire->socket, EPOLLIN);
    }
}

void engine_listen(const char *address) {
    Socket *listener = calloc(1, sizeof *listener);
    *listener = (Socket){.fd = open_socket(address, true), .ready = accept_wires};
    loop_add(listener, EPOLLIN);
}
