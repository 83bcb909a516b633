//! What every sandbox test needs: a repository with a linked worktree, things beside it that must stay closed, plans.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use dcc_core::failure::Outcome;
use dcc_core::gate::Cleared;
use dcc_core::op::Op;
use dcc_core::plan::PlanBody;
use dcc_core::plans::{RecipePlan, SessionStartPlan};
use dcc_core::ports::sandbox::{RunReport, Sandbox as _};
use dcc_core::principal::Role;
use dcc_core::time::Timestamp;
use dcc_engines::sandbox::LandlockSandbox;

use crate::clearance::cleared_for;

pub struct World {
    dir: tempfile::TempDir,
    pub sandbox: LandlockSandbox,
}

/// The host of the tests: an example of this crate, which plain `cargo test` builds. With `--test` cargo does not, so
/// it is built here when it is missing or older than this very test.
#[allow(clippy::disallowed_methods, reason = "cargo is not ours to confine")]
pub fn host() -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let build = || {
        let own = std::env::current_exe().unwrap();
        let profile_dir = own.ancestors().nth(2).unwrap();
        let path = profile_dir.join("examples/sandbox_host");
        let changed = |path: &Path| std::fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
        if changed(&path).is_none_or(|at| Some(at) < changed(&own)) {
            let mut cargo = Command::new(env!("CARGO"));
            cargo.args(["build", "--quiet", "--offline", "--example", "sandbox_host", "--manifest-path"]);
            cargo.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")).arg("--target-dir").arg(profile_dir.parent().unwrap());
            if profile_dir.ends_with("release") {
                cargo.arg("--release");
            }
            let output = cargo.output();
            assert!(path.exists(), "{} is missing and could not be built: {output:?}", path.display());
        }
        path
    };
    BUILT.get_or_init(build).clone()
}

pub fn host_command() -> Vec<OsString> {
    vec![host().into()]
}

/// Unique on the machine, since a marker is looked for in all of /proc.
pub fn unique_id() -> String {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().subsec_nanos();
    format!("{:08x}-0000-7000-8000-{since:08x}{:04x}", std::process::id(), number & 0xffff)
}

#[allow(clippy::disallowed_methods, reason = "tests set up their world with git itself")]
pub fn git(dir: &Path, arguments: &[&str]) -> String {
    let output = Command::new("git")
        .args(["-c", "user.name=T", "-c", "user.email=t@example.invalid", "-c", "init.defaultBranch=main", "-C"])
        .arg(dir)
        .args(arguments)
        .output()
        .unwrap();
    assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[allow(clippy::disallowed_methods, reason = "a test's own files")]
pub fn write(path: &Path, text: &str) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

impl World {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let root = std::fs::canonicalize(dir.path()).unwrap();
        let main = root.join("repo");
        std::fs::create_dir(&main).unwrap();
        git(&main, &["init", "-q"]);
        write(&main.join("a.txt"), "one\n");
        git(&main, &["add", "."]);
        git(&main, &["commit", "-qm", "first"]);
        for name in ["wt", "sibling"] {
            git(&main, &["worktree", "add", "-q", "-b", name, root.join(name).to_str().unwrap()]);
        }
        write(&main.join(".handshake/state"), "state canary");
        write(&root.join("keys/id_ed25519"), "key canary");
        std::fs::create_dir(root.join("home")).unwrap();
        std::fs::create_dir(root.join("tmp")).unwrap();
        let sandbox = LandlockSandbox::new(host_command(), root.join("run"));
        Self { dir, sandbox }
    }
    pub fn path(&self, name: &str) -> PathBuf {
        std::fs::canonicalize(self.dir.path()).unwrap().join(name)
    }
    pub fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }
    pub fn common_dir(&self) -> PathBuf {
        self.path("repo/.git")
    }

    /// `sh -c SCRIPT` in the linked worktree, writing allowed. In the script $W is the world and $H the attacks.
    pub fn recipe(&self, script: &str) -> RecipePlan {
        let (executable, executable_sha256) = self.sandbox.resolve("/bin/sh").unwrap();
        RecipePlan {
            workspace_id: "00000000-0000-7000-8000-000000000001".parse().unwrap(),
            recipe: "test".into(),
            argv: vec!["sh".into(), "-c".into(), script.into()],
            executable,
            executable_sha256,
            cwd: self.text("wt"),
            env: BTreeMap::from([("W".into(), self.text("")), ("H".into(), host().to_str().unwrap().into())]),
            timeout_ms: 60_000,
            writes: true,
            read_paths: vec![host().to_str().unwrap().into()],
            git_dir: self.text("repo/.git/worktrees/wt"),
            common_dir: self.text("repo/.git"),
        }
    }

    pub fn agent(&self, script: &str, connect_ports: Vec<u16>) -> SessionStartPlan {
        let recipe = self.recipe(script);
        SessionStartPlan {
            workspace_id: recipe.workspace_id,
            agent: "test".into(),
            command: recipe.argv,
            executable: recipe.executable,
            env: recipe.env,
            cwd: recipe.cwd,
            git_dir: recipe.git_dir,
            common_dir: recipe.common_dir,
            read_paths: recipe.read_paths,
            connect_ports,
            listens: false,
            waiver: None,
            role: Role::Coder,
            prompt: None,
            driver: dcc_core::ports::Driver::Acp,
            resume: None,
            origin: dcc_core::plans::Origin::Fresh,
            lane: dcc_core::session::Lane::default(),
            purpose: None,
            paths: Vec::new(),
            budget: None,
        }
    }

    pub fn run_plan(&self, plan: RecipePlan) -> Outcome<RunReport> {
        self.sandbox.start_recipe(cleared(plan))?.finish()
    }

    /// Runs the script; what it printed, and the report.
    pub fn run(&self, script: &str) -> (String, RunReport) {
        let report = self.run_plan(self.recipe(script)).unwrap();
        let text = format!("{}{}", String::from_utf8_lossy(&report.stdout), String::from_utf8_lossy(&report.stderr));
        (text, report)
    }
}

/// The operator may run recipes, asked or not.
pub fn cleared(plan: RecipePlan) -> Cleared<RecipePlan> {
    cleared_as(Op::SandboxRunRecipe, plan)
}

/// What the operator has decided.
pub fn cleared_as<P: PlanBody>(op: Op, plan: P) -> Cleared<P> {
    cleared_for(plan, op, "sandbox", unique_id().parse().unwrap(), Timestamp(0))
}
