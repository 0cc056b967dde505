/* One of everything, printed: the same text on a host and on a Cortex-M, or something is wrong. */
#include <stdio.h>
#include <string.h>

#include "../ds_packed.h"
#include "../ds_publisher.h"
#include "../ds_ram.h"

#define SECTOR 512u
#define SECTORS 4u

static uint8_t memory[DS_RAM_BYTES(SECTOR, SECTORS)];

/* An MQTT library that takes two messages and then no more. */
static uint16_t publish(void *context, const void *payload, uint32_t size) {
  uint16_t *packet = context;
  if (*packet == 2) return 0;
  printf("publish size %lu seq %u\n", (unsigned long)size, ((const uint8_t *)payload)[12]);
  return ++*packet;
}

static void run_publisher(void) {
  static uint8_t ram[DS_RAM_BYTES(512, 2)], payload[DS_PACKED_HEADER + 4 * 3 * 2];
  static int16_t samples[4 * 3];
  static ds_ring ring;
  static ds_publisher publisher;
  const ds_flash flash = ds_ram(ram, 512, 2);
  if (!ds_ring_mount(&ring, &flash, DS_DROP_OLDEST)) return;
  publisher.batch.boot = 7;
  publisher.batch.fs = 50.0f;
  publisher.batch.channels = 3;
  publisher.samples = samples;
  publisher.rows = 4;
  publisher.payload = payload;
  publisher.room = sizeof payload;
  ds_publisher_init(&publisher, &ring);
  for (int16_t i = 0; i < 14; i++) {
    const int16_t counts[3] = {i, (int16_t)-i, 1000};
    ds_publisher_sample(&publisher, counts, (uint64_t)i * 20000u);
  }
  ds_publisher_gap(&publisher); /* seq 3 has two rows, and 4 is left out */
  for (int16_t i = 0; i < 4; i++) {
    const int16_t counts[3] = {i, i, i};
    ds_publisher_sample(&publisher, counts, 1000000u);
  }
  uint16_t packet = 0;
  ds_publisher_step(&publisher, publish, &packet);
  printf("not connected: %u\n", packet);
  ds_session_up(&publisher.session);
  ds_publisher_step(&publisher, publish, &packet);
  ds_session_acked(&publisher.session, 1);
  ds_session_down(&publisher.session);
  ds_session_up(&publisher.session);
  for (int i = 0; i < 2; i++) {
    packet = 0;
    ds_publisher_step(&publisher, publish, &packet);
  }
  printf("waiting %lu\n", (unsigned long)ds_ring_waiting(&ring));
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
  run_publisher();
  const ds_flash flash = ds_ram(memory, SECTOR, SECTORS);
  static ds_ring ring;
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
