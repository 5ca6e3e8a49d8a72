// A picture of bytes made smaller or larger, each dimension by sums of 16-bit weights, rows first. Called from resize.rs alone, which
// declares the same and says whose result this is.
//
// Sixteen rows are taken at a time and turned, so that a weight meets the same pixel of all of them in one instruction.

#include <algorithm>
#include <cstdint>
#include <vector>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "clones.hpp"

extern "C" {

// What each output along one dimension is made of: `count` pixels from `first` on, and `most` weights, of 16 bits, of which the
// others are 0.
struct CsflowdTaps {
    const int32_t *first, *count;
    const int32_t* weights;
    int64_t outputs, most;
    // Bits of the weights behind the point.
    int32_t precision;
};

}  // extern "C"

namespace {

constexpr int64_t ROWS = 16;

// [16, 16] bytes, each row `from` and `to` apart.
void turn_tile(const uint8_t* in, int64_t from, uint8_t* out, int64_t to) {
#if defined(__x86_64__)
    __m128i a[ROWS], b[ROWS];
    for (int64_t i = 0; i < ROWS; ++i) a[i] = _mm_loadu_si128(reinterpret_cast<const __m128i*>(in + i * from));
    // Four times rows i and i + 8 are interleaved: a byte at (row, column) ends at (column, row).
    for (int step = 0; step < 4; ++step) {
        for (int64_t i = 0; i < ROWS / 2; ++i) {
            b[2 * i] = _mm_unpacklo_epi8(a[i], a[i + ROWS / 2]);
            b[2 * i + 1] = _mm_unpackhi_epi8(a[i], a[i + ROWS / 2]);
        }
        std::copy_n(b, ROWS, a);
    }
    for (int64_t i = 0; i < ROWS; ++i) _mm_storeu_si128(reinterpret_cast<__m128i*>(out + i * to), a[i]);
#else
    for (int64_t row = 0; row < ROWS; ++row) {
        for (int64_t column = 0; column < ROWS; ++column) out[column * to + row] = in[row * from + column];
    }
#endif
}

// 16 rows of `length` bytes, `apart` from one another, to [length, 16].
void turn(const uint8_t* in, int64_t apart, int64_t length, uint8_t* out) {
    int64_t column = 0;
    for (; column + ROWS <= length; column += ROWS) turn_tile(in + column, apart, out + column * ROWS, ROWS);
    for (; column < length; ++column) {
        for (int64_t row = 0; row < ROWS; ++row) out[column * ROWS + row] = in[row * apart + column];
    }
}

// [length, 16] back to 16 rows.
void turn_back(const uint8_t* in, int64_t length, uint8_t* out, int64_t apart) {
    int64_t column = 0;
    for (; column + ROWS <= length; column += ROWS) turn_tile(in + column * ROWS, ROWS, out + column, apart);
    for (; column < length; ++column) {
        for (int64_t row = 0; row < ROWS; ++row) out[row * apart + column] = in[column * ROWS + row];
    }
}

inline uint8_t rounded(int32_t sum, int32_t precision) {
    return static_cast<uint8_t>(std::min(std::max(sum >> precision, 0), 255));
}

// Along the rows, of 16 that are turned: [W, C, 16] to [outputs, C, 16].
void along_plainly(const CsflowdTaps& taps, int64_t channels, const uint8_t* in, uint8_t* out) {
    for (int64_t output = 0; output < taps.outputs; ++output) {
        const auto* weights = taps.weights + output * taps.most;
        for (int64_t channel = 0; channel < channels; ++channel) {
            int32_t sums[ROWS];
            std::fill_n(sums, ROWS, 1 << (taps.precision - 1));
            const auto* pixel = in + (taps.first[output] * channels + channel) * ROWS;
            for (int32_t k = 0; k < taps.count[output]; ++k, pixel += channels * ROWS) {
                for (int64_t row = 0; row < ROWS; ++row) sums[row] += weights[k] * pixel[row];
            }
            for (int64_t row = 0; row < ROWS; ++row) *out++ = rounded(sums[row], taps.precision);
        }
    }
}

#if defined(__x86_64__)
// The same. Two pixels and their weights are multiplied and added in one instruction: weights have 16 bits.
__attribute__((target("avx2"))) void along_by_avx2(const CsflowdTaps& taps, int64_t channels, const uint8_t* in,
                                                   uint8_t* out) {
    const auto shift = _mm_cvtsi32_si128(taps.precision);
    const auto step = channels * ROWS;
    for (int64_t output = 0; output < taps.outputs; ++output) {
        const auto* weights = taps.weights + output * taps.most;
        const auto count = taps.count[output];
        for (int64_t channel = 0; channel < channels; ++channel) {
            auto upper = _mm256_set1_epi32(1 << (taps.precision - 1)), lower = upper;
            const auto* pixel = in + taps.first[output] * step + channel * ROWS;
            for (int32_t k = 0; k < count; k += 2, pixel += 2 * step) {
                const auto has_two = k + 1 < count;
                const auto first = _mm_loadu_si128(reinterpret_cast<const __m128i*>(pixel));
                const auto second =
                    has_two ? _mm_loadu_si128(reinterpret_cast<const __m128i*>(pixel + step)) : _mm_setzero_si128();
                const auto both = _mm256_set1_epi32(weights[k] | (has_two ? weights[k + 1] << 16 : 0));
                const auto one = _mm256_cvtepu8_epi16(_mm_unpacklo_epi8(first, second));
                const auto other = _mm256_cvtepu8_epi16(_mm_unpackhi_epi8(first, second));
                upper = _mm256_add_epi32(upper, _mm256_madd_epi16(one, both));
                lower = _mm256_add_epi32(lower, _mm256_madd_epi16(other, both));
            }
            // Halves of lanes are put back into their order on the way to 16 and 8 bits, which also cuts.
            const auto words = _mm256_permute4x64_epi64(
                _mm256_packs_epi32(_mm256_sra_epi32(upper, shift), _mm256_sra_epi32(lower, shift)), 0b11011000);
            const auto bytes = _mm_packus_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
            _mm_storeu_si128(reinterpret_cast<__m128i*>(out), bytes);
            out += ROWS;
        }
    }
}
#endif

void along(const CsflowdTaps& taps, int64_t channels, const uint8_t* in, uint8_t* out) {
#if defined(__x86_64__)
    static const bool has_avx2 = __builtin_cpu_supports("avx2");
    if (has_avx2) return along_by_avx2(taps, channels, in, out);
#endif
    along_plainly(taps, channels, in, out);
}

// Down the columns, one row of `length` bytes.
CSFLOWD_CLONES void down(const CsflowdTaps& taps, int64_t output, int64_t length, const uint8_t* in, int32_t* sums,
                         uint8_t* out) {
    std::fill_n(sums, length, 1 << (taps.precision - 1));
    for (int32_t k = 0; k < taps.count[output]; ++k) {
        const auto weight = taps.weights[output * taps.most + k];
        const auto* row = in + (taps.first[output] + k) * length;
        for (int64_t i = 0; i < length; ++i) sums[i] += weight * row[i];
    }
    for (int64_t i = 0; i < length; ++i) out[i] = rounded(sums[i], taps.precision);
}

}  // namespace

extern "C" {

// `pixels` is [height, width, channels], at least 16 rows; `between` has room for [height, outputs, channels], and `out` is
// [outputs, outputs, channels]. By as many threads as the caller has.
void csflowd_resize(const CsflowdTaps* rows, const CsflowdTaps* columns, int64_t height, int64_t width, int64_t channels,
                    const uint8_t* pixels, uint8_t* between, uint8_t* out) {
    const auto in_row = width * channels, out_row = rows->outputs * channels;
    const auto blocks = (height + ROWS - 1) / ROWS;
#pragma omp parallel
    {
        thread_local std::vector<uint8_t> turned, summed, made;
        thread_local std::vector<int32_t> sums;
        turned.resize(static_cast<size_t>(in_row * ROWS));
        summed.resize(static_cast<size_t>(out_row * ROWS));
        made.resize(static_cast<size_t>(out_row * ROWS));
        sums.resize(static_cast<size_t>(out_row));
#pragma omp for schedule(static)
        for (int64_t block = 0; block < blocks; ++block) {
            // The last one begins earlier where rows are left over, and what the one before it has made is left to that.
            const auto row = std::min(block * ROWS, height - ROWS), known = block * ROWS - row;
            turn(pixels + row * in_row, in_row, in_row, turned.data());
            along(*rows, channels, turned.data(), summed.data());
            turn_back(summed.data(), out_row, made.data(), out_row);
            std::copy(made.begin() + known * out_row, made.end(), between + (row + known) * out_row);
        }
#pragma omp for schedule(static)
        for (int64_t output = 0; output < columns->outputs; ++output) {
            down(*columns, output, out_row, between, sums.data(), out + output * out_row);
        }
    }
}

}  // extern "C"
