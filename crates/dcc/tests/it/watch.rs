//! A file changed by hand reaches whoever looks at its worktree, and nothing is recorded for it.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

use dcc_testkit::{Http, World};
use serde_json::Value;

use crate::browser::browse;
use crate::{DCC, approved_worktree, started_packet, until};

/// A reader of the event stream.
struct Stream(BufReader<TcpStream>);

impl Stream {
    fn open(http: &Http) -> Self {
        let mut socket = TcpStream::connect(("127.0.0.1", http.port)).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        write!(socket, "GET /api/v1/events/stream HTTP/1.1\r\nhost: 127.0.0.1:{}\r\nauthorization: Bearer {}\r\n\r\n", http.port, http.credential).unwrap();
        let mut stream = Self(BufReader::new(socket));
        stream.next("hello");
        stream
    }

    /// Skips to the next message of this name; its data.
    fn next(&mut self, event: &str) -> Value {
        let mut name = String::new();
        loop {
            let mut line = String::new();
            assert_ne!(self.0.read_line(&mut line).unwrap_or_else(|e| panic!("no {event}: {e}")), 0, "the stream ended before {event}");
            if let Some(found) = line.strip_prefix("event:") {
                found.trim().clone_into(&mut name);
            } else if let Some(data) = line.strip_prefix("data:")
                && name == event
            {
                return serde_json::from_str(data.trim()).unwrap();
            }
        }
    }

    /// Skips to a touch of this workspace.
    fn touch_of(&mut self, ws: &str) {
        while self.next("touch")["workspace_id"] != ws {}
    }
}

fn watching(http: &Http) -> Value {
    let page = http.get("/api/v1/health");
    page["watching"].clone()
}

/// Waits until the server follows so many worktrees.
fn follows(http: &Http, trees: u64) {
    until("that the worktrees are followed", || (watching(http)["trees"] == trees).then_some(()));
}

fn head_seq(http: &Http) -> u64 {
    http.get("/api/v1/health")["recorder"]["head"]["seq"].as_u64().unwrap()
}

#[test]
fn a_changed_file_is_told_without_an_event_as_worktrees_come_and_go() {
    let world = World::new(DCC);
    world.ok(&["init"]);
    let wp = started_packet(&world);
    let server = world.serve();
    follows(&server.http, 1);
    let (ws, path) = approved_worktree(&world, &wp);
    follows(&server.http, 2);
    let mut stream = Stream::open(&server.http);
    let before = head_seq(&server.http);
    std::fs::write(path.join("src/a.txt"), "by hand\n").unwrap();
    stream.touch_of(&ws);
    // What git does of its own accord below .git, and what DCC keeps, is nobody's edit; a new directory is.
    std::fs::create_dir_all(path.join("new/deep")).unwrap();
    stream.touch_of(&ws);
    std::fs::write(path.join("new/deep/file"), "x").unwrap();
    stream.touch_of(&ws);
    assert_eq!(head_seq(&server.http), before, "a changed file is no event");
    world.ok(&["ws", "close", &ws]);
    follows(&server.http, 1);
    world.ok(&["ws", "open", &ws]);
    follows(&server.http, 2);
    let mut stream = Stream::open(&server.http);
    std::fs::write(path.join("src/a.txt"), "again\n").unwrap();
    stream.touch_of(&ws);
}

#[test]
fn browser_review_and_board_follow_an_edit_by_hand() {
    let world = World::new(DCC);
    world.ok(&["init"]);
    let wp = started_packet(&world);
    let (ws, path) = approved_worktree(&world, &wp);
    let (edited, wp_id) = (path.clone(), wp.clone());
    browse(&world, world.command().args(["up", "--no-open"]), |walk| async move {
        walk.click(&format!("#wp-{wp_id} a[href='/ws/{ws}']")).await;
        walk.until("a clean review", "return document.querySelector('#tree') !== null && document.querySelectorAll('#tree li[data-id]').length === 0").await;
        edit(&edited.join("src/a.txt"), "by hand\n");
        let asked = Instant::now();
        walk.until("the edited file", "return document.querySelector('#tree')?.innerText.includes('a.txt')").await;
        eprintln!("the review showed the edit after {} ms", asked.elapsed().as_millis());
        walk.until("its lines", "return document.getElementById('pane-diff').innerText.includes('by hand')").await;
        edit(&edited.join("docs/new.md"), "new\n");
        walk.until("both files", "return document.querySelectorAll('#tree li[data-id]').length === 2").await;
        // The lines that a person reads stay as they are until he wants the new ones.
        edit(&edited.join("src/a.txt"), "by hand, again\n");
        walk.until("the mark that it moved on", "return document.querySelector('#pane-diff .file-moved') !== null").await;
        walk.click("a[data-rail=board]").await;
        walk.until("the count on the card", &format!("return document.querySelector('#wp-{wp_id}')?.innerText.includes('±2')")).await;
        edit(&edited.join("src/b.txt"), "third\n");
        walk.until("the new count", &format!("return document.querySelector('#wp-{wp_id}')?.innerText.includes('±3')")).await;
    });
}

fn edit(file: &Path, text: &str) {
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(file, text).unwrap();
}
