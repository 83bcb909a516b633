//! Checks of the machine: what a person would look at when something does not work.

use super::project::Found;

/// One check: name, status word (ok, needs, fault, absent), evidence, and the command that mends it.
pub type Check = (String, String, String, Option<String>);

/// Cheap checks made when a project is opened.
pub fn machine_checks(found: &Found) -> Vec<Check> {
    let facts = &found.facts;
    let mut checks = vec![
        ("git".to_owned(), "ok".to_owned(), format!("{}, objects {}, refs {}", facts.git_version, facts.object_format, facts.ref_format), None),
        exclude_check(found),
    ];
    if found.is_initialised() {
        checks.push(match super::read_only::probe(&found.state_dir) {
            Ok(()) => ("project files".to_owned(), "ok".to_owned(), format!("{} can be written", found.state_dir.display()), None),
            Err(failure) => ("project files".to_owned(), "fault".to_owned(), format!("read only: {}", failure.message), failure.hint),
        });
    }
    if !facts.executable_keys.is_empty() {
        checks.push((
            "git configuration".to_owned(),
            "ok".to_owned(),
            format!("{} keys could run something and are neutralised: {}", facts.executable_keys.len(), facts.executable_keys.join(", ")),
            None,
        ));
    }
    checks
}

fn exclude_check(found: &Found) -> Check {
    let path = found.common_dir_path().join("info/exclude");
    let text = std::fs::read_to_string(&path).unwrap_or_default();
    let there = super::project::EXCLUDE_LINES.iter().all(|line| text.lines().any(|l| l == *line));
    let (status, evidence) = if there { ("ok", "/.handshake/ is excluded in info/exclude") } else { ("needs", "/.handshake/ is not excluded") };
    ("exclude".to_owned(), status.to_owned(), evidence.to_owned(), (!there).then(|| "dcc init".to_owned()))
}
