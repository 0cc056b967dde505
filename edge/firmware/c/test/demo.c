/* One of everything, printed: the same text on a host and on a Cortex-M, or something is wrong. */
#include <stdio.h>
#include <string.h>

#include "../ds_packed.h"
#include "../ds_ring.h"

#define SECTOR 512u
#define SECTORS 4u

static uint8_t memory[SECTOR * SECTORS];

static bool erase(void *context, uint32_t sector) {
  (void)context;
  memset(memory + sector * SECTOR, 0xFF, SECTOR);
  return true;
}

static bool write(void *context, uint32_t address, const void *data, uint32_t size) {
  (void)context;
  memcpy(memory + address, data, size);
  return true;
}

static void read(void *context, uint32_t address, void *data, uint32_t size) {
  (void)context;
  memcpy(data, memory + address, size);
}

static void print(const char *what, const uint8_t *bytes, size_t n) {
  printf("%s", what);
  for (size_t i = 0; i < n; i++) printf("%02x", bytes[i]);
  printf("\n");
}

int main(void) {
  static const int16_t counts[12] = {0, -512, 2048, 160, 0, -16, 32, -480, 2000, 176, 8, -32};
  static const float values[3] = {0.02f, -0.01f, 0.99f};
  static uint8_t out[128];
  const ds_batch batch = {7, 0, 1500000, 50.0f, 6, DS_INT16, 2, counts};
  const ds_batch floats = {4000000000u, 70000, 0x123456789ABCDEFull, 33.333f, 3, DS_FLOAT32, 1, values};
  print("packed ", out, ds_packed_encode(&batch, out, sizeof out));
  print("packed ", out, ds_packed_encode(&floats, out, sizeof out));
  const ds_flash flash = {erase, write, read, NULL, SECTOR, SECTORS};
  static ds_ring ring;
  memset(memory, 0xFF, sizeof memory);
  if (!ds_ring_mount(&ring, &flash, DS_DROP_OLDEST)) return 1;
  for (uint32_t i = 0; i < 40; i++) {
    memset(out, (int)i, sizeof out);
    if (!ds_ring_put(&ring, out, 48 + i)) return 1;
  }
  ds_entry entry;
  for (uint32_t i = 0; i < 3 && ds_ring_next(&ring, NULL, &entry); i++) ds_ring_confirm(&ring, &entry);
  if (!ds_ring_mount(&ring, &flash, DS_DROP_OLDEST)) return 1; /* as after a restart */
  bool more = ds_ring_next(&ring, NULL, &entry);
  while (more) {
    ds_ring_read(&ring, &entry, out);
    printf("id %lu size %lu byte %u\n", (unsigned long)entry.id, (unsigned long)entry.size, out[entry.size - 1]);
    const ds_entry before = entry;
    more = ds_ring_next(&ring, &before, &entry);
  }
  printf("waiting %lu lost %lu state %lu\n", (unsigned long)ds_ring_waiting(&ring), (unsigned long)ring.lost,
         (unsigned long)sizeof ring.flash.sectors);
  return 0;
}
