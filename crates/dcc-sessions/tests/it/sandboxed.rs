//! The scripted agent in the kernel's sandbox. Where the kernel cannot enforce it, the refusal is what is tested.

#![allow(clippy::disallowed_methods, reason = "a test's fixture")]

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use dcc_core::failure::Code;
use dcc_core::op::Op;
use dcc_core::plans::SessionStartPlan;
use dcc_core::ports::sandbox::Sandbox as _;
use dcc_core::ports::sessions::{SessionBackend, StartedAgent};
use dcc_engines::sandbox::LandlockSandbox;
use dcc_sessions::AcpBackend;
use dcc_sessions::sandbox::SandboxLauncher;
use serde_json::{Value, json};

use crate::support::{ALLOW, PATIENCE, Rig, cleared, options, scripted_agent, turn_plan, uuid_text};

struct Confined {
    rig: Rig,
    backend: AcpBackend,
    launcher: Arc<SandboxLauncher>,
    plan: SessionStartPlan,
    enforced: bool,
    run_dir: PathBuf,
}

fn confined(script: &Value) -> Confined {
    let rig = Rig::new(script, ALLOW);
    let base = rig.dir.path().canonicalize().unwrap();
    let (run_dir, homes_dir) = (base.join("run"), base.join("homes"));
    let host = vec![scripted_agent().into_os_string(), "sandbox-host".into()];
    let sandbox = Arc::new(LandlockSandbox::new(host, run_dir.clone()));
    let enforced = sandbox.posture().filesystem && sandbox.posture().network;
    let launcher = Arc::new(SandboxLauncher::new(sandbox, run_dir.clone(), homes_dir));
    let git_dir = base.join("main/.git/worktrees/one");
    std::fs::create_dir_all(&git_dir).unwrap();
    let mut plan = rig.plan();
    plan.git_dir = git_dir.to_string_lossy().into_owned();
    plan.common_dir = base.join("main/.git").to_string_lossy().into_owned();
    plan.read_paths = vec![base.join("script.json").to_string_lossy().into_owned()];
    let backend = AcpBackend::new(launcher.clone(), options());
    Confined { rig, backend, launcher, plan, enforced, run_dir }
}

impl Confined {
    /// None where the kernel cannot enforce the sandbox, after the refusal was seen.
    fn start(&self) -> Option<StartedAgent> {
        let started = self.backend.start(self.rig.session_id, cleared(Op::SessionStart, self.plan.clone()), dcc_core::ports::StartExtras::default(), self.rig.host.clone());
        if self.enforced {
            return Some(started.unwrap());
        }
        eprintln!("this kernel does not enforce the sandbox; only the refusal is tested");
        assert_eq!(started.unwrap_err().code, Code::SandboxUnavailable);
        None
    }

    fn play(&self) -> Result<String, dcc_core::Failure> {
        let turn = uuid_text().parse().unwrap();
        self.backend.prompt(turn, turn_plan(self.rig.session_id, "go")).unwrap();
        self.rig.end_of(turn)
    }
}

#[test]
fn it_works_in_its_worktree_and_nowhere_else() {
    let outside = "/var/tmp/dcc-sessions-sandbox-test";
    let steps = json!([
        {"edit": {"path": "a.txt", "new": "through the host\n"}, "ask": true},
        {"run": {"argv": ["sh", "-c", format!("echo own > own.txt && echo $HOME && ! echo no > {outside}")]}, "ask": true},
        {"write_unasked": {"path": outside, "text": "x"}}, {"leave_child": 600}]);
    let confined = confined(&json!({"turns": [{"steps": steps}]}));
    let Some(started) = confined.start() else { return };
    assert!(started.posture.filesystem && !started.posture.layers.is_empty());
    assert_eq!(confined.play().unwrap(), "end_turn");
    assert_eq!(confined.rig.read("a.txt").as_deref(), Some("through the host\n"));
    assert_eq!(confined.rig.read("own.txt").as_deref(), Some("own\n"));
    assert!(!std::path::Path::new(outside).exists());
    assert!(confined.rig.host.messages().last().unwrap().contains("unasked write"), "{:?}", confined.rig.host.messages());
    let home = confined.launcher.home_path("scripted").to_string_lossy().into_owned();
    assert!(format!("{:?}", confined.rig.host.heard().reports).contains(&home), "HOME is the agent's own");
    confined.backend.stop(confined.rig.session_id).unwrap();
    confined.rig.wait_exit();
    assert!(confined.backend.live().is_empty() && !confined.backend.reap(&started.process), "nothing is left to reap");
}

#[test]
fn a_crash_in_the_sandbox_ends_the_session_and_its_directory() {
    let confined = confined(&json!({"turns": [{"steps": [{"leave_child": 600}, {"exit": {"code": 5}}]}]}));
    if confined.start().is_none() {
        return;
    }
    assert!(confined.play().unwrap_err().message.contains("exit code 5"));
    let (code, stderr) = confined.rig.wait_exit();
    assert!(code == Some(5) && stderr.contains("exit with 5"), "{stderr}");
    confined.backend.stop(confined.rig.session_id).unwrap();
    let left = || std::fs::read_dir(&confined.run_dir).unwrap().flatten().map(|entry| entry.file_name()).find(|name| name.to_string_lossy().starts_with("session-"));
    let deadline = Instant::now() + PATIENCE;
    // It goes with the last thread that knows the session, which ends just after its last report.
    while let Some(name) = left() {
        assert!(Instant::now() < deadline, "{} stays", name.display());
        std::thread::yield_now();
    }
}

#[test]
fn a_missing_program_is_told_before_anything_runs() {
    let mut confined = confined(&json!({}));
    confined.plan.executable = "/nowhere/agent".into();
    let failure = confined.backend.start(confined.rig.session_id, cleared(Op::SessionStart, confined.plan.clone()), dcc_core::ports::StartExtras::default(), confined.rig.host.clone()).unwrap_err();
    assert_eq!(failure.code, Code::NotFoundAgent);
}

/// A plain command in a terminal, in the same sandbox.
#[test]
fn a_plain_command_has_a_terminal_that_is_watched_and_typed_into() {
    use dcc_core::ports::sessions::{AgentReport, ApprovalStyle, Driver};
    let confined = confined(&json!({}));
    let backend = dcc_sessions::pty::PtyBackend::new(confined.launcher.clone());
    let mut plan = confined.plan.clone();
    plan.driver = Driver::Pty;
    plan.executable = "/bin/sh".into();
    plan.command = vec!["sh".into(), "-c".into(), "echo hello; read line; echo \"said $line\" > said.txt; trap '' INT; setsid sleep 300 & read line; echo \"then $line\"; exit 3".into()];
    let id = confined.rig.session_id;
    let started = backend.start(id, cleared(Op::SessionStart, plan), dcc_core::ports::StartExtras::default(), confined.rig.host.clone());
    if !confined.enforced {
        assert_eq!(started.unwrap_err().code, Code::SandboxUnavailable);
        return;
    }
    let capabilities = started.unwrap().capabilities;
    assert_eq!((capabilities.driver, capabilities.approvals), (Driver::Pty, ApprovalStyle::None), "nothing is pretended");
    let terminal = backend.terminal(id).unwrap();
    let mut seen = Vec::new();
    while !String::from_utf8_lossy(&seen).contains("hello") {
        seen.extend(terminal.read(seen.len() as u64, None, PATIENCE).bytes);
    }
    let turn = uuid_text().parse().unwrap();
    backend.prompt(turn, turn_plan(id, "one")).unwrap();
    assert_eq!(confined.rig.end_of(turn).unwrap(), "typed");
    terminal.resize(dcc_core::ports::terminal::TerminalSize { rows: 40, columns: 100 }).unwrap();
    terminal.write(b"two\n").unwrap();
    let (code, head) = confined.rig.wait_exit();
    assert_eq!(code, Some(3));
    assert!(head.contains("then two"), "{head}");
    assert_eq!(confined.rig.read("said.txt").as_deref(), Some("said one\n"));
    let transcript = confined.rig.host.wait_for("the transcript", |heard| {
        heard.reports.iter().find_map(|r| match r {
            AgentReport::Attachment(a) => a.data.clone(),
            _ => None,
        })
    });
    assert!(String::from_utf8_lossy(&transcript).contains("hello"));
    assert!(terminal.read(0, None, PATIENCE).ended || !terminal.read(0, None, PATIENCE).bytes.is_empty());
    assert!(backend.prompt(turn, turn_plan(id, "late")).is_err());
}
