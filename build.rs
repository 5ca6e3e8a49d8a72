//! Builds the path to libtorch into the binary, so that it runs without `LD_LIBRARY_PATH`, and the C++ that reaches what
//! tch has no binding for.

use std::path::PathBuf;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=src/engine/shim.cpp");
    println!("cargo::rerun-if-env-changed=LIBTORCH");
    println!("cargo::rerun-if-env-changed=LIBTORCH_INCLUDE");
    let libtorch = std::env::var("LIBTORCH");
    if let Ok(libtorch) = &libtorch {
        println!("cargo::rustc-link-arg=-Wl,-rpath,{libtorch}/lib");
    }
    // Where torch-sys looks, too.
    let headers = std::env::var("LIBTORCH_INCLUDE").or(libtorch).unwrap_or_else(|_| "/usr".to_owned());
    let headers = PathBuf::from(headers).join("include");
    assert!(
        headers.join("ATen/ATen.h").is_file(),
        "no headers of libtorch in {}: run make setup, or set LIBTORCH to a libtorch with its folder include",
        headers.display()
    );
    cc::Build::new()
        .cpp(true)
        .std("c++17")
        .flag("-isystem")
        .flag(headers)
        .file("src/engine/shim.cpp")
        .compile("csflowd_shim");
}
