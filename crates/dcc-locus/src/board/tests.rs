//! Rendering: fixpoint, foreign bytes, hostile titles.

use dcc_core::WpId;
use dcc_core::locus::WpStatus;
use proptest::prelude::*;

use super::zones::{Segment, layout};
use super::{BoardEntry, heading, render, token};

fn entry(id: &str, status: WpStatus, priority: u8, title: &str) -> BoardEntry {
    BoardEntry { wp_id: WpId::parse(id).unwrap(), status, priority, title: title.into() }
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn a_new_board_has_every_lane() {
    let board = render(None, &[entry("WP-2", WpStatus::Ready, 2, "b"), entry("WP-10", WpStatus::Ready, 0, "first"), entry("WP-1", WpStatus::Ready, 2, "")]).unwrap();
    let board = text(&board);
    for lane in WpStatus::ALL {
        assert!(board.contains(&format!("## {}\n\n<!-- dcc:lane {} -->\n", heading(*lane), lane.as_str())));
    }
    assert!(board.contains("<!-- dcc:lane ready -->\n- **[WP-10]** - [READY_FOR_DEV] - first\n- **[WP-1]** - [READY_FOR_DEV]\n- **[WP-2]** - [READY_FOR_DEV] - b\n<!-- /dcc:lane -->\n"));
    assert_eq!(render(Some(board.as_bytes()), &[]).unwrap(), render(None, &[]).unwrap());
}

#[test]
fn titles_break_nothing() {
    let hostile = "a\r\n<!-- /dcc:lane -->\n<!-- dcc:lane done -->\u{2028}\u{202e}x <!-- y --> \u{0}\u{7f}```";
    let board = render(None, &[entry("WP-1", WpStatus::Done, 0, hostile)]).unwrap();
    let cut = layout(&board).unwrap();
    let done = cut.zones().find(|z| z.lane == WpStatus::Done).unwrap();
    assert_eq!(text(done.body).lines().count(), 1);
    assert!(!text(done.body).contains("<!--") && !text(done.body).contains("-->") && !text(done.body).contains('\u{202e}'));
}

#[test]
fn line_endings_and_byte_order_mark_stay() {
    let before = b"\xef\xbb\xbf# Mine\r\n\r\n<!-- dcc:lane ready -->\r\nold\r\n<!-- /dcc:lane -->\r\nafter \xff\r\n";
    let after = render(Some(before), &[entry("WP-1", WpStatus::Ready, 0, "x")]).unwrap();
    assert!(after.starts_with(b"\xef\xbb\xbf# Mine\r\n\r\n<!-- dcc:lane ready -->\r\n- **[WP-1]** - [READY_FOR_DEV] - x\r\n<!-- /dcc:lane -->\r\nafter \xff\r\n\r\n## Stub"));
    assert!(!after.windows(2).any(|w| w[1] == b'\n' && w[0] != b'\r'));
}

#[test]
fn what_is_unclear_is_refused_with_its_line() {
    for (board, line) in [
        ("a\n<!-- dcc:lane ready -->\nb\n", 2),
        ("<!-- /dcc:lane -->\n", 1),
        ("<!-- dcc:lane ready -->\n<!-- dcc:lane done -->\n<!-- /dcc:lane -->\n", 2),
        ("<!-- dcc:lane ready -->\n<!-- /dcc:lane -->\n<!-- dcc:lane ready -->\n<!-- /dcc:lane -->\n", 3),
        ("x\n<!-- dcc:lane later -->\n<!-- /dcc:lane -->\n", 2),
        ("<!--dcc:lane ready-->\n", 1),
        ("```\n<!-- dcc:lane ready -->\n", 1),
    ] {
        assert_eq!(render(Some(board.as_bytes()), &[]).unwrap_err().line, line, "{board:?}");
    }
    let example = "````md\n```\n<!-- dcc:lane ready -->\n````\n";
    assert!(render(Some(example.as_bytes()), &[]).unwrap().starts_with(example.as_bytes()));
}

#[test]
fn the_zones_hash_ignores_order_and_line_endings() {
    let a = b"<!-- dcc:lane ready -->\nx\n<!-- /dcc:lane -->\n<!-- dcc:lane done -->\ny\n<!-- /dcc:lane -->\n";
    let b = b"mine\r\n<!-- dcc:lane done -->\r\ny\r\n<!-- /dcc:lane -->\r\n<!-- dcc:lane ready -->\r\nx\r\n<!-- /dcc:lane -->\r\n";
    assert_eq!(layout(a).unwrap().zones_sha256(), layout(b).unwrap().zones_sha256());
    let c = b"<!-- dcc:lane ready -->\ny\n<!-- /dcc:lane -->\n<!-- dcc:lane done -->\nx\n<!-- /dcc:lane -->\n";
    assert_ne!(layout(a).unwrap().zones_sha256(), layout(c).unwrap().zones_sha256());
}

#[test]
fn ten_thousand_packets_render() {
    let entries: Vec<_> = (0..10_000u32).map(|n| entry(&format!("WP-{n:05}"), WpStatus::ALL[n as usize % 7], (n % 5) as u8, "a title of usual length")).collect();
    let board = render(None, &entries).unwrap();
    assert_eq!(render(Some(&board), &entries).unwrap(), board);
    assert_eq!(text(&board).matches(&format!("[{}]", token(WpStatus::Gated))).count(), entries.iter().filter(|e| e.status == WpStatus::Gated).count());
}

fn entries() -> impl Strategy<Value = Vec<BoardEntry>> {
    prop::collection::vec((0..999u32, 0..7usize, 0..5u8, any::<String>()), 0..20)
        .prop_map(|all| all.into_iter().map(|(n, s, p, title)| entry(&format!("WP-{n}"), WpStatus::ALL[s], p, &title)).collect())
}

/// Files made of whatever could be mistaken for something.
fn file() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just(b"<!-- dcc:lane ready -->".to_vec()),
        Just(b"<!-- dcc:lane done -->".to_vec()),
        Just(b"<!-- /dcc:lane -->".to_vec()),
        Just(b"```".to_vec()),
        Just(b"## Done".to_vec()),
        Just(b"- **[WP-1]** - [DONE] - x".to_vec()),
        Just(b"\xef\xbb\xbf".to_vec()),
        prop::collection::vec(any::<u8>(), 0..12),
    ];
    let end = prop_oneof![3 => Just(b"\n".to_vec()), 2 => Just(b"\r\n".to_vec()), 1 => Just(Vec::new())];
    prop::collection::vec((piece, end), 0..12).prop_map(|pieces| pieces.into_iter().flat_map(|(a, b)| [a, b].concat()).collect())
}

fn foreign(bytes: &[u8]) -> Vec<u8> {
    let cut = layout(bytes).unwrap();
    cut.segments
        .iter()
        .flat_map(|s| match s {
            Segment::Foreign(f) => f.to_vec(),
            Segment::Zone(z) => [z.open, z.close].concat(),
        })
        .collect()
}

proptest! {
    #[test]
    fn rendering_is_a_fixpoint_and_foreign_bytes_survive(file in file(), first in entries(), second in entries()) {
        let segments: Option<Vec<u8>> = layout(&file).ok().map(|l| l.segments.iter().flat_map(|s| match s {
            Segment::Foreign(f) => f.to_vec(),
            Segment::Zone(z) => [z.open, z.body, z.close].concat(),
        }).collect());
        prop_assert!(segments.is_none_or(|joined| joined == file));
        if let Ok(once) = render(Some(&file), &first) {
            prop_assert_eq!(&render(Some(&once), &first).unwrap(), &once);
            prop_assert!(foreign(&once).starts_with(&foreign(&file)));
            let other = render(Some(&once), &second).unwrap();
            prop_assert_eq!(foreign(&other), foreign(&once));
            prop_assert_eq!(render(Some(&other), &first).unwrap(), once);
        }
    }

    #[test]
    fn the_first_rendering_is_a_fixpoint(all in entries()) {
        let once = render(None, &all).unwrap();
        prop_assert_eq!(render(Some(&once), &all).unwrap(), once);
    }
}
