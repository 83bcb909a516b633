//! What holds for every screen: hostile text stays text, nothing needs an exception to the content
//! policy, ids are unique, the page stays small.

use std::collections::HashSet;

use super::sample::{self, NOW, flow, packets, rest};
use dcc_api::door::Page;
use dcc_api::view::{BoardView, InboxView, SearchHit, SearchView, Shell};

/// Start tags of a page, as written.
fn tags(page: &str) -> Vec<&str> {
    page.split('<').skip(1).filter(|part| part.starts_with(|ch: char| ch.is_ascii_alphabetic())).filter_map(|part| part.split_once('>').map(|(tag, _)| tag)).collect()
}

fn screens() -> Vec<(&'static str, String)> {
    let shell = sample::shell();
    vec![
        ("board", super::board(&shell, &packets::board("lanes"), NOW)),
        ("board list", super::board(&shell, &packets::board("list"), NOW)),
        ("board trouble", super::board(&sample::trouble_shell(), &packets::trouble_board(), NOW)),
        ("board empty", super::board(&sample::calm_shell(), &packets::empty_board(), NOW)),
        ("packet", super::packet(&shell, &packets::packet(), NOW)),
        ("packet stub", super::packet(&shell, &packets::stub(), NOW)),
        ("workspaces", super::workspaces(&shell, &flow::workspaces(), NOW)),
        ("review", super::review(&shell, &flow::review(), NOW)),
        ("review clean", super::review(&shell, &flow::clean_review(), NOW)),
        ("review trouble", super::review(&shell, &flow::trouble_review(), NOW)),
        ("sessions", super::sessions(&shell, &flow::sessions(), NOW)),
        ("session", super::session(&shell, &flow::session(), NOW)),
        ("session ledger", super::session(&shell, &flow::session_at("ledger"), NOW)),
        ("session tree", super::session(&shell, &flow::session_at("children"), NOW)),
        ("session checkpoints", super::session(&shell, &flow::session_at("checkpoints"), NOW)),
        ("session raw", super::session(&shell, &flow::session_at("raw"), NOW)),
        ("session new", super::session(&shell, &flow::new_session(), NOW)),
        ("session failed", super::session(&shell, &flow::failed_session(), NOW)),
        ("inbox", super::inbox(&shell, &rest::inbox("open", true), NOW)),
        ("inbox decided", super::inbox(&shell, &rest::inbox("decided", true), NOW)),
        ("inbox grants", super::inbox(&shell, &rest::inbox("grants", false), NOW)),
        ("inbox empty", super::inbox(&sample::calm_shell(), &InboxView::default(), NOW)),
        ("approval R2", super::approval_page(&shell, &rest::command_card(), NOW)),
        ("approval R3", super::approval_page(&shell, &rest::r3_card(), NOW)),
        ("approval decided", super::approval_page(&shell, &rest::decided_card(), NOW)),
        ("jobs", super::jobs(&shell, &rest::jobs(), NOW)),
        ("job", super::jobs::job_page(&shell, &rest::job(), NOW)),
        ("timeline", super::timeline(&shell, &rest::timeline("lanes"), NOW)),
        ("event", super::event_page(&shell, &rest::event(), NOW)),
        ("search", super::search(&shell, &rest::search(), NOW)),
        ("health", super::health(&shell, &rest::health(), NOW)),
        ("login", super::login(&rest::login())),
        ("problem", super::problem(&shell, &rest::problem(), NOW)),
        ("not found", super::not_found(&shell, "/wp/<script>", NOW)),
        ("peek packet", super::peek(&Page::Packet(Box::new(packets::packet())), Some(&rest::commit_card()), NOW)),
        ("peek session", super::peek(&Page::Session(Box::new(flow::session())), None, NOW)),
        ("peek workspace", super::peek(&Page::Review(Box::new(flow::review())), None, NOW)),
        ("peek job", super::peek(&Page::Job(Box::new(rest::job())), None, NOW)),
        ("peek event", super::peek(&Page::Event(Box::new(rest::event())), None, NOW)),
    ]
    .into_iter()
    .map(|(name, page)| (name, page.into_string()))
    .collect()
}

#[test]
fn ids_are_unique_and_pages_are_small() {
    for (name, page) in screens() {
        let mut ids = HashSet::new();
        for tag in tags(&page) {
            if let Some(id) = tag.split(" id=\"").nth(1).and_then(|rest| rest.split('"').next()) {
                assert!(ids.insert(id.to_owned()), "{name}: id {id} stands twice");
            }
        }
        assert!(tags(&page).len() < 3000, "{name}: {} elements", tags(&page).len());
    }
}

#[test]
fn labels_and_controls_point_at_something() {
    for (name, page) in screens() {
        for attribute in ["for", "aria-controls", "aria-labelledby", "aria-describedby"] {
            for part in page.split(&format!(" {attribute}=\"")).skip(1) {
                let id = part.split('"').next().unwrap_or_default();
                assert!(page.contains(&format!(" id=\"{id}\"")), "{name}: {attribute}={id} points at nothing");
            }
        }
    }
}

#[test]
fn no_page_needs_inline_script_or_style() {
    for (name, page) in screens() {
        assert!(!page.contains("<style"), "{name}");
        for tag in tags(&page) {
            assert!(!tag.contains(" style="), "{name}: {tag}");
            assert!(!tag.contains(" onclick=") && !tag.contains("javascript:"), "{name}: {tag}");
            assert!(!tag.starts_with("script") || tag.contains("src=\"/assets/"), "{name}: {tag}");
        }
    }
}

#[test]
fn hostile_text_stays_text() {
    let evil = "\"'><script>alert(1)</script><img src=x onerror=1>\u{202e}\u{1b}[2J\u{200b}";
    let shell = Shell { project_name: evil.into(), ..sample::calm_shell() };
    let mut board: BoardView = packets::board("lanes");
    for card in board.lanes.iter_mut().flat_map(|lane| &mut lane.cards) {
        card.title = evil.into();
        card.why = Some(evil.into());
        card.branch = Some(evil.into());
    }
    let hit = SearchHit { title: evil.into(), detail: evil.into(), href: "/wp/WP-1".into(), ..SearchHit::default() };
    let mut search: SearchView = rest::search();
    search.q = evil.into();
    search.groups[0].items = vec![hit];
    let mut card = rest::command_card();
    card.claim = Some(evil.into());
    card.command = vec![evil.into()];
    card.approval.title = evil.into();
    let mut session = flow::session();
    session.turns[1].items = vec![dcc_api::view::TurnItem::Text { text: evil.into() }];
    for page in [super::board(&shell, &board, NOW), super::search(&shell, &search, NOW), super::approval_page(&shell, &card, NOW), super::session(&shell, &session, NOW)] {
        let page = page.into_string();
        assert!(!page.contains("<script>") && !page.contains("<img"), "markup came through");
        assert!(!page.contains('\u{1b}'), "an escape came through");
    }
    let page = super::board(&shell, &board, NOW).into_string();
    assert!(!page.contains('\u{202e}') && !page.contains('\u{200b}'));
    assert!(page.contains("⟨U+202E⟩"));
}

/// Silence is never drawn as work, and nobody's message is out of reach.
#[test]
fn a_silent_session_says_so_and_waiting_messages_can_be_changed() {
    let shell = sample::shell();
    let page = super::session(&shell, &flow::session_at(""), NOW).into_string();
    assert!(page.contains("no activity for 4 m, last tool still runs") && page.contains("cargo nextest run -p meter-store"));
    let feed = page.split("id=\"feed\"").nth(1).and_then(|rest| rest.split("id=\"queued\"").next()).unwrap_or_default();
    assert!(feed.contains("no activity") && !feed.contains(">working<"), "silence is drawn as work");
    let list = super::sessions(&shell, &flow::sessions(), NOW).into_string();
    assert!(list.contains("no activity for 4 m"));
    for (what, is) in [
        ("an edit", "name=\"edit\""),
        ("the second goes up", "&quot;message_id&quot;:&quot;q2&quot;,&quot;move&quot;:0"),
        ("the first goes down", "&quot;message_id&quot;:&quot;q1&quot;,&quot;move&quot;:1"),
        ("sending now", "&quot;message_id&quot;:&quot;q1&quot;,&quot;now&quot;:true"),
        ("removing", "&quot;message_id&quot;:&quot;q1&quot;,&quot;remove&quot;:true"),
        ("doubt is said", "not known whether it arrived"),
        ("what ends with it", "Stop 2 sessions"),
        ("a file that stays", "dedupe.rs"),
        ("routing", "data-op=\"session.route\""),
    ] {
        assert!(page.contains(is), "{what} is missing");
    }
}

#[test]
fn a_fragment_holds_the_live_parts_alone() {
    let shell = Shell { fragment: true, ..sample::shell() };
    let page = super::board(&shell, &packets::board("lanes"), NOW).into_string();
    for id in ["rail", "top", "main", "end"] {
        assert!(page.contains(&format!("id=\"{id}\"")));
    }
    assert!(page.starts_with("<title>") && !page.contains("<html") && !page.contains("<symbol"));
}

#[test]
fn first_visit_stays_within_its_bytes() {
    let assets: usize = crate::assets::all().iter().map(|asset| asset.bytes.len()).sum();
    assert!(assets < 240_000, "{assets} bytes before compression");
}

#[test]
fn an_r3_card_has_no_leading_button_and_asks_for_typed_text() {
    let page = super::approval_page(&sample::shell(), &rest::r3_card(), NOW).into_string();
    assert!(page.contains("data-confirm=\"WP-036-tenant-quotas\""));
    assert!(!page.contains("btn go"));
    let calm = super::approval_page(&sample::shell(), &rest::commit_card(), NOW).into_string();
    assert!(calm.contains("btn go"));
}
