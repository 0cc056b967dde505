/* What is on its way: batches of a ring that were published with QoS 1 and are not confirmed yet.
 *
 * Knows no network: the caller has an MQTT library, tells of its connection and of PUBACKs, and asks what to
 * publish next. After a break everything that was on its way is published again, oldest first, with new packet
 * ids; the server drops what it has seen by (boot, seq). No allocation.
 */
#ifndef DS_SESSION_H
#define DS_SESSION_H

#include "ds_ring.h"

#ifndef DS_WINDOW
#define DS_WINDOW 8u /* batches on their way at once */
#endif

typedef struct {
  ds_entry entry;
  uint16_t packet; /* 0 once it is confirmed */
} ds_flight;

typedef struct {
  ds_ring *ring;
  bool connected;
  bool begun;      /* whether `last` is one */
  ds_entry last;   /* published last on this connection */
  ds_flight flights[DS_WINDOW];
  uint8_t count;
} ds_session;

void ds_session_init(ds_session *session, ds_ring *ring);

/* The broker has accepted the connection; publish meta and status before anything else. */
void ds_session_up(ds_session *session);

/* The connection is gone: what was on its way is published again after the next `ds_session_up`. */
void ds_session_down(ds_session *session);

/* The batch to publish now; false if there is none, or too many are on their way. */
bool ds_session_next(const ds_session *session, ds_entry *entry);

/* It was published under this packet id (not 0). */
void ds_session_sent(ds_session *session, const ds_entry *entry, uint16_t packet);

/* A PUBACK has come. True if it was of a batch of ours, which now leaves the ring. */
bool ds_session_acked(ds_session *session, uint16_t packet);

#endif
