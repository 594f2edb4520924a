/* An answer as a client reads it: head, chunks in whatever pieces they come, events found in them by their stamps. */
#include "harness.h"
#include <stdlib.h>
#include <string.h>
#include <strings.h>

typedef struct {
    void (*event)(void *, int64_t stamp);
    void *context;
    Seen seen;
} Reading;

static void one_event(Reading *reading, const char *data, size_t len) {
    const char *mark = memmem(data, len, MARK, strlen(MARK));
    if (!mark || (size_t)(mark - data) + strlen(MARK) + STAMP_DIGITS > len) return;
    int64_t stamp = 0;
    for (int i = 0; i < STAMP_DIGITS; i++) stamp = stamp * 10 + mark[strlen(MARK) + i] - '0';
    reading->seen.num_events++;
    reading->event(reading->context, stamp);
}

static size_t whole_events(Reading *reading, const char *data, size_t len) {
    const char *at = data, *end;
    while ((end = memmem(at, data + len - at, "\n\n", 2))) {
        one_event(reading, at, end - at);
        at = end + 2;
    }
    return at - data;
}

static void payload(Answer *answer, Reading *reading, const char *data, size_t len) {
    if (!answer->rest.len) {
        size_t used = whole_events(reading, data, len);
        if (used < len) buffer_add(&answer->rest, data + used, len - used);
        return;
    }
    buffer_add(&answer->rest, data, len);
    buffer_drop(&answer->rest, whole_events(reading, answer->rest.data, answer->rest.len));
}

static void end_of_head(Answer *answer, Reading *reading) {
    const char *head = answer->head.data, *length = strcasestr(head, "\r\ncontent-length:");
    if (answer->head.len < 12 || strncmp(head + 8, " 200", 4)) reading->seen.fault = "not answered with 200";
    answer->left = length ? strtoul(length + 17, NULL, 10) : 0;
    answer->stage = strcasestr(head, "transfer-encoding: chunked") ? SIZE : PLAIN;
    if (answer->stage == PLAIN && !length) reading->seen.fault = "an answer without a length";
}

/* One step: how many of the bytes are used. `head` collects the answer's head, then the lines between chunks. */
static size_t step(Answer *answer, Reading *reading, const char *data, size_t len) {
    size_t take = len < answer->left ? len : answer->left;
    if (answer->stage == PLAIN || answer->stage == DATA) {
        if (answer->stage == DATA) payload(answer, reading, data, take);
        answer->left -= take;
        if (!answer->left && answer->stage == PLAIN) reading->seen.whole = true;
        if (!answer->left && answer->stage == DATA) answer->stage = DATA_END;
        return take;
    }
    const char *line = memchr(data, '\n', len);
    take = line ? (size_t)(line - data) + 1 : len;
    if (answer->stage == HEAD || answer->stage == SIZE) buffer_add(&answer->head, data, take);
    if (!line) return take;
    if (answer->stage == HEAD) {
        if (answer->head.len < 4 || memcmp(answer->head.data + answer->head.len - 4, "\r\n\r\n", 4)) return take;
        end_of_head(answer, reading);
    } else if (answer->stage == SIZE) {
        answer->left = strtoul(answer->head.data, NULL, 16);
        answer->stage = answer->left ? DATA : TRAILER;
    } else if (answer->stage == DATA_END) answer->stage = SIZE;
    else reading->seen.whole = true;
    answer->head.len = 0;
    return take;
}

Seen answer_feed(Answer *answer, const char *data, size_t len, void (*event)(void *, int64_t stamp), void *context) {
    Reading reading = {event, context, {0}};
    while (len && !reading.seen.whole && !reading.seen.fault) {
        size_t used = step(answer, &reading, data, len);
        data += used;
        len -= used;
    }
    if (reading.seen.whole) {
        answer->stage = HEAD;
        answer->left = answer->head.len = answer->rest.len = 0;
        if (len) reading.seen.fault = "bytes after an answer";
    }
    return reading.seen;
}
