//! The whole slice with the pointer, from an empty board to a packet in Done, without a reload; then what the record and the
//! board file say of it.

use std::path::PathBuf;

use dcc_testkit::World;

use super::{Walk, browse};
use crate::DCC;

/// The packet that the walk makes: the first of its project.
const WP: &str = "WP-0001";
/// What an empty inbox looks like.
const NOTHING_WAITS: &str = "return document.getElementById('attn').dataset.hrefs.includes('/approval/') === false \
    && document.querySelector('[data-decidable]') === null";

#[test]
fn browser_walk_from_the_board_to_done_without_a_reload() {
    let world = World::new(DCC);
    let repo = world.repo();
    browse(&world, world.command().args(["up", "--no-open"]), |walk| async move {
        Slice { walk, repo }.all().await;
    });
    if world.state_dir().join("recorder.db").exists() {
        every_step_is_on_record(&world);
    }
}

/// What each step left, in order; the packet's own slice of the record.
fn every_step_is_on_record(world: &World) {
    let events = world.ok(&["timeline", "--wp", WP]);
    let mut seen = events["items"].as_array().expect("items").iter().map(|e| {
        let text = |key: &str| e[key].as_str().unwrap_or_default().to_owned();
        (text("code"), e["payload"].to_string())
    });
    for (step, code, holds) in [
        ("the packet", "FR-EVT-WP-001", WP),
        ("its micro-tasks", "FR-EVT-MT-001", "MT-001"),
        ("ready", "FR-EVT-WP-006", "ready"),
        ("the gate before work", "FR-EVT-WP-003", "pre_work"),
        ("its start", "FR-EVT-WP-006", "started"),
        ("the step's start", "FR-EVT-MT-002", "MT-001"),
        ("the question for a worktree", "FR-EVT-APPR-001", "worktree"),
        ("its answer", "FR-EVT-APPR-003", "once"),
        ("the worktree", "FR-EVT-WS-001", "dcc/WP-0001"),
        ("the session", "FR-EVT-SESS-001", "scripted"),
        ("its prompt", "FR-EVT-SESS-004", "Greet people."),
        ("its first question", "FR-EVT-APPR-001", "src/greeting.txt"),
        ("the answer", "FR-EVT-APPR-003", "once"),
        ("its second question", "FR-EVT-APPR-001", "README.md"),
        ("the answer", "FR-EVT-APPR-003", "once"),
        ("the question for the commit", "FR-EVT-APPR-001", "Commit 2 paths"),
        ("the answer", "FR-EVT-APPR-003", "once"),
        ("the commit", "FR-EVT-VCS-001", "dcc/WP-0001"),
        ("the step done", "FR-EVT-MT-003", "MT-001"),
        ("the session's end", "FR-EVT-SESS-003", "COMPLETED"),
        ("the gate after work", "FR-EVT-WP-003", "post_work"),
        ("the packet's end", "FR-EVT-WP-004", WP),
    ] {
        let mut passed = Vec::new();
        let found = seen.by_ref().any(|(c, payload)| {
            passed.push(format!("{c} {}", payload.chars().take(160).collect::<String>()));
            c == code && payload.contains(holds)
        });
        assert!(found, "{step}: no {code} with {holds} among {passed:#?}");
    }
    assert_eq!(world.ok(&["recorder", "verify"])["ok"], true);
    let board = std::fs::read_to_string(world.state_dir().join("gov/TASK_BOARD.md")).expect("the board file");
    assert!(board.contains("- **[WP-0001]** - [VALIDATED]"), "{board}");
}

struct Slice {
    walk: Walk,
    repo: PathBuf,
}

impl Slice {
    async fn all(&self) {
        self.make_the_packet().await;
        self.split_it().await;
        self.start_it().await;
        self.make_the_worktree().await;
        self.start_the_session().await;
        self.answer_its_requests().await;
        self.commit_both_files().await;
        self.finish_the_micro_tasks().await;
        self.close_the_session().await;
        self.close_the_packet().await;
    }

    async fn make_the_packet(&self) {
        let w = &self.walk;
        w.pictures("board-empty").await;
        w.click("#main .ways [data-toggle=new-packet]").await;
        w.write("#np-title", "Greet people").await;
        w.write("#np-ac", "src/greeting.txt exists").await;
        w.click("#new-packet button[type=submit]").await;
        w.until("the packet's page", "return location.pathname === '/wp/WP-0001' && document.querySelector('#mts') !== null").await;
    }

    async fn split_it(&self) {
        let w = &self.walk;
        w.click("#mts [data-toggle=add-mts]").await;
        w.write("#mt-name", "Write the greeting").await;
        w.write("#mt-done", "seen in the review").await;
        w.click("#add-mts [data-repeat-add]").await;
        w.write("#mt-name-2", "Tell the readers").await;
        w.write("#mt-done-2", "README.md names it").await;
        w.click("#add-mts button[type=submit]").await;
        w.until("two micro-tasks", "return document.querySelector('#MT-001') !== null && document.querySelector('#MT-002') !== null").await;
    }

    async fn start_it(&self) {
        let w = &self.walk;
        w.click(".head .tools > [data-op='locus.update_wp']:not([aria-disabled])").await;
        w.click(".head .tools > [data-toggle=gate-pre_work]").await;
        w.click("#gate-pre_work button[type=submit]").await;
        w.click(".head .tools > [data-op='locus.start_wp']").await;
        w.click("#MT-001 [data-op='locus.start_mt']:not([aria-disabled])").await;
        w.until("the step in progress", "return document.querySelector('#MT-001 .st').innerText.includes('in progress')").await;
    }

    async fn make_the_worktree(&self) {
        let w = &self.walk;
        w.click(".head .tools > [data-toggle=new-ws]").await;
        w.click("#new-ws button[type=submit]").await;
        w.until("the question", "return document.querySelector('#new-ws .said [data-approval]') !== null").await;
        w.click("a[data-rail=inbox]").await;
        w.until("its card", "return document.querySelector('article.card[data-decidable] h2')?.innerText.startsWith('Create worktree')").await;
        w.pictures("inbox-worktree").await;
        w.approve_once("article.card").await;
        w.until("an empty inbox", NOTHING_WAITS).await;
    }

    async fn start_the_session(&self) {
        let w = &self.walk;
        w.click("a[data-rail=board]").await;
        w.click("#lane-in_progress #wp-WP-0001 h3 a").await;
        w.click(".head .tools > [data-toggle=start-session]").await;
        w.write("#ss-agent", "scripted").await;
        w.write("#ss-prompt", "Greet people.").await;
        assert_eq!(w.js("return document.getElementById('ss-mt').value").await, "MT-001", "the step at work is proposed");
        w.click("#start-session button[type=submit]").await;
        w.until("the session", "return location.pathname.startsWith('/session/') && document.querySelector('#feed') !== null").await;
    }

    async fn answer_its_requests(&self) {
        let w = &self.walk;
        // The first where it was asked, the second where all questions are.
        w.until("the first edit", "return document.querySelector('#feed section.held[data-decidable]')?.innerText.includes('Create src/greeting.txt')").await;
        w.approve_once("#feed section.held").await;
        w.click("a[data-rail=inbox]").await;
        w.until("the second edit", "return document.querySelector('article.card[data-decidable] h2')?.innerText === 'Edit README.md'").await;
        w.pictures("inbox").await;
        w.approve_once("article.card").await;
        w.until("an empty inbox", NOTHING_WAITS).await;
        w.click("a[data-rail=sessions]").await;
        w.click("#main tr[data-row] a[href^='/session/']").await;
        w.until(
            "the end of the turn",
            "return document.querySelectorAll('article.turn[data-who]').length > 1 \
            && !document.querySelector('#feed').innerText.includes('working') \
            && document.querySelector('#main .head .st').innerText.includes('your next message')",
        )
        .await;
        w.until("two changed files", "return document.querySelector('a[data-key=D]')?.innerText.includes('2 files')").await;
        w.pictures("session").await;
    }

    async fn commit_both_files(&self) {
        let w = &self.walk;
        w.click("a[data-key=D]").await;
        w.until("two files", "return document.querySelectorAll('#tree li[data-id]').length === 2").await;
        for name in ["src/greeting.txt", "README.md"] {
            w.click(&format!("#tree li[data-name='{name}'] input.box")).await;
        }
        w.until("two selected", "return document.getElementById('commit-label').innerText === 'Commit 2 paths'").await;
        w.until("the lines", "return document.querySelectorAll('#pane-diff tr.add').length > 4").await;
        w.pictures("review").await;
        w.write("#msg", "Greet people in the README").await;
        let worktree = w.js("return document.querySelector('.head h1').title").await;
        w.click("#commit-go").await;
        w.approve_once("#commit-form [data-approval]").await;
        w.until(
            "the commit",
            "return document.querySelectorAll('#tree li[data-id]').length === 0 \
            && document.querySelector('#pane-diff').innerText.includes('Greet people in the README') \
            && document.querySelector('#commit-form .said').innerText.includes('commit')",
        )
        .await;

        let worktree = PathBuf::from(worktree.as_str().expect("a path"));
        assert_eq!(worktree.parent(), Some(self.repo.with_file_name("repo.wt").as_path()));
        let git = std::process::Command::new("git").arg("-C").arg(&worktree).args(["show", "--format=%B", "--name-only", "HEAD"]).output().expect("git");
        let shown = String::from_utf8_lossy(&git.stdout).into_owned();
        for part in ["WP-0001: Greet people in the README", "DCC-WP: WP-0001", "DCC-Job: ", "\nREADME.md\n", "\nsrc/greeting.txt\n"] {
            assert!(shown.contains(part), "{part}: {shown}");
        }
    }

    async fn finish_the_micro_tasks(&self) {
        let w = &self.walk;
        w.click(".head a[href='/wp/WP-0001']").await;
        w.click("#MT-001 button[data-toggle=mt-MT-001]").await;
        assert!(
            w.js("return document.getElementById('ev-MT-001').selectedOptions[0].text.includes('commit on')").await == true,
            "the commit is offered as evidence"
        );
        w.click("#mt-MT-001 form[data-op='locus.complete_mt'] button[type=submit]").await;
        w.until(
            "MT-001 done on the commit",
            "return /completed|done/.test(document.querySelector('#MT-001 .st').innerText) \
            && document.querySelector('#MT-001 .proof').innerText.includes('version.commit')",
        )
        .await;
        w.click("#MT-002 a[data-toggle=mt-MT-002]").await;
        w.write("#why-MT-002", "done in the same commit").await;
        w.click("#mt-MT-002 button[data-op-override='locus.skip_mt']").await;
        w.until("a skipped step", "return document.querySelector('#MT-002 .st').innerText.includes('skipped')").await;
    }

    async fn close_the_session(&self) {
        let w = &self.walk;
        w.click("#bindings a[href^='/session/']").await;
        w.click("[data-toggle=close-panel]").await;
        w.write("#h-waive", "the commit says everything").await;
        w.click("#close-panel button[type=submit]").await;
        w.click(".head .tools a[href='/wp/WP-0001']").await;
    }

    async fn close_the_packet(&self) {
        let w = &self.walk;
        w.click("#readiness [data-toggle=gate-post_work]").await;
        w.click("#gate-post_work button[type=submit]").await;
        w.click(".head .tools > button[data-op='locus.close_wp']:not([aria-disabled])").await;
        w.until("a closed packet", "return document.querySelector('#readiness header').innerText.includes('closed')").await;
        w.click("a[data-rail=board]").await;
        w.until(
            "the packet in Done",
            "return document.querySelector('#lane-done #wp-WP-0001') !== null && document.querySelector('#lane-in_progress #wp-WP-0001') === null",
        )
        .await;
        w.pictures("board").await;
    }
}
