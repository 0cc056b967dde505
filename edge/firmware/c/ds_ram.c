#include "ds_ram.h"

#include <string.h>

/* The context is the memory; the size of a sector stands in front of the first one, where no ring looks. */

static uint32_t sector_of(const uint8_t *memory) {
  uint32_t size;
  memcpy(&size, memory, sizeof size);
  return size;
}

static bool erase(void *context, uint32_t sector) {
  uint8_t *memory = context;
  const uint32_t size = sector_of(memory);
  memset(memory + DS_WORD + sector * size, 0xFF, size);
  return true;
}

static bool write(void *context, uint32_t address, const void *data, uint32_t size) {
  memcpy((uint8_t *)context + DS_WORD + address, data, size);
  return true;
}

static void read(void *context, uint32_t address, void *data, uint32_t size) {
  memcpy(data, (const uint8_t *)context + DS_WORD + address, size);
}

ds_flash ds_ram(uint8_t *memory, uint32_t sector_size, uint32_t sectors) {
  const ds_flash flash = {erase, write, read, memory, sector_size, sectors};
  memset(memory, 0xFF, DS_RAM_BYTES(sector_size, sectors));
  memcpy(memory, &sector_size, sizeof sector_size);
  return flash;
}
