// What libtorch has for CUDA devices and tch has no binding for: streams of one's own, and graphs. A library of its own, which the
// program carries with it and opens once libtorch_cuda is there; called from the files beside it, and library.rs declares the same.

#include <memory>

#include <ATen/cuda/CUDAGraph.h>
#include <c10/core/Event.h>
#include <c10/cuda/CUDAFunctions.h>
#include <c10/cuda/CUDAStream.h>

#include "../cxx/guarded.hpp"

namespace {

using c10::cuda::CUDAStream;
using csflowd::guarded;

// What comes into `later` waits for what is in `first` by now.
void wait(CUDAStream later, CUDAStream first) {
    c10::Event event(c10::DeviceType::CUDA);
    event.record(first.unwrap());
    event.block(later.unwrap());
}

}  // namespace

// What was a thread's before a stream was entered.
struct CsflowdBefore {
    CUDAStream stream;
    c10::DeviceIndex device;
};

extern "C" {

// One of the device's own, which goes before others.
CUDAStream* csflowd_stream(int32_t device, char* error) {
    return guarded(error, [&] {
        const auto index = static_cast<c10::DeviceIndex>(device);
        return new CUDAStream(c10::cuda::getStreamFromPool(/*isHighPriority=*/true, index));
    });
}

void csflowd_stream_free(CUDAStream* stream) { delete stream; }

// From here on the calling thread's work goes to this stream and its device.
CsflowdBefore* csflowd_stream_enter(CUDAStream* stream, char* error) {
    return guarded(error, [&] {
        const auto device = stream->device_index();
        std::unique_ptr<CsflowdBefore> before(
            new CsflowdBefore{c10::cuda::getCurrentCUDAStream(device), c10::cuda::current_device()});
        c10::cuda::set_device(device);
        c10::cuda::setCurrentCUDAStream(*stream);
        return before.release();
    });
}

// Back to what was before, on the thread that entered.
bool csflowd_stream_leave(CsflowdBefore* entered, char* error) {
    return guarded(error, [&] {
        const std::unique_ptr<CsflowdBefore> before(entered);
        c10::cuda::setCurrentCUDAStream(before->stream);
        c10::cuda::set_device(before->device);
        return true;
    });
}

// What comes into `stream` waits for what is in the thread's own by now.
bool csflowd_stream_fork(CUDAStream* stream, char* error) {
    return guarded(error, [&] {
        wait(*stream, c10::cuda::getCurrentCUDAStream(stream->device_index()));
        return true;
    });
}

// What comes into the thread's own waits for what is in `stream` by now.
bool csflowd_stream_join(CUDAStream* stream, char* error) {
    return guarded(error, [&] {
        wait(c10::cuda::getCurrentCUDAStream(stream->device_index()), *stream);
        return true;
    });
}

at::cuda::CUDAGraph* csflowd_graph(char* error) {
    return guarded(error, [&] { return new at::cuda::CUDAGraph(); });
}

void csflowd_graph_free(at::cuda::CUDAGraph* graph) {
    char error[csflowd::ERROR_BYTES];
    // Its destructor throws if the device is lost.
    guarded(error, [&] {
        delete graph;
        return true;
    });
}

// Records what the calling thread's stream is given, without doing it, until `csflowd_graph_end`. Calls that other threads make
// meanwhile do no harm. With `other` it uses the same memory: the two must not run at the same time.
bool csflowd_graph_begin(at::cuda::CUDAGraph* graph, at::cuda::CUDAGraph* other, char* error) {
    return guarded(error, [&] {
        const auto pool = other ? other->pool() : c10::MempoolId_t{0, 0};
        graph->capture_begin(pool, cudaStreamCaptureModeThreadLocal);
        return true;
    });
}

bool csflowd_graph_end(at::cuda::CUDAGraph* graph, char* error) {
    return guarded(error, [&] {
        graph->capture_end();
        return true;
    });
}

// Does what was recorded, in the calling thread's stream.
bool csflowd_graph_replay(at::cuda::CUDAGraph* graph, char* error) {
    return guarded(error, [&] {
        graph->replay();
        return true;
    });
}

}  // extern "C"
