// How C++ tells Rust that it failed. ../cxx.rs is the other side.

#pragma once

#include <cstddef>
#include <cstring>
#include <exception>

namespace csflowd {

// Of the array for the reason.
constexpr std::size_t ERROR_BYTES = 1024;

// Runs `work`, whose errors are C++ exceptions that must not reach Rust. If it fails, the reason is in `error` and the result is
// null or false.
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

}  // namespace csflowd
