//! `dcc`: the command center's binary. Parses, wires, renders; decides nothing.

mod agents;
mod cli;
mod link;
mod wire;

use std::process::ExitCode;

fn main() -> ExitCode {
    // Re-executed, single-threaded helpers come first: they must not meet a runtime or a parsed environment.
    let mut arguments = std::env::args_os().skip(1);
    match arguments.next().as_deref().and_then(std::ffi::OsStr::to_str) {
        Some("sandbox-host") => return dcc_engines::sandbox::host_main(),
        Some("scripted-agent") => return cli::scripted_agent(arguments.next()),
        _ => {}
    }
    #[cfg(debug_assertions)]
    wire::failpoint::arm();
    cli::run()
}
