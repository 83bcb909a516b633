//! Over files that cannot be written: every screen is read, and each control that would change something is off, can be
//! reached, and says why.

use super::{Walk, browse};
use crate::read_only::{Place, inside, scene};

/// Controls of the screen that change something and are not off, or are and do not say why with a code.
const UNEXPLAINED: &str = "
    const changing = [...document.querySelectorAll('#main button[data-op], #main form[data-op] [type=submit], #main [data-decide], #main [data-cancel-job], #peek button[data-op], #peek [data-decide]')];
    const why = (one) => one.dataset.why || one.title || '';
    const bad = changing.filter((one) => one.getAttribute('aria-disabled') !== 'true' || one.disabled || one.tabIndex < 0 || !/^[A-Z]{3,}[-_][A-Z0-9_-]+ .{12,}/.test(why(one)));
    return { count: changing.length, bad: bad.slice(0, 5).map((one) => one.outerHTML.slice(0, 240)) };
";

#[test]
fn browser_over_read_only_files_reads_everything_and_says_why_nothing_changes() {
    let Some(scene) = scene() else { return };
    let [wp, ws, approval] = [1, 4, 8].map(|at| scene.reads[at][2].clone());
    let claimed = scene.world.ok(&["session", "start", "--ws", &ws, "--human"]);
    let session = claimed["session_id"].as_str().expect("an id").to_owned();
    let screens = [
        "/board".to_owned(), "/board?layout=list".into(), format!("/wp/{wp}"), "/inbox".into(), "/inbox?tab=grants".into(), format!("/approval/{approval}"), "/sessions".into(),
        format!("/session/{session}"), "/workspaces".into(), format!("/ws/{ws}"), "/jobs".into(), "/timeline".into(), "/health".into(),
    ];
    browse(&scene.world, inside(&scene.world, Place::ReadOnlyRepository).args(["up", "--no-open", "--port", "0"]), |walk| async move {
        let mut changing = 0;
        for screen in &screens {
            walk.visit(screen).await;
            let found = walk.js(UNEXPLAINED).await;
            assert_eq!(found["bad"], serde_json::json!([]), "{screen}");
            changing += found["count"].as_u64().expect("a number");
        }
        assert!(changing > 30, "the screens have their controls: {changing}");
        says_why(&walk, &session).await;
        reads(&walk, &ws).await;
    });
}

/// By keyboard: a control that is off takes the focus, and pressing it says code and sentence and asks for nothing.
async fn says_why(walk: &Walk, session: &str) {
    walk.visit(&format!("/session/{session}")).await;
    let jobs = jobs(walk).await;
    walk.js("document.querySelector('[data-op=\"session.pause\"]').focus()").await;
    assert!(walk.js("return document.activeElement.dataset.op === 'session.pause'").await == true, "it takes the focus");
    walk.js("document.activeElement.click()").await;
    walk.until("the reason", "return /HSK-500-RECORDER Read only: .*read-only/.test(document.querySelector('.why-said')?.innerText ?? '')").await;
    // A form that is sent by its key says the same in its own place.
    walk.js("document.getElementById('say-text').value = 'kept'; document.querySelector('.composer').requestSubmit()").await;
    walk.until("the reason in the form", "return /HSK-500-RECORDER/.test(document.querySelector('.composer .said').innerText)").await;
    assert!(walk.js("return document.getElementById('say-text').value").await == "kept", "typed text stays");
    assert_eq!(self::jobs(walk).await, jobs, "nothing was asked for");
}

async fn jobs(walk: &Walk) -> serde_json::Value {
    let script = "const done = arguments[arguments.length - 1]; fetch('/api/v1/jobs').then(a => a.json()).then(a => done(a.items.length))";
    walk.client.execute_async(script, Vec::new()).await.expect("an answer")
}

/// What only reads still answers: a file's lines, the chain, a search.
async fn reads(walk: &Walk, ws: &str) {
    walk.visit(&format!("/ws/{ws}")).await;
    walk.until("the changed line", "return document.querySelector('#main .diff')?.innerText.includes('changed')").await;
    walk.visit("/search?q=Greet&scope=objects").await;
    walk.until("a hit", "return document.querySelector('#main a[href^=\"/wp/\"]') !== null").await;
}
