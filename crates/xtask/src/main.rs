//! Project chores, one command each: `cargo xtask test`, `tidy`, `docs`, `bench`.
//!
//! Authority: none; reads the tree, writes only the generated pages under `docs/`. On failure it exits with 1 and says
//! what to do; misuse exits with 2.

mod bench;
mod browser;
mod docs;
mod test;
mod tidy;
mod tree;

use std::process::ExitCode;

const USAGE: &str = "cargo xtask test [--long]   everything a fresh machine can run
cargo xtask tidy            layering, lengths, forbidden words, generated pages
cargo xtask docs            makes docs/errors/*.md and docs/events.md anew
cargo xtask bench NAME      measures what is shipped; NAME: sessions";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let result = match words.as_slice() {
        ["test"] => test::run(false),
        ["test", "--long"] => test::run(true),
        ["tidy"] => tidy::run(),
        ["docs"] => docs::run(),
        ["bench", names @ ..] => bench::run(names),
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
