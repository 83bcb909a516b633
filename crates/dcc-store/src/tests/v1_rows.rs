//! The version 1 rows that other programs may read.

use dcc_core::event::{Correlation, EventCode as C};
use dcc_core::ports::store::Store as _;
use serde_json::json;

use super::fixtures::*;

#[test]
fn the_project_row_comes_from_its_events_and_else_from_the_place() {
    let bench = Bench::new();
    bench.store.apply(&numbered(vec![(C::SyncStarted, Correlation::default(), json!({}))])).unwrap();
    let place = bench.root.path().join("repo");
    assert_eq!(bench.text("SELECT name || ' ' || root_path || ' ' || created_at FROM projects"), format!("repo {} {}", place.display(), at(1)));
    let mut told = numbered(vec![
        (C::SyncStarted, Correlation::default(), json!({})),
        (C::ProjectCreated, Correlation::default(), json!({"project": {"name": "n", "root_path": "/elsewhere", "default_base_branch": "main"}})),
        (C::ProjectOpened, Correlation::default(), json!({})),
        (C::PolicyChanged, Correlation::default(), json!({"policy": {"rules": []}})),
    ]);
    bench.store.apply(&told).unwrap();
    let row = "SELECT name || ' ' || root_path || ' ' || default_base_branch || ' ' || policy_json || ' ' || ui_state_json || ' ' || created_at || ' ' || updated_at FROM projects";
    assert_eq!(bench.text(row), format!(r#"n /elsewhere main {{"rules":[]}} {{}} {} {}"#, at(2), at(4)));
    told.push(event(5, C::ProjectOpened, Correlation::default(), json!({"name": "renamed"})));
    bench.store.apply(&told).unwrap();
    assert_eq!(bench.text("SELECT name || root_path FROM projects"), "renamed/elsewhere");
}

#[test]
fn a_workspace_row_has_every_column() {
    let bench = Bench::new();
    bench.store.apply(&numbered(vec![(C::WorkspaceImported, of_workspace(30), json!({"workspace": workspace_json(30, "/r/a%FF b")}))])).unwrap();
    let row: Vec<String> = bench.row("SELECT * FROM workspaces").into_iter().map(|(name, value)| format!("{name}={value:?}")).collect();
    let golden = [
        format!("workspace_id=Text({:?})", uuid_text(30)),
        format!("project_id=Text({:?})", uuid_text(900)),
        r#"kind=Text("worktree")"#.into(),
        r#"role=Text("coder")"#.into(),
        r#"status=Text("active")"#.into(),
        r#"worktree_path=Text("/r/a%FF b")"#.into(),
        r#"repo_root_path=Text("/r/repo")"#.into(),
        r#"branch=Text("dcc/WP-0001-x")"#.into(),
        r#"base_branch=Text("main")"#.into(),
        format!("head_rev=Text({:?})", "1".repeat(40)),
        r#"linked_wp_id=Text("WP-0001")"#.into(),
        "linked_mt_id=Null".into(),
        r#"workspace_json_relpath=Text(".handshake/workspace.json")"#.into(),
        format!("created_at=Text(\"{}\")", at(1)),
        format!("updated_at=Text(\"{}\")", at(1)),
        "last_opened_at=Null".into(),
    ];
    assert_eq!(row, golden);
}

#[test]
fn a_path_belongs_to_the_newest_workspace_that_stood_there() {
    let told = numbered(vec![
        (C::WorkspaceCreated, of_workspace(30), json!({"workspace": workspace_json(30, "/r/x")})),
        (C::WorkspaceArchived, of_workspace(30), json!({})),
        (C::WorkspaceCreated, of_workspace(31), json!({"workspace": workspace_json(31, "/r/x")})),
        (C::WorkspaceOpened, of_workspace(30), json!({})),
    ]);
    for step in [1, 2, 4] {
        let bench = Bench::new();
        for events in told.chunks(step) {
            bench.store.apply(events).unwrap();
        }
        let shown = bench.text("SELECT group_concat(worktree_path || ' ' || status, ', ') FROM workspaces");
        assert_eq!(shown, format!("/r/x#{} active, /r/x active", uuid_text(30)));
        // The record keeps the true path.
        assert_eq!(bench.store.workspace(id(30)).unwrap().unwrap().binding.worktree_path, "/r/x");
    }
}

#[test]
fn the_board_keeps_what_was_written_last() {
    let bench = Bench::new();
    let told = numbered(vec![
        (C::BoardWritten, Correlation::default(), json!({"sha256": "h0"})),
        (C::BoardEdited, Correlation::default(), json!({"sha256": "theirs", "mirror_state": "advisory_edit"})),
    ]);
    bench.store.apply(&told[..1]).unwrap();
    assert_eq!(bench.text("SELECT mirror_state FROM board_state"), "synchronized");
    bench.store.apply(&told).unwrap();
    let row = "SELECT code || ' ' || mirror_state || ' ' || written_sha256 || ' ' || written_seq || ' ' || seq FROM board_state";
    assert_eq!(bench.text(row), "FR-EVT-TB-002 advisory_edit h0 1 2");
}
