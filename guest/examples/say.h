/*
 * Printing, for programs that are rewound.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef EXAMPLES_SAY_H
#define EXAMPLES_SAY_H

#include <stdarg.h>
#include <stdio.h>
#include <termios.h>
#include <unistd.h>

/*
 * Print, and wait until the text has left the machine: what is still in a
 * buffer, of the program or of the kernel, is rewound with the rest.  (This
 * goes for terminals; what is in a pipe or a file stays in the guest.)
 */
__attribute__((format(printf, 1, 2)))
static inline void say(const char *format, ...)
{
    va_list ap;

    va_start(ap, format);
    vprintf(format, ap);
    va_end(ap);
    fflush(stdout);
    tcdrain(STDOUT_FILENO);
}

#endif
