//! What looks like a secret in the added text and in the message. Pure; the forms are those of `dcc_core::redact`.
//!
//! A finding names the place, never the text: it goes into plans, events and screens.

use dcc_core::path::RepoPath;
use dcc_core::ports::version::Hunk;
use dcc_core::redact::redact_text;

/// More findings than this are counted, not listed.
const FINDINGS_MAX: usize = 20;

#[derive(Debug, Default)]
pub(super) struct Findings {
    sentences: Vec<String>,
    more: usize,
}

impl Findings {
    pub(super) fn in_message(&mut self, message: &str) {
        if redact_text(message).1 > 0 {
            self.add("the message seems to hold a secret".to_owned());
        }
    }
    /// Added lines of one file.
    pub(super) fn in_file(&mut self, path: &RepoPath, hunks: &[Hunk], is_cut: bool) {
        for line in hunks.iter().flat_map(|h| &h.lines).filter(|l| l.sign == '+') {
            if redact_text(&line.text).1 > 0 {
                let number = line.new_line.unwrap_or(0);
                self.add(format!("{} line {number} seems to hold a secret", path.display()));
            }
        }
        if is_cut {
            self.add(format!("{} is too large to be searched whole for secrets", path.display()));
        }
    }
    fn add(&mut self, sentence: String) {
        if self.sentences.len() < FINDINGS_MAX { self.sentences.push(sentence) } else { self.more += 1 }
    }
    pub(super) fn into_sentences(mut self) -> Vec<String> {
        if self.more > 0 {
            self.sentences.push(format!("{} more places seem to hold a secret", self.more));
        }
        self.sentences
    }
}
