//! Words of the planned command line that are not built: they answer HSK-501-NOT-BUILT with their name instead of
//! passing for a typing error. What each will do stands in docs/roadmap.md.
//!
//! Invariant: a word leaves this table in the commit that builds it; a test walks the planned command line.

use std::ffi::OsString;

use dcc_core::{Code, Failure};

/// A command and its planned verbs; none means the whole command.
const PLANNED: [(&str, &[&str]); 10] = [
    ("anchor", &[]),
    ("backup", &[]),
    ("board", &["reconcile", "import", "accept", "reject"]),
    ("import", &[]),
    ("policy", &[]),
    ("project", &[]),
    ("restore", &[]),
    ("vcs", &["show", "branch", "revert-commit", "restore", "reset", "clean", "switch", "stash", "amend", "merge", "rebase", "undo"]),
    ("wp", &["import"]),
    ("ws", &["import", "prune", "remove"]),
];

/// The words of a call that are no options, and whether an object was asked for; the command's own part after `--` is not looked at.
fn words(arguments: &[OsString]) -> (Vec<&str>, bool) {
    let mut words = Vec::new();
    let mut json = false;
    let mut given = arguments.iter().filter_map(|a| a.to_str()).take_while(|a| *a != "--");
    while let Some(word) = given.next() {
        match word {
            "--json" => json = true,
            "-C" | "--project" => {
                given.next();
            }
            option if option.starts_with('-') => {}
            word => words.push(word),
        }
    }
    (words, json)
}

/// The failure of a call for something planned and not built, and whether it is to be told as an object.
pub fn asked_for(arguments: &[OsString]) -> Option<(Failure, bool)> {
    let (words, json) = words(arguments);
    let (command, verbs) = PLANNED.iter().find(|(command, _)| words.first() == Some(command))?;
    let name = match verbs {
        [] => format!("dcc {command}"),
        verbs => format!("dcc {command} {}", verbs.iter().find(|verb| words.get(1) == Some(*verb))?),
    };
    Some((Failure::new(Code::NotBuilt, format!("{name} is not built yet")).hint("docs/roadmap.md says what is planned; nothing was changed"), json))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::Args;
    use clap::CommandFactory as _;

    /// Every command and verb of the planned command line.
    const PROMISED: [(&str, &str); 20] = [
        ("demo up init status doctor rebuild backup restore completions run search timeline mcp", ""),
        ("project", ""),
        ("agent", "list login"),
        ("budget", "show set"),
        ("wp", "create list show set gate ready start block unblock hold release close cancel reopen note dep import"),
        ("mt", "add list show start fail block skip done"),
        ("ws", "create import list show open close archive prune remove repair link unlink"),
        ("session", "start list show attach pause resume cancel retry tree send close"),
        ("approvals", "list show approve deny"),
        ("grants", "list revoke"),
        ("job", "list show wait cancel"),
        ("vcs", "status diff log commit show branch revert-commit restore reset clean switch stash amend merge rebase undo"),
        ("anchor", "create list show note link set"),
        ("handoff", "write list show"),
        ("recorder", "verify tail export"),
        ("board", "render sync reconcile import accept reject"),
        ("policy", "show explain test"),
        ("backup", ""),
        ("restore", ""),
        ("import", ""),
    ];

    #[test]
    fn every_planned_word_is_built_or_says_that_it_is_not() {
        let built = Args::command();
        let told = |words: &[&str]| asked_for(&words.iter().map(OsString::from).collect::<Vec<_>>()).is_some();
        for (commands, verbs) in PROMISED {
            for command in commands.split(' ') {
                let found = built.find_subcommand(command);
                assert!(found.is_some() != told(&[command]), "{command} is built and said not to be, or neither");
                for verb in verbs.split(' ').filter(|verb| !verb.is_empty()) {
                    let is_built = found.is_some_and(|found| found.find_subcommand(verb).is_some());
                    assert!(is_built != told(&[command, verb]), "{command} {verb} is built and said not to be, or neither");
                }
            }
        }
    }

    #[test]
    fn what_stands_for_something_else_is_left_alone() {
        let asked = |words: &[&str]| asked_for(&words.iter().map(OsString::from).collect::<Vec<_>>());
        assert!(asked(&["wp", "note", "WP-1", "import"]).is_none());
        assert!(asked(&["run", "--ws", "w", "--", "vcs", "stash"]).is_none());
        assert!(asked(&["-C", "backup", "wp", "list"]).is_none());
        let (failure, json) = asked(&["vcs", "stash", "--ws", "w", "--json"]).unwrap();
        assert_eq!((failure.code, failure.message.as_str(), json), (Code::NotBuilt, "dcc vcs stash is not built yet", true));
    }
}
