//! The whole slice again, by key events alone: no pointer and no click made by script. At every stop of the focus it is
//! looked at whether a person would see where he is: a ring, inside the window, with nothing before it.

use dcc_testkit::World;
use fantoccini::actions::{InputSource, KeyAction, KeyActions};
use fantoccini::key::Key;
use serde_json::Value;

use super::{Walk, browse};
use crate::DCC;

/// More stops than any screen of this walk has.
const STOPS_MAX: usize = 160;

/// More stops than the longest list of the demo has.
const ROUND_MAX: usize = 1_500;

/// Where the focus is, and what keeps a person from seeing it.
const STOP: &str = "
    const at = document.activeElement;
    if (!at || at === document.body) return { at: 'the page', hidden: null };
    const name = at.tagName.toLowerCase() + (at.id ? '#' + at.id : '') + ' ' + (at.getAttribute('aria-label') || at.textContent || '').trim().replace(/\\s+/g, ' ').slice(0, 40);
    const ringed = [at, at.parentElement, at.closest('li'), at.closest('label')].some((node) => {
      const style = node && getComputedStyle(node);
      return style && style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2;
    });
    const box = at.getBoundingClientRect();
    const [left, right] = [Math.max(0, box.left), Math.min(innerWidth, box.right)];
    const [top, bottom] = [Math.max(0, box.top), Math.min(innerHeight, box.bottom)];
    const inside = right > left && bottom > top;
    const hit = inside ? document.elementFromPoint((left + right) / 2, (top + bottom) / 2) : null;
    const shown = hit && (at.contains(hit) || hit.contains(at) || hit.closest('label, li, summary') === at.closest('label, li, summary'));
    return { at: name, hidden: !at.matches(':focus-visible') ? 'the focus is not drawn' : !ringed ? 'no ring' : !inside ? 'outside of the window' : !shown ? 'covered by ' + (hit?.outerHTML ?? '').slice(0, 120) : null };
";

#[test]
fn browser_walk_by_keyboard_alone() {
    let world = World::new(DCC);
    browse(&world, world.command().args(["up", "--no-open"]), |walk| async move {
        Hands { walk }.all().await;
    });
    if world.state_dir().join("recorder.db").exists() {
        let board = std::fs::read_to_string(world.state_dir().join("gov/TASK_BOARD.md")).expect("the board file");
        assert!(board.contains("- **[WP-0001]** - [VALIDATED]"), "{board}");
    }
}

pub(super) struct Hands {
    pub(super) walk: Walk,
}

impl Hands {
    async fn all(&self) {
        self.make_the_packet().await;
        self.start_it().await;
        self.make_the_worktree().await;
        self.let_the_agent_work().await;
        self.commit().await;
        self.finish().await;
    }

    async fn make_the_packet(&self) {
        let w = &self.walk;
        self.types("c").await;
        self.at("#np-title", "the title").await;
        self.types("Greet people").await;
        self.reach("#np-ac").await;
        self.types("src/greeting.txt exists").await;
        self.reach("#new-packet button[type=submit]").await;
        self.press(Key::Enter).await;
        w.until("the packet's page", "return location.pathname === '/wp/WP-0001' && document.querySelector('#mts') !== null").await;
        self.reach("#mts [data-toggle=add-mts]").await;
        self.press(Key::Enter).await;
        self.at("#mt-name", "the micro-task's name").await;
        self.types("Write the greeting").await;
        self.reach("#mt-done").await;
        self.types("seen in the review").await;
        // The key of every form.
        self.chord(Key::Control, Key::Enter).await;
        w.until("the micro-task", "return document.querySelector('#MT-001') !== null").await;
    }

    async fn start_it(&self) {
        let w = &self.walk;
        self.reach(".head .tools > [data-op='locus.update_wp']").await;
        self.press(Key::Enter).await;
        w.until("the next step", "return document.querySelector('.head .tools > [data-toggle=gate-pre_work]') !== null").await;
        self.reach(".head .tools > [data-toggle=gate-pre_work]").await;
        self.press(Key::Enter).await;
        self.reach("#gate-pre_work button[type=submit]").await;
        self.press(Key::Enter).await;
        w.until("the next step", "return document.querySelector('.head .tools > [data-op=\"locus.start_wp\"]') !== null").await;
        self.reach(".head .tools > [data-op='locus.start_wp']").await;
        self.press(Key::Enter).await;
        w.until("the packet in progress", "return document.querySelector('.head .tools > [data-toggle=new-ws]') !== null").await;
        self.reach("#MT-001 [data-op='locus.start_mt']:not([aria-disabled])").await;
        self.press(Key::Enter).await;
        w.until("the step in progress", "return document.querySelector('#MT-001 .st').innerText.includes('in progress')").await;
    }

    async fn make_the_worktree(&self) {
        let w = &self.walk;
        self.types("o").await;
        self.at("#ws-branch", "the branch").await;
        self.reach("#new-ws button[type=submit]").await;
        self.press(Key::Enter).await;
        w.until("the question", "return document.querySelector('#new-ws .said [data-approval]') !== null").await;
        self.types("gi").await;
        w.until("its card", "return location.pathname === '/inbox' && document.querySelector('article.card[data-decidable]:not([data-guard]) h2')?.innerText.startsWith('Create worktree')").await;
        self.reach("article.card [data-decide=approve][data-scope=once]").await;
        self.press(Key::Enter).await;
        w.until("nothing to decide", "return document.querySelector('[data-decidable]') === null").await;
    }

    async fn let_the_agent_work(&self) {
        let w = &self.walk;
        self.types("gb").await;
        w.until("the board", "return document.querySelector('#lane-in_progress #wp-WP-0001') !== null").await;
        self.types("j").await;
        self.at("#wp-WP-0001 h3 a", "the card").await;
        self.press(Key::Enter).await;
        w.until("the packet", "return document.querySelector('.head .tools > [data-toggle=start-session]') !== null").await;
        self.types("s").await;
        self.reach("#ss-agent").await;
        self.types("scripted").await;
        self.reach("#ss-prompt").await;
        self.types("Greet people.").await;
        self.chord(Key::Control, Key::Enter).await;
        w.until("the first question", "return document.querySelector('#feed section.held[data-decidable]:not([data-guard])')?.innerText.includes('Create src/greeting.txt')").await;
        self.reach("#feed section.held [data-decide=approve][data-scope=once]").await;
        self.press(Key::Enter).await;
        w.until("the second question", "return document.querySelector('#feed section.held[data-decidable]:not([data-guard])')?.innerText.includes('Edit README.md')").await;
        // The key of the nearest yes.
        self.types("a").await;
        w.until(
            "the end of the turn",
            "return document.querySelector('a[data-key=D]')?.innerText.includes('2 files') && document.querySelector('#main .head .st').innerText.includes('your next message')",
        )
        .await;
    }

    async fn commit(&self) {
        let w = &self.walk;
        self.types("D").await;
        w.until("two files", "return document.querySelectorAll('#tree li[data-id]').length === 2").await;
        for _ in 0..2 {
            self.types("jx").await;
        }
        w.until("two selected", "return document.getElementById('commit-label').innerText === 'Commit 2 paths'").await;
        self.types("kv").await;
        w.until("one viewed", "return document.getElementById('seen-count').innerText === '1'").await;
        self.reach("#tree li:last-child input.box").await;
        self.press(Key::Space).await;
        w.until("one selected", "return document.getElementById('commit-label').innerText === 'Commit 1 path'").await;
        self.press(Key::Space).await;
        self.types("C").await;
        self.at("#msg", "the message").await;
        self.types("Greet people in the README").await;
        self.reach("#commit-go").await;
        self.press(Key::Enter).await;
        w.until("the question", "return document.querySelector('#commit-form [data-approval][data-decidable]:not([data-guard])') !== null").await;
        let placed = w.js("const top = (what) => Math.round(document.querySelector(what).getBoundingClientRect().top); const bottom = (what) => Math.round(document.querySelector(what).getBoundingClientRect().bottom); return { scrolled: document.getElementById('main').scrollTop, head: top('#main > .head') - top('#main'), under: bottom('.pane-commit') - bottom('#main') }").await;
        assert!(placed["scrolled"] == 0 && placed["head"].as_i64() >= Some(0) && placed["under"].as_i64() <= Some(0), "head and panes stay where they are: {placed}");
        self.reach("#commit-form [data-decide=approve][data-scope=once]").await;
        self.press(Key::Enter).await;
        w.until("the commit", "return document.querySelector('#commit-form .said').innerText.includes('commit') && document.querySelectorAll('#tree li[data-id]').length === 0").await;
    }

    async fn finish(&self) {
        let w = &self.walk;
        self.reach(".head a[href='/wp/WP-0001']").await;
        self.press(Key::Enter).await;
        w.until("the packet", "return location.pathname === '/wp/WP-0001' && document.querySelector('#MT-001 button[data-toggle=mt-MT-001]') !== null").await;
        self.types("d").await;
        self.reach("#mt-MT-001 form[data-op='locus.complete_mt'] button[type=submit]").await;
        self.press(Key::Enter).await;
        w.until("the step done", "return document.querySelector('#MT-001 .proof').innerText.includes('version.commit')").await;
        self.reach("#bindings a[href^='/session/']").await;
        self.press(Key::Enter).await;
        w.until("the session", "return document.querySelector('[data-toggle=close-panel]') !== null").await;
        self.reach("[data-toggle=close-panel]").await;
        self.press(Key::Enter).await;
        self.reach("#h-waive").await;
        self.types("the commit says everything").await;
        self.press(Key::Enter).await;
        w.until("a closed session", "return document.querySelector('.head .tools a[href=\"/wp/WP-0001\"]') !== null").await;
        // One level back is the list; the packet is a link in the head.
        self.reach(".head .tools a[href='/wp/WP-0001']").await;
        self.press(Key::Enter).await;
        w.until("the packet", "return document.querySelector('#readiness') !== null").await;
        self.reach("#readiness [data-toggle=gate-post_work]").await;
        self.press(Key::Enter).await;
        self.reach("#gate-post_work button[type=submit]").await;
        self.press(Key::Enter).await;
        w.until("the last step", "return document.querySelector('.head .tools > button[data-op=\"locus.close_wp\"]') !== null").await;
        self.reach(".head .tools > button[data-op='locus.close_wp']").await;
        self.press(Key::Enter).await;
        w.until("a closed packet", "return document.querySelector('#readiness header').innerText.includes('closed')").await;
        assert_eq!(w.js("return [...document.querySelectorAll('#close-why, #readiness button, #bindings header button')].map(one => one.innerText)").await, serde_json::json!([]), "nothing failed, nothing more to decide or start");
        self.types("gb").await;
        w.until("the packet in Done", "return document.querySelector('#lane-done #wp-WP-0001') !== null").await;
    }

    /// Tab by Tab to the element; every stop on the way is one that a person sees.
    pub(super) async fn reach(&self, selector: &str) {
        let is_there = format!("return document.activeElement?.matches(\"{selector}\") ?? false");
        let mut stops: Vec<String> = Vec::new();
        for _ in 0..STOPS_MAX {
            if self.walk.js(&is_there).await == true {
                return;
            }
            self.press(Key::Tab).await;
            stops.push(self.stop().await);
        }
        panic!("{selector} was not reached: {stops:#?}");
    }

    /// Tab by Tab through a whole screen: every stop is seen, and the last one leads out of the page.
    pub(super) async fn once_around(&self, screen: &str) {
        let mut stops: Vec<String> = Vec::new();
        self.walk.js("document.activeElement?.blur()").await;
        while stops.len() < ROUND_MAX {
            self.press(Key::Tab).await;
            let stop = self.stop().await;
            if stop == "the page" {
                assert!(stops.len() > 2, "{screen}: {stops:?}");
                return;
            }
            stops.push(stop);
        }
        panic!("{screen}: the focus does not come out again: {:#?}", &stops[stops.len() - 20..]);
    }

    /// Where the focus is; a stop that cannot be seen fails the walk.
    async fn stop(&self) -> String {
        let stop = self.walk.js(STOP).await;
        let at = stop["at"].as_str().unwrap_or_default().to_owned();
        assert_eq!(stop["hidden"], Value::Null, "the focus on {at} is not seen, at {:?}", self.walk.client.current_url().await);
        at
    }

    pub(super) async fn at(&self, selector: &str, what: &str) {
        self.walk.until(what, &format!("return document.activeElement?.matches(\"{selector}\")")).await;
        self.stop().await;
    }

    pub(super) async fn press(&self, key: Key) {
        self.strokes(&[key.into()], None).await;
    }

    pub(super) async fn types(&self, text: &str) {
        self.strokes(&text.chars().collect::<Vec<_>>(), None).await;
    }

    /// A word as fast as a person types it, however busy the machine is: all its keys at one moment.
    pub(super) async fn word(&self, text: &str) {
        let keys = "const at = document.activeElement ?? document.body; for (const key of arguments[0]) at.dispatchEvent(new KeyboardEvent('keydown', { key, bubbles: true, cancelable: true }))";
        self.walk.client.execute(keys, vec![text.into()]).await.expect("keys");
    }

    pub(super) async fn chord(&self, held: Key, key: impl Into<char>) {
        self.strokes(&[key.into()], Some(held.into())).await;
    }

    async fn strokes(&self, keys: &[char], held: Option<char>) {
        let mut actions = KeyActions::new("keyboard".to_owned());
        if let Some(value) = held {
            actions = actions.then(KeyAction::Down { value });
        }
        for value in keys.iter().copied() {
            actions = actions.then(KeyAction::Down { value }).then(KeyAction::Up { value });
        }
        if let Some(value) = held {
            actions = actions.then(KeyAction::Up { value });
        }
        self.walk.client.perform_actions(actions).await.expect("keys");
    }
}
