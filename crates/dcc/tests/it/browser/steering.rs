//! Steering from the session's page: messages that wait are changed in place, a micro-task is routed, the parts at the side
//! are opened by their keys, and the handoff is written by its form.

use dcc_testkit::World;

use super::by_keyboard::Hands;
use super::{Walk, browse};
use crate::DCC;

/// The waiting messages' texts, in order.
const WAITING: &str = "return [...document.querySelectorAll('#queued .grow')].map(one => one.innerText).join('|')";

#[test]
fn browser_waiting_messages_are_changed_moved_removed_and_sent_now() {
    let world = World::empty(DCC);
    let dir = world.path().join("demo");
    browse(&world, world.command().args(["demo", "--no-open", "--dir"]).arg(dir), |walk| async move {
        open_session(&walk).await;
        for (count, text) in ["first", "second", "third"].iter().enumerate() {
            walk.write("#say-text", text).await;
            walk.click(".composer button[type=submit]").await;
            walk.until(text, &format!("return document.querySelectorAll('#queued li').length === {} && document.getElementById('say-text').value === ''", count + 1)).await;
        }
        press(&walk, 1, "Later").await;
        waits(&walk, "second|first|third").await;
        press(&walk, 3, "Earlier").await;
        waits(&walk, "second|third|first").await;
        // An edit of the one in the middle, by keyboard.
        press(&walk, 2, "Edit").await;
        walk.until("the text to change", "return document.activeElement.name === 'edit' && document.activeElement.value === 'third'").await;
        walk.js("document.activeElement.select()").await;
        walk.write("#queued li:nth-child(2) textarea", "third, and its test").await;
        walk.js("document.activeElement.form.requestSubmit()").await;
        waits(&walk, "second|third, and its test|first").await;
        press(&walk, 3, "Remove").await;
        waits(&walk, "second|third, and its test").await;
        // What is typed meanwhile stays while the running turn is stopped for another message.
        walk.write("#say-text", "half a thought").await;
        press(&walk, 2, "Send now").await;
        walk.until("the delivery", "return [...document.querySelectorAll('#feed [data-own]')].some(one => one.innerText.includes('third, and its test'))").await;
        assert!(walk.js("return document.getElementById('say-text').value").await == "half a thought", "typed text is never lost");
    });
}

#[test]
fn browser_a_task_is_routed_and_a_handoff_written_by_their_forms() {
    let world = World::empty(DCC);
    let dir = world.path().join("demo");
    browse(&world, world.command().args(["demo", "--no-open", "--dir"]).arg(dir), |walk| async move {
        open_session(&walk).await;
        walk.click("[data-toggle=route-panel]").await;
        walk.js("const pick = document.getElementById('ro-mt'); pick.value = 'MT-002'; pick.dispatchEvent(new Event('change', { bubbles: true }))").await;
        walk.click("#route-panel button[type=submit]").await;
        walk.until("the message made from the records", "return document.querySelector('#queued')?.innerText.includes('MT-002')").await;
        walk.until("its binding", "return document.querySelector('.facts-line').innerText.includes('MT-002')").await;
        press(&walk, 1, "Remove").await;
        walk.until("an empty queue", "return document.querySelector('#queued') === null").await;
        assert!(walk.js("return document.querySelector('[data-toggle=close-panel]').dataset.why.startsWith('HSK-409')").await == true, "nothing is closed over a running turn");
        // The dialog of stopping names what stays; it is left again.
        walk.click("[data-toggle=stop-panel]").await;
        walk.until("what a stop does", "return /uncommitted|unknown/.test(document.getElementById('stop-panel').innerText)").await;
        walk.click("#stop-panel [data-close]").await;
        let hands = Hands { walk };
        for (key, part) in [("l", "ledger"), ("T", "children")] {
            hands.types(key).await;
            hands.walk.until(part, &format!("return location.search === '?tab={part}' && document.querySelector('#side-tabs [aria-current]')?.href.includes('{part}')")).await;
        }
        let walk = hands.walk;
        for answer in 1..=2 {
            walk.visit("/inbox").await;
            walk.until("a card", &format!("return {answer} && document.querySelector('article.card[data-decidable] h2') !== null")).await;
            walk.approve_once("article.card").await;
        }
        open_session(&walk).await;
        walk.until("its rest", "return document.querySelector('[data-toggle=close-panel]:not([aria-disabled])') !== null").await;
        walk.click("[data-toggle=close-panel]").await;
        walk.write("#h-done", "the greeting\nits test").await;
        walk.write("#h-evi", "diff src/greeting.txt").await;
        walk.click("#close-panel button[type=submit]").await;
        walk.until("its end", "return document.querySelector('.head .st')?.innerText.includes('completed')").await;
    });
}

/// A word that was meant for a text field changes nothing; the same key by itself does.
#[test]
fn browser_a_word_typed_beside_the_fields_pauses_nothing() {
    let world = World::empty(DCC);
    let dir = world.path().join("demo");
    browse(&world, world.command().args(["demo", "--no-open", "--dir"]).arg(dir), |walk| async move {
        open_session(&walk).await;
        walk.js("document.activeElement?.blur()").await;
        let hands = Hands { walk };
        hands.word("hop").await;
        let walk = &hands.walk;
        walk.until("why it was held back", "return document.querySelector('.why-said')?.innerText.includes('Letters were typed just before')").await;
        let anew = "const said = document.querySelector('.why-said'); document.dispatchEvent(new CustomEvent('dcc:shown', { detail: { navigated: false } })); return said.isConnected";
        assert!(walk.js(anew).await == true, "a page that is drawn anew still says so");
        assert!(walk.js("return document.querySelector('#lead [data-op=\"session.pause\"]') !== null && document.querySelector('#lead .said, .head + .said') === null").await == true, "nothing was asked for");
        walk.js("window.quietSince = performance.now()").await;
        walk.until("no letter for as long as the guard lasts", "return performance.now() - window.quietSince > 400").await;
        hands.types("p").await;
        walk.until("a pause", "return document.querySelector('#lead [data-op=\"session.resume\"]') !== null").await;
    });
}

async fn open_session(walk: &Walk) {
    walk.visit("/sessions?filter=all").await;
    let href = walk.until("a session", "return document.querySelector('#main tr[data-row] th a[href^=\"/session/\"]')?.getAttribute('href')").await;
    walk.visit(href.as_str().expect("an address")).await;
}

async fn press(walk: &Walk, at: usize, label: &str) {
    let script = format!("const b = [...document.querySelectorAll('#queued li:nth-child({at}) button')].find(one => one.innerText.trim() === '{label}'); if (!b) return false; b.focus(); b.click(); return true");
    walk.until(label, &script).await;
}

async fn waits(walk: &Walk, order: &str) {
    walk.until(order, &format!("{WAITING} === '{order}'")).await;
}
