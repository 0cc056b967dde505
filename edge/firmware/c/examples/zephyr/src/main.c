/* Zephyr: its MQTT library with QoS 1, the ring in the partition `storage_partition`. ds_device.h is what
 * `disc-stream broker add-device NAME --config DIR --header ds_device.h` wrote. The network, the sensor and the time of
 * day are the board's own: `imu_read` does not wait. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <zephyr/kernel.h>
#include <zephyr/net/mqtt.h>
#include <zephyr/net/socket.h>
#include <zephyr/net/tls_credentials.h>
#include <zephyr/random/random.h>
#include <zephyr/storage/flash_map.h>

#include "ds_device.h"
#include "ds_publisher.h"
#include "meta.h"

bool imu_read(int16_t counts[DS_CHANNELS]); /* true if there is a sample */

#define CA_TAG 1
#define TEXT(literal) {.utf8 = (const uint8_t *)(literal), .size = sizeof(literal) - 1}

static int16_t samples[DS_ROWS * DS_CHANNELS];
static uint8_t payload[DS_PACKED_HEADER + sizeof samples];
static ds_publisher publisher = {.batch = {.fs = DS_FS, .channels = DS_CHANNELS},
                                 .samples = samples,
                                 .rows = DS_ROWS,
                                 .payload = payload,
                                 .room = sizeof payload};
static ds_ring ring;
static struct mqtt_client client;
static struct sockaddr_storage broker;
static uint8_t rx[128], tx[512];
static uint16_t packet;
static bool up, gone;

static bool erase(void *area, uint32_t sector) {
  return flash_area_erase(area, (off_t)sector * ring.flash.sector_size, ring.flash.sector_size) == 0;
}

static bool write_flash(void *area, uint32_t address, const void *data, uint32_t size) {
  return flash_area_write(area, address, data, size) == 0;
}

static void read_flash(void *area, uint32_t address, void *data, uint32_t size) {
  if (flash_area_read(area, address, data, size)) memset(data, 0, size);
}

static uint16_t publish_to(const char *topic, const void *data, uint32_t size, bool retain) {
  struct mqtt_publish_param param = {0};
  param.message.topic.topic.utf8 = (const uint8_t *)topic;
  param.message.topic.topic.size = strlen(topic);
  param.message.topic.qos = MQTT_QOS_1_AT_LEAST_ONCE;
  param.message.payload.data = (uint8_t *)data;
  param.message.payload.len = size;
  param.message_id = packet = packet == 65535 ? 1 : packet + 1;
  param.retain_flag = retain;
  return mqtt_publish(&client, &param) == 0 ? param.message_id : 0;
}

static uint16_t publish(void *context, const void *data, uint32_t size) {
  ARG_UNUSED(context);
  return publish_to(DS_TOPIC_RAW, data, size, false);
}

static void on_mqtt(struct mqtt_client *from, const struct mqtt_evt *event) {
  ARG_UNUSED(from);
  if (event->type == MQTT_EVT_CONNACK && event->result == 0) {
    up = true;
  } else if (event->type == MQTT_EVT_DISCONNECT) {
    gone = true;
  } else if (event->type == MQTT_EVT_PUBACK && event->result == 0) {
    ds_session_acked(&publisher.session, event->param.puback.message_id);
  }
}

static bool dial(void) {
  static struct mqtt_utf8 user = TEXT(DS_USER), password = TEXT(DS_PASSWORD), will;
  static struct mqtt_topic will_topic = {.topic = TEXT(DS_TOPIC_STATUS), .qos = MQTT_QOS_1_AT_LEAST_ONCE};
  static char text[128];
  static const sec_tag_t tags[] = {CA_TAG};
  struct zsock_addrinfo *found, hints = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM};
  if (zsock_getaddrinfo(DS_HOST, STRINGIFY(DS_PORT), &hints, &found)) return false;
  memcpy(&broker, found->ai_addr, found->ai_addrlen);
  zsock_freeaddrinfo(found);
  snprintf(text, sizeof text, DS_STATUS, "offline", (unsigned long)publisher.batch.boot);
  will.utf8 = (const uint8_t *)text;
  will.size = strlen(text);
  mqtt_client_init(&client);
  client.broker = &broker;
  client.evt_cb = on_mqtt;
  client.client_id = (struct mqtt_utf8)TEXT(DS_DEVICE);
  client.user_name = &user;
  client.password = &password;
  client.will_topic = &will_topic;
  client.will_message = &will;
  client.will_retain = 1;
  client.clean_session = 1;
  client.protocol_version = MQTT_VERSION_3_1_1;
  client.rx_buf = rx;
  client.rx_buf_size = sizeof rx;
  client.tx_buf = tx;
  client.tx_buf_size = sizeof tx;
  client.transport.type = MQTT_TRANSPORT_SECURE;
  client.transport.tls.config = (struct mqtt_sec_config){.peer_verify = TLS_PEER_VERIFY_REQUIRED,
                                                         .sec_tag_count = ARRAY_SIZE(tags),
                                                         .sec_tag_list = tags,
                                                         .hostname = DS_HOST};
  up = gone = false;
  return mqtt_connect(&client) == 0;
}

static void measure(void) {
  int16_t counts[DS_CHANNELS];
  while (imu_read(counts)) ds_publisher_sample(&publisher, counts, (uint64_t)k_uptime_get() * 1000u);
}

/* One connection, from its beginning to its end. */
static void stay_connected(void) {
  struct zsock_pollfd wait = {.fd = client.transport.tls.sock, .events = ZSOCK_POLLIN};
  bool born = false;
  char text[128];
  while (!gone) {
    measure();
    zsock_poll(&wait, 1, 5);
    if (wait.revents && mqtt_input(&client)) break;
    const int alive = mqtt_live(&client);
    if (alive && alive != -EAGAIN) break;
    if (!up) continue;
    if (!born) {
      snprintf(text, sizeof text, DS_STATUS, "online", (unsigned long)publisher.batch.boot);
      if (!publish_to(DS_TOPIC_META, DS_META, sizeof DS_META - 1, true)) break;
      if (!publish_to(DS_TOPIC_STATUS, text, strlen(text), true)) break;
      ds_session_up(&publisher.session);
      born = true;
    }
    ds_publisher_step(&publisher, publish, NULL);
  }
  if (!gone) mqtt_abort(&client);
  ds_session_down(&publisher.session);
}

int main(void) {
  const struct flash_area *area;
  if (flash_area_open(FIXED_PARTITION_ID(storage_partition), &area)) return 1;
  const ds_flash flash = {erase, write_flash, read_flash, (void *)area, 4096, area->fa_size / 4096};
  if (!ds_ring_mount(&ring, &flash, DS_DROP_OLDEST)) return 1;
  publisher.batch.boot = ring.next_id;
  ds_publisher_init(&publisher, &ring);
  tls_credential_add(CA_TAG, TLS_CREDENTIAL_CA_CERTIFICATE, DS_CA, sizeof DS_CA);
  for (uint32_t delay = 500;; delay = MIN(2 * delay, 30000)) {
    if (dial()) {
      stay_connected();
      if (up) delay = 250;
    }
    const int64_t end = k_uptime_get() + delay / 2 + sys_rand32_get() % (delay / 2);
    while (k_uptime_get() < end) {
      measure();
      k_msleep(5);
    }
  }
}
