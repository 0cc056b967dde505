/* Power cuts at random moments: fuzz_ring CUTS SEED. Whatever was put and not confirmed comes back whole and in
 * order, or is counted as lost; what was confirmed does not come back. Ends with 0, or says what is wrong. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../ds_ring.h"

#define SECTOR 256u
#define SECTORS 4u
#define MOST 64u

static uint8_t memory[SECTOR * SECTORS];
static long budget; /* words and erases until the power goes */
static bool dead;
static uint64_t state;

static uint32_t random32(void) {
  state ^= state << 13;
  state ^= state >> 7;
  state ^= state << 17;
  return (uint32_t)(state >> 32);
}

static bool cut(void) { return budget-- <= 0 ? (dead = true) : false; }

static bool erase(void *context, uint32_t sector) {
  (void)context;
  if (dead) return false;
  uint8_t *at = memory + sector * SECTOR;
  if (cut()) { /* some words are erased, some not, one is anything */
    for (uint32_t i = 0; i < SECTOR; i += DS_WORD) {
      if (random32() & 1) memset(at + i, 0xFF, DS_WORD);
    }
    for (uint32_t i = 0, word = random32() % (SECTOR / DS_WORD) * DS_WORD; i < DS_WORD; i++) {
      at[word + i] |= (uint8_t)random32();
    }
    return false;
  }
  memset(at, 0xFF, SECTOR);
  return true;
}

static bool write(void *context, uint32_t address, const void *data, uint32_t size) {
  (void)context;
  const uint8_t *from = data;
  if (address % DS_WORD || size % DS_WORD || address + size > sizeof memory) abort();
  for (uint32_t i = 0; i < size; i += DS_WORD) {
    if (dead) return false;
    for (uint32_t k = 0; k < DS_WORD; k++) {
      if (memory[address + i + k] != 0xFF) {
        puts("a word is programmed twice");
        abort();
      }
    }
    const bool torn = cut();
    for (uint32_t k = 0; k < DS_WORD; k++) {
      memory[address + i + k] = torn ? (uint8_t)(from[i + k] | (uint8_t)random32()) : from[i + k];
    }
    if (torn) return false;
  }
  return true;
}

static void read(void *context, uint32_t address, void *data, uint32_t size) {
  (void)context;
  if (address + size > sizeof memory) abort();
  memcpy(data, memory + address, size);
}

/* What is known of the batches, by number. */
enum { ABSENT, WAITING, CONFIRMED, MAYBE_PUT, MAYBE_CONFIRMED };
static uint8_t known[1u << 16];
static uint32_t first, last; /* batches that may be in the ring: first ... last - 1 */

static uint32_t size_of(uint32_t n) { return 4u + n * 2654435761u % MOST; }

static void fill(uint32_t n, uint8_t *payload) {
  for (uint32_t i = 0; i < size_of(n); i++) payload[i] = (uint8_t)(n >> (8 * (i % 4)));
}

static void fail(const char *what, uint32_t n, unsigned long cuts) {
  printf("after %lu cuts: %s (batch %lu)\n", cuts, what, (unsigned long)n);
  exit(1);
}

/* Everything in the ring against what is known; returns the losses found. */
static uint32_t compare(const ds_ring *ring, unsigned long cuts, bool *doubtful) {
  ds_entry entry, before;
  uint8_t payload[MOST + 4], expected[MOST + 4];
  uint32_t lost = 0, n = first;
  bool more = ds_ring_next(ring, NULL, &entry);
  bool any = false;
  *doubtful = false;
  while (more) {
    if (entry.size > sizeof payload) fail("a batch has another size", n, cuts);
    ds_ring_read(ring, &entry, payload);
    uint32_t found = 0;
    for (uint32_t i = 0; i < 4; i++) found |= (uint32_t)payload[i] << (8 * i);
    if (found < n || found >= last) fail("a batch is out of order or unknown", found, cuts);
    fill(found, expected);
    if (entry.size != size_of(found) || memcmp(payload, expected, entry.size)) fail("a batch is damaged", found, cuts);
    for (; n < found; n++) {
      uint8_t *one = &known[n & 0xFFFF];
      if (*one == WAITING) {
        if (any) fail("a batch is missing between others", n, cuts);
        lost++;
      }
      if (*one == MAYBE_CONFIRMED) *doubtful = true;
      *one = *one == MAYBE_CONFIRMED ? CONFIRMED : *one == CONFIRMED ? CONFIRMED : ABSENT;
    }
    uint8_t *one = &known[found & 0xFFFF];
    if (*one == CONFIRMED) fail("a confirmed batch comes again", found, cuts);
    if (*one == ABSENT) fail("a lost batch comes again", found, cuts);
    *one = WAITING;
    any = true;
    n = found + 1;
    before = entry;
    more = ds_ring_next(ring, &before, &entry);
  }
  for (; n < last; n++) {
    uint8_t *one = &known[n & 0xFFFF];
    if (*one == WAITING) {
      if (any) fail("a batch is missing at the end", n, cuts);
      lost++;
    }
    if (*one == MAYBE_CONFIRMED) *doubtful = true;
    *one = *one == MAYBE_CONFIRMED ? CONFIRMED : *one == CONFIRMED ? CONFIRMED : ABSENT;
  }
  while (first < last && (known[first & 0xFFFF] == ABSENT || known[first & 0xFFFF] == CONFIRMED)) first++;
  return lost;
}

int main(int argc, char **argv) {
  if (argc != 3) return 2;
  const unsigned long rounds = strtoul(argv[1], NULL, 10);
  state = strtoull(argv[2], NULL, 10) * 2654435761u + 88172645463325252u;
  const uint8_t rule = (uint8_t)(state >> 20 & 1u);
  const ds_flash flash = {erase, write, read, NULL, SECTOR, SECTORS};
  ds_ring ring;
  uint8_t payload[MOST + 4];
  memset(memory, 0xFF, sizeof memory);
  budget = 1L << 30;
  if (!ds_ring_mount(&ring, &flash, rule)) return 1;
  uint32_t lost = 0;
  unsigned long puts_done = 0, confirms = 0, losses = 0;
  for (unsigned long cuts = 0; cuts < rounds; cuts++) {
    dead = false;
    budget = random32() % 60;
    while (!dead) {
      if (random32() % 5 < 3) {
        const uint32_t n = last;
        fill(n, payload);
        known[n & 0xFFFF] = MAYBE_PUT;
        last++;
        if (ds_ring_put(&ring, payload, size_of(n))) {
          known[n & 0xFFFF] = WAITING;
          puts_done++;
        } else if (!dead) {
          known[n & 0xFFFF] = ABSENT; /* full, and the newest give way */
          ds_entry one;
          if (rule == DS_DROP_OLDEST || !ds_ring_next(&ring, NULL, &one)) fail("an empty ring takes nothing", n, cuts);
        }
      } else {
        ds_entry entry, second;
        if (!ds_ring_next(&ring, NULL, &entry)) {
          if (random32() % 8 == 0) budget--;
          if (budget <= 0 && random32() % 2) dead = true;
          continue;
        }
        if (random32() % 4 == 0 && ds_ring_next(&ring, &entry, &second)) entry = second;
        uint32_t n = 0;
        ds_ring_read(&ring, &entry, payload);
        for (uint32_t i = 0; i < 4; i++) n |= (uint32_t)payload[i] << (8 * i);
        known[n & 0xFFFF] = MAYBE_CONFIRMED;
        if (ds_ring_confirm(&ring, &entry)) {
          known[n & 0xFFFF] = CONFIRMED;
          confirms++;
        }
      }
    }
    dead = false;
    /* Now and then the power goes again while the ring is taken up. */
    budget = random32() % 4 ? 1L << 30 : (long)(random32() % 6);
    while (!ds_ring_mount(&ring, &flash, rule)) {
      if (!dead) fail("the ring cannot be taken up", last, cuts);
      dead = false;
      budget = random32() % 4 ? 1L << 30 : (long)(random32() % 6);
    }
    bool doubtful;
    const uint32_t found = compare(&ring, cuts, &doubtful);
    const uint32_t said = ring.lost - lost;
    /* A confirmation that the cut has torn may be one, or the batch may have given way before. */
    if (said != found && !(doubtful && (said == found + 1))) {
      printf("after %lu cuts: %lu batches are lost, and the ring says %lu\n", cuts, (unsigned long)found,
             (unsigned long)said);
      return 1;
    }
    lost = ring.lost;
    losses += said;
    if (last - first > 0x8000u) fail("too many batches wait", first, cuts);
  }
  printf("%lu power cuts, %lu batches kept, %lu confirmed, %lu gave way and were counted, rule %u\n", rounds,
         puts_done, confirms, losses, rule);
  return 0;
}
