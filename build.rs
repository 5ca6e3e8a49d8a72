//! Builds the path to libtorch into the binary, so that it runs without `LD_LIBRARY_PATH`, and what is written in C++.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=src/cpu");
    println!("cargo::rerun-if-env-changed=LIBTORCH");
    if let Ok(libtorch) = std::env::var("LIBTORCH") {
        println!("cargo::rustc-link-arg=-Wl,-rpath,{libtorch}/lib");
    }
    let files = ["adam", "inference", "training"].map(|name| format!("src/cpu/{name}.cpp"));
    assert!(
        cc::Build::new()
            .cpp(true)
            .std("c++17")
            .opt_level(3)
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
