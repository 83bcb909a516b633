//! What a commit refuses, by code, with nothing changed.

use crate::support::{Lab, code, assert_untouched, fingerprint, path};
use dcc_core::ports::version::VersionEngine as _;

#[test]
fn nothing_to_commit() {
    let lab = Lab::new();
    assert_eq!(code(lab.plan(&["a.txt"])), "VCS_NOTHING_TO_COMMIT");
    lab.write("b.txt", "changed\n");
    assert_eq!(code(lab.plan(&["a.txt", "b.txt"])), "VCS_NOTHING_TO_COMMIT");
    assert_eq!(code(lab.plan(&[])), "HSK-400-INVALID-INPUT");
}

#[test]
fn a_merge_in_progress() {
    let lab = Lab::new();
    lab.git(&["switch", "-q", "-c", "other"]);
    lab.write("a.txt", "theirs\n");
    lab.git(&["commit", "-q", "-am", "theirs"]);
    lab.git(&["switch", "-q", "work"]);
    lab.write("a.txt", "ours\n");
    lab.git(&["commit", "-q", "-am", "ours"]);
    let (ok, _, _) = lab.try_git_in(&lab.repo, &["merge", "-q", "other"]);
    assert!(!ok);
    lab.write("b.txt", "x\n");
    let status = lab.status();
    assert_eq!(status.operation.as_deref(), Some("merge"));
    assert!(status.entries.iter().any(|e| e.is_unmerged && e.word() == "conflict"));
    let diff = lab.engine.diff(&lab.binding(), &dcc_core::ports::version::DiffSource::Uncommitted, &[], true).unwrap();
    assert_eq!(diff.iter().find(|f| f.path == path("a.txt")).unwrap().change, "conflict");
    let before = fingerprint(&lab.repo);
    assert_eq!(code(lab.plan(&["b.txt"])), "VCS_CONFLICT");
    assert_untouched(&before, &lab.repo);
    // Unmerged entries without a merge, as a stash leaves them.
    std::fs::remove_file(lab.repo.join(".git/MERGE_HEAD")).unwrap();
    assert_eq!(code(lab.plan(&["a.txt"])), "VCS_CONFLICT");
}

#[test]
fn rebase_cherry_pick_revert_and_bisect_are_recognised() {
    let lab = Lab::new();
    for (file, name) in [("rebase-merge/x", "rebase"), ("rebase-apply/x", "am"), ("CHERRY_PICK_HEAD", "cherry-pick"), ("REVERT_HEAD", "revert"), ("BISECT_LOG", "bisect")] {
        let path = lab.repo.join(".git").join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, lab.head().as_str()).unwrap();
        assert_eq!(lab.status().operation.as_deref(), Some(name));
        let top = lab.repo.join(".git").join(file.split('/').next().unwrap());
        if top.is_dir() { std::fs::remove_dir_all(top).unwrap() } else { std::fs::remove_file(top).unwrap() }
    }
}

#[test]
fn a_third_staged_version() {
    let lab = Lab::new();
    lab.write("a.txt", "staged\n");
    lab.git(&["add", "a.txt"]);
    lab.write("a.txt", "worktree\n");
    assert_eq!(code(lab.plan(&["a.txt"])), "VCS_INDEX_DIVERGED");
    lab.write("gone", "staged only\n");
    lab.git(&["add", "gone"]);
    lab.remove("gone");
    assert_eq!(code(lab.plan(&["gone"])), "VCS_INDEX_DIVERGED");
    lab.git(&["rm", "-q", "--cached", "b.txt"]);
    assert_eq!(code(lab.plan(&["b.txt"])), "VCS_INDEX_DIVERGED");
}

#[test]
fn paths_that_are_no_files_of_this_repository() {
    let lab = Lab::new();
    std::os::unix::fs::symlink(lab.root(), lab.repo.join("out")).unwrap();
    lab.git(&["init", "-q", "nested"]);
    lab.write("nested/inside", "x");
    lab.write(".handshake/state", "x");
    lab.write("secret.env", "x");
    lab.write(".gitignore", "*.env\n");
    std::fs::create_dir(lab.repo.join("plain")).unwrap();
    lab.write("plain/file", "x");
    rustix_fifo(&lab.repo.join("pipe"));
    for bad in ["out/home/.gitconfig", "nested", "nested/inside", ".handshake/state", "secret.env", "plain", "pipe"] {
        assert_eq!(code(lab.plan(&[bad])), "VCS_PATH_DENIED", "{bad}");
    }
    // A path that nobody showed is a mistake and not something that went away.
    assert_eq!(code(lab.plan(&["not-there"])), "VCS_PATH_DENIED");
    // What the person forced in himself is his.
    lab.git(&["add", "-f", "secret.env"]);
    lab.plan(&["secret.env"]).unwrap();
}

fn rustix_fifo(path: &std::path::Path) {
    let status = std::process::Command::new("mkfifo").arg(path).status().unwrap();
    assert!(status.success());
}

#[test]
fn a_tracked_file_behind_a_new_link_is_a_deletion() {
    let lab = Lab::new();
    std::fs::remove_dir_all(lab.repo.join("dir")).unwrap();
    std::fs::create_dir(lab.root().join("elsewhere")).unwrap();
    std::fs::write(lab.root().join("elsewhere/c.txt"), "secret\n").unwrap();
    std::os::unix::fs::symlink(lab.root().join("elsewhere"), lab.repo.join("dir")).unwrap();
    lab.commit(&["dir/c.txt", "dir"]).unwrap();
    assert_eq!(lab.git(&["status", "--porcelain"]), "");
    assert_eq!(lab.git(&["cat-file", "-t", "HEAD:dir"]), "blob");
}

#[test]
fn filters_are_refused_wherever_they_are_configured() {
    let lab = Lab::new();
    lab.write(".gitattributes", "*.psd filter=lfs\n");
    lab.git(&["add", "-A"]);
    lab.git(&["commit", "-q", "-m", "attributes"]);
    lab.write("x.psd", "raw\n");
    assert_eq!(code(lab.plan(&["x.psd"])), "VCS_UNSUPPORTED_CONFIG");
    let diff = lab.engine.diff(&lab.binding(), &dcc_core::ports::version::DiffSource::Uncommitted, &[], false).unwrap();
    assert_eq!(diff[0].new_oid, None);
    lab.git(&["config", "filter.lfs.clean", "cat"]);
    assert_eq!(code(lab.plan(&["x.psd"])), "VCS_UNSUPPORTED_CONFIG");
}

#[test]
fn messages_and_authors_that_cannot_stand() {
    let lab = Lab::new();
    lab.write("a.txt", "x\n");
    let plan = |message: &str, name: &str| {
        let mut intent = lab.intent(&[path("a.txt")]);
        intent.message = message.into();
        intent.author_name = name.into();
        lab.engine.plan_commit(&lab.binding(), &intent)
    };
    for (message, name) in [("", "A"), ("  \n", "A"), ("x\n\nDCC-Job: forged", "A"), ("x\0y", "A"), ("x", ""), ("x", "A\nB"), ("x", "A <b>")] {
        assert_eq!(code(plan(message, name)), "HSK-400-INVALID-INPUT", "{message:?} {name:?}");
    }
}
