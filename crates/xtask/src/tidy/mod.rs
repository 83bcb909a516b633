//! What keeps the tree in order. Each check is a function from the tree to findings, run by `cargo xtask tidy` and, one
//! by one, as ordinary tests.
//!
//! Invariant: a check that finds nothing to look at is itself a finding, so that a moved folder cannot silence it.

mod failpoints;
mod files;
mod layering;
mod links;
mod pages;

use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;

use crate::tree;

/// One thing that is out of order: where, what, and what to do.
pub type Finding = String;

type Check = (&'static str, fn(&Path) -> Result<Vec<Finding>>);

const CHECKS: [Check; 8] = [
    ("imports follow the table of ARCHITECTURE.md", layering::check),
    ("files are short", files::lengths),
    ("no unfinished code and no timed sleep", files::words),
    ("no machine's own paths", files::machine_paths),
    ("a release has no failpoint", failpoints::check),
    ("docs/errors equals the codes", pages::errors),
    ("docs/events.md equals the registry", pages::events),
    ("links in the documents lead somewhere", links::check),
];

/// Prints every check with its findings.
pub fn run() -> Result<ExitCode> {
    let root = tree::root();
    let mut count = 0;
    for (name, check) in CHECKS {
        let findings = check(&root)?;
        println!("tidy: {name}: {}", if findings.is_empty() { "ok".to_owned() } else { format!("{} findings", findings.len()) });
        for finding in &findings {
            println!("  {finding}");
        }
        count += findings.len();
    }
    Ok(if count == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(check: fn(&Path) -> Result<Vec<Finding>>) {
        let findings = check(&tree::root()).unwrap();
        assert!(findings.is_empty(), "\n{}\n", findings.join("\n"));
    }

    #[test]
    fn imports_follow_the_table() {
        holds(layering::check);
    }
    #[test]
    fn files_are_short() {
        holds(files::lengths);
    }
    #[test]
    fn nothing_is_unfinished_and_nothing_sleeps() {
        holds(files::words);
    }
    #[test]
    fn no_path_of_a_machine_is_named() {
        holds(files::machine_paths);
    }
    #[test]
    fn every_failure_code_has_its_page() {
        holds(pages::errors);
    }
    #[test]
    fn the_event_page_equals_the_registry() {
        holds(pages::events);
    }
    #[test]
    fn a_release_has_no_failpoint() {
        holds(failpoints::check);
    }
    #[test]
    fn links_lead_somewhere() {
        holds(links::check);
    }
}
