#include "ds_session.h"

#include <string.h>

void ds_session_init(ds_session *session, ds_ring *ring) {
  memset(session, 0, sizeof *session);
  session->ring = ring;
}

void ds_session_up(ds_session *session) {
  session->connected = true;
  session->begun = false;
  session->count = 0;
}

void ds_session_down(ds_session *session) {
  session->connected = false;
  session->count = 0;
}

bool ds_session_next(const ds_session *session, ds_entry *entry) {
  if (!session->connected || session->count == DS_WINDOW) return false;
  return ds_ring_next(session->ring, session->begun ? &session->last : NULL, entry);
}

void ds_session_sent(ds_session *session, const ds_entry *entry, uint16_t packet) {
  if (session->count == DS_WINDOW || packet == 0) return;
  session->flights[session->count].entry = *entry;
  session->flights[session->count].packet = packet;
  session->count++;
  session->last = *entry;
  session->begun = true;
}

bool ds_session_acked(ds_session *session, uint16_t packet) {
  for (uint8_t i = 0; i < session->count; i++) {
    if (session->flights[i].packet != packet) continue;
    ds_ring_confirm(session->ring, &session->flights[i].entry);
    memmove(&session->flights[i], &session->flights[i + 1], (session->count - i - 1u) * sizeof session->flights[0]);
    session->count--;
    return true;
  }
  return false;
}
