// What the flow computes beside its convolutions. Maps are `[B, H, W, C]`; latent values, biases and sums are in f32.

namespace {

// What hidden layers become: bias, leaky ReLU, and for the next finer scale twice as large, bilinearly.
struct Hear {
    // `[B, height, width, channels]`, as the convolution has left it.
    const Element* x;
    // `[channels]`.
    const float* bias;
    // As `x`.
    Element* y;
    // Null, or `[B, 2 height, 2 width, channels]`.
    Element* enlarged;
    int height, width, channels;
    float slope;
    // Of groups of channels, in one picture.
    int count;
};

// Source of the formula: libtorch's bilinear upsampling without aligned corners.
struct Between {
    int first, second;
    float share;
};

FUNCTION Between between(int place, int size) {
    const float source = place * 0.5f - 0.25f;
    const int first = source < 0.0f ? 0 : static_cast<int>(source);
    return {first, smaller(first + 1, size - 1), source < 0.0f ? 0.0f : source - first};
}

template <int N>
FUNCTION void hear(const Hear& a, const Place& at) {
    EACH_ITEM(index, at, a.count) {
        const int groups = a.channels / N, group = index % groups, cell = index / groups;
        const size_t cells = static_cast<size_t>(a.height) * a.width;
        const Group<N>* x = reinterpret_cast<const Group<N>*>(a.x) + at.z * cells * groups + group;
        Group<N>* y = reinterpret_cast<Group<N>*>(a.y) + at.z * cells * groups + group;
        const auto heard = [&](float input, int i) {
            const float sum = input + a.bias[group * N + i];
            return sum < 0.0f ? a.slope * sum : sum;
        };
        const auto activated = [&](const Group<N>& input) {
            Group<N> output;
            UNROLLED for (int i = 0; i < N; ++i) output.of[i] = element(heard(value(input.of[i]), i));
            return output;
        };
        if (!a.enlarged) {
            y[static_cast<size_t>(cell) * groups] = activated(x[static_cast<size_t>(cell) * groups]);
        } else {
            const int row = cell / (2 * a.width), column = cell % (2 * a.width);
            const Between rows = between(row, a.height), columns = between(column, a.width);
            const auto at_cell = [&](int row, int column) {
                return static_cast<size_t>(row * a.width + column) * groups;
            };
            const Group<N> corners[4] = {
                x[at_cell(rows.first, columns.first)], x[at_cell(rows.first, columns.second)],
                x[at_cell(rows.second, columns.first)], x[at_cell(rows.second, columns.second)]};
            Group<N> output;
            UNROLLED for (int i = 0; i < N; ++i) {
                float corner[4];
                for (int j = 0; j < 4; ++j) corner[j] = heard(value(corners[j].of[i]), i);
                const float upper = corner[0] + columns.share * (corner[1] - corner[0]);
                const float lower = corner[2] + columns.share * (corner[3] - corner[2]);
                output.of[i] = element(upper + rows.share * (lower - upper));
            }
            Group<N>* enlarged = reinterpret_cast<Group<N>*>(a.enlarged) + at.z * 4 * cells * groups + group;
            enlarged[static_cast<size_t>(cell) * groups] = output;
            if (row % 2 == 0 && column % 2 == 0) {
                const size_t place = at_cell(row / 2, column / 2);
                y[place] = activated(x[place]);
            }
        }
    }
}

// The affine coupling of one half: `exp(exponent * atan(s)) * x + t`, where `s` and `t` are the two halves of what a subnet says,
// the sum of up to three convolutions. The half changes in place.
struct Couple {
    // `[cells, 2 channels]`; the last two may be null.
    const Element* same;
    const Element* coarser;
    const Element* finer;
    // `[2 channels]`.
    const float* bias;
    // `[cells, channels]`.
    float* half;
    // Null, or the same for the next convolution.
    Element* heard;
    int channels;
    float exponent;
    int count;
};

FUNCTION void couple(const Couple& a, const Place& at) {
    EACH_ITEM(index, at, a.count) {
        const int channel = index % a.channels;
        const size_t cell = index / a.channels;
        float said[2];
        for (int part = 0; part < 2; ++part) {
            const size_t place = cell * 2 * a.channels + part * a.channels + channel;
            said[part] = a.bias[part * a.channels + channel] + value(a.same[place]);
            if (a.coarser) said[part] += value(a.coarser[place]);
            if (a.finer) said[part] += value(a.finer[place]);
        }
        const float result = expf(a.exponent * atanf(said[0])) * a.half[index] + said[1];
        a.half[index] = result;
        if (a.heard) a.heard[index] = element(result);
    }
}

// The channels in the order of the next block, cut at the limit.
struct Gather {
    // `[cells, of_first]` and `[cells, channels - of_first]`.
    const float* first;
    const float* second;
    // `[channels]`: where each comes from.
    const int* order;
    // `[cells, split]` and `[cells, channels - split]`.
    float* y_first;
    float* y_second;
    // Null, or the second half for a convolution.
    Element* heard;
    int of_first, split, channels;
    float limit;
    int count;
};

FUNCTION void gather(const Gather& a, const Place& at) {
    EACH_ITEM(index, at, a.count) {
        const int channel = index % a.channels, source = a.order[channel];
        const size_t cell = index / a.channels;
        const float x = source < a.of_first ? a.first[cell * a.of_first + source]
                                            : a.second[cell * (a.channels - a.of_first) + source - a.of_first];
        const float cut = x < -a.limit ? -a.limit : (x > a.limit ? a.limit : x);
        if (channel < a.split) {
            a.y_first[cell * a.split + channel] = cut;
        } else {
            const size_t place = cell * (a.channels - a.split) + channel - a.split;
            a.y_second[place] = cut;
            if (a.heard) a.heard[place] = element(cut);
        }
    }
}

}  // namespace

#define FLOW(KERNEL)                                                  \
    KERNEL(hear_1, 1, Hear, hear<1>)                                  \
    KERNEL(hear_4, 1, Hear, hear<4>)                                  \
    KERNEL(couple, 1, Couple, couple)                                 \
    KERNEL(gather, 1, Gather, gather)
EXPORT(flow, FLOW)
