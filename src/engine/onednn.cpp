// oneDNN's convolutions, made once for inputs of one size and run many times. Called from onednn.rs alone, which declares
// the same. What fails leaves its reason in `error`, an array of `ERROR_BYTES`.

#include <cstdint>
#include <cstring>
#include <exception>
#include <stdexcept>
#include <unordered_map>

#include <oneapi/dnnl/dnnl.hpp>

using dnnl::memory;

// The order of the fields is that of `Shape` in onednn.rs.
struct CsflowdShape {
    int64_t batch, input, height, width;
    int64_t output, kernel, stride, groups;
    int64_t pad_before, pad_after;
    // Whether inputs and weights are bf16 and not f32; and outputs.
    bool bf16_in, bf16_out;
    // Whether the output is added to what is there.
    bool adds;
};

// The order is that of `Activation::code`.
enum CsflowdActivation : int32_t { NONE, CLIP, SWISH, LOGISTIC, LEAKY_RELU };

struct CsflowdConvolution {
    dnnl::convolution_forward primitive;
    memory x, y;
    std::unordered_map<int, memory> arguments;
};

namespace {

constexpr size_t ERROR_BYTES = 1024;
using Tag = memory::format_tag;
using Type = memory::data_type;

const dnnl::engine& cpu() {
    static const dnnl::engine engine(dnnl::engine::kind::cpu, 0);
    return engine;
}

// A stream is not for two threads at once.
dnnl::stream& stream() {
    thread_local dnnl::stream stream(cpu());
    return stream;
}

void append(dnnl::post_ops& after, CsflowdActivation activation, float number) {
    const auto eltwise = [&](dnnl::algorithm algorithm, float alpha, float beta) {
#if DNNL_VERSION_MAJOR >= 3
        after.append_eltwise(algorithm, alpha, beta);
#else
        after.append_eltwise(1.0f, algorithm, alpha, beta);
#endif
    };
    switch (activation) {
        case NONE: return;
        case CLIP: return eltwise(dnnl::algorithm::eltwise_clip, 0.0f, number);
        case SWISH: return eltwise(dnnl::algorithm::eltwise_swish, 1.0f, 0.0f);
        case LOGISTIC: return eltwise(dnnl::algorithm::eltwise_logistic, 0.0f, 0.0f);
        case LEAKY_RELU: return eltwise(dnnl::algorithm::eltwise_relu, number, 0.0f);
    }
    throw std::invalid_argument("an activation that is none");
}

// Of one group after another.
memory::dims weight_dims(const CsflowdShape& s) {
    const auto output = s.output / s.groups, input = s.input / s.groups;
    if (s.groups > 1) return {s.groups, output, input, s.kernel, s.kernel};
    return {output, input, s.kernel, s.kernel};
}

dnnl::convolution_forward::primitive_desc describe(const CsflowdShape& s, const dnnl::primitive_attr& attributes) {
    const auto side = [&](int64_t length) {
        return (length + s.pad_before + s.pad_after - s.kernel) / s.stride + 1;
    };
    const auto in = s.bf16_in ? Type::bf16 : Type::f32;
    const memory::desc x({s.batch, s.input, s.height, s.width}, in, Tag::nhwc);
    const memory::desc y({s.batch, s.output, side(s.height), side(s.width)}, s.bf16_out ? Type::bf16 : Type::f32,
                         Tag::nhwc);
    const memory::desc bias({s.output}, Type::f32, Tag::x);
    const memory::desc weight(weight_dims(s), in, Tag::any);
    const memory::dims strides{s.stride, s.stride}, before{s.pad_before, s.pad_before}, after{s.pad_after, s.pad_after};
    const auto kind = dnnl::prop_kind::forward_inference;
    const auto algorithm = dnnl::algorithm::convolution_direct;
#if DNNL_VERSION_MAJOR >= 3
    return {cpu(), kind, algorithm, x, weight, bias, y, strides, before, after, attributes};
#else
    return {{kind, algorithm, x, weight, bias, y, strides, before, after}, attributes, cpu()};
#endif
}

// `values` in a memory of their own, laid out as `wanted`.
memory packed(const float* values, const memory::desc& given, const memory::desc& wanted) {
    memory from(given, cpu(), const_cast<float*>(values));
    memory to(wanted, cpu());
    dnnl::reorder(from, to).execute(stream(), from, to);
    stream().wait();
    return to;
}

// Runs `work`, whose errors are C++ exceptions that must not reach Rust.
template <class Work>
auto guarded(char* error, Work work) -> decltype(work()) {
    try {
        return work();
    } catch (const std::exception& exception) {
        std::strncpy(error, exception.what(), ERROR_BYTES - 1);
    } catch (...) {
        std::strncpy(error, "unknown error", ERROR_BYTES - 1);
    }
    error[ERROR_BYTES - 1] = '\0';
    return {};
}

}  // namespace

extern "C" {

// For the threads of the caller. `weight` is [O, I / groups, k, k], `bias` [O]; both are copied.
CsflowdConvolution* csflowd_convolution(const CsflowdShape* shape, CsflowdActivation activation, double number,
                                        const float* weight, const float* bias, char* error) {
    return guarded(error, [&] {
        const auto& s = *shape;
        dnnl::post_ops after;
        if (s.adds) after.append_sum(1.0f);
        append(after, activation, static_cast<float>(number));
        dnnl::primitive_attr attributes;
        attributes.set_post_ops(after);
        attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
        const auto made = describe(s, attributes);

        const memory::desc given(weight_dims(s), Type::f32, s.groups > 1 ? Tag::goihw : Tag::oihw);
        const memory::desc line({s.output}, Type::f32, Tag::x);
        memory x(made.src_desc(), cpu(), nullptr), y(made.dst_desc(), cpu(), nullptr);
        std::unordered_map<int, memory> arguments{
            {DNNL_ARG_SRC, x},
            {DNNL_ARG_WEIGHTS, packed(weight, given, made.weights_desc())},
            {DNNL_ARG_BIAS, packed(bias, line, made.bias_desc())},
            {DNNL_ARG_DST, y},
            {DNNL_ARG_SCRATCHPAD, memory(made.scratchpad_desc(), cpu())},
        };
        return new CsflowdConvolution{dnnl::convolution_forward(made), x, y, std::move(arguments)};
    });
}

// `x` and `y` are maps of the convolution's shape, channels last. Not for two threads at once. False if it failed.
bool csflowd_convolve(CsflowdConvolution* convolution, const void* x, void* y, char* error) {
    return guarded(error, [&] {
        convolution->x.set_data_handle(const_cast<void*>(x));
        convolution->y.set_data_handle(y);
        convolution->primitive.execute(stream(), convolution->arguments);
        stream().wait();
        return true;
    });
}

void csflowd_free(CsflowdConvolution* convolution) { delete convolution; }

}  // extern "C"
