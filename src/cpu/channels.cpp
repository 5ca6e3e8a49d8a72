// What an excitation does to a map beside its two small convolutions: means of channels, and channels that are multiplied. Called from
// channels.rs alone, which declares the same.

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

#include <omp.h>

#include "clones.hpp"

namespace {

// Below so many values threads cost more than they bring.
constexpr int64_t SPLIT_FROM = 1 << 16;

float number(uint16_t bf16) {
    const auto bits = static_cast<uint32_t>(bf16) << 16;
    float number;
    std::memcpy(&number, &bits, sizeof number);
    return number;
}

// To the nearest, and of two to the even one; what is no number stays none.
void store(float number, uint16_t& bf16) {
    uint32_t bits;
    std::memcpy(&bits, &number, sizeof bits);
    const auto rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
    bf16 = static_cast<uint16_t>(number != number ? 0x7fc0u : rounded);
}

void store(float number, float& f32) { f32 = number; }

CSFLOWD_CLONES void add(const uint16_t* __restrict x, float* __restrict sums, int64_t channels) {
    for (int64_t c = 0; c < channels; ++c) sums[c] += number(x[c]);
}

CSFLOWD_CLONES void add(const float* __restrict x, float* __restrict sums, int64_t channels) {
    for (int64_t c = 0; c < channels; ++c) sums[c] += x[c];
}

CSFLOWD_CLONES void multiply(uint16_t* __restrict x, const uint16_t* __restrict factors, int64_t channels) {
    for (int64_t c = 0; c < channels; ++c) store(number(x[c]) * number(factors[c]), x[c]);
}

CSFLOWD_CLONES void multiply(float* __restrict x, const float* __restrict factors, int64_t channels) {
    for (int64_t c = 0; c < channels; ++c) x[c] *= factors[c];
}

// Rows are added up by themselves, and the rows then: rounding grows with their number, not with that of the pixels.
template <class T>
void means(const T* x, int64_t rows, int64_t columns, int64_t channels, T* y) {
    const auto threads = rows * columns * channels >= SPLIT_FROM ? omp_get_max_threads() : 1;
    // Of each thread: the sums of its rows, and of the row that it is at.
    thread_local std::vector<float> memory;
    memory.assign(static_cast<size_t>(threads * 2 * channels), 0.0f);
    auto* sums = memory.data();
#pragma omp parallel num_threads(threads)
    {
        auto* own = sums + omp_get_thread_num() * 2 * channels;
        auto* row_sums = own + channels;
#pragma omp for schedule(static)
        for (int64_t row = 0; row < rows; ++row) {
            std::fill_n(row_sums, channels, 0.0f);
            for (int64_t column = 0; column < columns; ++column) add(x + (row * columns + column) * channels, row_sums, channels);
            add(row_sums, own, channels);
        }
    }
    for (int thread = 1; thread < threads; ++thread) add(sums + thread * 2 * channels, sums, channels);
    const auto share = 1.0f / static_cast<float>(rows * columns);
    for (int64_t c = 0; c < channels; ++c) store(sums[c] * share, y[c]);
}

template <class T>
void scale(T* x, int64_t pixels, int64_t channels, const T* factors) {
#pragma omp parallel for schedule(static) if (pixels * channels >= SPLIT_FROM)
    for (int64_t pixel = 0; pixel < pixels; ++pixel) multiply(x + pixel * channels, factors, channels);
}

}  // namespace

extern "C" {

// Of a map [H, W, C], bf16 or f32, to [C] of the same, by as many threads as the caller has.
void csflowd_channel_means(const void* x, bool is_bf16, int64_t rows, int64_t columns, int64_t channels, void* y) {
    if (is_bf16) {
        means(static_cast<const uint16_t*>(x), rows, columns, channels, static_cast<uint16_t*>(y));
    } else {
        means(static_cast<const float*>(x), rows, columns, channels, static_cast<float*>(y));
    }
}

// Multiplies each channel of a map [H, W, C] by its factor, [C], in place.
void csflowd_scale_channels(void* x, bool is_bf16, int64_t pixels, int64_t channels, const void* factors) {
    if (is_bf16) {
        scale(static_cast<uint16_t*>(x), pixels, channels, static_cast<const uint16_t*>(factors));
    } else {
        scale(static_cast<float*>(x), pixels, channels, static_cast<const float*>(factors));
    }
}

}  // extern "C"
