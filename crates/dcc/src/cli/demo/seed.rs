//! The demo's repository and packets.

use std::path::Path;

use serde_json::{Value, json};

use dcc_core::job::{Bindings, JobRequest};
use dcc_core::op::Op;
use dcc_core::{Code, Failure, Outcome, WpId};
use dcc_engines::exec::{Exec, find_program};

use super::play::{approve, follow, pending_of};
use super::write_new;
use crate::cli::output::Output;
use crate::link::{Link, Remote};
use crate::wire::dirs::Dirs;

const README: &str = "# greeter\n\nA tiny project that greets people. The demo of the command center works on it.\n";
const CHECK: &str = "#!/bin/sh\n# Every text file of the project ends with a line feed and has no trailing blanks.\nset -eu\nfor file in README.md src/*.txt; do\n  [ -f \"$file\" ] || continue\n  if grep -n ' $' \"$file\"; then echo \"trailing blanks in $file\"; exit 1; fi\ndone\necho \"all files checked\"\n";
const CONFIG: &str = "# The demo's own configuration; yours stands in $XDG_CONFIG_HOME/dcc/config.toml.\n[recipes.check]\nargv = [\"sh\", \"check.sh\"]\ntimeout_ms = 20000\n";
const GITCONFIG: &str = "[user]\n\tname = Demo Operator\n\temail = operator@demo.invalid\n[init]\n\tdefaultBranch = main\n";

/// A real repository with history, and the configuration beside it.
pub fn repository(dir: &Path, repo: &Path, dirs: &Dirs) -> Outcome<()> {
    write_new(&dirs.config_file(), CONFIG)?;
    write_new(&dir.join("home/.gitconfig"), GITCONFIG)?;
    write_new(&repo.join("README.md"), README)?;
    git(dir, repo, &["init", "--quiet", "--initial-branch=main"])?;
    commit(dir, repo, "Begin the greeter")?;
    write_new(&repo.join("src/words.txt"), "hello\nwelcome\ngood morning\n")?;
    commit(dir, repo, "Add the words that greetings are made of")?;
    write_new(&repo.join("check.sh"), CHECK)?;
    commit(dir, repo, "Check the text files")
}

fn commit(dir: &Path, repo: &Path, message: &str) -> Outcome<()> {
    git(dir, repo, &["add", "--all"])?;
    git(dir, repo, &["commit", "--quiet", "-m", message])
}

fn git(dir: &Path, repo: &Path, arguments: &[&str]) -> Outcome<()> {
    let program = find_program("git").ok_or_else(|| Failure::new(Code::VcsRepoInvalid, "git is not on PATH").hint("install git 2.38 or newer"))?;
    let mut exec = Exec::new(program, repo);
    exec.args = arguments.iter().map(Into::into).collect();
    let home = dir.join("home");
    exec.env = vec![
        ("HOME".into(), home.clone().into_os_string()),
        ("GIT_CONFIG_GLOBAL".into(), home.join(".gitconfig").into_os_string()),
        ("GIT_CONFIG_NOSYSTEM".into(), "1".into()),
        ("PATH".into(), std::env::var_os("PATH").unwrap_or_default()),
    ];
    let done = exec.run()?;
    if done.is_success() {
        return Ok(());
    }
    Err(Failure::engine(format!("git {}: {}", arguments.join(" "), String::from_utf8_lossy(&done.stderr).trim())))
}

/// Sends one job and demands that it completes.
pub fn job(link: &Remote, op: Op, wp: Option<&str>, mt: Option<&str>, params: Value) -> Outcome<Value> {
    let bindings = Bindings { wp_id: wp.map(WpId::parse).transpose()?, mt_id: mt.map(dcc_core::MtId::parse).transpose()?, ..Bindings::default() };
    send(link, op, params, bindings)
}

pub fn send(link: &Remote, op: Op, params: Value, bindings: Bindings) -> Outcome<Value> {
    let job = link.submit(&JobRequest { op, params, bindings, idempotency_key: None })?;
    follow(link, &job)
}

fn packet(link: &Remote, title: &str, priority: u8, criteria: &[&str], tasks: &[&str]) -> Outcome<String> {
    let made = job(link, Op::LocusCreateWp, None, None, json!({ "title": title, "priority": priority, "acceptance_criteria": criteria }))?;
    let wp = made["wp_id"].as_str().unwrap_or_default().to_owned();
    if !tasks.is_empty() {
        let tasks: Vec<Value> = tasks.iter().map(|name| json!({ "name": name, "done_criteria": [format!("{name}: seen in the review")] })).collect();
        job(link, Op::LocusRegisterMts, Some(&wp), None, json!({ "micro_tasks": tasks }))?;
    }
    Ok(wp)
}

fn ready(link: &Remote, wp: &str) -> Outcome<()> {
    job(link, Op::LocusUpdateWp, Some(wp), None, json!({ "set": { "status": "ready" } })).map(|_| ())
}

fn start(link: &Remote, wp: &str) -> Outcome<()> {
    ready(link, wp)?;
    job(link, Op::LocusGateWp, Some(wp), None, json!({ "gate": "pre_work", "result": "pass" }))?;
    job(link, Op::LocusStartWp, Some(wp), None, json!({})).map(|_| ())
}

/// Five packets in different lanes and a session that asks for something. Nothing is made twice.
pub fn packets(link: &Remote, out: &Output) -> Outcome<()> {
    let there = link.query(&dcc_api::door::Query::Wps { status: None, ready: false, all: false, paging: dcc_api::door::Paging::default() })?;
    if there["items"].as_array().is_some_and(|items| !items.is_empty()) {
        return Ok(());
    }
    let done = packet(link, "Collect the words that greetings are made of", 2, &["src/words.txt holds at least three words"], &["Write src/words.txt"])?;
    start(link, &done)?;
    job(link, Op::LocusStartMt, Some(&done), Some("MT-001"), json!({}))?;
    job(link, Op::LocusCompleteMt, Some(&done), Some("MT-001"), json!({ "evidence": { "statement": "read in the repository's history by the demo" } }))?;
    job(link, Op::LocusGateWp, Some(&done), None, json!({ "gate": "post_work", "result": "skip", "reason": "made before the demo began" }))?;
    job(link, Op::LocusCloseWp, Some(&done), None, json!({ "verdict": "done before the demo" }))?;
    let active = packet(link, "Greet people in the README", 1, &["README.md names the greeting", "src/greeting.txt exists"], &["Write the greeting", "Mention it in the README", "Review and commit"])?;
    start(link, &active)?;
    let next = packet(link, "Greet in more than one language", 2, &["Two languages besides English"], &["Choose the languages", "Write the words"])?;
    ready(link, &next)?;
    let blocked = packet(link, "Print greetings as a table", 3, &["One row a language"], &["Lay out the table"])?;
    ready(link, &blocked)?;
    job(link, Op::LocusAddDependency, Some(&blocked), None, json!({ "kind": "blocked_by", "to_wp_id": next }))?;
    job(link, Op::LocusBlockWp, Some(&blocked), None, json!({ "reason": "needs the words of more than one language" }))?;
    packet(link, "Say goodbye as well", 4, &[], &[])?;
    work_on(link, out, &active)
}

/// Makes the worktree and starts the agent; its first request is left for the person.
fn work_on(link: &Remote, out: &Output, wp: &str) -> Outcome<()> {
    job(link, Op::LocusStartMt, Some(wp), Some("MT-001"), json!({}))?;
    let parked = job(link, Op::WorkspaceCreate, Some(wp), None, json!({}))?;
    let made = approve(link, &parked, "once")?;
    out.note("the demo approved the worktree by itself (recorded as unattended); everything after it is yours to decide");
    let workspace_id = made["workspace_id"].as_str().and_then(|t| t.parse().ok()).ok_or_else(|| Failure::engine("no workspace_id"))?;
    let bindings = Bindings { workspace_id: Some(workspace_id), mt_id: Some(dcc_core::MtId::parse("MT-001")?), ..Bindings::default() };
    let session = send(link, Op::SessionStart, json!({ "agent": "scripted", "prompt": "Add a greeting and mention it in the README." }), bindings)?;
    let session_id = session["session_id"].as_str().unwrap_or_default();
    pending_of(link, session_id).map(|_| ())
}
