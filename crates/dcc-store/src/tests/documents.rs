//! `workspace.json` on disk.

use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use dcc_core::Oid;
use dcc_core::event::EventCode as C;
use dcc_core::ports::store::Store as _;
use dcc_core::workspace::{Workspace, escape_path};
use serde_json::json;

use super::fixtures::*;

/// A worktree directory and the record that names it.
fn worktree(bench: &Bench, name: &[u8]) -> (PathBuf, Workspace) {
    let path = bench.root.path().join(std::ffi::OsStr::from_bytes(name));
    std::fs::create_dir_all(&path).unwrap();
    let record = workspace_json(30, &escape_path(path.as_os_str().as_bytes()));
    (path, serde_json::from_value(record).unwrap())
}

fn put(path: &Path, bytes: &[u8]) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    #[expect(clippy::disallowed_methods, reason = "a test's own fixture")]
    std::fs::write(path, bytes).unwrap();
}

fn names_in(path: &Path) -> Vec<String> {
    let mut names: Vec<_> = std::fs::read_dir(path).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn head() -> Oid {
    Oid::parse(&"3".repeat(40)).unwrap()
}

#[test]
fn a_new_file_has_exactly_these_bytes() {
    let bench = Bench::new();
    let (path, mut workspace) = worktree(&bench, b"w\xff %41");
    let common = bench.root.path().join("common/.git");
    put(&common.join("config"), b"[remote \"origin\"]\n\turl = https://me:SECRET@example.org/x.git\n");
    workspace.binding.common_dir = common.display().to_string();
    workspace.last_opened_at = Some(at(9));
    workspace.mt_id = Some("MT-001".parse().unwrap());
    bench.store.apply(&numbered(vec![(C::SessionCreated, of_session(20), json!({"session": session_json(20)}))])).unwrap();
    assert_eq!(bench.store.write_workspace_json(&workspace, Some(&head())).unwrap(), None);
    let file = path.join(".handshake/workspace.json");
    let root = bench.root.path().display();
    let golden = format!(
        r#"{{
  "schema_version": "hsk.devcc.workspace@1.0",
  "workspace_id": "{}",
  "project_id": "{}",
  "role": "coder",
  "git": {{
    "branch": "dcc/WP-0001-x",
    "base_branch": "main",
    "head_rev_hint": "{}",
    "remote_origin_url_hint": "https://example.org/x.git"
  }},
  "linkage": {{
    "linked_wp_id": "WP-0001",
    "linked_mt_id": "MT-001",
    "anchor_ids": [],
    "last_execution_session_id": "{}"
  }},
  "paths": {{
    "worktree_path_hint": "{root}/w%FF %2541",
    "repo_root_path_hint": "{root}/common",
    "git_common_dir_hint": "{root}/common/.git"
  }},
  "created_at": "{}",
  "updated_at": "{}",
  "last_opened_at": "{}"
}}
"#,
        uuid_text(30),
        uuid_text(900),
        head(),
        uuid_text(20),
        at(1),
        at(1),
        at(9)
    );
    assert_eq!(std::fs::read_to_string(&file).unwrap(), golden);
    let mode = |p: &Path| p.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&file), mode(file.parent().unwrap())), (0o600, 0o700));
    assert_eq!(names_in(file.parent().unwrap()), [".git", "workspace.json"]);
}

#[test]
fn the_smallest_file_leaves_optional_parts_out() {
    let bench = Bench::new();
    let (path, mut workspace) = worktree(&bench, b"w");
    (workspace.branch, workspace.base_branch, workspace.wp_id) = (None, None, None);
    bench.store.write_workspace_json(&workspace, None).unwrap();
    let value: serde_json::Value = serde_json::from_slice(&std::fs::read(path.join(".handshake/workspace.json")).unwrap()).unwrap();
    let mut keys: Vec<_> = value.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    assert_eq!(keys, ["created_at", "git", "paths", "project_id", "role", "schema_version", "updated_at", "workspace_id"]);
    assert_eq!(value["git"], json!({"branch": null, "base_branch": null}));
}

#[test]
fn a_deleted_file_comes_back_with_the_same_bytes_and_an_equal_one_is_not_touched() {
    let bench = Bench::new();
    let (path, workspace) = worktree(&bench, b"w");
    let file = path.join(".handshake/workspace.json");
    bench.store.write_workspace_json(&workspace, Some(&head())).unwrap();
    let (bytes, inode) = (std::fs::read(&file).unwrap(), file.metadata().unwrap().ino());
    bench.store.write_workspace_json(&workspace, Some(&head())).unwrap();
    assert_eq!(file.metadata().unwrap().ino(), inode);
    for _ in 0..50 {
        std::fs::remove_file(&file).unwrap();
        bench.store.write_workspace_json(&workspace, Some(&head())).unwrap();
        assert_eq!(std::fs::read(&file).unwrap(), bytes);
    }
    std::fs::remove_dir_all(path.join(".handshake")).unwrap();
    bench.store.write_workspace_json(&workspace, Some(&head())).unwrap();
    assert_eq!(std::fs::read(&file).unwrap(), bytes);
}

#[test]
fn what_the_file_says_loses_against_the_record() {
    let bench = Bench::new();
    let (path, workspace) = worktree(&bench, b"w");
    let file = path.join(".handshake/workspace.json");
    bench.store.write_workspace_json(&workspace, None).unwrap();
    let right = std::fs::read(&file).unwrap();
    let lies = [
        String::from_utf8(right.clone()).unwrap().replace("WP-0001", "WP-6666").replace(&uuid_text(30), &uuid_text(66)),
        r#"{"schema_version":"hsk.devcc.workspace@1.0","role":"human","more":"keys"}"#.to_owned(),
        format!(r#"{{"workspace_id":"{}","project_id":"{}","branch":"other","linked_wp_id":"WP-6666"}}"#, uuid_text(66), uuid_text(67)),
    ];
    for lie in lies {
        put(&file, lie.as_bytes());
        assert_eq!(bench.store.write_workspace_json(&workspace, None).unwrap(), None, "{lie}");
        assert_eq!(std::fs::read(&file).unwrap(), right);
    }
}

#[test]
fn what_is_not_understood_is_left_alone() {
    let bench = Bench::new();
    let (path, workspace) = worktree(&bench, b"w");
    let file = path.join(".handshake/workspace.json");
    let large = vec![b' '; 70_000];
    let cases: [(&[u8], &str); 5] = [
        (br#"{"schema_version":"hsk.devcc.workspace@2.0","x":1}"#, "@2.0"),
        (b"{ not json", "cannot be understood"),
        (b"", "cannot be understood"),
        (br#"{"mine":1}"#, "cannot be understood"),
        (&large, "too large"),
    ];
    for (bytes, word) in cases {
        put(&file, bytes);
        let sentence = bench.store.write_workspace_json(&workspace, None).unwrap().unwrap();
        assert!(sentence.contains(word) && sentence.contains("left alone"), "{sentence}");
        assert_eq!(std::fs::read(&file).unwrap(), bytes);
    }
}

#[test]
fn links_and_strange_files_are_refused() {
    let bench = Bench::new();
    let outside = bench.root.path().join("outside");
    put(&outside.join("workspace.json"), b"{}");
    let sentence = |workspace: &Workspace| bench.store.write_workspace_json(workspace, None).unwrap().unwrap();

    let (path, workspace) = worktree(&bench, b"linked-directory");
    symlink(&outside, path.join(".handshake")).unwrap();
    assert!(sentence(&workspace).contains("symbolic link"));

    let (path, workspace) = worktree(&bench, b"linked-file");
    std::fs::create_dir(path.join(".handshake")).unwrap();
    symlink(outside.join("workspace.json"), path.join(".handshake/workspace.json")).unwrap();
    assert!(sentence(&workspace).contains("symbolic link"));

    let (path, workspace) = worktree(&bench, b"directory");
    std::fs::create_dir_all(path.join(".handshake/workspace.json")).unwrap();
    assert!(sentence(&workspace).contains("not a plain file"));

    let (path, workspace) = worktree(&bench, b"pipe");
    std::fs::create_dir(path.join(".handshake")).unwrap();
    let pipe = path.join(".handshake/workspace.json");
    rustix::fs::mknodat(rustix::fs::CWD, pipe, rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU, 0).unwrap();
    assert!(sentence(&workspace).contains("not a plain file"));

    let (path, workspace) = worktree(&bench, b"file-for-directory");
    put(&path.join(".handshake"), b"mine");
    assert!(sentence(&workspace).contains("was not written"));

    let (path, workspace) = worktree(&bench, b"gone");
    std::fs::remove_dir(&path).unwrap();
    assert!(sentence(&workspace).contains("is gone"));
    assert!(!path.exists());

    assert_eq!(names_in(&outside), ["workspace.json"]);
    assert_eq!(std::fs::read(outside.join("workspace.json")).unwrap(), b"{}");
}

#[test]
fn left_overs_of_a_crash_are_taken_over() {
    let bench = Bench::new();
    let (path, workspace) = worktree(&bench, b"w");
    put(&path.join(".handshake/.workspace.json.new"), b"half");
    put(&path.join(".handshake/.git.new/HEAD"), b"half");
    bench.store.write_workspace_json(&workspace, None).unwrap();
    assert_eq!(names_in(&path.join(".handshake")), [".git", "workspace.json"]);
    assert_eq!(std::fs::read_to_string(path.join(".handshake/.git/HEAD")).unwrap(), "ref: refs/heads/none\n");
}

#[test]
fn a_state_directory_gets_the_marker_once_and_never_through_a_link() {
    let bench = Bench::new();
    let state = bench.root.path().join("name.handshake");
    assert!(crate::nested_repository(&state).is_err());
    std::fs::create_dir(&state).unwrap();
    crate::nested_repository(&state).unwrap();
    put(&state.join(".git/config"), b"changed by hand");
    crate::nested_repository(&state).unwrap();
    assert_eq!(std::fs::read(state.join(".git/config")).unwrap(), b"changed by hand");
    assert_eq!(names_in(&state.join(".git")), ["HEAD", "config", "objects", "refs"]);
    let link = bench.root.path().join("link");
    symlink(&state, &link).unwrap();
    assert!(crate::nested_repository(&link).is_err());
}

#[test]
fn git_passes_the_directory_by() {
    let bench = Bench::new();
    let (path, workspace) = worktree(&bench, b"w");
    let git = |arguments: &[&str]| {
        #[expect(clippy::disallowed_methods, reason = "the real git is the judge here")]
        let mut command = std::process::Command::new("git");
        let output = command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", bench.root.path())
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .current_dir(&path)
            .args(["-c", "user.name=t", "-c", "user.email=t@example.org"])
            .args(arguments)
            .output()
            .unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    git(&["init", "-q"]);
    put(&path.join("a"), b"a");
    git(&["add", "a"]);
    git(&["commit", "-qm", "a"]);
    put(&path.join(".git/info/exclude"), b"/.handshake/\n");
    bench.store.write_workspace_json(&workspace, None).unwrap();
    let file = path.join(".handshake/workspace.json");
    let bytes = std::fs::read(&file).unwrap();
    put(&path.join("b"), b"b");
    git(&["clean", "-fdxq"]);
    assert!(!path.join("b").exists());
    put(&path.join("b"), b"b");
    git(&["stash", "-a", "-q"]);
    assert!(!path.join("b").exists());
    assert_eq!(std::fs::read(&file).unwrap(), bytes);
    assert_eq!(git(&["status", "--porcelain"]), "");
}
