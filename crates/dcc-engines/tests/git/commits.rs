//! What a commit of selected paths holds, and what it leaves alone.

use dcc_core::plans::CommitChange;
use dcc_core::ports::version::{DiffSource, VersionEngine as _};

use crate::support::{Lab, code, make_executable, path};

#[test]
fn only_the_selected_paths_are_committed() {
    let lab = Lab::new();
    lab.write("a.txt", "one\nTWO\nthree\n");
    lab.write("b.txt", "not this\n");
    lab.write("new.txt", "new\n");
    let (plan, oid) = lab.commit(&["a.txt", "new.txt"]).unwrap();
    assert_eq!(lab.changed_in(&oid), [b"a.txt".to_vec(), b"new.txt".to_vec()]);
    assert_eq!((plan.paths[0].change, plan.paths[0].added, plan.paths[0].deleted), (CommitChange::Modified, Some(1), Some(1)));
    assert_eq!((plan.paths[1].change, plan.branch_ref.as_str()), (CommitChange::Added, "refs/heads/work"));
    assert_eq!(lab.git(&["status", "--porcelain"]), " M b.txt");
    assert_eq!(lab.head(), oid);
    assert_eq!(lab.git(&["fsck", "--strict"]), "");
}

#[test]
fn the_commit_names_its_job_and_is_the_same_on_a_retry() {
    let lab = Lab::new();
    lab.write("a.txt", "x\n");
    let plan = lab.plan(&["a.txt"]).unwrap();
    let first = lab.prepare(&plan).unwrap();
    std::fs::remove_dir_all(lab.quarantine()).unwrap();
    let second = lab.prepare(&plan).unwrap();
    assert_eq!(first, second);
    lab.publish(&plan, &second).unwrap();
    let shown = lab.git(&["log", "-1", "--format=%an <%ae>|%cn|%ai|%ci|%B"]);
    assert!(shown.starts_with("Olive Operator <olive@example.org>|Olive Operator|2026-02-02 02:40:00 +0000|2026-02-02 02:40:00 +0000|Change things"), "{shown}");
    let log = lab.engine.log(&lab.binding(), 1, &[]).unwrap();
    let keys: Vec<&str> = log[0].trailers.iter().map(|(k, _)| k.as_str()).collect();
    assert_eq!(keys, ["DCC-Job", "DCC-WP"]);
    assert!(shown.contains("Why: because\nDCC-Job: "), "{shown}");
    assert!(lab.git(&["reflog", "-1"]).contains("dcc commit: Change things"));
}

#[test]
fn partial_staging_and_intent_to_add_of_other_paths_survive() {
    let lab = Lab::new();
    lab.write("b.txt", "b\nstaged\n");
    lab.git(&["add", "b.txt"]);
    lab.write("b.txt", "b\nstaged\nworktree\n");
    lab.write("later.txt", "later\n");
    lab.git(&["add", "-N", "later.txt"]);
    lab.write("staged-new.txt", "s\n");
    lab.git(&["add", "staged-new.txt"]);
    lab.git(&["rm", "-q", "--cached", "dir/c.txt"]);
    lab.write("a.txt", "committed\n");
    let others = |lab: &Lab| lab.git(&["ls-files", "-s", "-v", "--debug", "--", "b.txt", "later.txt", "staged-new.txt", "dir/c.txt"]);
    let before = others(&lab);
    let (_, oid) = lab.commit(&["a.txt"]).unwrap();
    assert_eq!(lab.changed_in(&oid), [b"a.txt".to_vec()]);
    assert_eq!(before, others(&lab));
    let status = lab.git(&["status", "--porcelain"]);
    for line in ["MM b.txt", " A later.txt", "A  staged-new.txt", "D  dir/c.txt", "?? dir/"] {
        assert!(status.lines().any(|l| l == line), "{line:?} in {status}");
    }
}

#[test]
fn selected_intent_to_add_and_fully_staged_paths_are_committed() {
    let lab = Lab::new();
    lab.write("new.txt", "n\n");
    lab.git(&["add", "-N", "new.txt"]);
    lab.write("b.txt", "staged\n");
    lab.git(&["add", "b.txt"]);
    lab.commit(&["new.txt", "b.txt"]).unwrap();
    assert_eq!(lab.git(&["status", "--porcelain"]), "");
}

#[test]
fn deletions_modes_links_and_kinds() {
    let lab = Lab::new();
    std::os::unix::fs::symlink("a.txt", lab.repo.join("link")).unwrap();
    lab.write("kind", "file\n");
    lab.git(&["add", "-A"]);
    lab.git(&["commit", "-q", "-m", "more"]);
    lab.remove("b.txt");
    make_executable(&lab.repo.join("a.txt"));
    lab.remove("link");
    std::os::unix::fs::symlink("dir", lab.repo.join("link")).unwrap();
    lab.remove("kind");
    std::os::unix::fs::symlink("elsewhere", lab.repo.join("kind")).unwrap();
    let (plan, _) = lab.commit(&["b.txt", "a.txt", "link", "kind"]).unwrap();
    let of = |name: &str| plan.paths.iter().find(|p| p.path == path(name)).unwrap();
    assert_eq!((of("b.txt").change, of("b.txt").oid.clone()), (CommitChange::Deleted, None));
    assert_eq!(of("a.txt").mode.as_deref(), Some("100755"));
    assert_eq!((of("link").change, of("link").mode.as_deref()), (CommitChange::Modified, Some("120000")));
    assert_eq!(of("kind").change, CommitChange::TypeChanged);
    assert_eq!(lab.git(&["status", "--porcelain"]), "");
    assert_eq!(lab.git(&["show", "HEAD:link"]), "dir");
}

#[test]
fn the_new_half_of_a_rename_selects_the_pair() {
    let lab = Lab::new();
    lab.git(&["mv", "a.txt", "moved.txt"]);
    let (plan, oid) = lab.commit(&["moved.txt"]).unwrap();
    assert_eq!(lab.changed_in(&oid), [b"a.txt".to_vec(), b"moved.txt".to_vec()]);
    assert_eq!(plan.paths[1].renamed_from, Some(path("a.txt")));
    assert_eq!((plan.paths[0].change, plan.paths[1].change), (CommitChange::Deleted, CommitChange::Added));
    assert_eq!(lab.git(&["status", "--porcelain"]), "");
}

#[test]
fn an_unstaged_rename_commits_when_both_halves_are_selected() {
    let lab = Lab::new();
    std::fs::rename(lab.repo.join("a.txt"), lab.repo.join("moved.txt")).unwrap();
    let (plan, _) = lab.commit(&["moved.txt", "a.txt"]).unwrap();
    assert_eq!(plan.paths[1].renamed_from, Some(path("a.txt")));
    assert_eq!(lab.git(&["status", "--porcelain"]), "");
}

#[test]
fn a_directory_takes_a_files_place_and_back() {
    let lab = Lab::new();
    lab.remove("b.txt");
    lab.write("b.txt/inner", "i\n");
    assert_eq!(code(lab.plan(&["b.txt/inner"])), "VCS_PATH_DENIED");
    lab.commit(&["b.txt/inner", "b.txt"]).unwrap();
    assert_eq!(lab.git(&["status", "--porcelain"]), "");
    lab.remove("b.txt/inner");
    std::fs::remove_dir(lab.repo.join("b.txt")).unwrap();
    lab.write("b.txt", "file again\n");
    lab.commit(&["b.txt/inner", "b.txt"]).unwrap();
    assert_eq!(lab.git(&["status", "--porcelain"]), "");
}

#[test]
fn a_submodules_pointer_is_committed_without_entering_it() {
    let lab = Lab::new();
    let upstream = lab.root().join("upstream");
    lab.git_in(&lab.root(), &["init", "-q", "-b", "main", "upstream"]);
    lab.git_in(&upstream, &["commit", "-q", "--allow-empty", "-m", "one"]);
    lab.git(&["-c", "protocol.file.allow=always", "submodule", "add", "-q", upstream.to_str().unwrap(), "sub"]);
    lab.git(&["commit", "-q", "-m", "add sub"]);
    let sub = lab.repo.join("sub");
    lab.git_in(&sub, &["commit", "-q", "--allow-empty", "-m", "two"]);
    let pointer = lab.git_in(&sub, &["rev-parse", "HEAD"]);
    lab.git_in(&sub, &["config", "core.fsmonitor", "touch ../canary"]);
    let entry = &lab.status().entries[0];
    assert!(entry.is_submodule && entry.path == path("sub"));
    let diff = lab.engine.diff(&lab.binding(), &DiffSource::Uncommitted, &[], true).unwrap();
    assert!(diff[0].is_submodule);
    assert_eq!(diff[0].new_oid.as_ref().unwrap().as_str(), pointer);
    let (plan, _) = lab.commit(&["sub"]).unwrap();
    assert_eq!((plan.paths[0].mode.as_deref(), plan.paths[0].oid.as_ref().unwrap().as_str()), (Some("160000"), pointer.as_str()));
    assert!(!lab.repo.join("canary").exists());
    assert_eq!(lab.git(&["ls-tree", "HEAD", "sub"]), format!("160000 commit {pointer}\tsub"));
}

#[test]
fn line_endings_are_stored_as_git_would_store_them() {
    let lab = Lab::new();
    lab.write("kept-crlf.txt", "x\r\ny\r\n");
    lab.git(&["-c", "core.autocrlf=false", "add", "kept-crlf.txt"]);
    lab.git(&["commit", "-q", "-m", "crlf inside"]);
    lab.write(".gitattributes", "* text=auto\n*.raw -text\n");
    lab.git(&["add", ".gitattributes"]);
    lab.git(&["commit", "-q", "-m", "attributes"]);
    lab.write("new.txt", "a\r\nb\r\n");
    lab.write("new.raw", "a\r\nb\r\n");
    lab.write("kept-crlf.txt", "x\r\ny\r\nz\r\n");
    let names = ["kept-crlf.txt", "new.raw", "new.txt"];
    let shown = lab.engine.diff(&lab.binding(), &DiffSource::Uncommitted, &[], false).unwrap();
    let expected = names.iter().map(|n| (path(n), shown.iter().find(|f| f.path == path(n)).unwrap().new_oid.clone())).collect();
    let mut intent = lab.intent(&names.map(path));
    intent.expected = expected;
    let plan = lab.engine.plan_commit(&lab.binding(), &intent).unwrap();
    // What git itself would put into a tree for the same selection.
    let ours: Vec<String> = plan.paths.iter().map(|p| p.oid.as_ref().unwrap().to_string()).collect();
    lab.git(&["add", "--", "kept-crlf.txt", "new.raw", "new.txt"]);
    let theirs: Vec<String> = names.iter().map(|n| lab.git(&["rev-parse", &format!(":{n}")])).collect();
    assert_eq!(ours, theirs);
}

#[test]
fn many_paths_arrive_as_one_pack() {
    let lab = Lab::new();
    let names: Vec<String> = (0..300).map(|n| format!("many/{n:03}.txt")).collect();
    for name in &names {
        lab.write(name, name);
    }
    let paths: Vec<_> = names.iter().map(path).collect();
    let (plan, oid) = lab.commit_paths(&paths).unwrap();
    assert_eq!((plan.paths.len(), lab.changed_in(&oid).len()), (300, 300));
    assert_eq!(lab.git(&["fsck", "--strict"]), "");
    assert_eq!(lab.git(&["status", "--porcelain"]), "");
}

#[test]
fn scope_and_secrets_are_warned_about() {
    let lab = Lab::new();
    lab.write("a.txt", format!("one\ntwo\nthree\nkey = {}{}\n", "AKIA", "IOSFODNN7EXAMPLE"));
    lab.write("id_rsa", format!("-----BEGIN {} KEY-----\nabc\n", "RSA PRIVATE"));
    let mut intent = lab.intent(&[path("a.txt"), path("id_rsa")]);
    intent.in_scope_paths = vec!["src/**".into(), "a.txt".into()];
    let plan = lab.engine.plan_commit(&lab.binding(), &intent).unwrap();
    assert_eq!(plan.out_of_scope, [path("id_rsa")]);
    assert_eq!(plan.secret_findings.len(), 2, "{:?}", plan.secret_findings);
    assert!(plan.secret_findings[0].starts_with("a.txt line 4"));
    assert!(!format!("{:?}", plan.secret_findings).contains("IOSFODNN7"));
}

#[test]
fn commits_work_in_a_linked_worktree() {
    let lab = Lab::new();
    let binding = lab.add_worktree("dcc/WP-0001-x");
    let other = Lab { repo: binding.worktree(), ..lab };
    other.write("a.txt", "in the worktree\n");
    let plan = other.engine.plan_commit(&binding, &other.intent(&[path("a.txt")])).unwrap();
    assert_eq!(plan.branch(), "dcc/WP-0001-x");
    let proof = crate::support::cleared_commit(&plan, crate::support::stamp().job_id);
    let prepared = other.engine.prepare_commit(&binding, &plan, &crate::support::stamp(), &other.quarantine(), &proof).unwrap();
    other.engine.publish_commit(&binding, proof, &prepared).unwrap();
    assert_eq!(other.git(&["status", "--porcelain"]), "");
    assert_eq!(other.git(&["rev-parse", "dcc/WP-0001-x"]), prepared.oid.as_str());
    assert!(other.engine.has_commit(&binding.common_dir, "refs/heads/dcc/WP-0001-x", &prepared.oid).unwrap());
    assert!(!other.engine.has_commit(&binding.common_dir, "refs/heads/work", &prepared.oid).unwrap());
}
