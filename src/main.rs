use std::process::ExitCode;

fn main() -> ExitCode {
    csflowd::cli::main()
}
