//! Lists under change: looking into a row and deciding there, requests of one kind as one row, what arrives above the row a
//! person is on, the neighbours of a page, copying, and the keys that can be switched off.

use dcc_testkit::World;
use fantoccini::key::Key;
use serde_json::{Value, json};

use super::by_keyboard::Hands;
use super::{Walk, browse};
use crate::{DCC, approved_worktree, scripted, started_packet, until};

/// As many as are folded into one row.
const ASKING: usize = 4;

#[test]
fn browser_lists_keep_their_place_and_rows_are_decided_where_they_stand() {
    let world = World::new(DCC);
    world.ok(&["up", "--detach"]);
    let wp = started_packet(&world);
    let (ws, _) = approved_worktree(&world, &wp);
    for _ in 0..ASKING {
        world.ok(&["session", "start", "--ws", &ws, "--agent", "scripted", "--prompt", "go"]);
    }
    until("all of them ask", || (pending(&world) == ASKING).then_some(()));
    // The running server prints a fresh link and the command ends.
    browse(&world, world.command().args(["up", "--detach"]), |walk| async move {
        Lists { hands: Hands { walk } }.all().await;
    });
}

/// So many requests at once each of two sessions makes; one session may hold 32.
const MANY: usize = 30;

#[test]
fn browser_shows_a_handed_in_write_as_a_diff_and_sixty_requests_as_one_row() {
    let world = World::new(DCC);
    let steps = json!([{ "edit": { "path": "src/a.txt", "append": "four\n" } }, { "ask_many": MANY }]);
    let agent = scripted(&world, &json!({ "name": "many", "turns": [{ "steps": steps }] }).to_string());
    world.configure(&agent);
    world.ok(&["up", "--detach"]);
    let wp = started_packet(&world);
    let (ws, _) = approved_worktree(&world, &wp);
    world.ok(&["session", "start", "--ws", &ws, "--agent", "tester", "--prompt", "go"]);
    until("the write asks", || (pending(&world) == 1).then_some(()));
    browse(&world, world.command().args(["up", "--detach"]), |walk| async move {
        walk.visit("/inbox").await;
        // What stands there, what would: our own comparison, with its surroundings, and no word of the agent's.
        let lines = walk.js("return [...document.querySelectorAll('article.card .diff tr:not(.hunk)')].map(row => row.querySelector('.sg').innerText + row.querySelector('.c').innerText)").await;
        assert_eq!(lines, json!(["one", "two", "three", "+four"]), "{lines}");
        assert_eq!(walk.js("return document.querySelector('article.card .path').innerText.replace('\\n', '')").await, "src/a.txt");
        walk.approve_once("article.card").await;
        let batch = |count: usize| format!("return document.querySelector('details.batch > summary .m')?.innerText === '{count}'");
        walk.until("one row for all", &batch(MANY)).await;
        // A second one comes: its write stands by itself, its many join the row.
        let request = format!("{{op: 'session.start', bindings: {{workspace_id: '{ws}'}}, params: {{agent: 'tester', prompt: 'go'}}}}");
        let lists = Lists { hands: Hands { walk } };
        lists.elsewhere(&request).await;
        let walk = lists.walk();
        walk.until("its row", "return document.querySelector('.pane-queue section:first-of-type h2')?.innerText === 'Needs your decision'").await;
        walk.click(".pane-queue section:first-of-type > ol > li.q > a").await;
        walk.until("the second write", "return document.querySelector('article.card[data-decidable]:not([data-guard]) h2')?.innerText === 'Write src/a.txt'").await;
        walk.approve_once("article.card").await;
        walk.until("one row for both", &batch(2 * MANY)).await;
        walk.visit("/inbox").await;
        walk.js("document.querySelector('details.batch').open = true").await;
        let nodes = walk.js("return document.querySelectorAll('*').length").await;
        assert!(nodes.as_i64() < Some(6_000), "{nodes} elements");
        walk.approve_once("article.card").await;
        walk.until("the others wait on", &batch(2 * MANY - 1)).await;
    });
    if std::env::var_os("DCC_TEST_BROWSER").is_none_or(|v| v != "skip") {
        assert_eq!(pending(&world), 2 * MANY - 1, "one decision decided one request");
    }
}

/// Fewer than are folded into one row.
const FEW: usize = 3;

/// What is marked, what is shown, and how many rows carry the needle.
const MARKED: &str = "const all = [...document.querySelectorAll('#main .on-row[data-row]')]; const card = document.querySelector('#pane-card article.card')?.dataset.approval ?? ''; return all.length === 1 && all[0].id === `q-${card}` && all[0].contains(document.activeElement) ? card : null";

#[test]
fn browser_the_row_and_the_card_of_the_inbox_move_together() {
    let world = World::new(DCC);
    let agent = scripted(&world, &json!({ "name": "few", "turns": [{ "steps": [{ "ask_many": FEW }] }] }).to_string());
    world.configure(&agent);
    world.ok(&["up", "--detach"]);
    let wp = started_packet(&world);
    let (ws, _) = approved_worktree(&world, &wp);
    let session = world.ok(&["session", "start", "--ws", &ws, "--agent", "tester", "--prompt", "go"])["session_id"].as_str().expect("an id").to_owned();
    until("all of them ask", || (pending(&world) == FEW).then_some(()));
    browse(&world, world.command().args(["up", "--detach"]), |walk| async move {
        walk.visit("/inbox").await;
        let rows = walk.until("the rows", "const all = [...document.querySelectorAll('.pane-queue section:first-of-type li.q')].map(row => row.id.slice(2)); return all.length === 3 && all").await;
        let hands = Hands { walk };
        let walk = &hands.walk;
        let moved = async |to: &Value, what: &str| {
            let id = walk.until(what, &format!("const card = (() => {{ {MARKED} }})(); return card === {to} && document.querySelector('article.card[data-decidable]:not([data-guard])') !== null && card")).await;
            assert_eq!(&id, to, "{what}");
        };
        hands.types("j").await;
        moved(&rows[1], "the second row and its card").await;
        hands.types("j").await;
        moved(&rows[2], "the third row and its card").await;
        hands.types("k").await;
        moved(&rows[1], "the second row again").await;
        walk.js("window.quietSince = performance.now()").await;
        walk.until("no letter for as long as the guard lasts", "return performance.now() - window.quietSince > 400").await;
        hands.types("a").await;
        // The next one stands there with its card, marked, and the decided one is the one that was marked.
        moved(&rows[2], "the next row and its card").await;
        let decided = format!("return fetch('/api/v1/approvals/' + {}).then(answer => answer.json()).then(one => one.status ?? one.approval?.status)", rows[1]);
        assert_eq!(walk.js(&decided).await, "consumed", "the marked one was decided");
        // A row that is marked without its card decides nothing.
        walk.js(&format!("document.querySelector('#q-' + {} + ' a').focus()", rows[0])).await;
        walk.js("window.quietSince = performance.now()").await;
        walk.until("no letter for as long as the guard lasts", "return performance.now() - window.quietSince > 400").await;
        hands.types("a").await;
        walk.until("the refusal", "return document.querySelector('#pane-card .said').innerText.includes('The marked row is another one')").await;
        // In its session one is allowed, the others are held; it waits and does not work, and looking at requests is no activity of it.
        walk.visit(&format!("/session/{session}")).await;
        walk.until("the states of its calls", "return [...document.querySelectorAll('#feed .calls .st')].map(one => one.innerText.trim()).sort().join() === 'allowed,held,held'").await;
        let head = walk.js("return [...document.querySelectorAll('#feed .turn > .row .st')].map(one => one.innerText.trim()).join()").await;
        assert!(head.as_str().is_some_and(|words| words.contains("waits for you") && !words.contains("working")), "{head}");
        assert!(walk.js("return document.querySelector('#feed-show').parentElement.innerText.includes('1 turn,')").await == true, "one turn is one turn");
    });
    if std::env::var_os("DCC_TEST_BROWSER").is_none_or(|v| v != "skip") {
        assert_eq!(pending(&world), FEW - 1, "one decision decided one request");
    }
}

fn pending(world: &World) -> usize {
    world.ok(&["approvals", "list"])["items"].as_array().map_or(0, |all| all.iter().filter(|a| a["status"] == "pending").count())
}

struct Lists {
    hands: Hands,
}

impl Lists {
    fn walk(&self) -> &Walk {
        &self.hands.walk
    }

    async fn all(&self) {
        self.one_row_for_many().await;
        self.look_into_a_row_and_decide().await;
        self.what_lands_above_waits().await;
        self.what_lands_above_the_view_is_counted().await;
        self.neighbours().await;
        self.copy_an_id().await;
        self.verify_again().await;
        self.letters_off().await;
    }

    async fn one_row_for_many(&self) {
        let w = self.walk();
        w.visit("/inbox").await;
        let batch = w.js("return document.querySelector('details.batch > summary').innerText").await;
        assert!(batch.as_str().is_some_and(|text| text.contains('4') && text.contains("4 sessions")), "{batch}");
        assert_eq!(w.js("return document.querySelectorAll('details.batch li.q').length").await, ASKING);
        let open = "return document.querySelector('details.batch').open";
        let was = w.js(open).await;
        self.hands.types("b").await;
        w.until("the batch turned over", &format!("{open} !== {was}")).await;
        // Each is decided by itself: the others go on waiting.
        w.approve_once("article.card").await;
        w.until("three others", "return Number(document.getElementById('attn').dataset.needs) >= 3").await;
        // A request that was shown before is guarded anew where a person comes to it.
        w.until("the next card", "return document.querySelector('article.card[data-decidable]:not([data-guard])') !== null").await;
        w.js("window.guards = 0; new MutationObserver((all) => { window.guards += all.filter((one) => one.target.isConnected && one.target.hasAttribute('data-guard')).length }).observe(document.documentElement, { attributes: true, subtree: true, attributeFilter: ['data-guard'] })").await;
        let before = w.js("return location.href").await;
        self.hands.types("n").await;
        w.until("a request by itself", &format!("return location.href !== {before} && document.querySelector('article.card[data-decidable]') !== null")).await;
        w.until("its guard", "return window.guards > 0").await;
    }

    async fn look_into_a_row_and_decide(&self) {
        let w = self.walk();
        w.visit("/board").await;
        self.hands.types("j").await;
        self.hands.at("#wp-WP-0001 h3 a", "the card").await;
        self.hands.press(Key::Space).await;
        w.until("the peek", "return document.querySelector('#peek [data-approval][data-decidable]:not([data-guard])') !== null").await;
        self.hands.at("#wp-WP-0001 h3 a", "the card keeps the focus").await;
        let shown = w.js("return document.querySelector('#peek [data-approval]').dataset.approval").await;
        // A word that was meant for a text field decides nothing.
        self.hands.word("zza").await;
        w.until("the refusal", "return document.querySelector('#peek .said').innerText.includes('Press it once more by itself')").await;
        assert_eq!(w.js("return document.querySelector('#peek [data-approval]').dataset.approval").await, shown);
        w.js("window.quietSince = performance.now()").await;
        w.until("no letter for as long as the guard lasts", "return performance.now() - window.quietSince > 400").await;
        self.hands.types("a").await;
        w.until("another request in the peek", &format!("return document.querySelector('#peek [data-approval]')?.dataset.approval !== {shown}")).await;
        assert_eq!(w.js("return location.pathname").await, "/board", "decided without leaving the board");
        // A step to the page and back finds the peek again; Esc takes it away.
        self.hands.press(Key::Enter).await;
        w.until("the packet", "return location.pathname === '/wp/WP-0001' && document.querySelector('#peek') === null").await;
        w.js("history.back()").await;
        w.until("the board with its peek", "return location.pathname === '/board' && document.querySelector('#peek-body') !== null").await;
        self.hands.press(Key::Escape).await;
        w.until("no peek", "return document.querySelector('#peek') === null").await;
    }

    /// Asks for a job as any other surface would.
    async fn elsewhere(&self, request: &str) {
        let script = format!(
            "const done = arguments[0]; fetch('/api/v1/jobs', {{ method: 'POST', headers: {{ 'content-type': 'application/json', 'x-dcc-token': document.querySelector('meta[name=dcc-token]').content }}, body: JSON.stringify({request}) }}).then((answer) => done(answer.status))"
        );
        let status = self.walk().client.execute_async(&script, Vec::new()).await.expect("an answer");
        assert_eq!(status, 202, "{request}");
    }

    async fn what_lands_above_waits(&self) {
        let w = self.walk();
        self.elsewhere("{op: 'locus.create_wp', params: {title: 'Second', priority: 3}}").await;
        w.visit("/board").await;
        w.until("the card", "return document.querySelector('#lane-stub #wp-WP-0002') !== null").await;
        w.js("document.querySelector('#wp-WP-0002 h3 a').focus()").await;
        let top = "return Math.round(document.querySelector('#wp-WP-0002').getBoundingClientRect().top)";
        let before = w.js(top).await;
        self.elsewhere("{op: 'locus.create_wp', params: {title: 'More urgent', priority: 0}}").await;
        w.until("the chip", "return document.querySelector('#lane-stub [data-chip]')?.innerText === '1 new'").await;
        assert_eq!(w.js(top).await, before, "the row a person is on does not move");
        assert_eq!(w.js("return document.querySelector('#wp-WP-0003')").await, Value::Null);
        self.hands.at("#wp-WP-0002 h3 a", "the row keeps the focus").await;
        w.click("#lane-stub [data-chip]").await;
        w.until("the new card on top", "return document.querySelector('#lane-stub ol > li').id === 'wp-WP-0003' && !document.querySelector('[data-chip]')").await;
    }

    async fn what_lands_above_the_view_is_counted(&self) {
        let w = self.walk();
        w.visit("/jobs").await;
        let scroll = "const box = document.querySelector('#main .scroll'); box.scrollTop = 100; return box.scrollTop";
        assert_eq!(w.js(scroll).await, 100, "there is enough to scroll");
        let seen = "const box = document.querySelector('#main .scroll').getBoundingClientRect(); const row = [...document.querySelectorAll('#main tr[data-row]')].find(one => one.getBoundingClientRect().bottom > box.top + 1);";
        let first = w.js(&format!("{seen} return [row.id, Math.round(row.getBoundingClientRect().top)]")).await;
        self.elsewhere("{op: 'locus.add_note', bindings: {wp_id: 'WP-0001'}, params: {body: 'from elsewhere'}}").await;
        w.until("the chip", "return /^\\d+ new$/.test(document.querySelector('#main [data-chip]')?.innerText ?? '')").await;
        let now = w.js(&format!("return Math.round(document.getElementById({}).getBoundingClientRect().top)", first[0])).await;
        assert!((now.as_i64().unwrap_or_default() - first[1].as_i64().unwrap_or_default()).abs() <= 1, "{first} is now at {now}");
        w.click("#main [data-chip]").await;
        w.until("the top of the list", "return document.querySelector('#main .scroll').scrollTop === 0 && !document.querySelector('[data-chip]')").await;
    }

    async fn neighbours(&self) {
        let w = self.walk();
        w.visit("/board").await;
        w.visit("/wp/WP-0003").await;
        self.hands.types("]").await;
        w.until("the next of the lane", "return location.pathname === '/wp/WP-0002'").await;
        self.hands.types("[").await;
        w.until("back", "return location.pathname === '/wp/WP-0003'").await;
        // And what needs a person, one after the other.
        let waiting = "return document.getElementById('attn').dataset.hrefs.split(' ')";
        let all = w.js(waiting).await;
        self.hands.types("n").await;
        w.until("the oldest", &format!("return location.pathname === {}", all[0])).await;
        self.hands.types("n").await;
        w.until("the next", &format!("return location.pathname === {}", all[1])).await;
        self.hands.types("N").await;
        w.until("the oldest again", &format!("return location.pathname === {}", all[0])).await;
        w.visit("/wp/WP-0003").await;
    }

    async fn copy_an_id(&self) {
        let w = self.walk();
        w.js("navigator.clipboard.writeText = async (text) => { window.__copied = text; }").await;
        self.hands.types("y").await;
        w.until("the sheet", "return document.querySelector('#copy-sheet[open]') !== null").await;
        self.hands.types("i").await;
        w.until("the id", "return window.__copied === 'WP-0003' && !document.querySelector('#copy-sheet')").await;
    }

    async fn verify_again(&self) {
        let w = self.walk();
        w.visit("/health").await;
        w.click("#main .tools [data-verify-record]").await;
        w.until("the answer", "return /verified to seq \\d+/.test(document.querySelector('#main .said-after')?.innerText ?? '')").await;
        let sequence = w.js("return Number(document.querySelector('#main .said-after').innerText.match(/seq (\\d+)/)[1])").await;
        let line = format!("return Number(document.querySelector('#end [data-verify-record]')?.innerText.replaceAll(/[^\\d,]/g, '').split(',')[0]) === {sequence}");
        w.until("the status line", &line).await;
    }

    async fn letters_off(&self) {
        let w = self.walk();
        w.visit("/board").await;
        self.hands.types("?").await;
        w.until("the keys", "return document.querySelector('#keys[open]') !== null").await;
        self.hands.reach("#letters-on").await;
        self.hands.press(Key::Space).await;
        self.hands.press(Key::Escape).await;
        w.until("no sheet", "return document.querySelector('#keys') === null").await;
        self.hands.types("gi").await;
        self.hands.chord(Key::Control, 'k').await;
        w.until("the palette", "return document.querySelector('#palette[open]') !== null").await;
        assert_eq!(w.js("return location.pathname").await, "/board", "letters act no more");
        self.hands.types("single-letter").await;
        self.hands.press(Key::Enter).await;
        self.hands.types("gi").await;
        w.until("letters act again", "return location.pathname === '/inbox'").await;
    }
}
