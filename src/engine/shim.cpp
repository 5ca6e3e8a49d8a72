// The operators of libtorch that the CPU engine needs and tch has no binding for. Called from shim.rs alone, which
// declares the same functions. A tensor is a pointer to at::Tensor, as in torch-sys. What fails leaves its reason in
// `error`, an array of `ERROR_BYTES`.

#include <cstdint>
#include <cstring>
#include <exception>
#include <optional>
#include <string_view>

#include <ATen/Context.h>
#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/core/List.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/dispatch/Dispatcher.h>

struct CsflowdGeometry {
    int64_t padding;
    int64_t stride;
    int64_t groups;
};

namespace {

constexpr size_t ERROR_BYTES = 1024;

using at::IntArrayRef;
using at::Tensor;
using Scalars = c10::List<std::optional<at::Scalar>>;
using Text = std::string_view;

using Convolve = Tensor(const Tensor&, const Tensor&, const std::optional<Tensor>&, IntArrayRef, IntArrayRef,
                        IntArrayRef, int64_t, Text, Scalars, std::optional<Text>);
using ConvolveOnto = Tensor&(Tensor&, const Tensor&, const Tensor&, const std::optional<Tensor>&, IntArrayRef,
                             IntArrayRef, IntArrayRef, int64_t, Text, std::optional<at::Scalar>,
                             std::optional<Text>, Scalars, std::optional<Text>);
using Pack = Tensor(const Tensor&, IntArrayRef, IntArrayRef, IntArrayRef, int64_t, at::OptionalIntArrayRef);

// The same in both directions of a map.
struct Pairs {
    int64_t padding[2];
    int64_t stride[2];
    int64_t dilation[2];

    explicit Pairs(CsflowdGeometry by)
        : padding{by.padding, by.padding}, stride{by.stride, by.stride}, dilation{1, 1} {}
};

template <class Signature>
c10::TypedOperatorHandle<Signature> find(const char* name, const char* overload) {
    return c10::Dispatcher::singleton().findSchemaOrThrow(name, overload).typed<Signature>();
}

// Runs `work`, whose errors are C++ exceptions that must not reach Rust.
template <class Work>
auto guarded(char* error, Work work) -> decltype(work()) {
    try {
        // Nothing here is trained: the operators are called without what records gradients.
        at::AutoDispatchBelowADInplaceOrView below;
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

// Whether this libtorch has oneDNN and its fused convolutions.
bool csflowd_has_fused_convolutions() {
    auto& dispatcher = c10::Dispatcher::singleton();
    return at::globalContext().hasMKLDNN() &&
           dispatcher.findSchema({"mkldnn::_convolution_pointwise", ""}).has_value() &&
           dispatcher.findSchema({"mkldnn::_convolution_pointwise_", "binary"}).has_value() &&
           dispatcher.findSchema({"mkldnn::_reorder_convolution_weight", ""}).has_value();
}

// Weights in the order in which oneDNN wants them for an input of `size`, [B, C, H, W].
Tensor* csflowd_pack(const Tensor* weight, CsflowdGeometry by, const int64_t* size, char* error) {
    return guarded(error, [&] {
        static const auto pack = find<Pack>("mkldnn::_reorder_convolution_weight", "");
        const Pairs both(by);
        return new Tensor(pack.call(*weight, both.padding, both.stride, both.dilation, by.groups, IntArrayRef(size, 4)));
    });
}

// Convolution and activation in one. `n` numbers follow the activation's name.
Tensor* csflowd_convolve(const Tensor* x, const Tensor* weight, const Tensor* bias, CsflowdGeometry by,
                         const char* activation, const double* numbers, size_t n, char* error) {
    return guarded(error, [&] {
        static const auto convolve = find<Convolve>("mkldnn::_convolution_pointwise", "");
        const Pairs both(by);
        Scalars scalars;
        for (size_t i = 0; i < n; i++) {
            scalars.push_back(at::Scalar(numbers[i]));
        }
        return new Tensor(convolve.call(*x, *weight, *bias, both.padding, both.stride, both.dilation, by.groups,
                                        activation, scalars, std::nullopt));
    });
}

// Adds a convolution to `onto`, in place. False if it failed.
bool csflowd_convolve_onto(Tensor* onto, const Tensor* x, const Tensor* weight, const Tensor* bias,
                           CsflowdGeometry by, char* error) {
    return guarded(error, [&] {
        static const auto convolve = find<ConvolveOnto>("mkldnn::_convolution_pointwise_", "binary");
        const Pairs both(by);
        convolve.call(*onto, *x, *weight, *bias, both.padding, both.stride, both.dilation, by.groups, "add",
                      std::nullopt, std::nullopt, Scalars(), std::nullopt);
        return true;
    });
}

}  // extern "C"
