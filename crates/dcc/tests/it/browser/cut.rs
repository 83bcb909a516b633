//! What is never cut, whatever stands beside it: states, buttons, what a button covers; at a desk's widths and a phone's.

use dcc_testkit::World;
use serde_json::{Value, json};

use super::{Walk, browse};
use crate::{DCC, approved_worktree, scripted, until};

/// The worktree's branch takes its name from this.
const TITLE: &str = "Greet people in many languages, with care for long titles that wrap over several lines";

/// Elements that match and are narrower or lower than what they hold, or stand outside of the window.
const CUT: &str = "const [what] = arguments; const all = [...document.querySelectorAll(what)].filter(one => one.getClientRects().length > 0); if (all.length === 0) return ['nothing matches ' + what];
    return all.filter(one => { const box = one.getBoundingClientRect(); return one.scrollWidth > one.clientWidth + 1 && getComputedStyle(one).display !== 'inline' || one.scrollHeight > one.clientHeight + 3 && getComputedStyle(one).overflow === 'hidden' || box.right > innerWidth + 1 || box.left < -1; }).map(one => one.innerText.slice(0, 60) + ' ' + Math.round(one.getBoundingClientRect().right))";

#[test]
fn browser_states_scopes_and_buttons_are_never_cut() {
    let world = World::new(DCC);
    let crash = world.path().join("crash.json");
    std::fs::write(&crash, json!({ "name": "bad", "exit_at": "initialize", "turns": [] }).to_string()).expect("a script");
    let agents = scripted(&world, &json!({ "name": "few", "turns": [{ "steps": [{ "ask_many": 2 }] }] }).to_string());
    let crash = crash.display();
    let budget = "[budgets.session]\nmax_tokens = 20000\nmax_cost = \"1.00\"\n";
    world.configure(&format!("{agents}[agents.bad]\ncommand = [\"{DCC}\", \"scripted-agent\", \"{crash}\"]\nread_paths = [\"{crash}\"]\n{budget}"));
    world.ok(&["up", "--detach"]);
    let made = world.ok(&["wp", "create", "--title", TITLE, "--criterion", "a greeting exists"]);
    let wp = made["wp_id"].as_str().expect("an id").to_owned();
    world.ok(&["mt", "add", &wp, "--name", "Write it", "--criterion", "seen"]);
    world.ok(&["wp", "ready", &wp]);
    world.ok(&["wp", "gate", &wp, "pre_work", "pass"]);
    world.ok(&["wp", "start", &wp]);
    let (ws, _) = approved_worktree(&world, &wp);
    let asking = world.ok(&["session", "start", "--ws", &ws, "--agent", "tester", "--prompt", "go"])["session_id"].as_str().expect("an id").to_owned();
    assert_ne!(world.json(&["session", "start", "--ws", &ws, "--agent", "bad", "--prompt", "go"]).code, 0);
    until("both requests", || (world.ok(&["approvals", "list"])["items"].as_array().is_some_and(|all| all.iter().filter(|a| a["status"] == "pending").count() == 2)).then_some(()));
    let failed = world.ok(&["session", "list"])["items"].as_array().and_then(|all| all.iter().find(|s| s["agent"] == "bad")).and_then(|s| s["session_id"].as_str()).expect("an id").to_owned();
    let record = world.state_dir().join(format!("gov/work_packets/{wp}/packet.json"));
    let edited = std::fs::read_to_string(&record).expect("the record").replace("several lines", "many lines");
    std::fs::write(&record, edited).expect("an edit");
    browse(&world, world.command().args(["up", "--detach"]), |walk| async move {
        for (width, height) in [(1440, 900), (1280, 800), (360, 740)] {
            walk.width(width, height);
            walk.visit("/sessions?filter=all").await;
            whole(&walk, "#main td.says-all .st > .cut", width).await;
            whole(&walk, "#main tr[data-row] .menu > summary", width).await;
            walk.visit(&format!("/session/{asking}")).await;
            whole(&walk, "#feed .scopes .btn, #feed .scopes .btn small", width).await;
            let beside = "const all = [...document.querySelectorAll('.facts-line .read > div')].map(one => [one, one.getBoundingClientRect()]); return all.filter(([one, box], at) => { const next = all[at + 1]?.[1]; return one.scrollWidth > one.clientWidth + 1 || next && next.top === box.top && next.left < box.right - 1; }).map(([one]) => one.innerText)";
            assert_eq!(walk.js(beside).await, json!([]), "no fact runs into the next at {width}");
            walk.visit(&format!("/session/{failed}")).await;
            whole(&walk, "#main > .head > .st > .cut", width).await;
            assert_eq!(walk.js("return [document.querySelector('#composer-over') !== null, document.querySelectorAll('.composer textarea, [data-fill=say-text]').length]").await, json!([true, 0]), "nothing is written to a session that has ended");
            let wide = walk.js("return document.documentElement.scrollWidth").await;
            assert!(wide.as_i64() <= Some(i64::from(width)), "a failed session at {width}: {wide} px wide");
            walk.visit("/inbox").await;
            let card = walk.js("return document.querySelector('.pane-queue a[href*=\"?a=\"]').getAttribute('href')").await;
            walk.visit(card.as_str().expect("an address")).await;
            whole(&walk, "article.card .scopes .btn small, article.card .fact .st", width).await;
            walk.visit("/board").await;
            let said = walk.js("return [document.querySelectorAll('#main > .note').length, document.querySelector('#wp-WP-0001').innerText.includes('file edited by hand')]").await;
            assert_eq!(said, json!([1, true]), "one banner, and the card says it too, at {width}");
            walk.visit(&format!("/wp/{wp}")).await;
            whole(&walk, "#drift .ph [data-op]", width).await;
        }
    });
}

async fn whole(walk: &Walk, what: &str, width: u32) {
    let cut = walk.client.execute(CUT, vec![what.into()]).await.expect("an answer");
    assert_eq!(cut, Value::Array(Vec::new()), "{what} at {width}");
}
