/*
 * Entry points of the payload: multiboot, exceptions, other CPUs, the probe.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "hw/misc/snapshot_regs.h"
#include "layout.h"

#define MULTIBOOT_MAGIC     0x1badb002
#define MULTIBOOT_MEMINFO   0x2

    .section .multiboot, "a"
    .balign 4
    .long MULTIBOOT_MAGIC
    .long MULTIBOOT_MEMINFO
    .long -(MULTIBOOT_MAGIC + MULTIBOOT_MEMINFO)

    .text
    .code32

/* Flat segments of our own: where the loader put its GDT is not known. */
    .macro LOAD_SEGMENTS
    movw    $SEG_DATA, %ax
    movw    %ax, %ds
    movw    %ax, %es
    movw    %ax, %fs
    movw    %ax, %gs
    movw    %ax, %ss
    .endm

    .globl  _start
_start:
    cli
    lgdtl   gdt_pointer
    ljmpl   $SEG_CODE, $1f
1:  movl    %eax, %edi
    LOAD_SEGMENTS
    movl    $boot_stack_top, %esp
    pushl   %ebx
    pushl   %edi
    call    payload_main
2:  hlt
    jmp     2b

    .section .rodata
    .balign 8
gdt:
    .quad   0
    .quad   0x00cf9a000000ffff      /* SEG_CODE: 32 bits, flat */
    .quad   0x00cf92000000ffff      /* SEG_DATA */
gdt_end:
gdt_pointer:
    .word   gdt_end - gdt - 1
    .long   gdt

/*
 * Where a started CPU begins: copied to AP_TRAMPOLINE, so it may refer to its
 * own data only by the address of the copy.
 */
    .globl  ap_trampoline, ap_trampoline_end
    .code16
ap_trampoline:
    cli
    xorw    %ax, %ax
    movw    %ax, %ds
    lgdtl   AP_TRAMPOLINE + ap_gdt_pointer - ap_trampoline
    movl    %cr0, %eax
    orl     $1, %eax
    movl    %eax, %cr0
    ljmpl   $SEG_CODE, $ap_start
    .balign 4
ap_gdt_pointer:
    .word   gdt_end - gdt - 1
    .long   gdt
ap_trampoline_end:

    .text
    .code32
ap_start:
    LOAD_SEGMENTS
    movl    $1, %eax
    lock xaddl %eax, ap_started     /* 0 for the first to arrive */
    movl    %eax, %ecx
    incl    %ecx
    shll    $STACK_SHIFT, %ecx
    leal    ap_stacks(%ecx), %esp
    pushl   %eax
    call    ap_main
3:  hlt
    jmp     3b

/*
 * Exceptions 0 to 31: push a zero where the CPU pushes no error code, then the
 * number, and report.
 */
#define HAS_ERROR_CODE(n) \
    ((n) == 8 || ((n) >= 10 && (n) <= 14) || (n) == 17 || (n) == 21)

    .globl  exception_stubs
    .balign EXCEPTION_STUB_SIZE
exception_stubs:
    .set    number, 0
    .rept   32
    .balign EXCEPTION_STUB_SIZE
    .if     !HAS_ERROR_CODE(number)
    pushl   $0
    .endif
    pushl   $number
    jmp     exception_common
    .set    number, number + 1
    .endr
exception_common:
    call    exception_report        /* number, error code, EIP: no return */

/*
 * The timer interrupt: counts.  It returns without IRET, which KVM has not in
 * its emulator, and some hosts have nothing else for 32-bit code.  STI takes
 * effect after the instruction that follows.
 */
    .globl  timer_interrupt
timer_interrupt:
    pushl   %eax
    incl    timer_ticks
    movb    $0x20, %al
    outb    %al, $0x20
    popl    %eax
    pushl   8(%esp)
    andl    $~FLAG_INTERRUPT, (%esp)
    popfl
    sti
    ret     $8

/*
 * void probe_save(SnapshotBar *bar, ProbeState *state)
 *
 * Save the machine with known values in the registers, such that the
 * instruction after the store counts in probe_counter, then store the
 * registers to @state: edi, esi, ebp, (esp), ebx, edx, ecx, eax, flags.
 */
    .globl  probe_save, probe_counter
probe_save:
    pushl   %ebx
    pushl   %esi
    pushl   %edi
    pushl   %ebp
    movl    20(%esp), %edx
    movl    $PROBE_EAX, %eax
    movl    $PROBE_EBX, %ebx
    movl    $PROBE_ECX, %ecx
    movl    $PROBE_ESI, %esi
    movl    $PROBE_EDI, %edi
    movl    $PROBE_EBP, %ebp
    std
    stc
    movl    $SNAPSHOT_CMD_SAVE, SNAPSHOT_REG_COMMAND(%edx)
    incl    probe_counter
    pushfl
    cld
    pushal
    movl    60(%esp), %edi          /* 36 pushed here, 24 by and for the call */
    movl    %esp, %esi
    movl    $9, %ecx
    rep movsl
    addl    $36, %esp
    popl    %ebp
    popl    %edi
    popl    %esi
    popl    %ebx
    ret

/*
 * uint32_t patched_save(SnapshotBar *bar)
 *
 * Save, then return the operand of the instruction that follows the store:
 * patched_operand is that operand, for the caller to overwrite.
 */
    .globl  patched_save, patched_operand
    .section .patched, "awx"
    .balign 4096
patched_save:
    movl    4(%esp), %edx
    movl    $SNAPSHOT_CMD_SAVE, SNAPSHOT_REG_COMMAND(%edx)
    .byte   0xb8                    /* movl $operand, %eax */
patched_operand:
    .long   PATCHED_ORIGINAL
    ret

/* uint32_t patched_call(void): the same without a save, in another page */
    .globl  patched_call, patched_call_operand
    .balign 4096
patched_call:
    .byte   0xb8
patched_call_operand:
    .long   PATCHED_ORIGINAL
    ret

    .bss
    .balign 4
probe_counter:
    .skip   4
    .balign 16
    .skip   4 << STACK_SHIFT
boot_stack_top:
ap_stacks:
    .skip   MAX_CPUS << STACK_SHIFT

    .section .note.GNU-stack, "", @progbits
