// A step of Adam in one pass over the memory, by all threads. Called from adam.rs alone, which declares the same.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "clones.hpp"

extern "C" {

// One tensor of parameters, each array of `length` values.
struct CsflowdVariable {
    float* value;
    const float* gradient;
    float *first, *second;
    // Follows the values; may be null.
    float* average;
    int64_t length;
};

struct CsflowdAdam {
    double cut, weight_decay, first, second, learning_rate, spread, epsilon, average;
};

}  // extern "C"

namespace {

constexpr int64_t CHUNK = 1 << 14;

struct Chunk {
    const CsflowdVariable* variable;
    int64_t start, length;
};

std::vector<Chunk> chunks(const CsflowdVariable* variables, int64_t count) {
    std::vector<Chunk> all;
    for (const auto* v = variables; v != variables + count; ++v) {
        for (int64_t start = 0; start < v->length; start += CHUNK) {
            all.push_back({v, start, std::min(CHUNK, v->length - start)});
        }
    }
    return all;
}

// The same numbers as floats.
struct Numbers {
    float cut, weight_decay, first, second, learning_rate, spread, epsilon, average;

    explicit Numbers(const CsflowdAdam& n)
        : cut(n.cut), weight_decay(n.weight_decay), first(n.first), second(n.second), learning_rate(n.learning_rate),
          spread(n.spread), epsilon(n.epsilon), average(n.average) {}
};

CSFLOWD_CLONES void move(const Numbers& n, float* __restrict value, const float* __restrict gradient,
                         float* __restrict first, float* __restrict second, int64_t length) {
    for (int64_t i = 0; i < length; ++i) {
        const float g = gradient[i] * n.cut + value[i] * n.weight_decay;
        first[i] += (g - first[i]) * n.first;
        second[i] += (g * g - second[i]) * n.second;
        value[i] -= n.learning_rate * first[i] / (std::sqrt(second[i]) * n.spread + n.epsilon);
    }
}

CSFLOWD_CLONES void follow(float share, const float* __restrict value, float* __restrict average, int64_t length) {
    for (int64_t i = 0; i < length; ++i) average[i] += (value[i] - average[i]) * share;
}

CSFLOWD_CLONES double squares(const float* __restrict values, int64_t length) {
    // Sixteen sums, which go into one register.
    float sums[16] = {};
    int64_t i = 0;
    for (; i + 16 <= length; i += 16) {
        for (int k = 0; k < 16; ++k) sums[k] += values[i + k] * values[i + k];
    }
    double sum = 0.0;
    for (; i < length; ++i) sum += values[i] * values[i];
    for (const float one : sums) sum += one;
    return sum;
}

}  // namespace

extern "C" {

// The sum of the squares of all gradients.
double csflowd_squares(const CsflowdVariable* variables, int64_t count) {
    const auto all = chunks(variables, count);
    const auto size = static_cast<int64_t>(all.size());
    // Added up in their order, whoever found them.
    std::vector<double> sums(all.size());
#pragma omp parallel for schedule(static)
    for (int64_t c = 0; c < size; ++c) {
        sums[c] = squares(all[c].variable->gradient + all[c].start, all[c].length);
    }
    double sum = 0.0;
    for (const double one : sums) sum += one;
    return sum;
}

void csflowd_adam(const CsflowdAdam* numbers, const CsflowdVariable* variables, int64_t count) {
    const auto all = chunks(variables, count);
    const auto size = static_cast<int64_t>(all.size());
    const Numbers n(*numbers);
#pragma omp parallel for schedule(static)
    for (int64_t c = 0; c < size; ++c) {
        const auto& v = *all[c].variable;
        const auto at = all[c].start;
        move(n, v.value + at, v.gradient + at, v.first + at, v.second + at, all[c].length);
        if (v.average) follow(n.average, v.value + at, v.average + at, all[c].length);
    }
}

}  // extern "C"
