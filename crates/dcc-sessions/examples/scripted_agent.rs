//! The scripted agent as a program of its own, for tests: `scripted_agent FILE`.

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let Some(file) = std::env::args_os().nth(1) else {
        eprintln!("usage: scripted_agent FILE");
        return ExitCode::from(2);
    };
    dcc_sessions::scripted::scripted_main(Path::new(&file))
}
