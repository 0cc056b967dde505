/* The packed encoding of sample batches (docs/reference/wire.md), for microcontrollers. C99, no allocation. */
#ifndef DS_PACKED_H
#define DS_PACKED_H

#include <stddef.h>
#include <stdint.h>

#define DS_PACKED_HEADER 24u

/* Types of the samples. */
enum { DS_INT16 = 0, DS_INT32 = 1, DS_FLOAT32 = 2 };

/* One batch: rows of one value per channel, row after row, in the machine's own byte order. */
typedef struct {
  uint32_t boot;     /* changes whenever the device restarts */
  uint32_t seq;      /* number of the batch within the boot, from 0 */
  uint64_t t0_us;    /* device clock at the first sample, microseconds, below 2^63 */
  float fs;          /* sampling rate in Hz */
  uint8_t channels;  /* 1 ... 255 */
  uint8_t type;      /* DS_INT16, DS_INT32 or DS_FLOAT32 */
  uint32_t rows;     /* at least 1 */
  const void *samples;
} ds_batch;

/* Bytes of a batch on the wire; 0 if it is none (no channels, no rows, an unknown type, too large). */
size_t ds_packed_size(const ds_batch *batch);

/* Write a batch; returns its bytes, 0 if it is none or does not fit into `room` bytes. */
size_t ds_packed_encode(const ds_batch *batch, uint8_t *out, size_t room);

#endif
