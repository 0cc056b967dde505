/* RAM as the flash of a ring, for boards without flash to spare: a power cut takes what is in it. */
#ifndef DS_RAM_H
#define DS_RAM_H

#include "ds_ring.h"

/* Memory for so many sectors. */
#define DS_RAM_BYTES(sector_size, sectors) (DS_WORD + (size_t)(sector_size) * (sectors))

/* `memory` has DS_RAM_BYTES; what is in it is erased. */
ds_flash ds_ram(uint8_t *memory, uint32_t sector_size, uint32_t sectors);

#endif
