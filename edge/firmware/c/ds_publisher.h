/* A device between its sensor and its MQTT library: samples become batches, batches wait in a ring and are published
 * in order with QoS 1. Knows neither sensor nor network. No allocation.
 */
#ifndef DS_PUBLISHER_H
#define DS_PUBLISHER_H

#include "ds_packed.h"
#include "ds_session.h"

/* Publish with QoS 1: the packet id, or 0 if the library takes nothing now. */
typedef uint16_t (*ds_publish)(void *context, const void *payload, uint32_t size);

typedef struct {
  ds_batch batch;    /* that is being filled: boot, fs and channels are the caller's; type DS_INT16 */
  int16_t *samples;  /* rows * channels, the caller's memory */
  uint32_t rows;     /* of a full batch */
  uint8_t *payload;  /* the caller's memory for a batch on the wire */
  uint32_t room;     /* its bytes: DS_PACKED_HEADER + rows * channels * 2 */
  ds_session session;
} ds_publisher;

/* The caller has set batch.boot, batch.fs, batch.channels, samples, rows, payload and room.
 *
 * A boot that was never there before: `ring.next_id` after `ds_ring_mount` is one, if the ring is in flash. */
void ds_publisher_init(ds_publisher *publisher, ds_ring *ring);

/* Take a sample, one count per channel; `t_us` is the device's clock. True if a batch went into the ring with it. */
bool ds_publisher_sample(ds_publisher *publisher, const int16_t *counts, uint64_t t_us);

/* Samples were lost before this: no window may span the place. */
void ds_publisher_gap(ds_publisher *publisher);

/* Publish what can be published now. */
void ds_publisher_step(ds_publisher *publisher, ds_publish publish, void *context);

#endif
