//! Reads go on where nothing can be written, and every write refuses before any effect: a read-only mount, a full disk.
//!
//! The mounts are real, in a mount namespace of each command. Where there are none, the tests say that they were skipped.

use std::process::{Command, Stdio};
use std::sync::OnceLock;

use dcc_testkit::World;
use serde_json::Value;

use crate::{DCC, approved_worktree, pages::Reader, started_packet};

/// What the namespace looks like.
#[derive(Clone, Copy)]
pub(crate) enum Place {
    /// The repository cannot be written, `.git` and `.handshake` with it.
    ReadOnlyRepository,
    /// Nothing but the temporary directory can be written.
    ReadOnlyEverything,
    /// `.handshake` stands on a small file system without a free byte.
    FullDisk,
}

/// `unshare` with what works here; none when there are no mount namespaces.
fn unshare() -> Option<&'static [&'static str]> {
    static FOUND: OnceLock<Option<&'static [&'static str]>> = OnceLock::new();
    *FOUND.get_or_init(|| {
        let ways: [&[&str]; 2] = [&["unshare", "-m"], &["unshare", "-r", "-m"]];
        let works = |way: &&&[&str]| {
            let mut command = Command::new(way[0]);
            command.args(&way[1..]).args(["sh", "-c", "mount -t tmpfs tmpfs /mnt"]).stderr(Stdio::null());
            command.status().is_ok_and(|status| status.success())
        };
        ways.iter().find(works).copied()
    })
}

/// The shell's part before the command; `$1` is the world's directory.
fn setup(place: Place) -> &'static str {
    match place {
        Place::ReadOnlyRepository => "mount --bind $1/repo $1/repo && mount -o remount,ro,bind $1/repo",
        Place::ReadOnlyEverything => "mount --bind $1 $1 && mount --bind $1/tmp $1/tmp && mount -o remount,ro,bind $1",
        Place::FullDisk => {
            "mkdir -p $1/small && mount -t tmpfs -o size=24m tmpfs $1/small && cp -a $1/repo/.handshake/. $1/small/ && \
             { cat /dev/zero > $1/small/filling 2>/dev/null || true; } && mount --bind $1/small $1/repo/.handshake"
        }
    }
}

/// A `dcc` of the world's repository inside the place.
pub(crate) fn inside(world: &World, place: Place) -> Command {
    let way = unshare().expect("asked before");
    let plain = world.command();
    let mut command = Command::new(way[0]);
    command.env_clear().envs(plain.get_envs().filter_map(|(key, value)| Some((key, value?)))).current_dir(world.repo()).stdin(Stdio::null());
    command.args(&way[1..]).args(["sh", "-c", &format!("set -e; {}; shift; cd .; exec \"$@\"", setup(place)), "sh"]).arg(world.path());
    command.arg(DCC).args(["-C".as_ref(), world.repo().as_os_str()]);
    command
}

/// A `dcc --json` command inside the place.
fn command(world: &World, place: Place, arguments: &[&str]) -> Command {
    let mut command = inside(world, place);
    command.arg("--json").args(arguments);
    command
}

struct Answer {
    code: i32,
    value: Value,
    said: String,
}

fn run(world: &World, place: Place, arguments: &[&str]) -> Answer {
    let done = command(world, place, arguments).output().expect("the namespace is made");
    let text = String::from_utf8_lossy(&done.stdout).trim_end().to_owned();
    let value = serde_json::from_str(&text).unwrap_or(Value::String(text));
    Answer { code: done.status.code().unwrap_or(-1), value, said: String::from_utf8_lossy(&done.stderr).into_owned() }
}

/// A project with a packet in progress, a worktree with a change, and a request that waits. Commands that read it, and
/// commands that would change it.
pub(crate) struct Scene {
    pub(crate) world: World,
    pub(crate) reads: Vec<Vec<String>>,
    writes: Vec<Vec<String>>,
}

pub(crate) fn scene() -> Option<Scene> {
    if unshare().is_none() {
        eprintln!("skipped: no mount namespace can be made here");
        return None;
    }
    let world = World::new(DCC);
    world.configure("[recipes.fine]\nargv = [\"true\"]\n");
    world.ok(&["init"]);
    let wp = started_packet(&world);
    let (ws, path) = approved_worktree(&world, &wp);
    std::fs::write(path.join("src/a.txt"), "changed\n").unwrap();
    let job = world.ok(&["job", "list"])["items"][0]["job_id"].as_str().unwrap().to_owned();
    let waits = world.json(&["vcs", "commit", "--ws", &ws, "-m", "Mine", "src/a.txt"]).json()["approval_id"].as_str().unwrap().to_owned();
    let words = |all: &[&str]| -> Vec<Vec<String>> {
        let fill = |word: &str| word.replace("WP", &wp).replace("WS", &ws).replace("JOB", &job).replace("APPROVAL", &waits);
        all.iter().map(|line| line.split(' ').map(fill).collect()).collect()
    };
    let reads = words(&[
        "wp list", "wp show WP", "mt list WP", "ws list", "ws show WS", "job list", "job show JOB", "approvals list", "approvals show APPROVAL",
        "grants list", "session list", "timeline", "board render", "recorder verify", "recorder tail", "recorder export", "vcs status --ws WS",
        "vcs diff --ws WS", "vcs log --ws WS", "search two", "search Greet --scope objects",
    ]);
    let writes = words(&[
        "wp create --title No", "wp note WP no", "ws create --wp WP --branch other", "ws close WS", "vcs commit --ws WS -m No src/b.txt",
        "session start --ws WS --agent scripted", "approvals approve APPROVAL", "approvals deny APPROVAL --reason no", "job cancel JOB", "run --ws WS fine",
        "board sync", "rebuild",
    ]);
    Some(Scene { world, reads, writes })
}

fn strs(words: &[String]) -> Vec<&str> {
    words.iter().map(String::as_str).collect()
}

/// The answer of every read, as far as it is the project's: when a request was made does not matter.
fn answers(scene: &Scene, ask: impl Fn(&[&str]) -> (i32, Value)) -> Vec<(String, Value)> {
    scene
        .reads
        .iter()
        .map(|words| {
            let (code, mut value) = ask(&strs(words));
            assert_eq!(code, 0, "{words:?}: {value}");
            // When the head was last copied outside says nothing about the log.
            if let Some(report) = value.as_object_mut() {
                report.remove("checkpoint");
            }
            (words.join(" "), value)
        })
        .collect()
}

/// The commands whose answers differ.
fn differing(one: &[(String, Value)], other: &[(String, Value)]) -> Vec<String> {
    one.iter().zip(other).filter(|(a, b)| a != b).map(|(a, _)| a.0.clone()).collect()
}

fn as_before(scene: &Scene) -> Vec<(String, Value)> {
    answers(scene, |words| {
        let ran = scene.world.json(words);
        (ran.code, serde_json::from_str(&ran.stdout).unwrap_or(Value::String(ran.stdout)))
    })
}

fn check_reads_and_writes(scene: &Scene, place: Place, why: &str) {
    let before = as_before(scene);
    let files = scene.world.snapshot();
    let there = answers(scene, |words| {
        let answer = run(&scene.world, place, words);
        (answer.code, answer.value)
    });
    assert_eq!(differing(&before, &there), Vec::<String>::new(), "they answer as they did before");
    let status = run(&scene.world, place, &["status"]);
    assert!(status.code == 0 && status.value["read_only"].as_str().is_some_and(|w| w.contains(why)), "{}", status.value);
    assert!(status.said.contains("read only: ") && status.said.contains(why), "{}", status.said);
    for words in &scene.writes {
        let refused = run(&scene.world, place, &strs(words));
        assert_eq!((refused.code, refused.value["error"]["code"].as_str()), (7, Some("HSK-500-RECORDER")), "{words:?}: {} {}", refused.value, refused.said);
        assert!(refused.value["error"]["message"].as_str().unwrap().contains(why), "{words:?}: {}", refused.value);
    }
    assert_eq!(files.difference(&scene.world.snapshot()), Vec::<std::path::PathBuf>::new());
    assert_eq!(differing(&before, &as_before(scene)), Vec::<String>::new(), "nothing was recorded");
}

#[test]
fn a_read_only_mount_is_read_and_refuses_every_write() {
    let Some(scene) = scene() else { return };
    check_reads_and_writes(&scene, Place::ReadOnlyRepository, "the file system is read-only");
    check_reads_and_writes(&scene, Place::ReadOnlyEverything, "the file system is read-only");
}

#[test]
fn a_full_disk_is_read_and_refuses_every_write() {
    let Some(scene) = scene() else { return };
    check_reads_and_writes(&scene, Place::FullDisk, "no space is left");
    // The same when derived data is gone.
    std::fs::remove_file(scene.world.state_dir().join("devcc.db")).unwrap();
    assert_eq!(run(&scene.world, Place::FullDisk, &["job", "list"]).value, scene.world.json(&["job", "list"]).json());
}

#[test]
fn derived_data_that_is_missing_or_behind_is_built_in_memory() {
    let Some(scene) = scene() else { return };
    let database = scene.world.state_dir().join("devcc.db");
    let behind = std::fs::read(&database).unwrap();
    scene.world.ok(&["wp", "note", &scene.reads[1][2], "later"]);
    let before = as_before(&scene);
    let now = |scene: &Scene| {
        answers(scene, |words| {
            let answer = run(&scene.world, Place::ReadOnlyRepository, words);
            (answer.code, answer.value)
        })
    };
    std::fs::write(&database, &behind).unwrap();
    let same = |what: &str| assert_eq!(differing(&before, &now(&scene)), Vec::<String>::new(), "{what}");
    same("behind");
    assert_eq!(std::fs::read(&database).unwrap(), behind, "the file is left alone");
    std::fs::write(&database, "no database").unwrap();
    same("damaged");
    std::fs::remove_file(&database).unwrap();
    same("missing");
}

#[test]
fn what_a_killed_server_acknowledged_is_read_from_the_log_it_left() {
    let Some(scene) = scene() else { return };
    let wp = &scene.reads[1][2];
    let server = scene.world.serve();
    let noted = server.http.submit("locus.add_note", serde_json::json!({ "wp_id": wp }), serde_json::json!({ "body": "acknowledged" }));
    assert_eq!(noted.json()["state"], "completed", "{noted:?}");
    server.kill();
    let log = scene.world.state_dir().join("recorder.db-wal");
    assert!(log.metadata().is_ok_and(|m| m.len() > 0), "the log was not brought home");
    let notes = || run(&scene.world, Place::ReadOnlyRepository, &["wp", "show", wp]).value["notes"].to_string();
    assert!(notes().contains("acknowledged"));
    std::fs::remove_file(scene.world.state_dir().join("recorder.db-shm")).unwrap();
    assert!(notes().contains("acknowledged"), "also without SQLite's shared index");
    assert_eq!(run(&scene.world, Place::ReadOnlyRepository, &["recorder", "verify"]).value["ok"], true);
    assert!(std::fs::read_dir(scene.world.path().join("tmp")).unwrap().next().is_none(), "no copy is left behind");
}

#[test]
fn a_server_over_read_only_files_shows_everything_and_changes_nothing() {
    let Some(scene) = scene() else { return };
    let server = scene.world.serve_with(|plain| {
        *plain = command(&scene.world, Place::ReadOnlyRepository, &["up", "--no-open", "--port", "0"]);
        plain.stdout(Stdio::piped());
    });
    let server = server.expect("it serves");
    let http = &server.http;
    assert_eq!(http.get("/api/v1/health")["status"], "read_only");
    assert!(http.get("/api/v1/project")["read_only"].as_str().unwrap().contains("read-only"));
    let wp = &scene.reads[1][2];
    for (op, params) in [("locus.add_note", serde_json::json!({ "body": "no" })), ("store.rebuild", serde_json::json!({}))] {
        let refused = http.submit(op, serde_json::json!({ "wp_id": wp }), params);
        assert_eq!((refused.status, refused.code_text().as_str()), (500, "HSK-500-RECORDER"), "{op}: {refused:?}");
        assert!(refused.text().contains("start it again"), "{op}: {refused:?}");
    }
    // Outside its namespace everything can be written, and the server refuses all the same: that is said.
    let checks = scene.world.ok(&["doctor"]);
    let server_check = checks["items"].as_array().unwrap().iter().find(|c| c["name"] == "server").expect("a check of the server");
    assert!(server_check["status"] == "needs" && server_check["fix"].as_str().unwrap().contains("dcc up --stop"), "{server_check}");
    let reader = Reader::sign_in(http);
    for page in ["/board", &format!("/wp/{wp}"), "/inbox", "/sessions", "/workspaces", "/jobs", "/timeline", "/health", &format!("/approval/{}", scene.reads[8][2])] {
        let html = reader.page(page);
        assert!(html.contains("id=\"read-only-note\" data-off=\"HSK-500-RECORDER Read only: "), "{page} says why: {html}");
    }
    // A command meets the server's socket, and the same answers.
    let status = scene.world.ok(&["status"]);
    assert!(status["served"] == true && status["read_only"].is_string(), "{status}");
}
