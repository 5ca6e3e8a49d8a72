// Kernels of csflowd's own, and memory that a device reads by itself. Part of the library of graphs.cpp.

#include <memory>

#include <c10/core/Device.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAFunctions.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

#include "../cxx/guarded.hpp"

using csflowd::guarded;

struct CsflowdKernels {
    cudaLibrary_t library = nullptr;

    ~CsflowdKernels() {
        if (library) cudaLibraryUnload(library);
    }
};

extern "C" {

// The device's compute capability: ten times the major number and the minor one; 0 is an error.
int32_t csflowd_capability(int32_t device, char* error) {
    return guarded(error, [&] {
        int major = 0, minor = 0;
        C10_CUDA_CHECK(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device));
        C10_CUDA_CHECK(cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device));
        return int32_t(10 * major + minor);
    });
}

// What NVRTC has made. It copies the code.
CsflowdKernels* csflowd_kernels(const void* code, char* error) {
    return guarded(error, [&] {
        std::unique_ptr<CsflowdKernels> kernels(new CsflowdKernels);
        C10_CUDA_CHECK(cudaLibraryLoadData(&kernels->library, code, nullptr, nullptr, 0, nullptr, nullptr, 0));
        return kernels.release();
    });
}

void csflowd_kernels_free(CsflowdKernels* kernels) { delete kernels; }

// Gives a kernel, whose one argument this is, to the calling thread's stream.
bool csflowd_launch(CsflowdKernels* kernels, const char* name, const int32_t* grid, int32_t threads, void* argument, int32_t device,
                    char* error) {
    return guarded(error, [&] {
        const auto index = static_cast<c10::DeviceIndex>(device);
        const c10::cuda::CUDAGuard guard(index);
        cudaKernel_t kernel = nullptr;
        C10_CUDA_CHECK(cudaLibraryGetKernel(&kernel, kernels->library, name));
        void* arguments[] = {argument};
        C10_CUDA_CHECK(cudaLaunchKernel(static_cast<const void*>(kernel), dim3(grid[0], grid[1], grid[2]), dim3(threads), arguments, 0,
                                        c10::cuda::getCurrentCUDAStream(index)));
        return true;
    });
}

// Locked in memory.
void* csflowd_pinned(uint64_t bytes, char* error) {
    return guarded(error, [&] {
        void* made = nullptr;
        C10_CUDA_CHECK(cudaHostAlloc(&made, bytes, cudaHostAllocDefault));
        return made;
    });
}

// If the device is lost this fails, and there is nothing to be done about it.
void csflowd_pinned_free(void* made) { cudaFreeHost(made); }

}  // extern "C"
