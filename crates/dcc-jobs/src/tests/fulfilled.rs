//! A write by which DCC fulfils an agent's edit stands in the row of that edit, when it is known which one it is.

use std::sync::Arc;

use dcc_core::SessionId;
use dcc_core::job::JobState;
use dcc_core::op::Op;
use dcc_core::ports::PermissionAnswer;
use dcc_core::ports::sessions::{Observed, ToolStatus};
use dcc_core::ports::store::{JobFilter, ToolCall};

use super::rig::Rig;

/// A person says yes to whatever is asked until the thread is done.
fn agree<T>(rig: &Rig, asking: std::thread::JoinHandle<T>) -> T {
    rig.until("an end", || {
        if !rig.pending().is_empty() {
            rig.approve();
        }
        asking.is_finished().then_some(())
    });
    asking.join().expect("no panic")
}

/// The agent announces the call, asks for these files, and a person says yes once, where no earlier yes covers it.
fn permitted(rig: &Rig, id: SessionId, call: &str, paths: &[&str]) {
    rig.puppets.tell(id, call, ToolStatus::Requested);
    let answer = rig.puppets.ask_edit(id, call, paths);
    assert_eq!(agree(rig, std::thread::spawn(move || answer.get())), PermissionAnswer::AllowOnce);
}

fn write(rig: &Arc<Rig>, id: SessionId, path: &'static str, content: &'static str) {
    let other = Arc::clone(rig);
    agree(rig, std::thread::spawn(move || other.puppets.write(id, path, content))).expect("written");
}

/// The ledger, which is the same when it is made again from the events.
fn rows(rig: &Rig, id: SessionId) -> Vec<ToolCall> {
    let store = &rig.runner.cx.ports.store;
    let live = store.tool_calls(Some(id), 0, 0).expect("rows");
    store.reset().expect("empty");
    rig.runner.cx.journal.rebuild().expect("made again");
    assert_eq!(store.tool_calls(Some(id), 0, 0).expect("rows"), live);
    // The rig's worktree was made behind DCC's back, which is seen and said; that is not what is asked here.
    live.into_iter().filter(|row| row.observed != Observed::Inferred).collect()
}

/// (id, how it is known, paths written for it); a write in a row of its own shows as `write`.
fn shape(rows: &[ToolCall]) -> Vec<(String, Observed, Vec<String>)> {
    let name = |id: &str| if id.starts_with("write-") { "write".to_owned() } else { id.to_owned() };
    rows.iter().map(|row| (name(&row.tool.tool_call_id), row.observed, row.writes.iter().map(|w| w.path.display()).collect())).collect()
}

fn call(id: &str, observed: Observed, paths: &[&str]) -> (String, Observed, Vec<String>) {
    (id.to_owned(), observed, paths.iter().map(|path| (*path).to_owned()).collect())
}

#[test]
fn an_edit_and_its_writes_are_one_row() {
    let rig = Rig::new();
    let id = rig.start(Some("first"));
    permitted(&rig, id, "edit-1", &["a.txt", "b.txt"]);
    rig.puppets.write(id, "a.txt", "two\n").expect("written");
    let running = &rows(&rig, id)[0];
    assert_eq!((running.tool.status, running.writes[0].status), (ToolStatus::Running, ToolStatus::Ok), "the agent has not said that it is over");
    rig.puppets.write(id, "b.txt", "new\n").expect("written");
    rig.puppets.tell(id, "edit-1", ToolStatus::Ok);
    let rows = rows(&rig, id);
    assert_eq!(shape(&rows), [call("edit-1", Observed::Gated, &["a.txt", "b.txt"])]);
    let row = &rows[0];
    assert_eq!((row.tool.title.as_str(), row.tool.status), ("Do edit-1", ToolStatus::Ok));
    assert_eq!(row.writes.iter().map(|w| w.before.is_some()).collect::<Vec<_>>(), [true, false]);
    // Both ids lead to it: the agent's, and that of the job that wrote.
    let jobs = rig.runner.cx.ports.store.jobs(&JobFilter { op: Some(Op::FsWrite), ..JobFilter::default() }).expect("jobs");
    let mut written: Vec<_> = jobs.iter().map(|job| job.job_id).collect();
    written.reverse();
    assert_eq!(row.writes.iter().map(|w| w.job_id).collect::<Vec<_>>(), written);
    assert_eq!(row.writes[0].write_id, format!("write-{}", written[0]));
    assert_eq!(rig.shown(id).tool_calls, 1);
}

#[test]
fn what_is_not_known_stays_in_two_rows() {
    let rig = Arc::new(Rig::new());
    let id = rig.start(Some("first"));
    // Two calls that both may change the file: which of them the write belongs to is not said by anybody.
    permitted(&rig, id, "one", &["a.txt"]);
    permitted(&rig, id, "two", &["a.txt"]);
    write(&rig, id, "a.txt", "two\n");
    // Now the first is over: the second alone is meant, once.
    rig.puppets.tell(id, "one", ToolStatus::Ok);
    write(&rig, id, "a.txt", "three\n");
    write(&rig, id, "a.txt", "four\n");
    // A file that the call did not name, and a call that is over.
    write(&rig, id, "c.txt", "other\n");
    permitted(&rig, id, "three", &["b.txt"]);
    rig.puppets.tell(id, "three", ToolStatus::Ok);
    write(&rig, id, "b.txt", "late\n");
    let own = || call("write", Observed::Gated, &[]);
    let (one, three) = (call("one", Observed::Gated, &[]), call("three", Observed::Gated, &[]));
    assert_eq!(shape(&rows(&rig, id)), [one, call("two", Observed::Gated, &["a.txt"]), own(), own(), own(), three, own()]);
}

#[test]
fn a_permission_of_an_earlier_turn_joins_nothing() {
    let rig = Arc::new(Rig::new());
    let id = rig.start(Some("first"));
    permitted(&rig, id, "earlier", &["a.txt"]);
    rig.puppets.end_turn(id, "end_turn");
    rig.send(id, "second");
    write(&rig, id, "a.txt", "two\n");
    assert_eq!(shape(&rows(&rig, id)), [call("earlier", Observed::Gated, &[]), call("write", Observed::Gated, &[])]);
    let last = rig.runner.cx.ports.store.jobs(&JobFilter { op: Some(Op::FsWrite), ..JobFilter::default() }).expect("jobs");
    assert_eq!(last.iter().map(|job| job.state).collect::<Vec<_>>(), [JobState::Completed]);
}
