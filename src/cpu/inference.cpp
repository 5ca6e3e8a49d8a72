// oneDNN's convolutions, made once for inputs of one size and run many times. Called from inference.rs alone, which declares
// the same.

#include <unordered_map>

#include "shared.hpp"

using dnnl::memory;

struct CsflowdConvolution {
    dnnl::convolution_forward primitive;
    memory x, y;
    std::unordered_map<int, memory> arguments;
};

namespace {

using namespace csflowd;

// `values` in a memory of their own, laid out as `wanted`.
memory packed(const float* values, const memory::desc& given, const memory::desc& wanted) {
    memory from(given, cpu(), const_cast<float*>(values));
    memory to(wanted, cpu());
    dnnl::reorder(from, to).execute(stream(), from, to);
    stream().wait();
    return to;
}

}  // namespace

extern "C" {

// For the threads of the caller. `weight` is [O, I / groups, k, k], `bias` [O]; both are copied.
CsflowdConvolution* csflowd_convolution(const CsflowdShape* shape, CsflowdActivation activation, double number,
                                        const float* weight, const float* bias, char* error) {
    return guarded(error, [&] {
        const auto& s = *shape;
        const Maps maps(s);
        const auto made = maps.forward(dnnl::prop_kind::forward_inference, attributes(s, activation, number));
        memory x(made.src_desc(), cpu(), nullptr), y(made.dst_desc(), cpu(), nullptr);
        std::unordered_map<int, memory> arguments{
            {DNNL_ARG_SRC, x},
            {DNNL_ARG_WEIGHTS, packed(weight, given_weight(s), made.weights_desc())},
            {DNNL_ARG_BIAS, packed(bias, maps.bias, made.bias_desc())},
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
