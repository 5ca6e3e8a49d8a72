// What a convolution says of a map that is enlarged twofold, from what each of its taps says of the map itself. Called from
// enlarged.rs alone, which declares the same and says why.

#include <algorithm>
#include <cstdint>
#include <vector>

#include "clones.hpp"

extern "C" {

// Of the map before it is enlarged, and of the convolution.
struct CsflowdEnlarged {
    int64_t height, width, channels, kernel;
};

}  // extern "C"

namespace {

// Below so many products threads cost more than they bring.
constexpr int64_t SPLIT_FROM = 1 << 20;

// The two pixels of a line that pixel `at` of the enlarged line lies between, and what each weighs. At its ends they are one.
struct Between {
    int64_t first, second;
    float of_first, of_second;

    Between(int64_t at, int64_t length) {
        const auto below = at / 2;
        if (at % 2 == 0) {
            *this = {std::max<int64_t>(below - 1, 0), below, 0.25f, 0.75f};
        } else {
            *this = {below, std::min(below + 1, length - 1), 0.75f, 0.25f};
        }
    }

   private:
    Between(int64_t first, int64_t second, float of_first, float of_second)
        : first(first), second(second), of_first(of_first), of_second(of_second) {}
};

CSFLOWD_CLONES void add(const float* __restrict first, float of_first, const float* __restrict second, float of_second,
                        float* __restrict sum, int64_t length) {
    for (int64_t i = 0; i < length; ++i) sum[i] += of_first * first[i] + of_second * second[i];
}

// One row of the enlarged map: first what the taps say from above and below, then from left and right.
void add_row(const CsflowdEnlarged& s, const float* taps, int64_t row, float* y, float* sums) {
    const auto reach = s.kernel / 2, one_row = s.kernel * s.channels, one_pixel = s.kernel * one_row;
    std::fill_n(sums, s.width * one_row, 0.0f);
    for (int64_t tap = 0; tap < s.kernel; ++tap) {
        const auto at = row + tap - reach;
        // Beyond its border the enlarged map is 0.
        if (at < 0 || at >= 2 * s.height) continue;
        const Between rows(at, s.height);
        for (int64_t column = 0; column < s.width; ++column) {
            const auto* first = taps + (rows.first * s.width + column) * one_pixel + tap * one_row;
            const auto* second = taps + (rows.second * s.width + column) * one_pixel + tap * one_row;
            add(first, rows.of_first, second, rows.of_second, sums + column * one_row, one_row);
        }
    }
    for (int64_t column = 0; column < 2 * s.width; ++column) {
        for (int64_t tap = 0; tap < s.kernel; ++tap) {
            const auto at = column + tap - reach;
            if (at < 0 || at >= 2 * s.width) continue;
            const Between columns(at, s.width);
            const auto* first = sums + columns.first * one_row + tap * s.channels;
            const auto* second = sums + columns.second * one_row + tap * s.channels;
            auto* sum = y + (row * 2 * s.width + column) * s.channels;
            add(first, columns.of_first, second, columns.of_second, sum, s.channels);
        }
    }
}

}  // namespace

extern "C" {

// Adds to `y`, [2 H, 2 W, C], from `taps`, [H, W, k, k, C], by as many threads as the caller has.
void csflowd_add_enlarged(const CsflowdEnlarged* shape, const float* taps, float* y) {
    const auto& s = *shape;
    const auto products = 2 * s.height * s.width * s.channels * s.kernel * s.kernel;
#pragma omp parallel if (products >= SPLIT_FROM)
    {
        thread_local std::vector<float> sums;
        sums.resize(static_cast<size_t>(s.width * s.kernel * s.channels));
#pragma omp for schedule(static)
        for (int64_t row = 0; row < 2 * s.height; ++row) add_row(s, taps, row, y, sums.data());
    }
}

}  // extern "C"
