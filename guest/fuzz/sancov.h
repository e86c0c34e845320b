/*
 * What code that a compiler has instrumented for coverage calls and uses; the
 * names are those of the compilers and of AFL++.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef SNAPSHOT_SANCOV_H
#define SNAPSHOT_SANCOV_H

#include <stdint.h>

#include "snapshot-cmplog.h"

/* trace-pc-guard, trace-pc, inline-8bit-counters; pc-table, stack-depth */
void __sanitizer_cov_trace_pc_guard_init(uint32_t *start, uint32_t *stop);
void __sanitizer_cov_trace_pc_guard(uint32_t *guard);
void __sanitizer_cov_trace_pc(void);
void __sanitizer_cov_8bit_counters_init(uint8_t *start, uint8_t *stop);
void __sanitizer_cov_pcs_init(const uintptr_t *start, const uintptr_t *stop);
extern __thread uintptr_t __sancov_lowest_stack;

/* trace-cmp, indirect-calls, trace-div, trace-gep */
void __sanitizer_cov_trace_cmp1(uint8_t a, uint8_t b);
void __sanitizer_cov_trace_cmp2(uint16_t a, uint16_t b);
void __sanitizer_cov_trace_cmp4(uint32_t a, uint32_t b);
void __sanitizer_cov_trace_cmp8(uint64_t a, uint64_t b);
void __sanitizer_cov_trace_const_cmp1(uint8_t a, uint8_t b);
void __sanitizer_cov_trace_const_cmp2(uint16_t a, uint16_t b);
void __sanitizer_cov_trace_const_cmp4(uint32_t a, uint32_t b);
void __sanitizer_cov_trace_const_cmp8(uint64_t a, uint64_t b);
void __sanitizer_cov_trace_switch(uint64_t value, uint64_t *cases);
void __sanitizer_cov_trace_cmpf(float a, float b);
void __sanitizer_cov_trace_cmpd(double a, double b);
void __sanitizer_cov_trace_pc_indir(uintptr_t callee);
void __sanitizer_cov_trace_div4(uint32_t value);
void __sanitizer_cov_trace_div8(uint64_t value);
void __sanitizer_cov_trace_gep(uintptr_t index);

/* afl-clang-fast */
extern uint8_t *__afl_area_ptr;

/* afl-clang-fast with AFL_LLVM_CMPLOG=1 */
extern void *__afl_cmp_map;
void __cmplog_ins_hook1(uint8_t a, uint8_t b, uint8_t attribute);
void __cmplog_ins_hook2(uint16_t a, uint16_t b, uint8_t attribute);
void __cmplog_ins_hook4(uint32_t a, uint32_t b, uint8_t attribute);
void __cmplog_ins_hook8(uint64_t a, uint64_t b, uint8_t attribute);
void __cmplog_ins_hook16(SnapInt a, SnapInt b, uint8_t attribute);
void __cmplog_ins_hookN(SnapInt a, SnapInt b, uint8_t attribute,
                        uint8_t bytes);
void __cmplog_rtn_hook(const uint8_t *a, const uint8_t *b);
void __cmplog_rtn_hook_n(const uint8_t *a, const uint8_t *b, uint64_t size);
void __cmplog_rtn_hook_str(const uint8_t *a, const uint8_t *b);
void __cmplog_rtn_hook_strn(const uint8_t *a, const uint8_t *b, uint64_t size);
void __cmplog_rtn_gcc_stdstring_cstring(const uint8_t *a, const uint8_t *b);
void __cmplog_rtn_gcc_stdstring_stdstring(const uint8_t *a, const uint8_t *b);
void __cmplog_rtn_llvm_stdstring_cstring(const uint8_t *a, const uint8_t *b);
void __cmplog_rtn_llvm_stdstring_stdstring(const uint8_t *a, const uint8_t *b);

#endif
