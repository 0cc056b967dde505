/* From reset to main on a Cortex-M in QEMU; newlib's _start (rdimon) does the rest by semihosting. */
#include <stdint.h>

extern char __stack[];
extern void _start(void);

void reset(void)
{
#if defined(__ARM_FP)
    *(volatile uint32_t *)0xe000ed88u |= 0xfu << 20; /* the floating-point unit, for all */
    __asm volatile("dsb\n isb");
#endif
    _start();
    for (;;) {
    }
}

static void fault(void)
{
    for (;;) {
    }
}

typedef struct {
    char *stack;
    void (*handlers[15])(void);
} vector_table;

__attribute__((section(".vectors"), used)) static const vector_table vectors = {
    __stack, {reset, fault, fault, fault, fault, fault},
};
