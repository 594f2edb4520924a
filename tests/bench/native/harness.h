/* The benchmark's engine and its clients live in one process on one epoll: one clock for both, and a stream's next event
 * can wait for the client to have the last one without a word between processes. What each file does stands at its top. */
#ifndef HARNESS_H
#define HARNESS_H
#define _GNU_SOURCE
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define EVENT_BYTES 240
#define FRAME_BYTES 512
#define STAMP_DIGITS 19
#define MARK "\"content\":\"@" /* the stamp follows */
#define PROMPT_TOKENS 7

typedef struct {
    char *data;
    size_t len, cap;
} Buffer;

void buffer_add(Buffer *, const void *, size_t);
void buffer_drop(Buffer *, size_t);

/* loop.c. A closed socket's memory is freed after the present batch of events. */
typedef struct Socket Socket;
struct Socket {
    int fd;
    void (*ready)(Socket *, uint32_t events);
    Socket *next_dead;
};

int64_t now_ns(void);
void loop_start(void);
void loop_add(Socket *, uint32_t events);
void loop_change(Socket *, uint32_t events);
void loop_close(Socket *);
void loop_once(int64_t until_ns);
int open_socket(const char *address, bool listening); /* "unix:PATH" or "tcp:HOST:PORT" */
void die(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));

/* engine.c */
typedef struct Client Client;
typedef struct Wire Wire;
struct Wire { /* one connection to the engine */
    Socket socket;
    Wire *next, **link;
    Buffer in, out;
    Client *client; /* whose request runs here */
    bool streaming, wants_usage, watches_output;
    uint32_t num_events;
    int64_t flood_bytes; /* still to be written as fast as the reader takes it */
    char id[160];
    char frame[FRAME_BYTES];
    size_t frame_len, stamp_at;
};

void engine_listen(const char *address);
void engine_begin(Wire *);               /* a stream's head and first event */
void engine_event(Wire *);               /* its next event */
void engine_flood(Wire *, int64_t bytes); /* events without a pause */
void engine_end(Wire *, const char *reason);
void engine_answer(Wire *, const char *reason); /* a whole answer */
void engine_forget(Client *);                   /* close what still runs for a client */
extern uint64_t engine_tokens, engine_prompts;

/* orders.c */
#define MAX_PIDS 16
enum Kind { UNPACED, PACED, UNARY, FLOOD, LEAVE, LEAVE_UNARY };
typedef struct {
    long number;
    enum Kind kind;
    char address[256], key[128];
    long streams, period_us, together, events, bytes;
    double seconds;
    int pids[MAX_PIDS], num_pids;
} Order;
Order order_read(char *line);

/* load.c: what the engine tells of a client */
Client *load_client(long run, long number);
void load_asked(Client *, Wire *);
void load_cancelled(Client *);
void load_run(char *order);

/* answer.c: an answer as a client reads it */
typedef struct {
    enum { HEAD, SIZE, DATA, DATA_END, TRAILER, PLAIN } stage;
    size_t left; /* of a chunk, or of a body with a length */
    Buffer head, rest;
} Answer;
typedef struct {
    uint32_t num_events;
    bool whole;
    const char *fault;
} Seen;
Seen answer_feed(Answer *, const char *data, size_t len, void (*event)(void *, int64_t stamp), void *context);

/* figures.c */
typedef struct {
    uint32_t *values; /* nanoseconds */
    size_t len, cap;
} Samples;
void samples_add(Samples *, int64_t ns);
void samples_print(const char *name, Samples *);
int64_t cpu_ns(int pid); /* 0: this process */
#endif
