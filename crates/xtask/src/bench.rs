//! Benchmarks: builds what is shipped and runs one measurement of the whole binary. They judge nothing and are part of no
//! test run; what they print is written into docs/benchmarks.md by hand, with the day and the machine.

use std::process::ExitCode;

use anyhow::{Result, ensure};

use crate::browser::{self, Browser};
use crate::test::cargo;
use crate::tree;

/// Name of a benchmark, and the ignored test of `dcc` that measures it.
const BENCHES: [(&str, &str); 1] = [("sessions", "bench::bench_sessions")];

/// Runs the named benchmark; asking for one that does not exist must not look like a result.
pub fn run(names: &[&str]) -> Result<ExitCode> {
    let Some((_, test)) = names.first().and_then(|name| BENCHES.iter().find(|(known, _)| known == name)).filter(|_| names.len() == 1) else {
        let known: Vec<&str> = BENCHES.iter().map(|(name, _)| *name).collect();
        eprintln!("xtask: no benchmark {:?}: built are {}; the others are planned, see docs/benchmarks.md", names.join(" "), known.join(", "));
        return Ok(ExitCode::from(2));
    };
    let Browser::Found { chromium, driver } = browser::require()? else { return Ok(ExitCode::FAILURE) };
    ensure!(cargo().args(["build", "--locked", "--release", "--package", "dcc"]).status()?.success(), "dcc does not build");
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| tree::root().join("target"), |folder| tree::root().join(folder));
    let mut measure = cargo();
    measure.args(["test", "--locked", "--package", "dcc", "--test", "it", "--", "--ignored", "--exact", test, "--nocapture"]);
    measure.env("DCC_BENCH_PROGRAM", target.join("release/dcc")).env("DCC_TEST_LONG", "1").env("DCC_TEST_BROWSER", "found").env("DCC_TEST_CHROMIUM", chromium).env("DCC_TEST_CHROMEDRIVER", driver);
    Ok(if measure.status()?.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Cargo says that all is well when no test has the name.
    #[test]
    fn every_benchmark_names_a_test_that_is_there() {
        for (name, test) in BENCHES {
            let (module, function) = test.split_once("::").expect("a module and a function");
            let text = tree::load(&tree::root(), &format!("crates/dcc/tests/it/{module}.rs")).expect("the module");
            assert!(text.contains("#[ignore") && text.contains(&format!("fn {function}()")), "{name}: {test}");
        }
    }
}
