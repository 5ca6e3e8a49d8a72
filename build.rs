//! Builds the path to libtorch into the binary, so that it runs without `LD_LIBRARY_PATH`, and the C++ around oneDNN.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=src/engine/onednn.cpp");
    println!("cargo::rerun-if-env-changed=LIBTORCH");
    if let Ok(libtorch) = std::env::var("LIBTORCH") {
        println!("cargo::rustc-link-arg=-Wl,-rpath,{libtorch}/lib");
    }
    assert!(
        cc::Build::new()
            .cpp(true)
            .std("c++17")
            .file("src/engine/onednn.cpp")
            .try_compile("csflowd_onednn")
            .is_ok(),
        "src/engine/onednn.cpp does not compile: if oneapi/dnnl/dnnl.hpp is missing, run make setup, or install libdnnl-dev"
    );
    println!("cargo::rustc-link-lib=dnnl");
}
