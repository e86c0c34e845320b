/*
 * Text out and the way to stop.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <stdarg.h>

#include "payload.h"

#define DEBUGCON        0xe9        /* reads as itself where it exists */
#define COM1            0x3f8
#define COM_LSR         (COM1 + 5)
#define LSR_THRE        0x20        /* room for a character */
#define LSR_TEMT        0x40        /* everything sent */
#define DEBUG_EXIT      0xf4

static bool debugcon;

static void put_char(char c)
{
    if (debugcon) {
        outb(DEBUGCON, c);
        return;
    }
    while (!(inb(COM_LSR) & LSR_THRE)) {
        relax();
    }
    outb(COM1, c);
}

static void put_number(uint32_t value, uint32_t base, unsigned int digits)
{
    char text[10];
    unsigned int n = 0;

    do {
        text[n++] = "0123456789abcdef"[value % base];
        value /= base;
    } while (value || n < digits);
    while (n) {
        put_char(text[--n]);
    }
}

static void put_string(const char *text)
{
    while (*text) {
        put_char(*text++);
    }
}

void console_init(void)
{
    debugcon = inb(DEBUGCON) == DEBUGCON;
}

void print(const char *format, ...)
{
    va_list ap;

    va_start(ap, format);
    for (; *format; format++) {
        if (*format != '%') {
            put_char(*format);
            continue;
        }
        switch (*++format) {
        case 's':
            put_string(va_arg(ap, const char *));
            break;
        case 'u':
            put_number(va_arg(ap, uint32_t), 10, 1);
            break;
        case 'x':
            put_number(va_arg(ap, uint32_t), 16, 8);
            break;
        default:
            put_char(*format);
        }
    }
    va_end(ap);
}

void finish(uint8_t status)
{
    if (!debugcon) {
        while (!(inb(COM_LSR) & LSR_TEMT)) {
            relax();
        }
    }
    outb(DEBUG_EXIT, status);
    for (;;) {
        asm volatile("cli; hlt");
    }
}
