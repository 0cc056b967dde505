#include "ds_publisher.h"

#include <string.h>

void ds_publisher_init(ds_publisher *publisher, ds_ring *ring) {
  publisher->batch.seq = 0;
  publisher->batch.rows = 0;
  publisher->batch.type = DS_INT16;
  publisher->batch.samples = publisher->samples;
  ds_session_init(&publisher->session, ring);
}

static void put(ds_publisher *publisher) {
  ds_batch *batch = &publisher->batch;
  const size_t size = ds_packed_encode(batch, publisher->payload, publisher->room);
  ds_ring_put(publisher->session.ring, publisher->payload, (uint32_t)size); /* counts what it does not take */
  batch->seq++;
  batch->rows = 0;
}

bool ds_publisher_sample(ds_publisher *publisher, const int16_t *counts, uint64_t t_us) {
  ds_batch *batch = &publisher->batch;
  if (batch->rows == 0) batch->t0_us = t_us;
  memcpy(publisher->samples + (size_t)batch->rows * batch->channels, counts, batch->channels * sizeof *counts);
  if (++batch->rows < publisher->rows) return false;
  put(publisher);
  return true;
}

void ds_publisher_gap(ds_publisher *publisher) {
  if (publisher->batch.rows) put(publisher);
  publisher->batch.seq++;
}

void ds_publisher_step(ds_publisher *publisher, ds_publish publish, void *context) {
  ds_entry entry;
  while (ds_session_next(&publisher->session, &entry)) {
    if (entry.size > publisher->room) { /* of an earlier firmware with larger batches: nothing can send it */
      ds_ring_confirm(publisher->session.ring, &entry);
      publisher->session.ring->refused++;
      continue;
    }
    ds_ring_read(publisher->session.ring, &entry, publisher->payload);
    const uint16_t packet = publish(context, publisher->payload, entry.size);
    if (packet == 0) return;
    ds_session_sent(&publisher->session, &entry, packet);
  }
}
