#include "ds_ring.h"

#include <string.h>

/* Sector header (24): magic, number, next id, losses, 0, checksum of those. Trailer (8 words, of which
 * the first whole one counts): batches that are lost when the next sector is erased, 0, checksum of those and
 * the sector's number. Record (16, then payload): id, size, checksum of id, size and payload, 0; then the payload filled up to whole words; then one word that
 * is erased while the batch waits. */

#define MAGIC 0x31525344u /* "DSR1" */
#define ERASED 0xFFFFFFFFu

typedef struct {
  uint32_t magic, number, next_id, lost, zero, check;
} header;

typedef struct {
  uint32_t losses, check;
} trailer;

typedef struct {
  uint32_t id, size, check, zero;
} record;

/* CRC-32 (IEEE 802.3), four bits at a time: sixteen words of table. */
static uint32_t crc32(uint32_t crc, const uint8_t *data, size_t size) {
  static const uint32_t table[16] = {
      0x00000000u, 0x1DB71064u, 0x3B6E20C8u, 0x26D930ACu, 0x76DC4190u, 0x6B6B51F4u, 0x4DB26158u, 0x5005713Cu,
      0xEDB88320u, 0xF00F9344u, 0xD6D6A3E8u, 0xCB61B38Cu, 0x9B64C2B0u, 0x86D3D2D4u, 0xA00AE278u, 0xBDBDF21Cu};
  crc = ~crc;
  while (size--) {
    crc ^= *data++;
    crc = (crc >> 4) ^ table[crc & 15u];
    crc = (crc >> 4) ^ table[crc & 15u];
  }
  return ~crc;
}

static uint32_t words_of(uint32_t size) { return (size + DS_WORD - 1u) / DS_WORD * DS_WORD; }

static uint32_t base_of(const ds_ring *ring, uint32_t sector) { return sector * ring->flash.sector_size; }

static uint32_t end_of(const ds_ring *ring) { return ring->flash.sector_size - DS_SECTOR_TRAILER; }

static void flash_read(const ds_ring *ring, uint32_t address, void *data, uint32_t size) {
  ring->flash.read(ring->flash.context, address, data, size);
}

static bool flash_write(ds_ring *ring, uint32_t address, const void *data, uint32_t size) {
  return ring->flash.write(ring->flash.context, address, data, size);
}

static bool read_header(const ds_ring *ring, uint32_t sector, header *found) {
  flash_read(ring, base_of(ring, sector), found, sizeof *found);
  return found->magic == MAGIC && found->check == crc32(0, (const uint8_t *)found, 20);
}


static bool is_erased(const ds_ring *ring, uint32_t address, uint32_t size) {
  uint8_t piece[32];
  while (size) {
    const uint32_t n = size < sizeof piece ? size : (uint32_t)sizeof piece;
    flash_read(ring, address, piece, n);
    for (uint32_t i = 0; i < n; i++) {
      if (piece[i] != 0xFF) return false;
    }
    address += n;
    size -= n;
  }
  return true;
}

static uint32_t trailer_check(const ds_ring *ring, uint32_t losses) {
  const uint32_t facts[2] = {losses, ring->number};
  return crc32(0, (const uint8_t *)facts, sizeof facts);
}

/* The trailer of the newest sector; its first erased place in `place`, 0 if there is none. */
static bool read_trailer(const ds_ring *ring, trailer *found, uint32_t *place) {
  *place = 0;
  for (uint32_t at = end_of(ring); at < ring->flash.sector_size; at += DS_WORD) {
    const uint32_t address = base_of(ring, ring->sector) + at;
    flash_read(ring, address, found, sizeof *found);
    if (found->check == trailer_check(ring, found->losses)) return true;
    if (*place == 0 && is_erased(ring, address, DS_WORD)) *place = address;
  }
  return false;
}

/* A whole record at an offset of a sector; its end in `next`. */
static bool read_record(const ds_ring *ring, uint32_t sector, uint32_t offset, record *found, uint32_t *next) {
  const uint32_t end = end_of(ring);
  if (offset > end || end - offset < DS_RECORD_HEADER + DS_WORD) return false;
  const uint32_t address = base_of(ring, sector) + offset;
  flash_read(ring, address, found, sizeof *found);
  if (found->zero != 0 || found->size == 0 || found->size > end - offset - DS_RECORD_HEADER - DS_WORD) return false;
  const uint32_t room = words_of(found->size);
  if (DS_RECORD_HEADER + room + DS_WORD > end - offset) return false;
  uint32_t check = crc32(0, (const uint8_t *)found, 8);
  uint8_t piece[64];
  for (uint32_t at = 0; at < found->size;) {
    const uint32_t left = found->size - at;
    const uint32_t n = left < sizeof piece ? left : (uint32_t)sizeof piece;
    flash_read(ring, address + DS_RECORD_HEADER + at, piece, n);
    check = crc32(check, piece, n);
    at += n;
  }
  *next = offset + DS_RECORD_HEADER + room + DS_WORD;
  return check == found->check;
}

/* A torn confirmation counts: the broker had the batch before it was begun. */
static bool is_confirmed(const ds_ring *ring, uint32_t sector, uint32_t next) {
  return !is_erased(ring, base_of(ring, sector) + next - DS_WORD, DS_WORD);
}

static uint32_t waiting_in(const ds_ring *ring, uint32_t sector) {
  header head;
  if (!read_header(ring, sector, &head)) return 0;
  uint32_t count = 0, offset = DS_SECTOR_HEADER, next;
  record found;
  for (; read_record(ring, sector, offset, &found, &next); offset = next) {
    count += !is_confirmed(ring, sector, next);
  }
  return count;
}

static bool begin_sector(ds_ring *ring, uint32_t sector, uint32_t number, uint32_t next_id, uint32_t lost) {
  if (!ring->flash.erase(ring->flash.context, sector)) return false;
  header head = {MAGIC, number, next_id, lost, 0, 0};
  head.check = crc32(0, (const uint8_t *)&head, 20);
  if (!flash_write(ring, base_of(ring, sector), &head, sizeof head)) return false;
  ring->sector = sector;
  ring->offset = DS_SECTOR_HEADER;
  ring->number = number;
  ring->next_id = next_id;
  ring->lost = lost;
  return true;
}

/* Go on in the next sector; what waits there is the oldest, and is lost. */
static bool turn(ds_ring *ring) {
  const uint32_t next = (ring->sector + 1u) % ring->flash.sectors;
  const uint32_t losses = waiting_in(ring, next);
  trailer tail;
  uint32_t place;
  if (!read_trailer(ring, &tail, &place)) {
    if (losses && ring->when_full == DS_DROP_NEWEST) return false;
    tail.losses = losses;
    tail.check = trailer_check(ring, losses);
    if (place && !flash_write(ring, place, &tail, sizeof tail)) return false;
  }
  ring->offset = ring->flash.sector_size;
  return begin_sector(ring, next, ring->number + 1u, ring->next_id, ring->lost + tail.losses);
}

bool ds_ring_mount(ds_ring *ring, const ds_flash *flash, uint8_t when_full) {
  memset(ring, 0, sizeof *ring);
  ring->flash = *flash;
  ring->when_full = when_full;
  header head, newest = {0, 0, 0, 0, 0, 0};
  bool found = false;
  for (uint32_t sector = 0; sector < flash->sectors; sector++) {
    if (!read_header(ring, sector, &head)) continue;
    if (!found || (int32_t)(head.number - newest.number) > 0) {
      newest = head;
      ring->sector = sector;
      found = true;
    }
  }
  if (!found) return begin_sector(ring, 0, 1, 1, 0);
  ring->number = newest.number;
  ring->next_id = newest.next_id;
  ring->lost = newest.lost;
  record last;
  uint32_t offset = DS_SECTOR_HEADER, next;
  for (; read_record(ring, ring->sector, offset, &last, &next); offset = next) ring->next_id = last.id + 1u;
  trailer tail;
  uint32_t place;
  if (read_trailer(ring, &tail, &place)) {
    /* The power went while the next sector was begun: begin it again, with the losses that were written down. */
    return turn(ring);
  }
  ring->offset = is_erased(ring, base_of(ring, ring->sector) + offset, flash->sector_size - offset)
                     ? offset
                     : flash->sector_size; /* torn */
  return true;
}

uint32_t ds_ring_most(const ds_ring *ring) {
  return end_of(ring) - DS_SECTOR_HEADER - DS_RECORD_HEADER - DS_WORD;
}

/* Payload in whole words, the last one filled with zeros. */
static bool write_payload(ds_ring *ring, uint32_t address, const uint8_t *payload, uint32_t size) {
  const uint32_t whole = size / DS_WORD * DS_WORD;
  if (whole && !flash_write(ring, address, payload, whole)) return false;
  if (whole == size) return true;
  uint8_t last[DS_WORD] = {0};
  memcpy(last, payload + whole, size - whole);
  return flash_write(ring, address + whole, last, DS_WORD);
}

bool ds_ring_put(ds_ring *ring, const void *payload, uint32_t size) {
  if (size == 0 || size > ds_ring_most(ring)) {
    ring->refused++;
    return false;
  }
  const uint32_t room = DS_RECORD_HEADER + words_of(size) + DS_WORD, end = end_of(ring);
  if ((ring->offset > end || end - ring->offset < room) && !turn(ring)) {
    ring->refused++;
    return false;
  }
  record head = {ring->next_id, size, 0, 0};
  head.check = crc32(crc32(0, (const uint8_t *)&head, 8), payload, size);
  const uint32_t address = base_of(ring, ring->sector) + ring->offset;
  if (!flash_write(ring, address, &head, sizeof head) ||
      !write_payload(ring, address + DS_RECORD_HEADER, payload, size)) {
    ring->offset = ring->flash.sector_size; /* nothing goes behind a record that is not whole */
    ring->refused++;
    return false;
  }
  ring->offset += room;
  ring->next_id++;
  return true;
}

bool ds_ring_next(const ds_ring *ring, const ds_entry *before, ds_entry *entry) {
  uint32_t first = (ring->sector + 1u) % ring->flash.sectors; /* the oldest is behind the newest */
  uint32_t start = DS_SECTOR_HEADER, next;
  record found;
  if (before) {
    const uint32_t sector = before->address / ring->flash.sector_size;
    if (read_record(ring, sector, before->address % ring->flash.sector_size, &found, &next) &&
        found.id == before->id) {
      first = sector;
      start = next;
    } /* else it has given way, and so has all before it */
  }
  for (uint32_t sector = first;; sector = (sector + 1u) % ring->flash.sectors, start = DS_SECTOR_HEADER) {
    header head;
    if (read_header(ring, sector, &head)) {
      for (uint32_t offset = start; read_record(ring, sector, offset, &found, &next); offset = next) {
        if (is_confirmed(ring, sector, next) || (before && (int32_t)(found.id - before->id) <= 0)) continue;
        entry->id = found.id;
        entry->address = base_of(ring, sector) + offset;
        entry->size = found.size;
        return true;
      }
    }
    if (sector == ring->sector) return false;
  }
}

void ds_ring_read(const ds_ring *ring, const ds_entry *entry, void *out) {
  flash_read(ring, entry->address + DS_RECORD_HEADER, out, entry->size);
}

bool ds_ring_confirm(ds_ring *ring, const ds_entry *entry) {
  record found;
  const uint32_t sector = entry->address / ring->flash.sector_size;
  uint32_t next;
  if (!read_record(ring, sector, entry->address % ring->flash.sector_size, &found, &next)) return true;
  if (found.id != entry->id || is_confirmed(ring, sector, next)) return true; /* it has given way meanwhile */
  static const uint8_t confirmed[DS_WORD] = {0};
  return flash_write(ring, base_of(ring, sector) + next - DS_WORD, confirmed, DS_WORD);
}

uint32_t ds_ring_waiting(const ds_ring *ring) {
  uint32_t count = 0;
  for (uint32_t sector = 0; sector < ring->flash.sectors; sector++) count += waiting_in(ring, sector);
  return count;
}
