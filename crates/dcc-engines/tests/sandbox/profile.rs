//! What is given away and what is refused before anything runs.

use dcc_core::failure::Code;
use dcc_core::ports::sandbox::Sandbox as _;
use dcc_engines::sandbox::{Profile, Spec};

use crate::world::{World, git, unique_id, write};

#[test]
fn a_recipe_without_writes_cannot_write_its_worktree() {
    let world = World::new();
    let mut plan = world.recipe("cat a.txt; (echo x > new) 2>/dev/null && echo ESCAPED; (echo x > a.txt) 2>/dev/null && echo ESCAPED; echo t > \"$TMPDIR/t\" && echo tmp");
    plan.writes = false;
    let report = world.run_plan(plan).unwrap();
    assert_eq!(String::from_utf8(report.stdout).unwrap(), "one\ntmp\n");
}

#[test]
fn the_main_worktree_is_read_only_and_its_state_closed() {
    let world = World::new();
    let mut plan = world.recipe("cat a.txt; cat .handshake/state 2>/dev/null && echo ESCAPED; (echo x > new) 2>/dev/null && echo ESCAPED; (echo x > .git/config) 2>/dev/null && echo ESCAPED; git log --format=%s");
    plan.cwd = world.text("repo");
    plan.git_dir = world.text("repo/.git");
    let report = world.run_plan(plan).unwrap();
    assert_eq!(String::from_utf8_lossy(&report.stdout), "one\nfirst\n");
    assert!(report.posture.notes.iter().any(|note| note.contains("main worktree is read-only")), "{:?}", report.posture);
}

#[test]
fn a_link_at_the_top_of_the_main_worktree_grants_nothing() {
    let world = World::new();
    std::os::unix::fs::symlink(world.path("keys"), world.path("repo/keys")).unwrap();
    std::os::unix::fs::symlink(".handshake", world.path("repo/state")).unwrap();
    let mut plan = world.recipe("cat keys/id_ed25519 state/state 2>/dev/null && echo ESCAPED; true");
    plan.cwd = world.text("repo");
    plan.git_dir = world.text("repo/.git");
    assert_eq!(world.run_plan(plan).unwrap().stdout, b"");
}

#[test]
fn an_agent_never_gets_the_main_worktree_or_one_inside_it() {
    let world = World::new();
    git(&world.path("repo"), &["worktree", "add", "-q", "-b", "inner", "inner"]);
    for (cwd, git_dir) in [("repo", "repo/.git"), ("repo/inner", "repo/.git/worktrees/inner"), ("", "repo/.git/worktrees/wt")] {
        let mut plan = world.agent("true", Vec::new());
        plan.cwd = world.text(cwd);
        plan.git_dir = world.text(git_dir);
        let failure = Profile::for_agent(&plan, &world.path("tmp"), &world.path("home")).unwrap_err();
        assert_eq!(failure.code, Code::Scope, "{cwd}");
        assert!(failure.hint.is_some());
    }
}

#[test]
fn read_paths_do_not_open_what_stays_closed() {
    let world = World::new();
    for path in ["/", "", "repo", "repo/.handshake"] {
        let mut plan = world.recipe("true");
        plan.read_paths = vec![if path == "/" { path.to_owned() } else { world.text(path) }];
        assert_eq!(Profile::for_recipe(&plan, &world.path("tmp")).unwrap_err().code, Code::SboxPolicyDenied, "{path}");
    }
    let mut plan = world.recipe("cat \"$W/keys/id_ed25519\"");
    plan.read_paths = vec![world.text("keys"), "/nonexistent/tools".into()];
    let report = world.run_plan(plan).unwrap();
    assert_eq!(report.stdout, b"key canary");
    assert!(report.posture.notes.iter().any(|note| note.contains("/nonexistent/tools")));
}

#[test]
fn alternates_are_readable_only_when_they_are_object_directories() {
    let world = World::new();
    git(&world.path("sibling"), &["clone", "-q", "--bare", &world.text("repo"), &world.text("lender.git")]);
    let lines = format!("{}\n{}\n", world.text("lender.git/objects"), world.text("keys"));
    write(&world.path("repo/.git/objects/info/alternates"), &lines);
    let profile = Profile::for_recipe(&world.recipe("true"), &world.path("tmp")).unwrap();
    assert!(profile.readable.contains(&world.path("lender.git/objects")));
    assert!(!profile.readable.contains(&world.path("keys")));
}

#[test]
fn an_executable_that_changed_is_not_run() {
    let world = World::new();
    let tool = world.path("tools/tool");
    write(&tool, "#!/bin/sh\necho first\n");
    std::fs::set_permissions(&tool, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let mut plan = world.recipe("");
    plan.argv = vec!["tool".into()];
    (plan.executable, plan.executable_sha256) = world.sandbox.resolve(tool.to_str().unwrap()).unwrap();
    assert_eq!(world.run_plan(plan.clone()).unwrap().stdout, b"first\n");
    write(&tool, "#!/bin/sh\necho second\n");
    assert_eq!(world.run_plan(plan).unwrap_err().code, Code::StalePreview);
}

#[test]
fn programs_are_found_or_refused() {
    let world = World::new();
    let (path, hash) = world.sandbox.resolve("sh").unwrap();
    assert!(path.starts_with('/'));
    assert_eq!(world.sandbox.resolve(&path).unwrap(), (path, hash));
    assert_eq!(world.sandbox.resolve("no-such-program-here").unwrap_err().code, Code::NotFound);
    assert_eq!(world.sandbox.resolve("./sh").unwrap_err().code, Code::InvalidInput);
    assert_eq!(world.sandbox.resolve("/etc/passwd").unwrap_err().code, Code::NotFound);
}

#[test]
fn what_cannot_start_says_which_layer() {
    let world = World::new();
    let plan = world.agent("true", Vec::new());
    let tmp = world.path("tmp");
    let mut spec = Spec::for_agent(&plan, &tmp, &world.path("home"), &unique_id()).unwrap();
    spec.executable = world.path("wt/a.txt");
    let failure = world.sandbox.spawn(spec).unwrap_err();
    assert_eq!(failure.code, Code::Engine, "{failure:?}");
    let mut spec = Spec::for_agent(&plan, &tmp, &world.path("home"), &unique_id()).unwrap();
    spec.profile.writable.push(world.path("gone"));
    let failure = world.sandbox.spawn(spec).unwrap_err();
    assert_eq!(failure.code, Code::SandboxUnavailable);
    assert!(failure.message.contains("landlock") && failure.message.contains("gone"), "{failure:?}");
}
