//! Project chores, one command each: `cargo xtask test`, `tidy`, `docs`, `bench`.
//!
//! Authority: none; reads the tree, writes only the generated pages under `docs/`. On failure it exits with 1 and says
//! what to do; misuse exits with 2.

mod browser;
mod docs;
mod test;
mod tidy;
mod tree;

use std::process::ExitCode;

const USAGE: &str = "cargo xtask test [--long]   everything a fresh machine can run
cargo xtask tidy            layering, lengths, forbidden words, generated pages
cargo xtask docs            makes docs/errors/*.md and docs/events.md anew
cargo xtask bench NAME      no benchmark is built yet";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let result = match words.as_slice() {
        ["test"] => test::run(false),
        ["test", "--long"] => test::run(true),
        ["tidy"] => tidy::run(),
        ["docs"] => docs::run(),
        ["bench", names @ ..] => return bench(names),
        ["help" | "--help" | "-h"] => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    result.unwrap_or_else(|error| {
        eprintln!("xtask: {error:#}");
        ExitCode::FAILURE
    })
}

/// Asking for a benchmark that does not exist must not look like a result.
fn bench(names: &[&str]) -> ExitCode {
    eprintln!("xtask: no benchmark {:?}: none is built yet, see docs/benchmarks.md", names.join(" "));
    ExitCode::from(2)
}
