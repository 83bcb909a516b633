//! Worktrees that do not stand as registered: each is named where a person looks, whole and with its own command, and mended
//! from there.

use dcc_testkit::World;

use super::{Walk, browse};
use crate::{DCC, approved_worktree, until};

#[test]
fn browser_broken_worktrees_are_named_and_mended_from_health_and_workspaces() {
    let world = World::new(DCC);
    world.ok(&["up", "--detach"]);
    let made: Vec<(String, std::path::PathBuf)> = (0..3).map(|_| approved_worktree(&world, &crate::started_packet(&world))).collect();
    let entry = |path: &std::path::Path| std::fs::read_to_string(path.join(".git")).expect("a pointer").trim_start_matches("gitdir: ").trim_end().to_owned();
    let lost = entry(&made[2].1);
    std::fs::rename(&made[0].1, made[0].1.with_file_name("elsewhere")).expect("moved");
    std::fs::remove_dir_all(&made[1].1).expect("removed");
    std::fs::remove_dir_all(lost).expect("forgotten");
    let ids: Vec<String> = made.iter().map(|(ws, _)| ws.clone()).collect();
    let healthy = |world: &World, ws: &str| world.ok(&["ws", "show", ws])["health"].as_str() == Some("ok");
    assert!(!ids.iter().any(|ws| healthy(&world, ws)), "all three are broken");
    let walked = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let has_walked = std::sync::Arc::clone(&walked);
    browse(&world, world.command().args(["up", "--detach"]), |walk| async move {
        let fixes = ["relocate", "recreate", "reregister"];
        for path in ["/health", "/workspaces"] {
            walk.visit(path).await;
            for (ws, fix) in ids.iter().zip(fixes) {
                let command = format!("dcc ws repair {} --{fix}", &ws[ws.len() - 8..]);
                walk.until(&command, &format!("return document.getElementById('main').innerText.includes('{command}')")).await;
                assert_eq!(walk.js(&format!("return document.querySelectorAll(`{}`).length", button(ws))).await, 1, "{path}: {fix}");
            }
            assert_eq!(walk.js("return /repair WS/.test(document.getElementById('main').innerText)").await, false, "{path}: the id stands in the command");
        }
        let cut = walk.js("return [...document.querySelectorAll('.more-row .note .fill')].filter(one => one.scrollWidth > one.clientWidth + 1 || one.scrollHeight > one.clientHeight + 3).length").await;
        assert_eq!(cut, 0, "the sentences are whole");
        mend(&walk, &ids[0], "#main tr.said-row article.card").await;
        walk.visit(&format!("/ws/{}", ids[1])).await;
        mend(&walk, &ids[1], "#main .said article.card").await;
        walk.visit("/health").await;
        assert_eq!(walk.js("return [...document.querySelectorAll('#main .head button')].some(one => one.innerText.includes('dry run'))").await, false, "no button that is always refused");
        mend(&walk, &ids[2], "#main tr.said-row article.card").await;
        has_walked.store(true, std::sync::atomic::Ordering::Release);
    });
    if walked.load(std::sync::atomic::Ordering::Acquire) {
        for (ws, _) in &made {
            until("a whole worktree", || healthy(&world, ws).then_some(()));
        }
    }
}

/// The control that asks for the repair of this worktree.
fn button(ws: &str) -> String {
    format!("#main [data-op=\"workspace.repair\"][data-bind*=\"{ws}\"]")
}

async fn mend(walk: &Walk, ws: &str, card: &str) {
    walk.click(&button(ws)).await;
    let id = walk.until("its card", &format!("return document.querySelector(`{card}[data-decidable]:not([data-guard])`)?.id")).await;
    let id = id.as_str().expect("an id");
    walk.click(&format!("#{id} [data-decide=approve][data-scope=once]")).await;
    walk.until("a mended worktree", &format!("return document.querySelector(`{}`) === null", button(ws))).await;
}
