//! A repository that would run programs: nothing it names runs, on any reading or writing path.

use std::path::Path;

use crate::support::{Lab, cleared, code, failure, assert_untouched, fingerprint, make_executable, path};
use dcc_core::op::Op;
use dcc_core::ports::version::{DiffSource, VersionEngine as _};
use dcc_core::workspace::WorkspaceHealth;

const HOOKS: &[&str] = &[
    "pre-commit", "prepare-commit-msg", "commit-msg", "post-commit", "pre-merge-commit", "pre-rebase", "post-checkout", "post-merge", "post-rewrite",
    "pre-push", "reference-transaction", "post-index-change", "fsmonitor-watchman", "pre-auto-gc", "applypatch-msg", "update", "pre-receive", "post-update", "sendemail-validate",
];

/// A program that leaves a file behind when it runs.
fn trap(lab: &Lab, name: &str) -> String {
    let traps = lab.root().join("traps");
    std::fs::create_dir_all(&traps).unwrap();
    let script = traps.join(name);
    std::fs::write(&script, format!("#!/bin/sh\n: > '{}/fired-{name}'\ncat\n", traps.display())).unwrap();
    make_executable(&script);
    script.to_str().unwrap().to_owned()
}

fn fired(lab: &Lab) -> Vec<String> {
    let Ok(list) = std::fs::read_dir(lab.root().join("traps")) else { return Vec::new() };
    list.map(|e| e.unwrap().file_name().into_string().unwrap()).filter(|n| n.starts_with("fired-")).collect()
}

fn set_hooks(lab: &Lab, dir: &Path) {
    std::fs::create_dir_all(dir).unwrap();
    for hook in HOOKS {
        let script = trap(lab, &format!("hook-{hook}"));
        std::os::unix::fs::symlink(script, dir.join(hook)).unwrap();
    }
}

/// Everything that makes git run something, in three files: config, an included file, and config.worktree.
fn arm(lab: &Lab) {
    set_hooks(lab, &lab.repo.join(".git/hooks"));
    let other_hooks = lab.root().join("other-hooks");
    set_hooks_again(&other_hooks, &lab.repo.join(".git/hooks"));
    let t = |name: &str| trap(lab, name);
    let keys = [
        ("core.fsmonitor", t("fsmonitor")),
        ("core.hooksPath", other_hooks.to_str().unwrap().to_owned()),
        ("core.pager", t("pager")),
        ("core.editor", t("editor")),
        ("core.askPass", t("askpass")),
        ("core.sshCommand", t("ssh")),
        ("core.alternateRefsCommand", t("alternate-refs")),
        ("core.attributesFile", lab.root().join("evil-attributes").to_str().unwrap().to_owned()),
        ("pager.status", t("pager-status")),
        ("pager.diff", t("pager-diff")),
        ("alias.status", format!("!{}", t("alias-status"))),
        ("alias.plumb", format!("!{}", t("alias"))),
        ("diff.external", t("diff-external")),
        ("diff.d.command", t("diff-command")),
        ("diff.d.textconv", t("textconv")),
        ("diff.d.cachetextconv", "true".into()),
        ("filter.evil.clean", t("clean")),
        ("filter.evil.smudge", t("smudge")),
        ("filter.evil.required", "true".into()),
        ("filter.proc.process", t("process")),
        ("filter.a=b.clean", t("clean-equals")),
        ("merge.m.driver", t("merge-driver")),
        ("gpg.program", t("gpg")),
        ("commit.gpgSign", "true".into()),
        ("log.showSignature", "true".into()),
        ("credential.helper", t("credential")),
        ("gc.auto", "1".into()),
        ("trailer.x.command", t("trailer")),
        ("submodule.recurse", "true".into()),
        ("status.submoduleSummary", "true".into()),
    ];
    for (key, value) in keys {
        lab.git(&["config", key, &value]);
    }
    let included = lab.root().join("included");
    std::fs::write(&included, format!("[filter \"inc\"]\n\tclean = {}\n\tsmudge = {}\n[diff \"d2\"]\n\ttextconv = {}\n", t("inc-clean"), t("inc-smudge"), t("inc-textconv"))).unwrap();
    lab.git(&["config", "include.path", included.to_str().unwrap()]);
    lab.git(&["config", "extensions.worktreeConfig", "true"]);
    std::fs::write(lab.repo.join(".git/config.worktree"), format!("[filter \"wt\"]\n\tclean = {}\n\tprocess = {}\n", t("wt-clean"), t("wt-process"))).unwrap();
    lab.write(
        ".gitattributes",
        "*.evil filter=evil diff=d merge=m\n*.proc filter=proc\n*.eq filter=a=b\n*.inc filter=inc diff=d2\n*.wt filter=wt\n*.txt diff=d merge=m\n",
    );
}

fn set_hooks_again(to: &Path, from: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().flatten().filter(|e| !e.file_name().to_string_lossy().ends_with(".sample")) {
        std::os::unix::fs::symlink(std::fs::read_link(entry.path()).unwrap_or(entry.path()), to.join(entry.file_name())).unwrap();
    }
}

#[test]
fn nothing_fires_on_any_path() {
    let lab = Lab::new();
    for name in ["f.evil", "f.proc", "f.eq", "f.inc", "f.wt"] {
        lab.write(name, "stored\n");
    }
    lab.git(&["add", "-A"]);
    lab.git(&["commit", "-q", "-m", "files"]);
    arm(&lab);
    for name in ["f.evil", "f.proc", "f.eq", "f.inc", "f.wt", "a.txt", "b.txt"] {
        lab.write(name, "changed\n");
    }
    lab.write("new.evil", "new\n");
    assert_eq!(fired(&lab), Vec::<String>::new(), "the traps fired while they were set");

    let binding = lab.binding();
    let engine = &lab.engine;
    assert!(engine.inspect(&lab.repo).unwrap().executable_keys.len() > 20);
    engine.probe(&binding).unwrap();
    engine.status(&binding).unwrap();
    for source in [DiffSource::Uncommitted, DiffSource::Branch { base: "work".into() }, DiffSource::Commit { oid: lab.engine.resolve(&lab.common(), "HEAD").unwrap() }] {
        engine.diff(&binding, &source, &[], true).unwrap();
    }
    engine.diff(&binding, &DiffSource::Uncommitted, &[path("f.evil"), path("a.txt")], true).unwrap();
    engine.log(&binding, 10, &[path("a.txt")]).unwrap();
    engine.worktrees(&lab.common()).unwrap();
    engine.identity_for(&binding).unwrap();
    engine.exclude(&lab.common(), &["/.handshake/"]).unwrap();
    for name in ["f.evil", "f.proc", "f.eq", "f.inc", "f.wt", "new.evil"] {
        assert_eq!(code(lab.plan(&[name])), "VCS_UNSUPPORTED_CONFIG", "{name}");
    }
    let (plan, _) = lab.commit(&["a.txt", ".gitattributes"]).unwrap();
    engine.sync_index(&binding, &plan).unwrap();
    let base = lab.engine.resolve(&lab.common(), "HEAD").unwrap();
    let mut worktree = lab.worktree_plan("dcc/x", &lab.root().join("wt/x"));
    worktree.base_oid = base;
    let made = engine.create_worktree(cleared(worktree.clone(), Op::WorkspaceCreate), Some("a session lives")).unwrap();
    engine.find_worktree(&worktree).unwrap().unwrap();
    engine.status(&made).unwrap();
    assert_eq!(std::fs::read_to_string(made.worktree().join("f.evil")).unwrap(), "stored\n");
    assert_eq!(fired(&lab), Vec::<String>::new());
}

#[test]
fn the_traps_do_fire_for_git_itself() {
    // Otherwise the test above would prove nothing.
    let lab = Lab::new();
    arm(&lab);
    lab.write("f.evil", "x\n");
    let _ = lab.try_git_in(&lab.repo, &["status"]);
    let _ = lab.try_git_in(&lab.repo, &["add", "-A"]);
    let fired = fired(&lab);
    for name in ["fired-fsmonitor", "fired-clean", "fired-hook-post-index-change"] {
        assert!(fired.iter().any(|f| f == name), "{name} in {fired:?}");
    }
}

#[test]
fn a_swapped_git_pointer_is_not_followed() {
    let lab = Lab::new();
    let binding = lab.add_worktree("dcc/x");
    let evil = lab.root().join("evil");
    lab.git_in(&lab.root(), &["init", "-q", "-b", "work", "evil"]);
    lab.git_in(&evil, &["config", "core.fsmonitor", &trap(&lab, "swapped")]);
    std::fs::write(binding.worktree().join(".git"), format!("gitdir: {}/.git\n", evil.display())).unwrap();
    let probe = lab.engine.probe(&binding).unwrap();
    assert_eq!(probe.health, WorkspaceHealth::Foreign);
    assert!(probe.message.contains("swapped"));
    std::fs::write(binding.worktree().join("a.txt"), "x\n").unwrap();
    // Reading goes on with the registered directories; writing is refused.
    assert_eq!(lab.engine.status(&binding).unwrap().entries[0].path, path("a.txt"));
    let refused = failure(lab.engine.plan_commit(&binding, &lab.intent(&[path("a.txt")])));
    assert_eq!(refused.code.as_str(), "VCS_REPO_INVALID");
    assert_eq!(fired(&lab), Vec::<String>::new());
}

#[test]
fn replace_refs_and_grafts_change_nothing() {
    let lab = Lab::new();
    lab.write("a.txt", "two\n");
    lab.git(&["commit", "-q", "-am", "second"]);
    let (head, first) = (lab.head(), lab.git(&["rev-parse", "HEAD^"]));
    lab.git(&["replace", head.as_str(), &first]);
    std::fs::write(lab.repo.join(".git/info/grafts"), format!("{head}\n")).unwrap();
    let log = lab.engine.log(&lab.binding(), 10, &[]).unwrap();
    assert_eq!((log.len(), log[0].subject.as_str()), (2, "second"));
    assert!(lab.status().entries.is_empty());
}

#[test]
fn a_broken_configuration_is_named_and_nothing_is_touched() {
    let lab = Lab::new();
    let binding = lab.binding();
    let config = lab.repo.join(".git/config");
    let good = std::fs::read(&config).unwrap();
    std::fs::write(&config, [&good[..], b"[broken\n"].concat()).unwrap();
    let before = fingerprint(&lab.repo);
    assert_eq!(code(lab.engine.status(&binding)), "VCS_REPO_INVALID");
    assert_eq!(code(lab.engine.inspect(&lab.repo)), "VCS_REPO_INVALID");
    assert_untouched(&before, &lab.repo);
}

#[test]
fn inherited_git_variables_have_no_effect() {
    // A child of this test binary with hostile variables runs one ordinary test; see `support` for how Lab isolates.
    let lab = Lab::new();
    let exe = std::env::current_exe().unwrap();
    let out = std::process::Command::new(exe)
        .args(["--exact", "commits::only_the_selected_paths_are_committed", "reads::status_tells_kinds_of_change_apart", "worktrees::a_worktree_is_made_beside_the_repository"])
        .env("GIT_DIR", lab.root().join("nowhere"))
        .env("GIT_WORK_TREE", "/")
        .env("GIT_INDEX_FILE", "/nonexistent/index")
        .env("GIT_OBJECT_DIRECTORY", "/nonexistent")
        .env("GIT_CONFIG_COUNT", "1")
        .env("GIT_CONFIG_KEY_0", "core.fsmonitor")
        .env("GIT_CONFIG_VALUE_0", trap(&lab, "inherited"))
        .env("GIT_EXTERNAL_DIFF", trap(&lab, "inherited-diff"))
        .env("GIT_CONFIG_PARAMETERS", "'core.hooksPath=/tmp'")
        .env("GIT_EXEC_PATH", lab.root())
        .env("GIT_TRACE", lab.root().join("trace"))
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(out.status.success() && text.contains("3 passed"), "{text}");
    assert_eq!(fired(&lab), Vec::<String>::new());
    assert!(!lab.root().join("trace").exists());
}
