//! The scripted agent as a program of its own, for tests: `scripted_agent FILE`, or `scripted_agent sandbox-host ...` as
//! the host that the sandbox starts.

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let Some(first) = std::env::args_os().nth(1) else {
        eprintln!("usage: scripted_agent FILE");
        return ExitCode::from(2);
    };
    if first == "sandbox-host" {
        return dcc_engines::sandbox::host_main();
    }
    dcc_sessions::scripted::scripted_main(Path::new(&first))
}
