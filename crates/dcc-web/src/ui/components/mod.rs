//! Parts that more than one screen draws.
//!
//! Authority: derived. Invariants: no inline style, no inline script; every shown string passes
//! [`crate::safe_text`]; a state is always shape, word and colour together.

pub mod approval;
pub mod basics;
pub mod calls;
pub mod diff;
pub mod forms;
pub mod links;
pub mod notes;
pub mod outside;
pub mod path;
pub mod rows;
pub mod state;
pub mod time;

pub use approval::{approval_card, approval_line, held_card};
pub use basics::{icon, money, pm, segs, short, thousands};
pub use calls::{call_list, observed};
pub use diff::{diff_lines, file_article};
pub use forms::{bind, field_lines, field_text, op_button, params, said, why_not};
pub use links::{event_slice, job_link, session_link, workspace_link, wp_link};
pub use notes::{broken_note, failure_note, fix_button, not_built, notice, soon};
pub use outside::{outside_marks, outside_notes};
pub use path::{path_cell, path_key, path_text, path_whole};
pub use rows::{event_rows, job_rows};
pub use state::{Pip, st, st_quiet};
pub use time::{ago, ago_words, clock, clock_full, duration, until};
