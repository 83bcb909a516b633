//! Status, diff, log and refs; and that reading changes nothing.

use dcc_core::failure::Code;
use dcc_core::ports::version::{DiffSource, HeadState, VersionEngine as _};
use dcc_core::workspace::WorkspaceHealth;

use crate::support::{Lab, code, failure, assert_untouched, fingerprint, make_executable, path};

#[test]
fn status_tells_kinds_of_change_apart() {
    let lab = Lab::new();
    lab.write("a.txt", "one\n2\nthree\n");
    lab.remove("b.txt");
    lab.git(&["mv", "dir/c.txt", "dir/d.txt"]);
    lab.write("new file", "x");
    let status = lab.status();
    let words: Vec<(String, &str)> = status.entries.iter().map(|e| (e.path.display(), e.word())).collect();
    assert_eq!(words, [("a.txt".into(), "modified"), ("b.txt".into(), "deleted"), ("dir/d.txt".into(), "renamed"), ("new file".into(), "untracked")]);
    assert_eq!(status.entries[2].renamed_from, Some(path("dir/c.txt")));
    assert!(matches!(status.head, HeadState::Branch { ref name, .. } if name == "work"));
    assert!(!status.cut && status.operation.is_none() && status.index_lock.is_none());
}

#[test]
fn reads_leave_every_byte_as_it_was() {
    let lab = Lab::new();
    lab.write("a.txt", "changed\n");
    lab.write("new", "x\n");
    lab.git(&["add", "-N", "new"]);
    // Old times make the index stale, so that anything that wished to refresh it would.
    std::fs::File::open(lab.repo.join("b.txt")).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
    let binding = lab.binding();
    let before = fingerprint(&lab.root());
    let engine = &lab.engine;
    engine.inspect(&lab.repo).unwrap();
    engine.probe(&binding).unwrap();
    engine.status(&binding).unwrap();
    for source in [DiffSource::Uncommitted, DiffSource::Branch { base: "work".into() }, DiffSource::Commit { oid: lab.head() }] {
        engine.diff(&binding, &source, &[], true).unwrap();
    }
    engine.log(&binding, 10, &[]).unwrap();
    engine.worktrees(&lab.common()).unwrap();
    engine.ahead_behind(&lab.common(), "work", "HEAD").unwrap();
    engine.is_tracked(&binding, &path("a.txt")).unwrap();
    engine.identity().unwrap();
    engine.identity_for(&binding).unwrap();
    assert_untouched(&before, &lab.root());
    // A plan writes to its quarantine and nowhere else.
    let git_before = fingerprint(&lab.repo);
    lab.plan(&["a.txt"]).unwrap();
    assert_untouched(&git_before, &lab.repo);
}

#[test]
fn diff_has_hunks_marks_and_the_ids_a_commit_would_store() {
    let lab = Lab::new();
    lab.write("a.txt", "one\ntwo words\nthree\n");
    lab.write("b.txt", "b\r\n");
    lab.write("bin", b"\0\x01");
    lab.write("dir/new.txt", "x\ny");
    make_executable(&lab.repo.join("dir/c.txt"));
    std::os::unix::fs::symlink("a.txt", lab.repo.join("link")).unwrap();
    let files = lab.engine.diff(&lab.binding(), &DiffSource::Uncommitted, &[], true).unwrap();
    let find = |name: &str| files.iter().find(|f| f.path == path(name)).unwrap();

    let a = find("a.txt");
    assert_eq!((a.change.as_str(), a.added, a.deleted), ("modified", Some(1), Some(1)));
    assert_eq!(a.new_oid.as_ref().unwrap().as_str(), lab.git(&["hash-object", "a.txt"]));
    let added = a.hunks[0].lines.iter().find(|l| l.sign == '+').unwrap();
    assert_eq!((added.new_line, &added.text[added.marks[0].0 as usize..added.marks[0].1 as usize]), (Some(2), " words"));
    assert!(find("b.txt").crlf_only && !a.crlf_only);
    assert!(find("bin").is_binary);
    let mode = find("dir/c.txt");
    assert_eq!((mode.change.as_str(), mode.new_mode.as_deref()), ("mode", Some("100755")));
    assert_eq!(mode.new_oid, mode.old_oid);
    let new = find("dir/new.txt");
    assert_eq!((new.change.as_str(), new.added, new.hunks[0].lines.len()), ("untracked", Some(2), 3));
    assert_eq!(new.new_oid.as_ref().unwrap().as_str(), lab.git(&["hash-object", "dir/new.txt"]));
    let link = find("link");
    assert_eq!(link.new_mode.as_deref(), Some("120000"));

    let one = lab.engine.diff(&lab.binding(), &DiffSource::Uncommitted, &[path("a.txt")], false).unwrap();
    assert_eq!(one.len(), 1);
    assert!(one[0].hunks.is_empty() && one[0].added == Some(1));
}

#[test]
fn diff_shows_text_that_is_not_utf8_and_renames() {
    let lab = Lab::new();
    lab.write("latin", b"caf\xe9\n");
    lab.git(&["add", "latin"]);
    lab.git(&["mv", "a.txt", "moved name.txt"]);
    let files = lab.engine.diff(&lab.binding(), &DiffSource::Uncommitted, &[path("moved name.txt")], true).unwrap();
    assert_eq!((files.len(), files[0].change.as_str()), (1, "renamed"));
    assert_eq!(files[0].renamed_from, Some(path("a.txt")));
    let all = lab.engine.diff(&lab.binding(), &DiffSource::Uncommitted, &[], true).unwrap();
    let latin = all.iter().find(|f| f.path == path("latin")).unwrap();
    assert_eq!(latin.hunks[0].lines[0].text, "caf\u{fffd}");
}

#[test]
fn long_text_is_cut_with_a_mark() {
    let lab = Lab::new();
    let long = "0123456789abcdef\n".repeat(200_000);
    lab.write("a.txt", &long);
    lab.write("untracked", &long);
    let files = lab.engine.diff(&lab.binding(), &DiffSource::Uncommitted, &[], true).unwrap();
    assert!(files.iter().all(|f| f.cut), "{:?}", files.iter().map(|f| (&f.path, f.cut)).collect::<Vec<_>>());
    assert_eq!(files[0].added, Some(200_000));
    let bytes: usize = files[0].hunks.iter().flat_map(|h| &h.lines).map(|l| l.text.len()).sum();
    assert!(bytes <= dcc_core::limits::DIFF_FILE_BYTES_MAX);
}

#[test]
fn branch_and_commit_diffs_compare_commits() {
    let lab = Lab::new();
    let start = lab.head();
    lab.git(&["switch", "-q", "-c", "topic"]);
    lab.write("b.txt", "topic\n");
    lab.git(&["commit", "-q", "-am", "on topic"]);
    lab.write("a.txt", "dirty\n");
    let names = |source: &DiffSource| -> Vec<String> { lab.engine.diff(&lab.binding(), source, &[], false).unwrap().iter().map(|f| f.path.display()).collect() };
    assert_eq!(names(&DiffSource::Branch { base: "work".into() }), ["b.txt"]);
    assert_eq!(names(&DiffSource::Commit { oid: lab.head() }), ["b.txt"]);
    assert_eq!(names(&DiffSource::Commit { oid: start }).len(), 3);
    let counts = lab.engine.ahead_behind(&lab.common(), "topic", "work").unwrap();
    assert_eq!((counts.ahead, counts.behind), (1, 0));
}

#[test]
fn log_reads_trailers_and_survives_odd_text() {
    let lab = Lab::new();
    lab.write("a.txt", "x\n");
    lab.git(&["commit", "-q", "-am", "Subject\n\nBody line\n\nDCC-Job: 123\nSigned-off-by: A <b>"]);
    let log = lab.engine.log(&lab.binding(), 10, &[]).unwrap();
    assert_eq!(log.len(), 2);
    assert_eq!(log[0].trailers, [("DCC-Job".to_owned(), "123".to_owned())]);
    assert_eq!((log[0].subject.as_str(), log[0].parents.len(), log[1].parents.len()), ("Subject", 1, 0));
    assert_eq!(lab.engine.log(&lab.binding(), 10, &[path("b.txt")]).unwrap().len(), 1);
}

#[test]
fn names_and_revisions_are_never_options() {
    let lab = Lab::new();
    let engine = &lab.engine;
    for bad in ["--all", "-h", "", "nope", "HEAD:a.txt", "x\ny", "HEAD --"] {
        assert_eq!(code(engine.resolve(&lab.common(), bad)), "VCS_REPO_INVALID", "{bad:?}");
    }
    assert_eq!(engine.resolve(&lab.common(), "work").unwrap(), lab.head());
    assert_eq!(engine.ref_oid(&lab.common(), "refs/heads/work").unwrap(), Some(lab.head()));
    assert_eq!(engine.ref_oid(&lab.common(), "refs/heads/none").unwrap(), None);
    assert_eq!(code(engine.ref_oid(&lab.common(), "--help")), "HSK-400-INVALID-INPUT");
    for (name, fits) in [("dcc/WP-1-x", true), ("-x", false), ("a..b", false), ("a b", false), ("HEAD", false), ("a.lock", false), ("", false), ("x\0y", false)] {
        assert_eq!(engine.is_branch_name(name), fits, "{name:?}");
    }
}

#[test]
fn inspect_describes_what_it_finds() {
    let lab = Lab::new();
    lab.git(&["config", "filter.x.clean", "touch canary"]);
    let facts = lab.engine.inspect(&lab.repo.join("dir")).unwrap();
    assert_eq!(facts.main.unwrap().worktree_path, lab.repo.to_str().unwrap());
    assert_eq!((facts.object_format.as_str(), facts.ref_format.as_str(), facts.bare), ("sha1", "files", false));
    assert!(facts.executable_keys[0].starts_with("filter.x.clean"));
    let again = lab.engine.inspect(&lab.repo).unwrap();
    assert_eq!(facts.config_digest, again.config_digest);
    lab.git(&["config", "core.hooksPath", "/tmp"]);
    assert_ne!(facts.config_digest, lab.engine.inspect(&lab.repo).unwrap().config_digest);
    assert_eq!(failure(lab.engine.inspect(&lab.home)).code, Code::VcsRepoInvalid);
}

#[test]
fn the_configuration_is_read_with_its_includes_and_each_worktrees_own() {
    let lab = Lab::new();
    let linked = lab.root().join("linked");
    lab.git(&["worktree", "add", "-q", linked.to_str().unwrap()]);
    let binding = lab.engine.bind(&lab.common(), linked.to_str().unwrap()).unwrap();
    let common = || lab.engine.config_facts(&lab.common(), None).unwrap();
    let own = || lab.engine.config_facts(&lab.common(), Some(&binding)).unwrap();
    assert_eq!(common(), own());
    let before = common();
    std::fs::write(lab.root().join("more"), "[core]\n\thooksPath = hooks\n").unwrap();
    lab.git(&["config", "include.path", lab.root().join("more").to_str().unwrap()]);
    let included = common();
    assert_ne!(included.digest, before.digest);
    let hooks = included.keys.iter().find(|k| k.key == "core.hookspath").unwrap();
    assert!(hooks.origin.ends_with("/more"), "{hooks:?}");
    assert_eq!(hooks.value.as_deref(), Some("hooks"));
    // What the included file says counts, not only that it is named.
    std::fs::write(lab.root().join("more"), "[core]\n\thooksPath = other\n").unwrap();
    assert_ne!(common().digest, included.digest);
    lab.git(&["config", "extensions.worktreeConfig", "true"]);
    let shared = common();
    lab.git_in(&linked, &["config", "--worktree", "core.fsmonitor", "touch canary"]);
    assert_eq!(common(), shared);
    assert_ne!(own().digest, shared.digest);
    assert!(own().keys.iter().any(|k| k.key == "core.fsmonitor" && k.scope == "worktree"));
    assert!(!linked.join("canary").exists());
}

#[test]
fn heads_of_all_worktrees_come_by_one_look() {
    let lab = Lab::new();
    let (one, two) = (lab.root().join("one"), lab.root().join("two"));
    lab.git(&["worktree", "add", "-q", "-b", "one", one.to_str().unwrap()]);
    lab.git(&["worktree", "add", "-q", "--detach", two.to_str().unwrap()]);
    let bind = |path: &std::path::Path| lab.engine.bind(&lab.common(), path.to_str().unwrap()).unwrap();
    let (main, one, mut two) = (lab.binding(), bind(&one), bind(&two));
    let oid = lab.head();
    let branch = |name: &str| Some(HeadState::Branch { name: name.into(), oid: oid.clone() });
    let heads = lab.engine.heads(&lab.common(), &[&one, &main, &two]).unwrap();
    assert_eq!(heads, [branch("one"), branch("work"), Some(HeadState::Detached { oid: oid.clone() })]);
    two.worktree_path = lab.root().join("nothing").to_str().unwrap().to_owned();
    assert_eq!(lab.engine.heads(&lab.common(), &[&two]).unwrap(), [None]);
    assert_eq!(Lab::empty(&[]).engine.heads(&lab.common(), &[&main]).unwrap(), [branch("work")]);
}

#[test]
fn bare_unborn_and_detached_repositories_are_named() {
    let bare = Lab::empty(&["--bare"]);
    let facts = bare.engine.inspect(&bare.repo).unwrap();
    assert!(facts.bare && facts.main.is_none());
    assert!(matches!(facts.head, HeadState::Unborn { ref name } if name == "work"));

    let unborn = Lab::empty(&[]);
    unborn.write("x", "1\n");
    let facts = unborn.engine.inspect(&unborn.repo).unwrap();
    assert!(matches!(facts.head, HeadState::Unborn { .. }));
    assert!(matches!(unborn.status().head, HeadState::Unborn { .. }));
    assert!(unborn.engine.log(&unborn.binding(), 5, &[]).unwrap().is_empty());
    assert_eq!(unborn.engine.diff(&unborn.binding(), &DiffSource::Uncommitted, &[], true).unwrap().len(), 1);
    assert_eq!(code(unborn.plan(&["x"])), "VCS_REPO_INVALID");

    let detached = Lab::new();
    detached.git(&["checkout", "-q", "--detach"]);
    detached.write("a.txt", "x\n");
    assert!(matches!(detached.status().head, HeadState::Detached { .. }));
    assert_eq!(code(detached.plan(&["a.txt"])), "VCS_REPO_INVALID");
}

#[test]
fn sha256_repositories_work() {
    let lab = Lab::empty(&["--object-format=sha256"]);
    lab.write("a", "1\n");
    lab.git(&["add", "-A"]);
    lab.git(&["commit", "-q", "-m", "start"]);
    assert_eq!(lab.engine.inspect(&lab.repo).unwrap().object_format, "sha256");
    lab.write("a", "2\n");
    lab.write("b", "new\n");
    let (_, oid) = lab.commit(&["a", "b"]).unwrap();
    assert_eq!(lab.head(), oid);
    lab.remove("b");
    lab.commit(&["b"]).unwrap();
    assert_eq!(lab.git(&["status", "--porcelain"]), "");
}

#[test]
fn reftable_repositories_work_where_git_knows_them() {
    let lab = Lab::empty(&[]);
    let (ok, _, _) = lab.try_git_in(&lab.root(), &["init", "-q", "-b", "work", "--ref-format=reftable", "tabled"]);
    if !ok {
        return;
    }
    let lab = Lab { repo: lab.root().join("tabled"), ..lab };
    lab.write("a", "1\n");
    lab.git(&["add", "-A"]);
    lab.git(&["commit", "-q", "-m", "start"]);
    assert_eq!(lab.engine.inspect(&lab.repo).unwrap().ref_format, "reftable");
    lab.write("a", "2\n");
    let (_, oid) = lab.commit(&["a"]).unwrap();
    assert_eq!(lab.head(), oid);
}

#[test]
fn a_nested_repository_is_one_entry_and_is_not_entered() {
    let lab = Lab::new();
    lab.git(&["init", "-q", "nested"]);
    lab.write("nested/inside", "x");
    let status = lab.status();
    assert_eq!(status.entries.len(), 1);
    assert!(status.entries[0].is_submodule && status.entries[0].path == path("nested"));
    let diff = lab.engine.diff(&lab.binding(), &DiffSource::Uncommitted, &[], true).unwrap();
    assert!(diff[0].is_submodule && diff[0].hunks.is_empty());
}

#[test]
fn the_operators_excludes_and_identity_are_data() {
    let lab = Lab::new();
    std::fs::write(lab.home.join("ignored"), "*.log\n").unwrap();
    let config = std::fs::read_to_string(lab.home.join(".gitconfig")).unwrap();
    std::fs::write(lab.home.join(".gitconfig"), format!("{config}[core]\n\texcludesFile = ~/ignored\n\tfsmonitor = touch canary\n")).unwrap();
    let lab = Lab { engine: dcc_engines::git::GitCli::new(dcc_engines::git::GitOptions { git_program: None, operator_home: Some(lab.home.clone()), private_dir: lab.root().join("private2") }).unwrap(), ..lab };
    lab.write("x.log", "1");
    assert!(lab.status().entries.is_empty());
    assert!(!lab.repo.join("canary").exists());
    assert_eq!(lab.engine.identity().unwrap().0, "Olive Operator");
    lab.git(&["config", "user.name", "Local Name"]);
    assert_eq!(lab.engine.identity_for(&lab.binding()).unwrap(), ("Local Name".into(), "olive@example.org".into()));
    std::fs::remove_file(lab.home.join(".gitconfig")).unwrap();
    let missing = failure(lab.engine.identity());
    assert_eq!(missing.code, Code::InvalidInput);
    assert!(missing.hint.unwrap().contains("git config --global user.name"));
}

#[test]
fn health_is_ok_in_an_ordinary_worktree() {
    let lab = Lab::new();
    let probe = lab.engine.probe(&lab.binding()).unwrap();
    assert_eq!(probe.health, WorkspaceHealth::Ok);
    assert!(matches!(probe.head, Some(HeadState::Branch { .. })));
}
