// oneDNN's convolutions with their gradients, made once for maps of one size. Weights change at each step, so they are
// packed at each call, into room that all convolutions of a thread share. Called from training.rs alone.

#include <cstdlib>
#include <memory>
#include <new>
#include <unordered_map>

#include "shared.hpp"

using namespace csflowd;

namespace {

// Room that grows to the largest that was asked for. What was in it is lost.
class Room {
   public:
    void* at_least(size_t bytes) {
        if (bytes > bytes_) {
            place_.reset();
            bytes_ = (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
            place_.reset(std::aligned_alloc(ALIGNMENT, bytes_));
            if (!place_) {
                bytes_ = 0;
                throw std::bad_alloc();
            }
        }
        return place_.get();
    }

   private:
    static constexpr size_t ALIGNMENT = 64;
    struct Free {
        void operator()(void* place) const { std::free(place); }
    };
    std::unique_ptr<void, Free> place_;
    size_t bytes_ = 0;
};

Room& weights_room() {
    thread_local Room room;
    return room;
}

Room& scratch_room() {
    thread_local Room room;
    return room;
}

// From one layout of the weights to another.
class Reorder {
   public:
    Reorder(const memory::desc& from, const memory::desc& to)
        : from_(from, cpu(), nullptr), to_(to, cpu(), nullptr), reorder_(from_, to_) {}

    void run(const void* from, void* to) {
        from_.set_data_handle(const_cast<void*>(from));
        to_.set_data_handle(to);
        reorder_.execute(stream(), from_, to_);
    }

    size_t bytes_to() const { return to_.get_desc().get_size(); }

   private:
    memory from_, to_;
    dnnl::reorder reorder_;
};

memory nowhere(const memory::desc& desc) { return {desc, cpu(), nullptr}; }

// Each of its own kind of primitive, with its memories by argument.
struct Call {
    dnnl::primitive primitive;
    std::unordered_map<int, memory> arguments;
    size_t scratch_bytes;

    void set(int argument, const void* place) {
        arguments.at(argument).set_data_handle(const_cast<void*>(place));
    }

    void run() {
        set(DNNL_ARG_SCRATCHPAD, scratch_room().at_least(scratch_bytes));
        primitive.execute(stream(), arguments);
    }
};

}  // namespace

struct CsflowdTrained {
    Call forward, data, weights;
    Reorder pack_forward, pack_data, unpack;
};

extern "C" {

// The shape's outputs are f32. The gradient of its input is f32 too, that of its output comes like its input.
CsflowdTrained* csflowd_trained(const CsflowdShape* shape, CsflowdActivation activation, double number, char* error) {
    return guarded(error, [&] {
        const auto& s = *shape;
        const Maps maps(s);
        // Gradients come in like inputs and go out in f32.
        CsflowdShape back = s;
        back.bf16_out = s.bf16_in;
        const Maps in(back);
        auto dx = memory::desc({s.batch, s.input, s.height, s.width}, Type::f32, Tag::nhwc);
        auto dw = memory::desc(weight_dims(s), Type::f32, Tag::any);
        const auto algorithm = dnnl::algorithm::convolution_direct;

        dnnl::primitive_attr plain;
        plain.set_scratchpad_mode(dnnl::scratchpad_mode::user);
        const auto forward = maps.forward(dnnl::prop_kind::forward_training, attributes(s, activation, number));
        const auto hint = in.forward(dnnl::prop_kind::forward_training, plain);
#if DNNL_VERSION_MAJOR >= 3
        const dnnl::convolution_backward_data::primitive_desc data(
            cpu(), algorithm, dx, in.weight, in.y, in.strides, in.before, in.after, hint, plain);
        const dnnl::convolution_backward_weights::primitive_desc weights(
            cpu(), algorithm, in.x, dw, in.bias, in.y, in.strides, in.before, in.after, hint, plain);
#else
        const dnnl::convolution_backward_data::primitive_desc data(
            {algorithm, dx, in.weight, in.y, in.strides, in.before, in.after}, plain, cpu(), hint);
        const dnnl::convolution_backward_weights::primitive_desc weights(
            {algorithm, in.x, dw, in.bias, in.y, in.strides, in.before, in.after}, plain, cpu(), hint);
#endif
        return new CsflowdTrained{
            Call{dnnl::convolution_forward(forward),
                 {{DNNL_ARG_SRC, nowhere(forward.src_desc())},
                  {DNNL_ARG_WEIGHTS, nowhere(forward.weights_desc())},
                  {DNNL_ARG_BIAS, nowhere(forward.bias_desc())},
                  {DNNL_ARG_DST, nowhere(forward.dst_desc())},
                  {DNNL_ARG_SCRATCHPAD, nowhere(forward.scratchpad_desc())}},
                 forward.scratchpad_desc().get_size()},
            Call{dnnl::convolution_backward_data(data),
                 {{DNNL_ARG_DIFF_SRC, nowhere(data.diff_src_desc())},
                  {DNNL_ARG_WEIGHTS, nowhere(data.weights_desc())},
                  {DNNL_ARG_DIFF_DST, nowhere(data.diff_dst_desc())},
                  {DNNL_ARG_SCRATCHPAD, nowhere(data.scratchpad_desc())}},
                 data.scratchpad_desc().get_size()},
            Call{dnnl::convolution_backward_weights(weights),
                 {{DNNL_ARG_SRC, nowhere(weights.src_desc())},
                  {DNNL_ARG_DIFF_WEIGHTS, nowhere(weights.diff_weights_desc())},
                  {DNNL_ARG_DIFF_BIAS, nowhere(weights.diff_bias_desc())},
                  {DNNL_ARG_DIFF_DST, nowhere(weights.diff_dst_desc())},
                  {DNNL_ARG_SCRATCHPAD, nowhere(weights.scratchpad_desc())}},
                 weights.scratchpad_desc().get_size()},
            Reorder(given_weight(s), forward.weights_desc()),
            Reorder(given_weight(s), data.weights_desc()),
            Reorder(weights.diff_weights_desc(), given_weight(s)),
        };
    });
}

// `weight` is [O, I / groups, k, k], `bias` [O], `x` and `y` are channels last. False if it failed.
bool csflowd_trained_forward(CsflowdTrained* trained, const float* weight, const float* bias, const void* x, float* y,
                             char* error) {
    return guarded(error, [&] {
        auto& call = trained->forward;
        void* packed = weights_room().at_least(trained->pack_forward.bytes_to());
        trained->pack_forward.run(weight, packed);
        call.set(DNNL_ARG_SRC, x);
        call.set(DNNL_ARG_WEIGHTS, packed);
        call.set(DNNL_ARG_BIAS, bias);
        call.set(DNNL_ARG_DST, y);
        call.run();
        stream().wait();
        return true;
    });
}

// `dy` like `y` but of the input's kind, `dx` like `x` but f32. False if it failed.
bool csflowd_trained_backward_data(CsflowdTrained* trained, const float* weight, const void* dy, float* dx, char* error) {
    return guarded(error, [&] {
        auto& call = trained->data;
        void* packed = weights_room().at_least(trained->pack_data.bytes_to());
        trained->pack_data.run(weight, packed);
        call.set(DNNL_ARG_DIFF_SRC, dx);
        call.set(DNNL_ARG_WEIGHTS, packed);
        call.set(DNNL_ARG_DIFF_DST, dy);
        call.run();
        stream().wait();
        return true;
    });
}

// `dw` like `weight` and `db` like `bias`, of which nothing is kept. False if it failed.
bool csflowd_trained_backward_weights(CsflowdTrained* trained, const void* x, const void* dy, float* dw, float* db,
                                      char* error) {
    return guarded(error, [&] {
        auto& call = trained->weights;
        const auto bytes = call.arguments.at(DNNL_ARG_DIFF_WEIGHTS).get_desc().get_size();
        void* packed = weights_room().at_least(bytes);
        call.set(DNNL_ARG_SRC, x);
        call.set(DNNL_ARG_DIFF_WEIGHTS, packed);
        call.set(DNNL_ARG_DIFF_BIAS, db);
        call.set(DNNL_ARG_DIFF_DST, dy);
        call.run();
        trained->unpack.run(packed, dw);
        stream().wait();
        return true;
    });
}

void csflowd_trained_free(CsflowdTrained* trained) { delete trained; }

}  // extern "C"
