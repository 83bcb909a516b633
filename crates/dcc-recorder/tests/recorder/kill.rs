//! What was acknowledged is there after SIGKILL, and after a torn write-ahead log the rest is a sound prefix.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};

use dcc_core::ports::Recorder;

use crate::common::{Bench, fill, numbered, write};

const CHILD_PATH: &str = "DCC_TEST_RECORDER_PATH";

/// Not a test of its own: with the variable set it writes until it is killed, saying what was acknowledged.
#[test]
fn child_writes_until_killed() {
    let Some(path) = std::env::var_os(CHILD_PATH) else { return };
    let bench = Bench::new();
    let recorder = bench.try_open(path.as_ref()).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for n in 0.. {
                    let events = write(&recorder, vec![numbered(n), numbered(n)]);
                    let mut out = std::io::stdout().lock();
                    writeln!(out, "ack {} {}", events[1].seq, events[1].hash).unwrap();
                    out.flush().unwrap();
                }
            });
        }
    });
}

#[test]
fn nothing_acknowledged_is_lost_to_a_kill() {
    let bench = Bench::new();
    drop(bench.open());
    let mut least = 0;
    for round in 1..=6u64 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "kill::child_writes_until_killed", "--nocapture", "--test-threads=1"])
            .env(CHILD_PATH, bench.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut acknowledged = Vec::new();
        let mut note = |line: String| {
            if let Some((_, rest)) = line.split_once("ack ") {
                let (seq, hash) = rest.split_once(' ').unwrap();
                acknowledged.push((seq.parse::<u64>().unwrap(), hash.to_owned()));
            }
        };
        // Each round is killed at another point of the work.
        lines.by_ref().take(10 + 17 * round as usize).for_each(|line| note(line.unwrap()));
        child.kill().unwrap();
        child.wait().unwrap();
        // What it said before it died counts too; a line cut in the middle does not.
        let rest: Vec<String> = lines.map_while(Result::ok).collect();
        rest.iter().filter(|line| line.len() >= 64 + 6).for_each(|line| note(line.clone()));
        let recorder = bench.open();
        let report = recorder.verify(None).unwrap();
        assert!(report.ok, "{report:?}");
        for (seq, hash) in &acknowledged {
            assert_eq!(&recorder.by_seq(*seq).unwrap().unwrap().hash.to_string(), hash);
        }
        assert!(report.events > least && report.events % 2 == 0, "batches are whole");
        least = report.events;
    }
}

#[test]
fn a_torn_log_leaves_a_sound_prefix() {
    let bench = Bench::new();
    let recorder = bench.open();
    fill(&recorder, 30);
    for n in 0..20 {
        write(&recorder, vec![numbered(n), numbered(n), numbered(n)]);
    }
    let outside = recorder.checkpoint().unwrap().unwrap();
    // The files as a kill at this moment would leave them.
    let main = std::fs::read(bench.path()).unwrap();
    let wal = std::fs::read(bench.dir.path().join("recorder.db-wal")).unwrap();
    assert!(!wal.is_empty());
    for part in 0..=20 {
        let torn = Bench::new();
        let length = wal.len() * part / 20;
        std::fs::write(torn.path(), &main).unwrap();
        std::fs::write(torn.dir.path().join("recorder.db-wal"), &wal[..length]).unwrap();
        let recorder = torn.open();
        let report = recorder.verify(None).unwrap();
        assert!(report.ok, "{part}: {report:?}");
        assert!(report.events < 30 && report.events == 0 || (report.events - 30) % 3 == 0, "batches are whole: {}", report.events);
        assert_eq!(recorder.verify(Some(outside)).unwrap().ok, report.events == 90);
        assert_eq!(write(&recorder, vec![numbered(1)])[0].seq, report.events + 1);
    }
}
