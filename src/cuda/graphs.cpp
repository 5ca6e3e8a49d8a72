// What libtorch has for CUDA devices and tch has no binding for: streams of one's own, graphs, memory given back. A library of its
// own, which the program carries with it and opens once libtorch_cuda is there; called from the room's own files, of which
// library.rs declares the same.

#include <map>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <tuple>

#include <ATen/core/CachingHostAllocator.h>
#include <ATen/cuda/CUDAGraph.h>
#include <c10/core/Event.h>
#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAFunctions.h>
#include <c10/cuda/CUDAStream.h>

#include "../cxx/guarded.hpp"

// As ATen/cuda/CUDAContextLight.h declares them, which cannot be read without the headers of all of CUDA's libraries.
namespace at::cuda {
struct WorkspaceMapWithMutex {
    std::map<std::tuple<void*, void*>, at::DataPtr> map;
    std::shared_mutex mutex;
};
WorkspaceMapWithMutex& cublas_handle_stream_to_workspace();
WorkspaceMapWithMutex& cublaslt_handle_stream_to_workspace();
}  // namespace at::cuda

namespace {

using c10::cuda::CUDAStream;
using csflowd::guarded;

// What comes into `later` waits for what is in `first` by now.
void wait(CUDAStream later, CUDAStream first) {
    c10::Event event(c10::DeviceType::CUDA);
    event.record(first.unwrap());
    event.block(later.unwrap());
}

// Does `work`, whatever becomes of it.
template <class Work>
void attempt(Work work) {
    char error[csflowd::ERROR_BYTES];
    guarded(error, [&] {
        work();
        return true;
    });
}

// libtorch keeps what cuBLAS works in, of tens of megabytes, for each stream that there ever was.
void forget(at::cuda::WorkspaceMapWithMutex& workspaces, cudaStream_t stream) {
    const std::unique_lock<std::shared_mutex> lock(workspaces.mutex);
    for (auto place = workspaces.map.begin(); place != workspaces.map.end();)
        place = std::get<1>(place->first) == stream ? workspaces.map.erase(place) : std::next(place);
}

}  // namespace

// Not one of libtorch's own, of which it has 32 in turn: somebody else would record into it, or wait for it.
struct CsflowdStream {
    cudaStream_t made = nullptr;
    c10::DeviceIndex device;

    explicit CsflowdStream(c10::DeviceIndex device) : device(device) {
        const c10::DeviceGuard guard(c10::Device(c10::DeviceType::CUDA, device));
        int least = 0, greatest = 0;
        C10_CUDA_CHECK(cudaDeviceGetStreamPriorityRange(&least, &greatest));
        C10_CUDA_CHECK(cudaStreamCreateWithPriority(&made, cudaStreamNonBlocking, greatest));
    }

    // Once all that was recorded of it is gone.
    ~CsflowdStream() {
        attempt([&] {
            cudaStreamSynchronize(made);
            forget(at::cuda::cublas_handle_stream_to_workspace(), made);
            forget(at::cuda::cublaslt_handle_stream_to_workspace(), made);
        });
        cudaStreamDestroy(made);
    }

    CUDAStream stream() const { return c10::cuda::getStreamFromExternal(made, device); }
};

// What was a thread's before a stream was entered.
struct CsflowdBefore {
    CUDAStream stream;
    c10::DeviceIndex device;
};

struct CsflowdGraph {
    at::cuda::CUDAGraph graph;
    // Of its memory.
    c10::MempoolId_t pool;
    c10::DeviceIndex device = 0;

    // libtorch leaves a recording that failed open in both of its allocators, where it would keep them from giving memory back.
    void abandon() const {
        attempt([&] {
            c10::cuda::CUDACachingAllocator::endAllocateToPool(device, pool);
            c10::cuda::CUDACachingAllocator::releasePool(device, pool);
        });
        attempt([&] { at::getHostAllocator(at::kCUDA)->end_allocate_to_pool(pool); });
    }
};

extern "C" {

// One of the device's own, which goes before others.
CsflowdStream* csflowd_stream(int32_t device, char* error) {
    return guarded(error, [&] { return new CsflowdStream(static_cast<c10::DeviceIndex>(device)); });
}

void csflowd_stream_free(CsflowdStream* stream) { delete stream; }

// From here on the calling thread's work goes to this stream and its device.
CsflowdBefore* csflowd_stream_enter(CsflowdStream* stream, char* error) {
    return guarded(error, [&] {
        const auto device = stream->device;
        std::unique_ptr<CsflowdBefore> before(
            new CsflowdBefore{c10::cuda::getCurrentCUDAStream(device), c10::cuda::current_device()});
        c10::cuda::set_device(device);
        c10::cuda::setCurrentCUDAStream(stream->stream());
        return before.release();
    });
}

// Back to what was before, on the thread that entered.
bool csflowd_stream_leave(CsflowdBefore* entered, char* error) {
    return guarded(error, [&] {
        const std::unique_ptr<CsflowdBefore> before(entered);
        c10::cuda::setCurrentCUDAStream(before->stream);
        // A device that was not used yet stays so.
        C10_CUDA_CHECK(c10::cuda::MaybeSetDevice(before->device));
        return true;
    });
}

// What comes into `stream` waits for what is in the thread's own by now.
bool csflowd_stream_fork(CsflowdStream* stream, char* error) {
    return guarded(error, [&] {
        wait(stream->stream(), c10::cuda::getCurrentCUDAStream(stream->device));
        return true;
    });
}

// What comes into the thread's own waits for what is in `stream` by now.
bool csflowd_stream_join(CsflowdStream* stream, char* error) {
    return guarded(error, [&] {
        wait(c10::cuda::getCurrentCUDAStream(stream->device), stream->stream());
        return true;
    });
}

// Waits for all that is under way on the device, and gives back what libtorch keeps of memory to use again.
bool csflowd_empty_cache(int32_t device, char* error) {
    return guarded(error, [&] {
        const c10::DeviceGuard guard(c10::Device(c10::DeviceType::CUDA, static_cast<c10::DeviceIndex>(device)));
        c10::cuda::device_synchronize();
        c10::cuda::CUDACachingAllocator::emptyCache();
        return true;
    });
}

// With `other` it uses the same memory: the two must not run at the same time.
CsflowdGraph* csflowd_graph(CsflowdGraph* other, char* error) {
    return guarded(error, [&] {
        std::unique_ptr<CsflowdGraph> graph(new CsflowdGraph);
        graph->pool = other ? other->pool : at::cuda::graph_pool_handle();
        graph->device = c10::cuda::current_device();
        return graph.release();
    });
}

void csflowd_graph_free(CsflowdGraph* graph) { delete graph; }

// Records what the calling thread's stream is given, without doing it, until `csflowd_graph_end`. Calls that other threads make
// meanwhile do no harm.
bool csflowd_graph_begin(CsflowdGraph* graph, char* error) {
    const auto has_begun = guarded(error, [&] {
        graph->graph.capture_begin(graph->pool, cudaStreamCaptureModeThreadLocal);
        return true;
    });
    if (!has_begun) graph->abandon();
    return has_begun;
}

bool csflowd_graph_end(CsflowdGraph* graph, char* error) {
    const auto has_ended = guarded(error, [&] {
        graph->graph.capture_end();
        return true;
    });
    if (!has_ended) graph->abandon();
    return has_ended;
}

// Does what was recorded, in the calling thread's stream.
bool csflowd_graph_replay(CsflowdGraph* graph, char* error) {
    return guarded(error, [&] {
        graph->graph.replay();
        return true;
    });
}

}  // extern "C"
