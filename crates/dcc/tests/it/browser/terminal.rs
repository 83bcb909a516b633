//! The terminal of a session in its page: what it shows as it changes, its keys, a flood, both widths.

use dcc_testkit::World;
use fantoccini::key::Key;

use super::by_keyboard::Hands;
use super::screens::{AXE, judge};
use super::{Walk, browse};
use crate::DCC;
use crate::attach::{attachments, started};

const SCRIPT: &str = "seq 1 40; trap 'echo got-int' INT; printf '\\033[31mred\\033[0m <b>ready</b>\\n'; \
    while :; do read -r x || continue; case \"$x\" in flood) seq 1 40000;; full) printf '\\033[?1049h\\033[2J\\033[2;3Hin vi'; read -r x; printf '\\033[?1049l';; *) echo \"<$x>\";; esac; done";
const SHOWN: &str = "document.getElementById('terminal-screen').innerText";

#[test]
fn browser_shows_a_terminal_and_types_into_it() {
    let world = World::new(DCC);
    world.ok(&["up", "--detach"]);
    let session = started(&world, SCRIPT);
    let path = format!("/session/{session}");
    let has_walked = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let walked = std::sync::Arc::clone(&has_walked);
    browse(&world, world.command().args(["up", "--detach"]), |walk| async move {
        walk.visit(&path).await;
        walk.click("nav[aria-label=Session] a:last-of-type").await;
        types_and_sees(&walk).await;
        let mut faults = Vec::new();
        walk.client.execute(AXE, Vec::new()).await.expect("axe");
        for (width, height) in [(1440, 900), (360, 740)] {
            walk.width(width, height);
            let field = walk.js("const box = document.getElementById('terminal-keys').getBoundingClientRect(); const hit = document.elementFromPoint(box.left + 20, box.top + box.height / 2); return hit?.id").await;
            assert_eq!(field, "terminal-keys", "the field can be touched at {width}");
            judge(&walk, &format!("terminal at {width}"), width, &mut faults).await;
        }
        walk.width(1440, 900);
        walk.pictures("terminal").await;
        assert!(faults.is_empty(), "{faults:#?}");
        walked.store(true, std::sync::atomic::Ordering::Release);
    });
    if has_walked.load(std::sync::atomic::Ordering::Acquire) {
        assert_eq!(attachments(&world).len(), 1, "one stay is one job, whatever was typed");
    }
}

async fn types_and_sees(walk: &Walk) {
    let shows = |what: &str| format!("return {SHOWN}.includes('{what}')");
    assert_eq!(walk.js("return /question/.test(document.getElementById('attn').innerText)").await, false, "an open terminal asks nobody");
    walk.until("its state", "return document.querySelector('#main .head .st').innerText.includes('terminal open')").await;
    let in_field = "return document.activeElement?.id === 'terminal-keys'";
    walk.until("the field as one comes", in_field).await;
    walk.until("what it shows", &shows("red <b>ready</b>")).await;
    // A click on the screen is a wish to type there; letters on it are nobody's keys.
    walk.js("document.getElementById('terminal-view').focus()").await;
    walk.click("#terminal-screen").await;
    walk.until("the field after a click", in_field).await;
    walk.js("document.getElementById('terminal-view').focus()").await;
    let hands = Hands { walk: walk.again() };
    hands.types("l ps gb?").await;
    assert!(walk.js("return location.pathname.endsWith('/terminal') && !document.querySelector('dialog[open]') && document.activeElement.id === 'terminal-view'").await == true, "no key of the page acted");
    assert_eq!(walk.js("return document.querySelector('#terminal-screen .tf1').innerText").await, "red");
    assert!(walk.js("return document.querySelector('#terminal-history pre').textContent.startsWith('1\\n2\\n')").await == true, "the lines before it");
    walk.write("#terminal-keys", &format!("helo{}lo j{}", Key::Backspace, Key::Enter)).await;
    walk.until("what came of the keys", &shows("<hello j>")).await;
    walk.click("[data-terminal-key=ctrl-c]").await;
    walk.until("the interrupt", &shows("got-int")).await;
    walk.write("#terminal-keys", &format!("full{}", Key::Enter)).await;
    walk.until("the second screen", "return document.getElementById('terminal-screen').textContent.startsWith('\\n  in vi')").await;
    walk.click("[data-terminal-key=Enter]").await;
    walk.until("the first one again", &shows("got-int")).await;
    walk.write("#terminal-keys", &format!("flood{}", Key::Enter)).await;
    walk.until("the end of the flood", &shows("40000")).await;
    let nodes = walk.js("return document.querySelectorAll('*').length").await;
    assert!(nodes.as_i64() < Some(3_000), "{nodes}");
    walk.write("#terminal-keys", &format!("{}]", Key::Control)).await;
    walk.until("the field is left", "return document.activeElement?.id === 'terminal-view'").await;
    walk.until("the field is empty", "return document.getElementById('terminal-keys').value === ''").await;
}
