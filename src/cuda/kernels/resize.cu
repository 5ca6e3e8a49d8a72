// libtorch's antialiased resize of bytes along one dimension: sums of integers, bit for bit its own.

namespace {

// Pixels `[outer, from, across, channels]` to `[outer, to, across, channels_out]`.
struct Along {
    const unsigned char* x;
    unsigned char* y;
    // Of each output: the first pixel that it is made of, `[to]`, and what that and those behind it weigh, `[to, most]`.
    const int* first;
    const int* weights;
    int most, precision;
    int from, to, across, channels, channels_out;
    // Channel `c` comes from channel `origin + c * stride`.
    int origin, stride;
    int count;
};

FUNCTION void along(const Along& a, const Place& at) {
    EACH_ITEM(index, at, a.count) {
        const int channel = index % a.channels_out, column = index / a.channels_out % a.across;
        const int row = index / a.channels_out / a.across, output = row % a.to, outer = row / a.to;
        const int first = a.first[output], source = a.origin + channel * a.stride;
        int sum = 1 << (a.precision - 1);
        for (int k = 0; k < a.most; ++k) {
            // Behind the last pixel weights are 0.
            const int pixel = smaller(first + k, a.from - 1);
            const size_t place = (static_cast<size_t>(outer) * a.from + pixel) * a.across + column;
            sum += a.weights[output * a.most + k] * a.x[place * a.channels + source];
        }
        sum >>= a.precision;
        a.y[index] = static_cast<unsigned char>(sum < 0 ? 0 : (sum > 255 ? 255 : sum));
    }
}

}  // namespace

#define RESIZE(KERNEL) KERNEL(along, 1, Along, along)
EXPORT(resize, RESIZE)
