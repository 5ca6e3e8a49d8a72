// One function for several kinds of CPU: the one that fits is chosen when the program starts.

#pragma once

#if defined(__x86_64__)
#define CSFLOWD_CLONES __attribute__((target_clones("avx512f", "avx2,fma", "default")))
#else
#define CSFLOWD_CLONES
#endif
