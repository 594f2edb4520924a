/* A run's orders, one line of `name=value` words:
 *
 *   address=tcp:HOST:PORT kind=KIND streams=N seconds=S period_us=P together=0|1 events=E bytes=B key=K pids=P,P
 *
 * kinds: unpaced (a stream's next event goes out when the client has the last), paced, unary, flood (one that never reads),
 * leave and leave-unary (clients go away at random moments). Streams of `events` events are followed by new ones. */
#include "harness.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *kinds[] = {"unpaced", "paced", "unary", "flood", "leave", "leave-unary"};

static enum Kind read_kind(const char *name) {
    for (int i = 0; i <= LEAVE_UNARY; i++)
        if (!strcmp(kinds[i], name)) return i;
    die("no kind: %s", name);
}

static void read_pids(Order *order, char *list) {
    for (char *pid = strsep(&list, ","); pid && *pid && order->num_pids < MAX_PIDS; pid = strsep(&list, ","))
        order->pids[order->num_pids++] = atoi(pid);
}

Order order_read(char *line) {
    static long num_runs;
    Order order = {.number = ++num_runs, .events = 1 << 30, .period_us = 20000};
    for (char *word = strtok(line, " \n"); word; word = strtok(NULL, " \n")) {
        char *value = strchr(word, '=');
        if (!value) die("no order: %s", word);
        *value++ = 0;
        if (!strcmp(word, "address")) snprintf(order.address, sizeof order.address, "%s", value);
        else if (!strcmp(word, "key")) snprintf(order.key, sizeof order.key, "%s", value);
        else if (!strcmp(word, "kind")) order.kind = read_kind(value);
        else if (!strcmp(word, "streams")) order.streams = atol(value);
        else if (!strcmp(word, "seconds")) order.seconds = atof(value);
        else if (!strcmp(word, "period_us")) order.period_us = atol(value);
        else if (!strcmp(word, "together")) order.together = atol(value);
        else if (!strcmp(word, "events")) order.events = atol(value);
        else if (!strcmp(word, "bytes")) order.bytes = atol(value);
        else if (!strcmp(word, "pids")) read_pids(&order, value);
        else die("no order: %s", word);
    }
    if (order.streams < 1 || order.seconds <= 0 || !*order.address) die("streams, seconds and address are needed");
    return order;
}
