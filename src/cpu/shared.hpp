// What the calls of oneDNN share.

#pragma once

#include <cstdint>
#include <stdexcept>

#include <oneapi/dnnl/dnnl.hpp>

#include "../cxx/guarded.hpp"

// The order of the fields is that of `Shape` in ../cpu.rs.
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

namespace csflowd {

using dnnl::memory;
using Tag = memory::format_tag;
using Type = memory::data_type;

inline const dnnl::engine& cpu() {
    static const dnnl::engine engine(dnnl::engine::kind::cpu, 0);
    return engine;
}

// A stream is not for two threads at once.
inline dnnl::stream& stream() {
    thread_local dnnl::stream stream(cpu());
    return stream;
}

// Of one group after another.
inline memory::dims weight_dims(const CsflowdShape& s) {
    const auto output = s.output / s.groups, input = s.input / s.groups;
    if (s.groups > 1) return {s.groups, output, input, s.kernel, s.kernel};
    return {output, input, s.kernel, s.kernel};
}

// What weights look like in libtorch.
inline memory::desc given_weight(const CsflowdShape& s) {
    return {weight_dims(s), Type::f32, s.groups > 1 ? Tag::goihw : Tag::oihw};
}

inline void append(dnnl::post_ops& after, CsflowdActivation activation, float number) {
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

inline dnnl::primitive_attr attributes(const CsflowdShape& s, CsflowdActivation activation, double number) {
    dnnl::post_ops after;
    if (s.adds) after.append_sum(1.0f);
    append(after, activation, static_cast<float>(number));
    dnnl::primitive_attr attributes;
    attributes.set_post_ops(after);
    attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
    return attributes;
}

// What a convolution goes from and to: maps channels last, weights as oneDNN wants them.
struct Maps {
    memory::desc x, y, weight, bias;
    memory::dims strides, before, after;

    explicit Maps(const CsflowdShape& s)
        : strides{s.stride, s.stride}, before{s.pad_before, s.pad_before}, after{s.pad_after, s.pad_after} {
        const auto side = [&](int64_t length) {
            return (length + s.pad_before + s.pad_after - s.kernel) / s.stride + 1;
        };
        const auto in = s.bf16_in ? Type::bf16 : Type::f32, out = s.bf16_out ? Type::bf16 : Type::f32;
        x = {{s.batch, s.input, s.height, s.width}, in, Tag::nhwc};
        y = {{s.batch, s.output, side(s.height), side(s.width)}, out, Tag::nhwc};
        weight = {weight_dims(s), in, Tag::any};
        bias = {{s.output}, Type::f32, Tag::x};
    }

    dnnl::convolution_forward::primitive_desc forward(dnnl::prop_kind kind, const dnnl::primitive_attr& attributes) const {
        const auto algorithm = dnnl::algorithm::convolution_direct;
#if DNNL_VERSION_MAJOR >= 3
        return {cpu(), kind, algorithm, x, weight, bias, y, strides, before, after, attributes};
#else
        return {{kind, algorithm, x, weight, bias, y, strides, before, after}, attributes, cpu()};
#endif
    }
};

}  // namespace csflowd
