/* A device on the host: samples by the clock, ring in a file, MQTT 3.1.1 with QoS 1 over a socket.
 *
 *   host_publisher HOST PORT DEVICE FILE BATCHES PER_SECOND BOOT
 *
 * Publishes so many batches of 25 samples and ends when all are confirmed, or given up by the ring. Prints what
 * the ring says of itself. On a microcontroller its MQTT library takes the place of the functions here. */
#define _POSIX_C_SOURCE 200809L
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "../ds_publisher.h"

#define SECTOR 4096u
#define SECTORS 16u
#define ROWS 25u
#define CHANNELS 3u

static int file;
static int connection = -1;
static uint8_t received[512];
static size_t n_received;
static uint16_t next_packet = 1;
static char prefix[128];
static int64_t heard_at;

static int64_t now_us(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* -- flash in a file ------------------------------------------------------------------------------------------ */

static bool erase(void *context, uint32_t sector) {
  (void)context;
  static uint8_t blank[SECTOR];
  memset(blank, 0xFF, sizeof blank);
  return pwrite(file, blank, SECTOR, (off_t)sector * SECTOR) == (ssize_t)SECTOR;
}

static bool write_flash(void *context, uint32_t address, const void *data, uint32_t size) {
  (void)context;
  return pwrite(file, data, size, (off_t)address) == (ssize_t)size;
}

static void read_flash(void *context, uint32_t address, void *data, uint32_t size) {
  (void)context;
  if (pread(file, data, size, (off_t)address) != (ssize_t)size) memset(data, 0, size);
}

/* -- MQTT 3.1.1, what a device needs of it ---------------------------------------------------------------------- */

static bool send_all(const uint8_t *data, size_t size) {
  while (size) {
    const ssize_t n = send(connection, data, size, MSG_NOSIGNAL);
    if (n <= 0) return false;
    data += n;
    size -= (size_t)n;
  }
  return true;
}

static size_t text(uint8_t *out, const char *what) {
  const size_t n = strlen(what);
  out[0] = (uint8_t)(n >> 8);
  out[1] = (uint8_t)n;
  memcpy(out + 2, what, n);
  return n + 2;
}

/* A packet of a type, with its length before it. */
static bool packet(uint8_t type, const uint8_t *body, size_t size) {
  uint8_t head[5] = {type};
  size_t n = 1;
  for (size_t left = size;;) {
    head[n++] = (uint8_t)((left & 127u) | (left > 127 ? 128u : 0u));
    left >>= 7;
    if (!left) break;
  }
  return send_all(head, n) && send_all(body, size);
}

static bool publish(const char *kind, const void *payload, size_t size, bool retain, uint16_t id) {
  uint8_t body[1024];
  char topic[160];
  snprintf(topic, sizeof topic, "%s/%s", prefix, kind);
  size_t n = text(body, topic);
  body[n++] = (uint8_t)(id >> 8);
  body[n++] = (uint8_t)id;
  if (n + size > sizeof body) return false;
  memcpy(body + n, payload, size);
  return packet((uint8_t)(0x32u | (retain ? 1u : 0u)), body, n + size);
}

static uint16_t new_packet(void) {
  const uint16_t id = next_packet++;
  if (next_packet == 0) next_packet = 1;
  return id;
}

static void hang_up(ds_session *session) {
  if (connection >= 0) close(connection);
  connection = -1;
  n_received = 0;
  ds_session_down(session);
}

static bool dial(const char *host, uint16_t port, const char *device) {
  struct sockaddr_in address;
  memset(&address, 0, sizeof address);
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  if (inet_pton(AF_INET, host, &address.sin_addr) != 1) return false;
  connection = socket(AF_INET, SOCK_STREAM, 0);
  if (connection < 0 || connect(connection, (struct sockaddr *)&address, sizeof address)) return false;
  uint8_t body[128] = {0, 4, 'M', 'Q', 'T', 'T', 4, 2, 0, 10}; /* clean session, keep alive 10 s */
  return packet(0x10, body, 10 + text(body + 10, device));
}

static void birth(uint32_t boot) {
  static const char meta[] =
      "{\"schema\":\"disc-stream.meta/1\",\"fs\":50,\"channels\":[\"acc_x\",\"acc_y\",\"acc_z\"],\"units\":\"g\","
      "\"scale\":0.00048828125,\"model\":\"host\"}";
  char status[128];
  const int n = snprintf(status, sizeof status,
                         "{\"schema\":\"disc-stream.status/1\",\"state\":\"online\",\"boot\":%lu,\"since\":null}",
                         (unsigned long)boot);
  publish("meta", meta, sizeof meta - 1, true, new_packet());
  publish("status", status, (size_t)n, true, new_packet());
}

/* What has come: CONNACK and PUBACK matter. False if the connection is gone. */
static bool hear(ds_session *session, uint32_t boot) {
  const ssize_t n = recv(connection, received + n_received, sizeof received - n_received, MSG_DONTWAIT);
  if (n == 0 || (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK)) return false;
  if (n > 0) {
    n_received += (size_t)n;
    heard_at = now_us();
  }
  while (n_received >= 2 && n_received >= 2u + received[1]) { /* all that a device gets is short */
    const size_t size = 2u + received[1];
    if (received[0] == 0x20 && received[3] == 0) {
      birth(boot);
      ds_session_up(session);
    } else if (received[0] == 0x40) {
      ds_session_acked(session, (uint16_t)(received[2] << 8 | received[3]));
    }
    memmove(received, received + size, n_received - size);
    n_received -= size;
  }
  return true;
}

/* -- the device ------------------------------------------------------------------------------------------------ */

static int16_t samples[ROWS * CHANNELS];
static uint8_t payload[DS_PACKED_HEADER + sizeof samples];
static ds_publisher publisher = {
    .batch = {.fs = 50.0f, .channels = CHANNELS}, .samples = samples, .rows = ROWS, .payload = payload, .room = sizeof payload};

static void measure(void) {
  const uint32_t seq = publisher.batch.seq;
  for (uint32_t row = 0; row < ROWS; row++) {
    const uint32_t first = seq * 7u + row * CHANNELS;
    const int16_t counts[CHANNELS] = {(int16_t)first, (int16_t)(first + 1), (int16_t)(first + 2)};
    ds_publisher_sample(&publisher, counts, (uint64_t)seq * 500000u + row * 20000u);
  }
}

static uint16_t publish_raw(void *context, const void *data, uint32_t size) {
  const uint16_t id = new_packet();
  if (publish("raw", data, size, false, id)) return id;
  *(bool *)context = false;
  return 0;
}

int main(int argc, char **argv) {
  if (argc != 8) return 2;
  const uint32_t batches = (uint32_t)strtoul(argv[5], NULL, 10), boot = (uint32_t)strtoul(argv[7], NULL, 10);
  const int64_t step_us = (int64_t)(1e6 / atof(argv[6]));
  snprintf(prefix, sizeof prefix, "ds/v1/%s", argv[3]);
  file = open(argv[4], O_RDWR | O_CREAT, 0600);
  if (file < 0 || ftruncate(file, SECTOR * SECTORS)) return 1;
  const ds_flash flash = {erase, write_flash, read_flash, NULL, SECTOR, SECTORS};
  static ds_ring ring;
  if (!ds_ring_mount(&ring, &flash, DS_DROP_OLDEST)) return 1;
  publisher.batch.boot = boot;
  ds_publisher_init(&publisher, &ring);
  ds_session *session = &publisher.session;
  int64_t due = now_us(), dial_at = 0, ping_at = 0;
  while (publisher.batch.seq < batches || ds_ring_waiting(&ring)) {
    const int64_t now = now_us();
    for (; publisher.batch.seq < batches && now >= due; due += step_us) measure();
    if (connection < 0 && now >= dial_at) {
      if (!dial(argv[1], (uint16_t)atoi(argv[2]), argv[3])) hang_up(session);
      dial_at = now + 200000 + rand() % 200000;
      heard_at = ping_at = now;
    }
    if (connection < 0) {
      poll(NULL, 0, 5);
      continue;
    }
    if (session->connected && now >= ping_at) { /* a broker that is there answers */
      ping_at = now + 3000000;
      if (!packet(0xC0, NULL, 0)) hang_up(session);
    }
    if (connection >= 0 && now - heard_at > 8000000) hang_up(session);
    struct pollfd wait = {connection, POLLIN, 0};
    poll(&wait, 1, 2);
    if (connection >= 0 && !hear(session, boot)) hang_up(session);
    bool alive = true;
    if (connection >= 0) ds_publisher_step(&publisher, publish_raw, &alive);
    if (!alive) hang_up(session);
  }
  if (connection >= 0) {
    packet(0xE0, NULL, 0);
    close(connection);
  }
  printf("put %lu lost %lu refused %lu\n", (unsigned long)ring.next_id - 1, (unsigned long)ring.lost,
         (unsigned long)ring.refused);
  return 0;
}
