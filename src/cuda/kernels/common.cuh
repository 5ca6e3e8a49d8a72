// What all kernels share, before the text of each.
//
// A kernel is a function of its arguments and of the place of one block in the grid. What the block's threads do between two
// waits stands in EACH_THREAD, and what outlives a wait is SHARED. So the same text is compiled twice: by NVRTC for the device
// that a network is loaded on, and by the C++ compiler for the CPU, where the threads take turns and tests hold the kernels to the
// plain network.
//
// ELEMENT says of what maps are made: 0 f32, 1 f16, 2 bf16. What is computed of them is in f32.

#ifdef __CUDACC_RTC__

#define FUNCTION __device__ __forceinline__
#define SHARED __shared__
#define EACH_THREAD(t) if (const int t = int(threadIdx.x); true)
#define WAIT __syncthreads()
#define UNROLLED _Pragma("unroll")
#define ROLLED _Pragma("unroll 1")
// So many loads are under way at a time.
#define BY_EIGHT _Pragma("unroll 8")

#else

#include <cmath>
#include <cstddef>
#include <cstring>

#define FUNCTION inline
#define SHARED static thread_local
#define EACH_THREAD(t) for (int t = 0; t < THREADS; ++t)
#define WAIT
#define UNROLLED
#define ROLLED
#define BY_EIGHT

#endif

// Each of so many items, one for a thread of the grid's first dimension.
#define EACH_ITEM(item, place, count) \
    EACH_THREAD(t) if (const int item = (place).x * THREADS + t; item < (count))

namespace {

// Of a block. kernels.rs launches so many.
constexpr int THREADS = 256;
// Threads side by side read what lies side by side.
constexpr int LANES = 32;
constexpr int WARPS = THREADS / LANES;

// Of a block in the grid, and how many there are in the first dimension.
struct Place {
    int x, y, z, blocks;
};

// Two numbers side by side.
struct alignas(2 * sizeof(float)) Two {
    float of[2];
};

#if ELEMENT == 0

using Element = float;
FUNCTION float value(Element element) { return element; }
FUNCTION Element element(float value) { return value; }

#elif ELEMENT == 1 && defined(__CUDACC_RTC__)

using Element = unsigned short;
FUNCTION float value(Element element) {
    float value;
    asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(element));
    return value;
}
FUNCTION Element element(float value) {
    Element element;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(element) : "f"(value));
    return element;
}

#elif ELEMENT == 1

#ifdef __aarch64__
using Element = __fp16;
#else
using Element = _Float16;
#endif
FUNCTION float value(Element element) { return element; }
FUNCTION Element element(float value) { return static_cast<Element>(value); }

#else

using Element = unsigned short;
FUNCTION float value(Element element) {
    const unsigned bits = static_cast<unsigned>(element) << 16;
#ifdef __CUDACC_RTC__
    return __uint_as_float(bits);
#else
    float value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
#endif
}
FUNCTION Element element(float value) {
#ifdef __CUDACC_RTC__
    const unsigned bits = __float_as_uint(value);
#else
    unsigned bits;
    std::memcpy(&bits, &value, sizeof bits);
#endif
    // To the nearest, and of two to the even one. What is no number stays none.
    if ((bits & 0x7fffffffu) > 0x7f800000u) return 0x7fc0;
    return static_cast<Element>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

#endif

// So many elements side by side, read and written at once.
template <int N>
struct alignas(N * sizeof(Element)) Group {
    Element of[N];
};

// Two elements, which a device takes apart and puts together as one word.
#if ELEMENT == 1 && defined(__CUDACC_RTC__)

struct Pair {
    unsigned bits;
};
FUNCTION Two values(Pair pair) {
    Two two;
    asm("{ .reg .b16 low, high; mov.b32 {low, high}, %2; cvt.f32.f16 %0, low; cvt.f32.f16 %1, high; }"
        : "=f"(two.of[0]), "=f"(two.of[1])
        : "r"(pair.bits));
    return two;
}
FUNCTION Pair elements(Two two) {
    Pair pair;
#if __CUDA_ARCH__ >= 800
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(pair.bits) : "f"(two.of[1]), "f"(two.of[0]));
#else
    asm("{ .reg .b16 low, high; cvt.rn.f16.f32 low, %1; cvt.rn.f16.f32 high, %2; mov.b32 %0, {low, high}; }"
        : "=r"(pair.bits)
        : "f"(two.of[0]), "f"(two.of[1]));
#endif
    return pair;
}

#else

using Pair = Group<2>;
FUNCTION Two values(Pair pair) { return {{value(pair.of[0]), value(pair.of[1])}}; }
FUNCTION Pair elements(Two two) { return {{element(two.of[0]), element(two.of[1])}}; }

#endif

FUNCTION float sigmoid(float x) {
#if defined(__CUDACC_RTC__) && ELEMENT != 0
    // Within a few units in the last place of f32.
    float power, result;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(power) : "f"(x * -1.442695041f));
    asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(result) : "f"(1.0f + power));
    return result;
#else
    return 1.0f / (1.0f + expf(-x));
#endif
}

FUNCTION int smaller(int one, int other) { return one < other ? one : other; }

}  // namespace

// At the end of each text: its kernels, each as KERNEL(name, blocks, Arguments, function of Arguments and Place). So many blocks are
// to find room in a multiprocessor at a time.
#ifdef __CUDACC_RTC__

#define GLOBAL(name, blocks, Arguments, ...)                                                          \
    extern "C" __global__ void __launch_bounds__(THREADS, blocks) name(const Arguments arguments) {   \
        __VA_ARGS__(arguments, Place{int(blockIdx.x), int(blockIdx.y), int(blockIdx.z), int(gridDim.x)}); \
    }
#define EXPORT(room, KERNELS) KERNELS(GLOBAL)

#else

#define RUN(name, blocks, Arguments, ...)                                                    \
    if (std::strcmp(wanted, #name) == 0) {                                                   \
        for (int z = 0; z < of_z; ++z)                                                       \
            for (int y = 0; y < of_y; ++y)                                                   \
                for (int x = 0; x < of_x; ++x)                                               \
                    __VA_ARGS__(*static_cast<const Arguments*>(arguments), Place{x, y, z, of_x}); \
        return true;                                                                         \
    }
#define JOINED(one, other) csflowd_##one##_##other
#define NAMED(room, element) JOINED(room, element)
// Whether there is a kernel of this name.
#define EXPORT(room, KERNELS)                                                                                    \
    extern "C" bool NAMED(room, ELEMENT_NAME)(const char* wanted, int of_x, int of_y, int of_z, const void* arguments) { \
        KERNELS(RUN)                                                                                             \
        return false;                                                                                            \
    }

#endif
