/* Searches, connects and subscribes to many PVs through libca, the client library that most programs use.
 *
 *     connect PREFIX COUNT PATIENCE
 *
 * prints "connected SECONDS" and "values SECONDS" (from the first search on), or ends after PATIENCE seconds without;
 * then, at a line on stdin, clears all channels and waits for the end of stdin.
 */
#include <stdio.h>
#include <stdlib.h>

#include <cadef.h>
#include <epicsEvent.h>
#include <epicsTime.h>

static int count, connected, values;
static epicsEventId all_connected, all_values;

static void on_connection(struct connection_handler_args args) {
    if (args.op == CA_OP_CONN_UP && ++connected == count)
        epicsEventSignal(all_connected);
}

static void on_value(struct event_handler_args args) {
    char *heard = args.usr;
    if (!*heard && ++values == count)
        epicsEventSignal(all_values);
    *heard = 1;
}

static double since(epicsUInt64 begin) {
    return 1e-9 * (epicsMonotonicGet() - begin);
}

static int told(const char *what, epicsEventId event, double patience, epicsUInt64 begin) {
    if (epicsEventWaitWithTimeout(event, patience) != epicsEventOK)
        return 0;
    printf("%s %.4f\n", what, since(begin));
    fflush(stdout);
    return 1;
}

int main(int argc, char **argv) {
    if (argc != 4 || (count = atoi(argv[2])) < 1)
        return 2;
    chid *channels = calloc(count, sizeof *channels);
    char *heard = calloc(count, 1);
    char line[80];
    all_connected = epicsEventMustCreate(epicsEventEmpty);
    all_values = epicsEventMustCreate(epicsEventEmpty);
    SEVCHK(ca_context_create(ca_enable_preemptive_callback), "context");

    epicsUInt64 begin = epicsMonotonicGet();
    for (int i = 0; i < count; i++) {
        snprintf(line, sizeof line, "%s%05d", argv[1], i);
        SEVCHK(ca_create_channel(line, on_connection, NULL, CA_PRIORITY_DEFAULT, &channels[i]), "channel");
        SEVCHK(ca_create_subscription(DBR_TIME_DOUBLE, 1, channels[i], DBE_VALUE | DBE_ALARM, on_value, &heard[i],
                                      NULL), "subscription");
    }
    ca_flush_io();
    double patience = atof(argv[3]);
    if (!told("connected", all_connected, patience, begin) || !told("values", all_values, patience, begin))
        return 1;

    if (fgets(line, sizeof line, stdin)) {
        for (int i = 0; i < count; i++)
            ca_clear_channel(channels[i]);
        ca_flush_io();
        while (fgets(line, sizeof line, stdin))
            ;
    }
    return 0;
}
