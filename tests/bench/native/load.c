/* The load: clients, when their streams' events are due, and what is measured of them. */
#include "harness.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#define WARM_NS 300000000LL
#define PATIENCE_NS 20000000000LL
#define LEAVE_NS 5000000000LL /* whoever works on longer for a client that left is taken to do so for ever */
#define AT_ONCE 64 /* connections that wait for their first event: no burst fills a listener's queue */

struct Client {
    Socket *socket; /* NULL before it connects and after it left */
    Wire *wire;     /* where its stream runs */
    Answer answer;
    char *request;
    size_t request_len;
    uint32_t limit; /* events of the present stream */
    int64_t asked_at, phase, leaves_at, left_at;
    bool begun, waits, cancelled; /* begun: had a first event or answer; waits: asked, and not answered */
};
typedef struct {
    Socket socket;
    Client *client;
} End;

static Order order;
static Client *clients;
static const char *fault;
static bool timing, ending;
static long num_begun, num_connected, num_waiting, cursor;
static int64_t grid;
static uint64_t num_events, num_answers, num_in_time, num_sent;
static Samples delays, firsts, answers, late, cancels;

Client *load_client(long run, long number) {
    return run == order.number && clients && number >= 0 && number < order.streams ? &clients[number] : NULL;
}

static bool streams(void) { return order.kind != UNARY && order.kind != LEAVE_UNARY; }

/* --- told by the engine */

void load_asked(Client *client, Wire *wire) {
    if (order.kind == UNARY) {
        engine_answer(wire, "stop");
        return;
    }
    client->wire = wire;
    if (order.kind == LEAVE_UNARY || order.kind == FLOOD) {
        num_begun += !client->begun;
        client->begun = true;
    }
    if (!streams()) return; /* works on until somebody stops it */
    engine_begin(wire);
    if (order.kind == FLOOD) engine_flood(wire, order.bytes);
}

void load_cancelled(Client *client) {
    client->wire = NULL;
    if (!client->left_at || client->cancelled) return;
    client->cancelled = true;
    samples_add(&cancels, now_ns() - client->left_at);
}

/* --- clients */

static void ask(Client *client) {
    client->asked_at = now_ns();
    client->waits = true;
    num_waiting++;
    if (send(client->socket->fd, client->request, client->request_len, MSG_NOSIGNAL) != (ssize_t)client->request_len)
        fault = "a request could not be sent";
}

static void on_event(void *context, int64_t stamp) {
    Client *client = context;
    int64_t now = now_ns(), delay = now - stamp;
    if (timing) {
        samples_add(&delays, delay);
        num_in_time += delay <= order.period_us * 1000;
        num_events++;
        if (client->waits) samples_add(&firsts, now - client->asked_at);
    }
    if (client->waits) num_waiting--;
    client->waits = false;
    num_begun += !client->begun;
    client->begun = true;
}

static void next_event(Client *client) {
    Wire *wire = client->wire;
    if (!wire || !wire->streaming) return;
    if (ending || wire->num_events >= client->limit) {
        client->wire = NULL;
        client->limit = order.events;
        engine_end(wire, "stop");
    } else {
        if (timing) num_sent++;
        engine_event(wire);
    }
}

static void on_whole(Client *client) {
    if (client->waits) num_waiting--;
    client->waits = false;
    if (timing) {
        num_answers++;
        samples_add(&answers, now_ns() - client->asked_at);
    }
    num_begun += !client->begun;
    client->begun = true;
    if (!ending) ask(client);
}

static void leave(Client *client) {
    if (!client->socket) return;
    loop_close(client->socket);
    client->socket = NULL;
    if (client->waits) num_waiting--;
    client->waits = false;
}

static void client_ready(Socket *socket, uint32_t events) {
    static char data[262144];
    Client *client = ((End *)socket)->client;
    (void)events;
    ssize_t got = recv(socket->fd, data, sizeof data, MSG_DONTWAIT);
    if (got < 0 && errno == EAGAIN) return;
    if (got <= 0) {
        if (!ending) fault = "a client's connection was closed";
        leave(client);
        return;
    }
    Seen seen = answer_feed(&client->answer, data, got, on_event, client);
    if (seen.fault) {
        fault = seen.fault;
        fprintf(stderr, "%s: %.*s\n", fault, (int)(got < 600 ? got : 600), data);
    } else if (seen.whole) on_whole(client);
    else if (seen.num_events && order.kind == UNPACED) next_event(client);
}

static void connect_client(Client *client) {
    End *end = calloc(1, sizeof *end);
    end->socket = (Socket){.fd = open_socket(order.address, false), .ready = client_ready};
    end->client = client;
    client->socket = &end->socket;
    loop_add(client->socket, order.kind == FLOOD ? 0 : EPOLLIN);
    ask(client);
}

static void make_client(Client *client, long number) {
    char body[512], request[1024];
    int len = snprintf(body, sizeof body,
                       "{\"model\":\"deepseek-bench\",\"messages\":[{\"role\":\"user\",\"content\":\"Write a function. bench-run=%ld "
                       "stream=%ld\"}],\"max_tokens\":1024%s}",
                       order.number, number, streams() ? ",\"stream\":true,\"stream_options\":{\"include_usage\":true}" : "");
    client->request_len = snprintf(request, sizeof request,
                                   "POST /v1/chat/completions HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer %s\r\n"
                                   "Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", order.key, len, body);
    client->request = strdup(request);
    client->limit = order.events * (number + 1) / order.streams + 1; /* so that streams do not end all at once */
    client->phase = order.together ? 0 : order.period_us * 1000 * number / order.streams;
}

/* --- the clock. All streams have one period, so that a cursor over their phases is all the schedule. */

static int64_t due(void) { return grid + clients[cursor].phase; }

static void tick(void) {
    int64_t now = now_ns();
    for (int num = 1; due() <= now && !fault; now = now_ns(), num++) {
        if (num % 16 == 0) loop_once(0); /* or what arrives meanwhile would wait for all that is due */
        if (timing && clients[cursor].wire) samples_add(&late, now - due());
        next_event(&clients[cursor]);
        if (++cursor == order.streams) cursor = 0, grid += order.period_us * 1000;
    }
}

static void send_away(void) {
    int64_t now = now_ns();
    for (long i = 0; i < order.streams; i++) {
        if (clients[i].left_at || !clients[i].leaves_at || clients[i].leaves_at > now) continue;
        clients[i].left_at = now;
        leave(&clients[i]);
    }
}

static bool paced(void) { return order.kind == PACED || order.kind == LEAVE; }

/* Serve until a moment, or until nobody waits any more. */
static void serve(int64_t until, bool (*over)(void)) {
    while (!fault && now_ns() < until && !(over && over())) {
        while (num_connected < order.streams && num_connected - num_begun < AT_ONCE && !ending)
            connect_client(&clients[num_connected++]);
        if (paced()) tick();
        if (order.kind == LEAVE || order.kind == LEAVE_UNARY) send_away();
        int64_t next = now_ns() + 20000000;
        if (paced() && due() < next) next = due();
        loop_once(next < until ? next : until);
    }
}

static bool all_begun(void) { return num_begun == order.streams; }

static bool all_cancelled(void) { return cancels.len == (size_t)order.streams; }

static bool none_left(void) {
    for (long i = 0; i < order.streams; i++)
        if (clients[i].wire || (clients[i].socket && clients[i].answer.stage != HEAD) || clients[i].waits) return false;
    return true;
}

/* --- a run */

static void window(int64_t *cpu, int64_t *wall) {
    int64_t began = now_ns();
    for (int i = 0; i <= order.num_pids; i++) cpu[i] = -cpu_ns(i ? order.pids[i - 1] : 0);
    for (long i = 0; i < order.streams; i++) clients[i].leaves_at = began + order.seconds * 0.7e9 * rand() / RAND_MAX;
    timing = true;
    printf("{\"steady\":true}\n");
    fflush(stdout);
    serve(began + order.seconds * 1e9, NULL);
    timing = false;
    *wall = now_ns() - began;
    if (order.kind == LEAVE || order.kind == LEAVE_UNARY) serve(now_ns() + LEAVE_NS, all_cancelled);
    for (int i = 0; i <= order.num_pids; i++) cpu[i] += cpu_ns(i ? order.pids[i - 1] : 0);
}

static void print(const int64_t *cpu, int64_t wall) {
    printf("{\"seconds\":%.6f,\"events\":%lu,\"sent\":%lu,\"in_time\":%lu,\"answers\":%lu,\"tokens\":%lu,\"prompts\":%lu,"
           "\"left\":%ld,\"harness_cpu_s\":%.6f,\"cpu_s\":[",
           wall / 1e9, num_events, num_sent, num_in_time, num_answers, engine_tokens, engine_prompts,
           order.kind == LEAVE || order.kind == LEAVE_UNARY ? order.streams : 0, cpu[0] / 1e9);
    for (int i = 0; i < order.num_pids; i++) printf("%s%.6f", i ? "," : "", cpu[i + 1] / 1e9);
    printf("]");
    samples_print("delay", &delays);
    samples_print("first", &firsts);
    samples_print("answer", &answers);
    samples_print("late", &late);
    samples_print("cancel", &cancels);
    if (fault) printf(",\"fault\":\"%s\"", fault);
    printf("}\n");
    fflush(stdout);
}

void load_run(char *line) {
    int64_t cpu[MAX_PIDS + 1], wall = 0;
    order = order_read(line);
    clients = calloc(order.streams, sizeof *clients);
    for (long i = 0; i < order.streams; i++) make_client(&clients[i], i);
    fault = NULL;
    ending = timing = false;
    num_begun = num_connected = num_waiting = cursor = 0;
    num_events = num_answers = num_in_time = num_sent = engine_tokens = engine_prompts = 0;
    grid = now_ns();
    serve(now_ns() + PATIENCE_NS, all_begun);
    if (!fault && !all_begun()) fault = "not every stream began";
    serve(now_ns() + WARM_NS, NULL);
    if (!fault) window(cpu, &wall);
    else memset(cpu, 0, sizeof cpu);
    ending = true;
    for (long i = 0; i < order.streams; i++) {
        if (order.kind == FLOOD || order.kind == LEAVE_UNARY) leave(&clients[i]);
        else next_event(&clients[i]); /* ends it */
    }
    serve(now_ns() + PATIENCE_NS, none_left);
    if (!fault && !none_left()) fault = "not every answer ended";
    for (long i = 0; i < order.streams; i++) {
        leave(&clients[i]);
        engine_forget(&clients[i]);
        free(clients[i].request);
        free(clients[i].answer.head.data);
        free(clients[i].answer.rest.data);
    }
    print(cpu, wall);
    free(clients);
    clients = NULL;
    loop_once(0);
}
