// oneDNN's convolutions with their gradients, made once for maps of one size. Weights change at each step, so they are
// packed at each call, into room that all convolutions of a thread share. Called from training.rs alone.

#include <cstdlib>
#include <initializer_list>
#include <memory>
#include <new>
#include <unordered_map>
#include <utility>

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

    // In the room for weights, until the next ones come there.
    const void* packed(const void* from) {
        void* to = weights_room().at_least(to_.get_desc().get_size());
        run(from, to);
        return to;
    }

    size_t bytes_from() const { return from_.get_desc().get_size(); }

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

    void run(std::initializer_list<std::pair<int, const void*>> places) {
        for (const auto& [argument, place] : places) set(argument, place);
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

// The shape is of f32.
CsflowdTrained* csflowd_trained(const CsflowdShape* shape, CsflowdActivation activation, double number, char* error) {
    return guarded(error, [&] {
        const auto& s = *shape;
        const Maps m(s);
        const auto algorithm = dnnl::algorithm::convolution_direct;
        dnnl::primitive_attr plain;
        plain.set_scratchpad_mode(dnnl::scratchpad_mode::user);
        const auto forward = m.forward(dnnl::prop_kind::forward_training, attributes(s, activation, number));
        const auto hint = m.forward(dnnl::prop_kind::forward_training, plain);
#if DNNL_VERSION_MAJOR >= 3
        const dnnl::convolution_backward_data::primitive_desc data(
            cpu(), algorithm, m.x, m.weight, m.y, m.strides, m.before, m.after, hint, plain);
        const dnnl::convolution_backward_weights::primitive_desc weights(
            cpu(), algorithm, m.x, m.weight, m.bias, m.y, m.strides, m.before, m.after, hint, plain);
#else
        const dnnl::convolution_backward_data::primitive_desc data(
            {algorithm, m.x, m.weight, m.y, m.strides, m.before, m.after}, plain, cpu(), hint);
        const dnnl::convolution_backward_weights::primitive_desc weights(
            {algorithm, m.x, m.weight, m.bias, m.y, m.strides, m.before, m.after}, plain, cpu(), hint);
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
bool csflowd_trained_forward(CsflowdTrained* trained, const float* weight, const float* bias, const float* x, float* y,
                             char* error) {
    return guarded(error, [&] {
        const void* packed = trained->pack_forward.packed(weight);
        trained->forward.run(
            {{DNNL_ARG_SRC, x}, {DNNL_ARG_WEIGHTS, packed}, {DNNL_ARG_BIAS, bias}, {DNNL_ARG_DST, y}});
        stream().wait();
        return true;
    });
}

// `dy` like `y`, `dx` like `x`. False if it failed.
bool csflowd_trained_backward_data(CsflowdTrained* trained, const float* weight, const float* dy, float* dx, char* error) {
    return guarded(error, [&] {
        const void* packed = trained->pack_data.packed(weight);
        trained->data.run({{DNNL_ARG_DIFF_SRC, dx}, {DNNL_ARG_WEIGHTS, packed}, {DNNL_ARG_DIFF_DST, dy}});
        stream().wait();
        return true;
    });
}

// `dw` like `weight` and `db` like `bias`, of which nothing is kept. False if it failed.
bool csflowd_trained_backward_weights(CsflowdTrained* trained, const float* x, const float* dy, float* dw, float* db,
                                      char* error) {
    return guarded(error, [&] {
        void* packed = weights_room().at_least(trained->unpack.bytes_from());
        trained->weights.run({{DNNL_ARG_SRC, x},
                              {DNNL_ARG_DIFF_WEIGHTS, packed},
                              {DNNL_ARG_DIFF_BIAS, db},
                              {DNNL_ARG_DIFF_DST, dy}});
        trained->unpack.run(packed, dw);
        stream().wait();
        return true;
    });
}

void csflowd_trained_free(CsflowdTrained* trained) { delete trained; }

}  // extern "C"
