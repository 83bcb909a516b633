//! Where no sandbox can be had: a person asks for the waiver on Health, with the word typed on its card.

use dcc_testkit::World;

use super::browse;
use crate::{DCC, approved_worktree, started_packet};

#[test]
fn browser_asks_for_a_waiver_of_the_sandbox_on_health() {
    let world = World::new(DCC);
    world.ok(&["init"]);
    let wp = started_packet(&world);
    let (ws, _) = approved_worktree(&world, &wp);
    let mut server = world.command();
    server.args(["up", "--no-open"]).env("DCC_SANDBOX_ABSENT", "1");
    browse(&world, &mut server, |walk| async move {
        walk.visit("/health").await;
        walk.click("#main a[href='/health#waive']").await;
        walk.until("the form", "return document.getElementById('waive')?.hidden === false").await;
        assert_eq!(walk.js("return document.getElementById('wv-ws').value").await, ws.as_str());
        walk.write("#wv-why", "a trial on a throwaway machine").await;
        walk.click("#waive button[type=submit]").await;
        let word = walk.until("its card", "return document.querySelector('#waive article.card[data-tier=R3] [data-confirm]')?.dataset.confirm").await;
        assert_eq!(walk.js("return document.querySelector('#waive [data-decide=approve]').getAttribute('aria-disabled')").await, "true", "not without the word");
        walk.write("#waive [data-confirm]", word.as_str().expect("a word")).await;
        walk.click("#waive article.card:not([data-guard]) [data-decide=approve]:not([aria-disabled])").await;
        walk.until("the waiver", "return document.getElementById('main').innerText.includes('run unconfined until') && [...document.querySelectorAll('#main button')].some(one => one.innerText.trim() === 'Revoke')").await;
    });
}
