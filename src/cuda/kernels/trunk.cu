// What the backbone computes beside the products of its pointwise convolutions, which are the matrix library's. Maps are
// `[B, H, W, C]`, square, with an even number of channels; what is added and the sums are in f32.
//
// ACTIVATION is the backbone's. On the CPU the arguments say it.

namespace {

enum Activation { RELU6 = 1, SILU = 2 };

#ifdef ACTIVATION
#define ACTIVATION_OF(arguments) ACTIVATION
#else
#define ACTIVATION_OF(arguments) (arguments).activation
#endif

// What is no number stays none.
FUNCTION float activated(float x, int activation) {
    if (activation == SILU) return x * sigmoid(x);
    return x < 0.0f ? 0.0f : (x > 6.0f ? 6.0f : x);
}

// The first convolution: 3x3 with stride 2 of every `step`-th pixel in both directions.
struct Stem {
    // `[B, side, side, 3]`.
    const float* x;
    // `[B, out, out, channels]`.
    Element* y;
    // `[3, 3, 3, channels]` and `[channels]`.
    const float* weight;
    const float* bias;
    int side, step, out, pad, channels, activation, count;
};

FUNCTION void stem(const Stem& a, const Place& at) {
    // Outputs of a thread: pixels in a row, channels, and the inputs that a row of them takes.
    constexpr int COLUMNS = 4, WIDE = 8, INPUTS = 2 * COLUMNS + 1;
    EACH_ITEM(index, at, a.count) {
        const int groups = a.channels / WIDE, strips = (a.out + COLUMNS - 1) / COLUMNS;
        const int group = index % groups, strip = index / groups;
        const int left = strip % strips * COLUMNS, row = strip / strips;
        const int side = a.side / a.step;
        const float* picture = a.x + static_cast<size_t>(at.z) * a.side * a.side * 3;
        float sums[COLUMNS][WIDE];
        UNROLLED for (int j = 0; j < COLUMNS; ++j)
            UNROLLED for (int i = 0; i < WIDE; ++i) sums[j][i] = a.bias[group * WIDE + i];
        ROLLED for (int ky = 0; ky < 3; ++ky) {
            const int y = row * 2 - a.pad + ky;
            float inputs[INPUTS][3];
            UNROLLED for (int column = 0; column < INPUTS; ++column) {
                const int x = left * 2 - a.pad + column;
                const bool is_inside = y >= 0 && y < side && x >= 0 && x < side;
                const float* pixel = picture + (static_cast<size_t>(y) * a.side + x) * a.step * 3;
                UNROLLED for (int channel = 0; channel < 3; ++channel)
                    inputs[column][channel] = is_inside ? pixel[channel] : 0.0f;
            }
            UNROLLED for (int kx = 0; kx < 3; ++kx) {
                UNROLLED for (int channel = 0; channel < 3; ++channel) {
                    const float* weight = a.weight + ((ky * 3 + kx) * 3 + channel) * a.channels + group * WIDE;
                    UNROLLED for (int pair = 0; pair < WIDE / 2; ++pair) {
                        const Two two = reinterpret_cast<const Two*>(weight)[pair];
                        UNROLLED for (int j = 0; j < COLUMNS; ++j)
                            for (int half = 0; half < 2; ++half)
                                sums[j][2 * pair + half] += inputs[2 * j + kx][channel] * two.of[half];
                    }
                }
            }
        }
        Group<WIDE>* y = reinterpret_cast<Group<WIDE>*>(a.y) + (static_cast<size_t>(at.z) * a.out + row) * a.out * groups + group;
        UNROLLED for (int j = 0; j < COLUMNS; ++j) {
            Group<WIDE> pixel;
            UNROLLED for (int i = 0; i < WIDE; ++i) pixel.of[i] = element(activated(sums[j][i], ACTIVATION_OF(a)));
            if (left + j < a.out) y[static_cast<size_t>(left + j) * groups] = pixel;
        }
    }
}

// A convolution of each channel by itself, of what the block's first layer has made: its bias and, if it has one, its activation
// come first.
struct Depthwise {
    // `[B, side, side, channels]`.
    const Element* x;
    // `[B, out, out, channels]`.
    Element* y;
    // Null, or the sums of the outputs of each block of the grid, `[B, blocks, channels]`.
    float* sums;
    // `[channels]`, `[k, k, channels]`, `[channels]`.
    const float* before;
    const float* weight;
    const float* after;
    int side, out, pad, channels, is_activated, activation;
};

// Where the inputs of a tile begin in a map of so many pairs of channels, of which one is looked at.
struct Window {
    int top, left, side, pairs, pair;
};

// A thread's inputs, all under way before the first is waited for; bits say which are inside of the map.
template <int HEIGHT, int WIDTH, int COUNT, bool IS_WHOLE>
FUNCTION unsigned window(const Pair* x, const Window& at, int warp, Pair (&inputs)[COUNT]) {
    unsigned are_inside = 0;
    // A row is wider than there are warps.
    int row = 0, column = warp;
    int place = (at.top * at.side + at.left + warp) * at.pairs + at.pair;
    UNROLLED for (int n = 0; n < COUNT; ++n) {
        const bool is_there = (n + 1) * WARPS <= HEIGHT * WIDTH || warp + n * WARPS < HEIGHT * WIDTH;
        const bool is_inside = is_there && (IS_WHOLE || (static_cast<unsigned>(at.top + row) < static_cast<unsigned>(at.side) &&
                                                         static_cast<unsigned>(at.left + column) < static_cast<unsigned>(at.side)));
        are_inside |= static_cast<unsigned>(is_inside) << n;
        inputs[n] = is_inside ? x[place] : Pair{};
        column += WARPS;
        place += WARPS * at.pairs;
        if (column >= WIDTH) {
            column -= WIDTH;
            ++row;
            place += (at.side - WIDTH) * at.pairs;
        }
    }
    return are_inside;
}

template <bool IS_ACTIVATED, int COUNT>
FUNCTION void enter(Pair (&inputs)[COUNT], const Two& before, int activation) {
    UNROLLED for (int n = 0; n < COUNT; ++n) {
        Two input = values(inputs[n]);
        for (int half = 0; half < 2; ++half) {
            input.of[half] += before.of[half];
            if (IS_ACTIVATED) input.of[half] = activated(input.of[half], activation);
        }
        inputs[n] = elements(input);
    }
}

// One block of the grid takes 64 channels, and of their outputs one tile after another.
template <int K, int STRIDE>
FUNCTION void depthwise(const Depthwise& a, const Place& at) {
    // Outputs of a tile, as large as SHARED has room for its inputs, and of a thread in a row.
    constexpr int PASSES = STRIDE == 1 && sizeof(Element) == 2 ? 2 : 1;
    constexpr int ROWS = STRIDE == 1 ? 8 : 4, COLUMNS = STRIDE == 2 && K == 5 && sizeof(Element) == 4 ? 4 : 8;
    constexpr int OWN = ROWS * COLUMNS / WARPS;
    // Inputs of a tile, and of a thread.
    constexpr int HEIGHT = (PASSES * ROWS - 1) * STRIDE + K, WIDTH = (COLUMNS - 1) * STRIDE + K;
    constexpr int INPUTS = (HEIGHT * WIDTH + WARPS - 1) / WARPS;
    static_assert(INPUTS <= 32 && WIDTH >= WARPS, "window() counts on it");
    SHARED Pair tile[HEIGHT * WIDTH][LANES];
    SHARED float sums[WARPS][2 * LANES];
    const int pairs = a.channels / 2;
    const int across = (a.out + COLUMNS - 1) / COLUMNS, down = (a.out + PASSES * ROWS - 1) / (PASSES * ROWS);
    const Pair* x = reinterpret_cast<const Pair*>(a.x) + static_cast<size_t>(at.z) * a.side * a.side * pairs;
    Pair* y = reinterpret_cast<Pair*>(a.y) + static_cast<size_t>(at.z) * a.out * a.out * pairs;
    EACH_THREAD(t) {
        for (int half = 0; half < 2; ++half) sums[t / LANES][t % LANES * 2 + half] = 0.0f;
    }
    for (int index = at.x; index < down * across; index += at.blocks) {
        const int top = index / across * PASSES * ROWS, left = index % across * COLUMNS;
        EACH_THREAD(t) {
            const int lane = t % LANES, warp = t / LANES, pair = at.y * LANES + lane;
            if (pair < pairs) {
                const Window of = {top * STRIDE - a.pad, left * STRIDE - a.pad, a.side, pairs, pair};
                const bool is_whole =
                    of.top >= 0 && of.left >= 0 && of.top + HEIGHT <= a.side && of.left + WIDTH <= a.side;
                Pair inputs[INPUTS];
                const unsigned are_inside = is_whole ? window<HEIGHT, WIDTH, INPUTS, true>(x, of, warp, inputs)
                                                     : window<HEIGHT, WIDTH, INPUTS, false>(x, of, warp, inputs);
                const Two before = reinterpret_cast<const Two*>(a.before)[pair];
                if (a.is_activated) {
                    enter<true>(inputs, before, ACTIVATION_OF(a));
                } else {
                    enter<false>(inputs, before, ACTIVATION_OF(a));
                }
                UNROLLED for (int n = 0; n < INPUTS; ++n) {
                    // Outside there is nothing, whatever was added to it.
                    const Pair input = are_inside >> n & 1 ? inputs[n] : Pair{};
                    if ((n + 1) * WARPS <= HEIGHT * WIDTH || warp + n * WARPS < HEIGHT * WIDTH)
                        tile[warp + n * WARPS][lane] = input;
                }
            }
        }
        WAIT;
        EACH_THREAD(t) {
            const int lane = t % LANES, pair = at.y * LANES + lane, first = t / LANES * OWN % COLUMNS;
            ROLLED for (int pass = 0; pass < PASSES; ++pass) {
                const int row = pass * ROWS + t / LANES * OWN / COLUMNS;
                if (pair >= pairs || top + row >= a.out) break;
                const Two after = reinterpret_cast<const Two*>(a.after)[pair];
                float outputs[OWN][2];
                UNROLLED for (int j = 0; j < OWN; ++j)
                    for (int half = 0; half < 2; ++half) outputs[j][half] = after.of[half];
                UNROLLED for (int ky = 0; ky < K; ++ky) {
                    Two weight[K];
                    UNROLLED for (int kx = 0; kx < K; ++kx)
                        weight[kx] = reinterpret_cast<const Two*>(a.weight)[(ky * K + kx) * pairs + pair];
                    UNROLLED for (int column = 0; column < (OWN - 1) * STRIDE + K; ++column) {
                        const Two input = values(tile[(row * STRIDE + ky) * WIDTH + first * STRIDE + column][lane]);
                        UNROLLED for (int j = 0; j < OWN; ++j) {
                            const int kx = column - j * STRIDE;
                            if (kx >= 0 && kx < K)
                                for (int half = 0; half < 2; ++half) outputs[j][half] += input.of[half] * weight[kx].of[half];
                        }
                    }
                }
                float added[2] = {0.0f, 0.0f};
                Pair* place = y + ((top + row) * a.out + left + first) * pairs + pair;
                UNROLLED for (int j = 0; j < OWN; ++j) {
                    if (left + first + j < a.out) {
                        Two output;
                        for (int half = 0; half < 2; ++half) {
                            output.of[half] = activated(outputs[j][half], ACTIVATION_OF(a));
                            added[half] += output.of[half];
                        }
                        place[j * pairs] = elements(output);
                    }
                }
                for (int half = 0; half < 2; ++half) sums[t / LANES][lane * 2 + half] += added[half];
            }
        }
        WAIT;
    }
    if (!a.sums) return;
    // Also where there was no tile.
    WAIT;
    EACH_THREAD(t) {
        const int channel = at.y * 2 * LANES + t;
        if (t < 2 * LANES && channel < a.channels) {
            float sum = 0.0f;
            for (int warp = 0; warp < WARPS; ++warp) sum += sums[warp][t];
            a.sums[(static_cast<size_t>(at.z) * at.blocks + at.x) * a.channels + channel] = sum;
        }
    }
}

// Means of the depthwise outputs. A block takes LANES channels.
struct Average {
    // `[B, parts, channels]`, which together are `share` of the mean.
    const float* sums;
    // `[B, channels]`.
    float* y;
    int parts, channels;
    float share;
};

FUNCTION void average(const Average& a, const Place& at) {
    SHARED float partial[WARPS][LANES];
    EACH_THREAD(t) {
        const int channel = at.x * LANES + t % LANES;
        float sum = 0.0f;
        if (channel < a.channels) {
            const float* sums = a.sums + static_cast<size_t>(at.z) * a.parts * a.channels + channel;
            BY_EIGHT for (int part = t / LANES; part < a.parts; part += WARPS) sum += sums[static_cast<size_t>(part) * a.channels];
        }
        partial[t / LANES][t % LANES] = sum;
    }
    WAIT;
    EACH_THREAD(t) {
        const int channel = at.x * LANES + t;
        if (t < LANES && channel < a.channels) {
            float sum = 0.0f;
            for (int warp = 0; warp < WARPS; ++warp) sum += partial[warp][t];
            a.y[at.z * a.channels + channel] = sum * a.share;
        }
    }
}

// The first half of an excitation: a matrix and SiLU of the means. A block takes WARPS outputs.
struct Squeeze {
    // `[B, channels]`.
    const float* x;
    // `[outputs, channels]` and `[outputs]`.
    const Element* weight;
    const float* bias;
    // `[B, outputs]`.
    float* y;
    int channels, outputs;
};

FUNCTION void squeeze(const Squeeze& a, const Place& at) {
    SHARED float products[WARPS][LANES];
    EACH_THREAD(t) {
        const int output = at.x * WARPS + t / LANES, pairs = a.channels / 2;
        float sum = 0.0f;
        if (output < a.outputs) {
            const Pair* weight = reinterpret_cast<const Pair*>(a.weight) + static_cast<size_t>(output) * pairs;
            const Two* x = reinterpret_cast<const Two*>(a.x) + static_cast<size_t>(at.z) * pairs;
            BY_EIGHT for (int pair = t % LANES; pair < pairs; pair += LANES) {
                const Two two = x[pair], by = values(weight[pair]);
                sum += by.of[0] * two.of[0] + by.of[1] * two.of[1];
            }
        }
        products[t / LANES][t % LANES] = sum;
    }
    WAIT;
    EACH_THREAD(t) {
        const int output = at.x * WARPS + t;
        if (t < WARPS && output < a.outputs) {
            float sum = a.bias[output];
            for (int lane = 0; lane < LANES; ++lane) sum += products[t][lane];
            a.y[at.z * a.outputs + output] = activated(sum, SILU);
        }
    }
}

// The second half: a matrix and a sigmoid say by how much each channel counts, for each picture. The pointwise convolution that
// follows gets weights of its own for each, which are fewer than the map's values. A block takes 64 channels.
struct Excite {
    // `[B, squeezed]`.
    const float* x;
    // `[squeezed, channels]` and `[channels]`.
    const Element* weight;
    const float* bias;
    // `[outputs, channels]`.
    const Element* project;
    // `[B, outputs, channels]`.
    Element* y;
    int squeezed, channels, outputs, shares;
};

FUNCTION void excite(const Excite& a, const Place& at) {
    SHARED float products[WARPS][2 * LANES];
    SHARED float factors[2 * LANES];
    const int pairs = a.channels / 2;
    EACH_THREAD(t) {
        const int pair = at.x * LANES + t % LANES;
        float sums[2] = {0.0f, 0.0f};
        if (pair < pairs) {
            BY_EIGHT for (int i = t / LANES; i < a.squeezed; i += WARPS) {
                const Two weight = values(reinterpret_cast<const Pair*>(a.weight)[static_cast<size_t>(i) * pairs + pair]);
                const float x = a.x[at.z * a.squeezed + i];
                for (int half = 0; half < 2; ++half) sums[half] += weight.of[half] * x;
            }
        }
        for (int half = 0; half < 2; ++half) products[t / LANES][t % LANES * 2 + half] = sums[half];
    }
    WAIT;
    EACH_THREAD(t) {
        const int channel = at.x * 2 * LANES + t;
        if (t < 2 * LANES && channel < a.channels) {
            float sum = a.bias[channel];
            for (int warp = 0; warp < WARPS; ++warp) sum += products[warp][t];
            factors[t] = sigmoid(sum);
        }
    }
    WAIT;
    EACH_THREAD(t) {
        const int lane = t % LANES, pair = at.x * LANES + lane;
        if (pair < pairs) {
            const Pair* project = reinterpret_cast<const Pair*>(a.project);
            Pair* y = reinterpret_cast<Pair*>(a.y) + static_cast<size_t>(at.z) * a.outputs * pairs;
            BY_EIGHT for (int output = at.y * WARPS + t / LANES; output < a.outputs; output += WARPS * a.shares) {
                Two weight = values(project[static_cast<size_t>(output) * pairs + pair]);
                for (int half = 0; half < 2; ++half) weight.of[half] *= factors[2 * lane + half];
                y[static_cast<size_t>(output) * pairs + pair] = elements(weight);
            }
        }
    }
}

}  // namespace

#define TRUNK(KERNEL)                                                 \
    KERNEL(stem, 2, Stem, stem)                                       \
    KERNEL(depthwise_3_1, 3, Depthwise, depthwise<3, 1>)           \
    KERNEL(depthwise_3_2, 3, Depthwise, depthwise<3, 2>)              \
    KERNEL(depthwise_5_1, 3, Depthwise, depthwise<5, 1>)           \
    KERNEL(depthwise_5_2, 2, Depthwise, depthwise<5, 2>)              \
    KERNEL(average, 1, Average, average)                              \
    KERNEL(squeeze, 1, Squeeze, squeeze)                              \
    KERNEL(excite, 1, Excite, excite)
EXPORT(trunk, TRUNK)
