/* The outbox of a microcontroller: batches in a ring of flash sectors (or RAM) until they are confirmed.
 *
 * C99, no allocation: the state is one struct of the caller's. What `ds_ring_put` has returned true for survives
 * a power cut at any moment; what was confirmed does not come again; what gives way is counted, and the count
 * survives, too. When the ring is full, the oldest sector gives way (DS_DROP_OLDEST), or nothing is taken
 * (DS_DROP_NEWEST).
 *
 * How: a sector begins with a header (its number, losses so far, a checksum) and ends with a trailer, which is
 * written before the next sector is erased and says how many batches that loses. The trailer has eight places,
 * so the count is exact unless eight power cuts in a row hit this one word. A batch is a record: header,
 * payload, checksum, and a word of its own that is programmed when it is confirmed. A record that a power cut
 * has torn fails its checksum and closes the sector. No word is ever programmed twice between two erases, so
 * flash with error correction over 8 bytes will do.
 */
#ifndef DS_RING_H
#define DS_RING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DS_WORD 8u            /* bytes that are programmed at once */
#define DS_SECTOR_HEADER 24u  /* at the beginning of a sector */
#define DS_SECTOR_TRAILER 64u /* at its end */
#define DS_RECORD_HEADER 16u  /* before each payload */

enum { DS_DROP_OLDEST = 0, DS_DROP_NEWEST = 1 };

/* Flash, or RAM that behaves like it: erased bytes are 0xFF, writes are whole aligned words. */
typedef struct {
  bool (*erase)(void *context, uint32_t sector);
  bool (*write)(void *context, uint32_t address, const void *data, uint32_t size);
  void (*read)(void *context, uint32_t address, void *data, uint32_t size);
  void *context;
  uint32_t sector_size; /* a multiple of DS_WORD, at least 256 */
  uint32_t sectors;     /* at least 2 */
} ds_flash;

typedef struct {
  ds_flash flash;
  uint8_t when_full;
  uint32_t sector;   /* where the next record goes */
  uint32_t offset;   /* and where in it; the sector's size if it takes no more */
  uint32_t number;   /* of that sector: counts sectors begun since the ring was formatted */
  uint32_t next_id;  /* of the next batch */
  uint32_t lost;     /* batches that gave way, over the ring's life */
  uint32_t refused;  /* batches that were not taken since the start (DS_DROP_NEWEST, too large, flash error) */
} ds_ring;

/* A batch in the ring. */
typedef struct {
  uint32_t id;      /* counts batches put, over the ring's life */
  uint32_t address; /* of its record */
  uint32_t size;    /* bytes of the payload */
} ds_entry;

/* Take up what is in the flash, or begin a new ring in one that holds none. False if the flash does not work. */
bool ds_ring_mount(ds_ring *ring, const ds_flash *flash, uint8_t when_full);

/* Largest payload. */
uint32_t ds_ring_most(const ds_ring *ring);

/* Keep a batch; true once it is in the flash. */
bool ds_ring_put(ds_ring *ring, const void *payload, uint32_t size);

/* The oldest batch that waits, or with `before` the next one behind that. */
bool ds_ring_next(const ds_ring *ring, const ds_entry *before, ds_entry *entry);

/* Copy a payload; `out` has room for entry->size bytes. */
void ds_ring_read(const ds_ring *ring, const ds_entry *entry, void *out);

/* The broker has confirmed a batch: it does not come again. */
bool ds_ring_confirm(ds_ring *ring, const ds_entry *entry);

/* Batches that wait. */
uint32_t ds_ring_waiting(const ds_ring *ring);

#endif
