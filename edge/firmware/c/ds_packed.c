#include "ds_packed.h"

#include <string.h>

#define MAX_PAYLOAD 262144u
#define MAX_ROWS 65536u

static void put16(uint8_t *at, uint16_t value) {
  at[0] = (uint8_t)value;
  at[1] = (uint8_t)(value >> 8);
}

static void put32(uint8_t *at, uint32_t value) {
  put16(at, (uint16_t)value);
  put16(at + 2, (uint16_t)(value >> 16));
}

static uint32_t bits_of(float value) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  return bits;
}

size_t ds_packed_size(const ds_batch *batch) {
  if (batch->channels == 0 || batch->rows == 0 || batch->rows > MAX_ROWS || batch->type > DS_FLOAT32) return 0;
  const uint64_t value = batch->type == DS_INT16 ? 2u : 4u;
  const uint64_t size = DS_PACKED_HEADER + (uint64_t)batch->rows * batch->channels * value;
  return size > MAX_PAYLOAD ? 0 : (size_t)size;
}

size_t ds_packed_encode(const ds_batch *batch, uint8_t *out, size_t room) {
  const size_t size = ds_packed_size(batch);
  if (size == 0 || size > room) return 0;
  out[0] = 0xD5;
  out[1] = (uint8_t)(0x10u | batch->type);
  out[2] = batch->channels;
  out[3] = 0;
  put32(out + 4, bits_of(batch->fs));
  put32(out + 8, batch->boot);
  put32(out + 12, batch->seq);
  put32(out + 16, (uint32_t)batch->t0_us);
  put32(out + 20, (uint32_t)(batch->t0_us >> 32));
  const size_t values = (size_t)batch->rows * batch->channels;
  uint8_t *at = out + DS_PACKED_HEADER;
  if (batch->type == DS_INT16) {
    const int16_t *samples = batch->samples;
    for (size_t i = 0; i < values; i++, at += 2) put16(at, (uint16_t)samples[i]);
  } else if (batch->type == DS_INT32) {
    const int32_t *samples = batch->samples;
    for (size_t i = 0; i < values; i++, at += 4) put32(at, (uint32_t)samples[i]);
  } else {
    const float *samples = batch->samples;
    for (size_t i = 0; i < values; i++, at += 4) put32(at, bits_of(samples[i]));
  }
  return size;
}
