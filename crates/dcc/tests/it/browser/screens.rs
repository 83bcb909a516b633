//! Every screen of the running demo: accessible (axe-core, both themes, two widths), no wider than its window, each stop of
//! the focus in sight and none a trap; and what a first visit costs.

use dcc_testkit::World;
use serde_json::Value;

use super::by_keyboard::Hands;
use super::{Walk, ask_driver, browse};
use crate::DCC;

pub(super) const AXE: &str = include_str!("../../vendor/axe-core/axe.min.js");
/// WCAG 2.2 AA and the practices beside it; what is found is judged by its impact.
const RUN_AXE: &str = "
    const done = arguments[arguments.length - 1];
    axe.run(document, { resultTypes: ['violations'], runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'] }).then((found) =>
      done(found.violations.map((one) => ({ rule: one.id, impact: one.impact, nodes: one.nodes.slice(0, 4).map((node) => node.html.slice(0, 160) + ' :: ' + (node.failureSummary ?? '').slice(0, 200)) }))),
      (error) => done([{ rule: String(error), impact: 'critical', nodes: [] }]));
";
/// Elements of a page at any time (UX 6, number 14).
const NODES_MAX: i64 = 6_000;
/// Bytes over the wire and requests of a first visit (UX 6, number 2).
const BYTES_MAX: i64 = 120_000;
const REQUESTS_MAX: i64 = 6;

/// What is opened on a screen before it is looked at: its name and a script.
type Opened = (&'static str, &'static str);

#[test]
fn the_vendored_axe_is_the_one_we_took() {
    let noted = include_str!("../../vendor/axe-core/axe.sha256");
    assert_eq!(noted.split_whitespace().next(), Some(dcc_core::Sha256Hex::of(AXE.as_bytes()).to_string().as_str()));
}

#[test]
fn browser_screens_are_accessible_in_both_themes_and_at_two_widths() {
    let world = World::empty(DCC);
    let dir = world.path().join("demo");
    browse(&world, world.command().args(["demo", "--no-open", "--dir"]).arg(dir), |walk| async move {
        first_visit(&walk).await;
        walk.client.execute(AXE, Vec::new()).await.expect("axe");
        let mut faults = Vec::new();
        // While a request waits, then with a change to review.
        look(&walk, &waiting(&walk).await, &mut faults).await;
        answer_both(&walk).await;
        look(&walk, &changed(&walk).await, &mut faults).await;
        assert!(faults.is_empty(), "{} faults: {faults:#?}", faults.len());
    });
}

#[test]
fn browser_focus_is_seen_on_every_screen_and_never_caught() {
    let world = World::empty(DCC);
    let dir = world.path().join("demo");
    browse(&world, world.command().args(["demo", "--no-open", "--dir"]).arg(dir), |walk| async move {
        let mut places = waiting(&walk).await;
        let hands = Hands { walk };
        places.retain(|(_, _, opened)| opened.is_empty());
        for (name, path, _) in places {
            hands.walk.visit(&path).await;
            hands.once_around(&name).await;
        }
    });
}

/// Pages outside the screens: signing in, as it is and after a link that opens nothing, and addresses that name nothing.
#[test]
fn browser_sign_in_and_error_pages_are_accessible() {
    let world = World::empty(DCC);
    let dir = world.path().join("demo");
    browse(&world, world.command().args(["demo", "--no-open", "--dir"]).arg(dir), |walk| async move {
        walk.client.execute(AXE, Vec::new()).await.expect("axe");
        let mut faults = Vec::new();
        let errors = [("not found", "/nowhere"), ("no such session", "/session/x"), ("no such packet", "/wp/WP-9999"), ("a filter that cannot be read", "/jobs?state=nope")];
        let errors: Vec<(String, String, Vec<Opened>)> = errors.map(|(name, path)| (name.to_owned(), path.to_owned(), Vec::new())).into();
        look(&walk, &errors, &mut faults).await;
        walk.client.delete_all_cookies().await.expect("signed out");
        let base = walk.js("return location.origin").await.as_str().expect("an address").to_owned();
        for (name, path) in [("sign in", "/login"), ("sign in, refused", "/login?token=nope")] {
            walk.client.goto(&format!("{base}{path}")).await.expect("the page");
            walk.client.execute(AXE, Vec::new()).await.expect("axe");
            let said = walk.js("return document.getElementById('login').innerText").await;
            let said = said.as_str().expect("a text");
            assert!(said.contains("dcc demo --dir /") && !said.contains("dcc up") && !said.contains("used"), "the command of this very server, and a wrong word is not called used: {said}");
            for (width, height) in [(1440, 900), (360, 740)] {
                walk.width(width, height);
                let wide = walk.js("return document.documentElement.scrollWidth").await;
                assert!(wide.as_i64() <= Some(i64::from(width)), "{name} at {width}: {wide} px wide");
                for theme in ["light", "dark"] {
                    // The page has no switch of its own: it follows the system.
                    let media = serde_json::json!({"features": [{"name": "prefers-color-scheme", "value": theme}]});
                    ask_driver(&walk.driver, "goog/cdp/execute", &serde_json::json!({"cmd": "Emulation.setEmulatedMedia", "params": media}));
                    run_axe(&walk, &format!("{name} at {width}, {theme}"), &mut faults).await;
                    super::picture(&walk.client, &format!("{}-{width}-{theme}", name.replace([' ', ','], "-"))).await;
                }
            }
        }
        assert!(faults.is_empty(), "{} faults: {faults:#?}", faults.len());
        // The refusals themselves stand in the console; nothing else does.
        let log = ask_driver(&walk.driver, "se/log", &serde_json::json!({"type": "browser"}));
        for line in log.as_array().expect("a log").iter().filter(|line| line["level"] != "INFO") {
            assert!(line["message"].as_str().is_some_and(|text| text.contains("Failed to load resource")), "{line}");
        }
        walk.js("window.__walk = 1").await;
    });
}

async fn first_visit(walk: &Walk) {
    let cost = walk
        .js(
            "const all = [...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')].filter((one) => !one.name.includes('/events/stream'));
            return { bytes: all.reduce((sum, one) => sum + one.transferSize, 0), requests: all.length, names: all.map((one) => new URL(one.name).pathname + ' ' + one.transferSize) };",
        )
        .await;
    println!("first visit: {cost}");
    assert!(cost["requests"].as_i64() <= Some(REQUESTS_MAX) && cost["bytes"].as_i64() <= Some(BYTES_MAX), "{cost}");
}

/// Address of the first link of a list that begins so.
async fn linked(walk: &Walk, list: &str, front: &str) -> String {
    walk.visit(list).await;
    let script = format!("return [...document.querySelectorAll('#main a[href^=\"{front}\"]')].map(a => a.getAttribute('href')).filter(href => href.length > 12).at(-1)");
    walk.until(list, &script).await.as_str().expect("an address").to_owned()
}

/// Screens with a request that waits: name, address, what is opened.
async fn waiting(walk: &Walk) -> Vec<(String, String, Vec<Opened>)> {
    let panels: Opened = ("panels", "for (const panel of document.querySelectorAll('#main [data-panel]')) panel.hidden = false");
    let card = linked(walk, "/board", "/approval/").await;
    let session = linked(walk, "/sessions", "/session/").await;
    let job = linked(walk, "/jobs", "/job/").await;
    let event = linked(walk, "/timeline", "/event/").await;
    let workspace = linked(walk, "/workspaces", "/ws/").await;
    let mut all: Vec<(String, String, Vec<Opened>)> = [("session", session), ("job", job), ("event", event), ("approval", card), ("clean review", workspace)]
        .into_iter()
        .map(|(name, path)| (name.to_owned(), path, Vec::new()))
        .collect();
    for (name, path) in [
        ("board", "/board"),
        ("list", "/board?layout=list"),
        ("filtered empty", "/board?q=nothing-is-called-so"),
        ("inbox", "/inbox"),
        ("decided", "/inbox?tab=decided"),
        ("grants", "/inbox?tab=grants"),
        ("packet", "/wp/WP-0002"),
        ("stub", "/wp/WP-0005"),
        ("sessions", "/sessions"),
        ("workspaces", "/workspaces"),
        ("jobs", "/jobs"),
        ("timeline", "/timeline"),
        ("lanes", "/timeline?layout=lanes"),
        ("search", "/search"),
        ("found", "/search?q=greet"),
        ("health", "/health"),
    ] {
        all.push((name.to_owned(), path.to_owned(), Vec::new()));
    }
    let key = |key: &'static str| -> &'static str {
        match key {
            "?" => "document.querySelector('[data-keys]').click()",
            "y" => "document.body.dispatchEvent(new KeyboardEvent('keydown', { key: 'y', bubbles: true }))",
            "peek" => "document.querySelector('#wp-WP-0002 h3 a').focus(); document.activeElement.dispatchEvent(new KeyboardEvent('keydown', { key: ' ', bubbles: true, cancelable: true }))",
            "move" => "document.querySelector('#wp-WP-0003 [data-move]').click()",
            _ => "document.querySelector('[data-palette]').click()",
        }
    };
    all.push(("board, opened".to_owned(), "/board".to_owned(), vec![panels, ("palette", key("palette")), ("keys", key("?")), ("copy", key("y")), ("move", key("move")), ("peek", key("peek"))]));
    all.push(("session, opened".to_owned(), all[0].1.clone(), vec![panels]));
    for tab in ["ledger", "children", "checkpoints", "raw"] {
        all.push((format!("session, {tab}"), format!("{}?tab={tab}", all[0].1), Vec::new()));
    }
    all.push(("sessions, opened".to_owned(), "/sessions?group=tree".to_owned(), vec![panels, ("menu", "document.querySelector('#main details.menu').open = true")]));
    all.push(("sessions, none fit".to_owned(), "/sessions?filter=FAILED&role=validator".to_owned(), Vec::new()));
    all.push(("packet, opened".to_owned(), "/wp/WP-0002".to_owned(), vec![panels]));
    all
}

/// Screens with a finished turn and two changed files.
async fn changed(walk: &Walk) -> Vec<(String, String, Vec<Opened>)> {
    let session = linked(walk, "/sessions", "/session/").await;
    let workspace = linked(walk, "/workspaces", "/ws/").await;
    vec![
        ("session, answered".to_owned(), session, Vec::new()),
        ("review".to_owned(), workspace, vec![("ticked", "document.querySelector('#tree .box').click(); document.querySelector('#tree .seen').click()")]),
        ("inbox, empty".to_owned(), "/inbox".to_owned(), Vec::new()),
    ]
}

async fn answer_both(walk: &Walk) {
    walk.visit("/inbox").await;
    for title in ["Create src/greeting.txt", "Edit README.md"] {
        walk.until(title, &format!("return document.querySelector('article.card[data-decidable] h2')?.innerText === '{title}'")).await;
        walk.approve_once("article.card").await;
    }
    walk.until("an empty inbox", "return document.querySelector('[data-decidable]') === null").await;
}

/// Each screen at two widths in both themes, with what can be opened on it.
async fn look(walk: &Walk, places: &[(String, String, Vec<Opened>)], faults: &mut Vec<String>) {
    for (width, height) in [(1440, 900), (360, 740)] {
        walk.width(width, height);
        for (name, path, opened) in places {
            walk.visit(path).await;
            judge(walk, &format!("{name} at {width}"), width, faults).await;
            for (what, script) in opened {
                if *what == "peek" && width < 720 {
                    continue;
                }
                walk.js(script).await;
                if *what == "peek" {
                    walk.until("the peek", "return document.querySelector('#peek-body') !== null").await;
                }
                judge(walk, &format!("{name}, {what} at {width}"), width, faults).await;
                walk.js("document.querySelector('dialog[open]')?.close()").await;
            }
        }
    }
    walk.width(1440, 900);
}

pub(super) async fn judge(walk: &Walk, name: &str, width: u32, faults: &mut Vec<String>) {
    let size = walk.js("return [document.documentElement.scrollWidth, document.querySelectorAll('*').length]").await;
    if size[0].as_i64() > Some(i64::from(width)) {
        faults.push(format!("{name}: {} px wide", size[0]));
    }
    if size[1].as_i64() > Some(NODES_MAX) {
        faults.push(format!("{name}: {} elements", size[1]));
    }
    // Where a table is a stack of lines, a cell that is taller than its box runs into the next line.
    let spilled = walk.js("return [...document.querySelectorAll('.stackable td, .stackable tbody th')].filter(c => getComputedStyle(c).display === 'block' && c.scrollHeight > c.clientHeight + 8).map(c => c.innerText.slice(0, 60))").await;
    for text in spilled.as_array().into_iter().flatten() {
        faults.push(format!("{name}, {width} px: {text} runs out of its box"));
    }
    for theme in ["light", "dark"] {
        walk.theme(theme).await;
        run_axe(walk, &format!("{name}, {theme}"), faults).await;
    }
}

async fn run_axe(walk: &Walk, name: &str, faults: &mut Vec<String>) {
    let found = walk.client.execute_async(RUN_AXE, Vec::new()).await.unwrap_or_else(|e| panic!("axe on {name}: {e}"));
    for fault in found.as_array().into_iter().flatten().filter(|one| is_grave(one)) {
        let line = format!("{name}: {} ({}): {:#}", fault["rule"], fault["impact"], fault["nodes"]);
        println!("{line}");
        faults.push(line);
    }
}

fn is_grave(fault: &Value) -> bool {
    matches!(fault["impact"].as_str(), Some("serious" | "critical"))
}
