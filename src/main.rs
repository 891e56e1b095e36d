use std::process::ExitCode;

fn main() -> ExitCode {
    // Before anything else: the helper must be single-threaded.
    if let Some(code) = redrill::sandbox::dispatch(std::env::args_os().skip(1)) {
        return code;
    }
    ExitCode::SUCCESS
}
