//! Builds the path to libtorch into the binary, so that it runs without `LD_LIBRARY_PATH`, and what is written in C++.

use std::path::{Path, PathBuf};
use std::{env, fs};

fn main() {
    for watched in ["build.rs", "src/cpu", "src/cuda", "src/cxx"] {
        println!("cargo::rerun-if-changed={watched}");
    }
    println!("cargo::rerun-if-env-changed=LIBTORCH");
    let libtorch = env::var_os("LIBTORCH").map(PathBuf::from);
    if let Some(libtorch) = &libtorch {
        println!("cargo::rustc-link-arg=-Wl,-rpath,{}/lib", libtorch.display());
    }
    build_cpu();
    build_kernels();
    build_cuda(libtorch.as_deref());
}

fn build_cpu() {
    let files = ["adam", "channels", "enlarged", "inference", "resize", "training"]
        .map(|name| format!("src/cpu/{name}.cpp"));
    assert!(
        cpp()
            // Roots are taken by many at once, for which nobody may ask whether one failed.
            .flags(["-fopenmp", "-fno-math-errno"])
            .files(files)
            .try_compile("csflowd_cpu")
            .is_ok(),
        "src/cpu does not compile: if oneapi/dnnl/dnnl.hpp is missing, run make setup, or install libdnnl-dev"
    );
    println!("cargo::rustc-link-lib=dnnl");
    println!("cargo::rustc-link-lib=gomp");
}

/// The kernels of CUDA devices, for the CPU.
fn build_kernels() {
    let elements = ["f32", "f16", "bf16"];
    let all = elements.iter().zip(0..).flat_map(|element| [("trunk", element), ("flow", element)]);
    for (room, (element, number)) in all.chain([("resize", (&elements[0], 0))]) {
        cpp()
            .flags(["-xc++", "-include", "src/cuda/kernels/common.cuh", "-fno-math-errno"])
            .define("ELEMENT", number.to_string().as_str())
            .define("ELEMENT_NAME", *element)
            .file(format!("src/cuda/kernels/{room}.cu"))
            .compile(&format!("csflowd_{room}_{element}"));
    }
}

/// A library that the program opens by itself, since what it needs is not on every machine. It is built wherever CUDA's headers
/// are, with a GPU or without; elsewhere it is empty, and the program says so when it is asked for.
fn build_cuda(libtorch: Option<&Path>) {
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo names it")).join("csflowd_cuda.so");
    fs::write(&out, []).expect("cargo's folder can be written");
    let Some(libtorch) = libtorch else { return };
    let headers = [libtorch.join("../nvidia/cu13/include"), PathBuf::from("/usr/local/cuda/include")];
    let of_cuda = |headers: &&PathBuf| headers.join("crt/host_config.h").exists();
    // A libtorch for CPUs alone lacks a part of its own.
    let own = libtorch.join("include/c10/cuda/impl/cuda_cmake_macros.h");
    let Some(headers) = headers.iter().find(of_cuda).filter(|_| own.exists()) else {
        println!(
            "cargo::warning=without CUDA's headers a GPU will run the plain network alone, in f32; make setup fetches them"
        );
        // Until they are there.
        for headers in &headers {
            println!("cargo::rerun-if-changed={}", headers.display());
        }
        return;
    };
    let mut compiler = cpp().pic(true).get_compiler().to_command();
    let compiler = compiler
        .args(["-shared", "-fvisibility=default", "src/cuda/graphs.cpp", "src/cuda/kernels.cpp", "-isystem"])
        .arg(libtorch.join("include"))
        .arg("-isystem")
        .arg(headers)
        .arg("-o")
        .arg(&out);
    if !compiler.status().is_ok_and(|status| status.success()) {
        let headers = headers.display();
        println!(
            "cargo::warning=a GPU will run the plain network alone: src/cuda does not compile with the headers in {headers}"
        );
        fs::write(&out, []).expect("cargo's folder can be written");
    }
}

fn cpp() -> cc::Build {
    let mut build = cc::Build::new();
    build.cpp(true).std("c++17").opt_level(3);
    build
}
