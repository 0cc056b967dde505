// Arduino: 256dpi/arduino-mqtt with QoS 1 ("MQTT" by Joel Gaehwiler in the library manager), the ring in RAM. The
// sketch's folder also holds ds_device.h, meta.h and the core's ds_*.h and ds_*.c. PubSubClient will not do: it
// publishes with QoS 0 alone.
#include <MQTT.h>
#include <WiFi.h>
#include <WiFiClientSecure.h>

extern "C" {
#include "ds_publisher.h"
#include "ds_ram.h"
}
#include "ds_device.h"
#include "meta.h"

bool imu_read(int16_t *counts);  // the sensor's: true if it has a sample, DS_CHANNELS counts

static const uint32_t SECTOR = 4096, SECTORS = 16;  // 16 * 11 batches of 324 bytes: a minute and a half
static uint8_t memory[DS_RAM_BYTES(SECTOR, SECTORS)];
static int16_t samples[DS_ROWS * DS_CHANNELS];
static uint8_t payload[DS_PACKED_HEADER + sizeof samples];
static ds_ring ring;
static ds_publisher publisher;
static WiFiClientSecure net;
static MQTTClient mqtt(128, 512);
static uint32_t dial_at, delay_ms;

static void status(char *text, size_t room, const char *state) {
  snprintf(text, room, DS_STATUS, state, (unsigned long)publisher.batch.boot);
}

// This library waits for the confirmation: what it returns true for is confirmed. One each time, so that the
// sensor is heard in between.
static uint16_t publish(void *first, const void *data, uint32_t size) {
  if (!*(bool *)first) return 0;
  *(bool *)first = false;
  return mqtt.publish(DS_TOPIC_RAW, (const char *)data, (int)size, false, 1) ? 1 : 0;
}

static void dial() {
  char text[128];
  status(text, sizeof text, "offline");
  mqtt.setWill(DS_TOPIC_STATUS, text, true, 1);
  if (WiFi.status() != WL_CONNECTED || !mqtt.connect(DS_DEVICE, DS_USER, DS_PASSWORD)) return;
  status(text, sizeof text, "online");
  if (mqtt.publish(DS_TOPIC_META, DS_META, true, 1) && mqtt.publish(DS_TOPIC_STATUS, text, true, 1)) {
    ds_session_up(&publisher.session);
    delay_ms = 0;
  }
}

void setup() {
  WiFi.begin("your network", "its password");
  configTime(0, 0, "pool.ntp.org");  // TLS compares dates
  net.setCACert(DS_CA);
  mqtt.begin(DS_HOST, DS_PORT, net);
  const ds_flash flash = ds_ram(memory, SECTOR, SECTORS);
  ds_ring_mount(&ring, &flash, DS_DROP_OLDEST);
  publisher.batch.boot = esp_random();  // RAM remembers no boots
  publisher.batch.fs = DS_FS;
  publisher.batch.channels = DS_CHANNELS;
  publisher.samples = samples;
  publisher.rows = DS_ROWS;
  publisher.payload = payload;
  publisher.room = sizeof payload;
  ds_publisher_init(&publisher, &ring);
}

void loop() {
  int16_t counts[DS_CHANNELS];
  while (imu_read(counts)) ds_publisher_sample(&publisher, counts, (uint64_t)esp_timer_get_time());
  if (mqtt.connected()) {
    mqtt.loop();
    bool first = true;
    ds_publisher_step(&publisher, publish, &first);
    ds_session_acked(&publisher.session, 1);
    return;
  }
  ds_session_down(&publisher.session);
  if ((int32_t)(millis() - dial_at) < 0) return;
  delay_ms = delay_ms ? min(2 * delay_ms, (uint32_t)30000) : 500;
  dial_at = millis() + random(delay_ms / 2, delay_ms);  // a fleet must not come back in step
  dial();
}
