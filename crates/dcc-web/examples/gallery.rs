//! Renders every screen and state with made-up data into a directory, for looking at and for pictures.
//!
//! Authority: none; a development tool that the product never reaches.
//! Use: `cargo run -p dcc-web --example gallery -- DIRECTORY`, then serve the directory.

#![allow(clippy::disallowed_methods, reason = "a development tool that writes pages into a directory it is given")]

#[path = "gallery_data/mod.rs"]
mod data;

use std::path::Path;

use dcc_web::{assets, ui};
use maud::Markup;

use data::{NOW, flow, packets, rest, shell};

type Page = (&'static str, Markup);

fn pages() -> Vec<Page> {
    let shell = shell();
    let calm = data::calm_shell();
    vec![
        ("board", ui::board(&shell, &packets::board("lanes"), NOW)),
        ("board-list", ui::board(&shell, &packets::board("list"), NOW)),
        ("board-empty", ui::board(&calm, &packets::empty_board(), NOW)),
        ("board-trouble", ui::board(&data::trouble_shell(), &packets::trouble_board(), NOW)),
        ("packet", ui::packet(&shell, &packets::packet(), NOW)),
        ("packet-stub", ui::packet(&calm, &packets::stub(), NOW)),
        ("workspaces", ui::workspaces(&shell, &flow::workspaces(), NOW)),
        ("workspaces-empty", ui::workspaces(&calm, &dcc_api::view::WorkspacesView::default(), NOW)),
        ("review", ui::review(&shell, &flow::review(), NOW)),
        ("review-clean", ui::review(&calm, &flow::clean_review(), NOW)),
        ("review-trouble", ui::review(&shell, &flow::trouble_review(), NOW)),
        ("sessions", ui::sessions(&shell, &flow::sessions(), NOW)),
        ("sessions-empty", ui::sessions(&calm, &dcc_api::view::SessionsView::default(), NOW)),
        ("session", ui::session(&shell, &flow::session(), NOW)),
        ("session-ledger", ui::session(&shell, &flow::session_at("ledger"), NOW)),
        ("session-tree", ui::session(&shell, &flow::session_at("children"), NOW)),
        ("session-checkpoints", ui::session(&shell, &flow::session_at("checkpoints"), NOW)),
        ("session-raw", ui::session(&shell, &flow::session_at("raw"), NOW)),
        ("session-new", ui::session(&calm, &flow::new_session(), NOW)),
        ("session-failed", ui::session(&shell, &flow::failed_session(), NOW)),
        ("inbox", ui::inbox(&shell, &rest::inbox("open", false), NOW)),
        ("inbox-card", ui::inbox(&shell, &rest::inbox("open", true), NOW)),
        ("inbox-grants", ui::inbox(&shell, &rest::inbox("grants", false), NOW)),
        ("inbox-empty", ui::inbox(&calm, &dcc_api::view::InboxView::default(), NOW)),
        ("approval", ui::approval_page(&shell, &rest::commit_card(), NOW)),
        ("approval-r3", ui::approval_page(&shell, &rest::r3_card(), NOW)),
        ("approval-command", ui::approval_page(&shell, &rest::command_card(), NOW)),
        ("approval-decided", ui::approval_page(&shell, &rest::decided_card(), NOW)),
        ("jobs", ui::jobs(&shell, &rest::jobs(), NOW)),
        ("job", ui::jobs::job_page(&shell, &rest::job(), NOW)),
        ("timeline", ui::timeline(&shell, &rest::timeline("list"), NOW)),
        ("timeline-lanes", ui::timeline(&shell, &rest::timeline("lanes"), NOW)),
        ("timeline-empty", ui::timeline(&calm, &dcc_api::view::TimelineView::default(), NOW)),
        ("event", ui::event_page(&shell, &rest::event(), NOW)),
        ("search", ui::search(&shell, &rest::search(), NOW)),
        ("health", ui::health(&shell, &rest::health(), NOW)),
        ("login", ui::login(&rest::login())),
        ("problem", ui::problem(&shell, &rest::problem(), NOW)),
        ("not-found", ui::not_found(&shell, "/wp/WP-9999", NOW)),
    ]
}

fn write(directory: &Path, name: &str, bytes: &[u8]) -> std::io::Result<()> {
    let path = directory.join(name);
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent)?;
    }
    std::fs::File::create(path).and_then(|mut file| std::io::Write::write_all(&mut file, bytes))
}

fn main() -> std::io::Result<()> {
    let Some(directory) = std::env::args_os().nth(1) else {
        return Err(std::io::Error::other("usage: gallery DIRECTORY"));
    };
    let directory = Path::new(&directory);
    for asset in assets::all() {
        write(directory, &format!("assets/{}", asset.name), &asset.bytes)?;
    }
    for (name, page) in pages() {
        write(directory, &format!("{name}.html"), page.into_string().as_bytes())?;
    }
    let fragment = ui::board(&dcc_api::view::Shell { fragment: true, ..shell() }, &packets::board("lanes"), NOW);
    write(directory, "board-fragment.html", fragment.into_string().as_bytes())?;
    write(directory, "file.html", ui::file_fragment(&flow::long_diff()).into_string().as_bytes())
}
