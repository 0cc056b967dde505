/* ESP-IDF: esp-mqtt with QoS 1, the ring in a data partition `ring` (partitions.csv). ds_device.h is what
 * `disc-stream broker add-device NAME --config DIR --header ds_device.h` wrote. Wi-Fi, the sensor and the time of day
 * are the project's own: `wifi_start`, and `imu_read`, which waits for the next sample. */
#include <stdio.h>
#include <stdlib.h>

#include "ds_device.h"
#include "ds_publisher.h"
#include "esp_event.h"
#include "esp_partition.h"
#include "esp_timer.h"
#include "freertos/FreeRTOS.h"
#include "freertos/queue.h"
#include "freertos/task.h"
#include "meta.h"
#include "mqtt_client.h"

void wifi_start(void);
bool imu_read(int16_t counts[DS_CHANNELS]); /* false if samples were lost before this one */

static int16_t samples[DS_ROWS * DS_CHANNELS];
static uint8_t payload[DS_PACKED_HEADER + sizeof samples];
static ds_publisher publisher = {.batch = {.fs = DS_FS, .channels = DS_CHANNELS},
                                 .samples = samples,
                                 .rows = DS_ROWS,
                                 .payload = payload,
                                 .room = sizeof payload};
static ds_ring ring;
static esp_mqtt_client_handle_t client;

/* Only the main task touches ring and session: the library's task tells it what has happened. */
typedef struct {
  enum { UP, DOWN, ACK } what;
  uint16_t packet;
} news;
static QueueHandle_t events;

static bool erase(void *partition, uint32_t sector) {
  return esp_partition_erase_range(partition, sector * ring.flash.sector_size, ring.flash.sector_size) == ESP_OK;
}

static bool write_flash(void *partition, uint32_t address, const void *data, uint32_t size) {
  return esp_partition_write(partition, address, data, size) == ESP_OK;
}

static void read_flash(void *partition, uint32_t address, void *data, uint32_t size) {
  ESP_ERROR_CHECK(esp_partition_read(partition, address, data, size));
}

static void on_mqtt(void *context, esp_event_base_t base, int32_t id, void *data) {
  const esp_mqtt_event_handle_t event = data;
  news said;
  (void)context, (void)base;
  if (id == MQTT_EVENT_CONNECTED) {
    said = (news){UP, 0};
  } else if (id == MQTT_EVENT_DISCONNECTED) {
    said = (news){DOWN, 0};
  } else if (id == MQTT_EVENT_PUBLISHED) {
    said = (news){ACK, (uint16_t)event->msg_id};
  } else {
    return;
  }
  xQueueSend(events, &said, portMAX_DELAY);
}

static void birth(void) {
  char status[128];
  snprintf(status, sizeof status, DS_STATUS, "online", (unsigned long)publisher.batch.boot);
  esp_mqtt_client_publish(client, DS_TOPIC_META, DS_META, 0, 1, 1);
  esp_mqtt_client_publish(client, DS_TOPIC_STATUS, status, 0, 1, 1);
}

/* The library keeps a copy until it is confirmed and sends it again by itself; so does the session after a break, and
 * the server drops what comes twice. At most DS_WINDOW batches are ever in its outbox. */
static uint16_t publish(void *context, const void *data, uint32_t size) {
  const int packet = esp_mqtt_client_publish(client, DS_TOPIC_RAW, data, (int)size, 1, 0);
  (void)context;
  return packet > 0 ? (uint16_t)packet : 0;
}

static void hear(const news *said) {
  if (said->what == UP) {
    birth();
    ds_session_up(&publisher.session);
  } else if (said->what == DOWN) {
    ds_session_down(&publisher.session);
  } else {
    ds_session_acked(&publisher.session, said->packet);
  }
}

static void start_mqtt(void) {
  static char will[128];
  snprintf(will, sizeof will, DS_STATUS, "offline", (unsigned long)publisher.batch.boot);
  const esp_mqtt_client_config_t config = {
      .broker = {.address = {.hostname = DS_HOST, .port = DS_PORT, .transport = MQTT_TRANSPORT_OVER_SSL},
                 .verification = {.certificate = DS_CA}},
      .credentials = {.username = DS_USER, .client_id = DS_DEVICE, .authentication = {.password = DS_PASSWORD}},
      .session = {.last_will = {.topic = DS_TOPIC_STATUS, .msg = will, .qos = 1, .retain = 1}},
      .outbox = {.limit = 16 * 1024},
  };
  client = esp_mqtt_client_init(&config);
  ESP_ERROR_CHECK(esp_mqtt_client_register_event(client, ESP_EVENT_ANY_ID, on_mqtt, NULL));
  ESP_ERROR_CHECK(esp_mqtt_client_start(client));
}

void app_main(void) {
  const esp_partition_t *found = esp_partition_find_first(ESP_PARTITION_TYPE_DATA, 0x40, "ring");
  const ds_flash flash = {erase, write_flash, read_flash, (void *)found, 4096, found ? found->size / 4096 : 0};
  if (!found || !ds_ring_mount(&ring, &flash, DS_DROP_OLDEST)) abort();
  publisher.batch.boot = ring.next_id;
  ds_publisher_init(&publisher, &ring);
  events = xQueueCreate(32, sizeof(news));
  wifi_start();
  start_mqtt();
  for (;;) {
    int16_t counts[DS_CHANNELS];
    news said;
    if (!imu_read(counts)) ds_publisher_gap(&publisher);
    ds_publisher_sample(&publisher, counts, (uint64_t)esp_timer_get_time());
    while (xQueueReceive(events, &said, 0)) hear(&said);
    ds_publisher_step(&publisher, publish, NULL);
  }
}
