//! A query made ready: pattern, globs, limit; and the hits of one file.

use dcc_core::failure::{Code, Failure, Outcome};
use dcc_core::limits;
use dcc_core::path::RepoPath;
use dcc_core::ports::search::{CodeHit, CodeQuery};
use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use grep_matcher::Matcher as _;
use grep_regex::{RegexMatcher, RegexMatcherBuilder};
use grep_searcher::{BinaryDetection, Searcher, SearcherBuilder, Sink, SinkMatch};

/// A line shown; longer ones are data or minified.
const LINE_BYTES_SHOWN: usize = 400;
/// A compiled pattern; one that needs more is an attack or a mistake.
const PATTERN_SIZE_MAX: usize = 10 * 1024 * 1024;
/// Globs of one query.
const GLOBS_MAX: usize = 100;

pub struct Compiled {
    matcher: RegexMatcher,
    globs: Option<GlobSet>,
    pub limit: usize,
}

impl Compiled {
    pub fn new(query: &CodeQuery) -> Outcome<Self> {
        let limit = if query.limit == 0 { limits::SEARCH_HITS_MAX } else { query.limit.min(limits::SEARCH_HITS_MAX) };
        Ok(Self { matcher: matcher(query)?, globs: globs(&query.globs)?, limit })
    }

    pub fn wants(&self, path: &RepoPath) -> bool {
        self.globs.as_ref().is_none_or(|globs| globs.is_match(path.to_os_path()))
    }

    pub fn searcher(&self) -> Searcher {
        // The text was read whole and holds no NUL; transcoding would move the offsets.
        SearcherBuilder::new()
            .line_number(true)
            .bom_sniffing(false)
            .binary_detection(BinaryDetection::none())
            .max_matches(Some(self.limit as u64 + 1))
            .build()
    }

    /// At most one more than the limit, which shows that there are more.
    pub fn hits(&self, searcher: &mut Searcher, path: &RepoPath, text: &[u8]) -> Outcome<Vec<CodeHit>> {
        let mut collector = Collector { matcher: &self.matcher, path, text, hits: Vec::new() };
        searcher
            .search_slice(&self.matcher, text, &mut collector)
            .map_err(|error| Failure::engine(format!("searching {}: {error}", path.display())))?;
        Ok(collector.hits)
    }
}

fn query_error(message: impl Into<String>) -> Failure {
    Failure::new(Code::CtxQueryError, message)
}

fn matcher(query: &CodeQuery) -> Outcome<RegexMatcher> {
    if query.text.is_empty() {
        return Err(query_error("the search text is empty").hint("type what to look for"));
    }
    if query.text.len() > limits::LINE_BYTES_MAX {
        return Err(query_error(format!("the search text is longer than {} bytes", limits::LINE_BYTES_MAX)));
    }
    if let Some(position) = query.text.find(['\n', '\0']) {
        return Err(query_error(format!("the search text holds a line break or NUL at position {}; search works line by line", position + 1)));
    }
    RegexMatcherBuilder::new()
        .case_insensitive(!query.case_sensitive)
        .fixed_strings(!query.regex)
        .line_terminator(Some(b'\n'))
        .multi_line(true)
        .size_limit(PATTERN_SIZE_MAX)
        .build(&query.text)
        .map_err(|error| query_error(pattern_message(&error.to_string(), &query.text)).hint("search for the literal text, or correct the expression"))
}

/// The parser's drawing (pattern, caret, reason) as one sentence with a position in characters, from 1.
fn pattern_message(drawing: &str, pattern: &str) -> String {
    // The drawing is indented, and the engine puts the pattern in a group of its own.
    const BEFORE_PATTERN: usize = "    (?:".len();
    let Some(reason) = drawing.lines().find_map(|line| line.strip_prefix("error: ")) else {
        return format!("the expression is wrong: {}", drawing.lines().collect::<Vec<_>>().join(" "));
    };
    let caret = drawing.lines().find(|line| line.contains('^') && line.chars().all(|c| c == ' ' || c == '^')).and_then(|line| line.find('^'));
    let within = caret.and_then(|caret| caret.checked_sub(BEFORE_PATTERN)).filter(|position| *position < pattern.chars().count());
    // A caret outside points at the engine's own group, which a parenthesis of the pattern has closed or left open.
    match within.or_else(|| unbalanced(pattern)) {
        Some(position) => format!("the expression is wrong at position {}: {reason}", position + 1),
        None => format!("the expression is wrong: {reason}"),
    }
}

/// The first parenthesis without an opening one, else the last without a closing one.
fn unbalanced(pattern: &str) -> Option<usize> {
    let mut open = Vec::new();
    let mut in_class = false;
    let mut characters = pattern.chars().enumerate();
    while let Some((position, character)) = characters.next() {
        match character {
            '\\' => {
                characters.next();
            }
            '[' => in_class = true,
            ']' => in_class = false,
            '(' if !in_class => open.push(position),
            ')' if !in_class && open.pop().is_none() => return Some(position),
            _ => {}
        }
    }
    open.pop()
}

fn globs(patterns: &[String]) -> Outcome<Option<GlobSet>> {
    if patterns.is_empty() {
        return Ok(None);
    }
    if patterns.len() > GLOBS_MAX {
        return Err(query_error(format!("more than {GLOBS_MAX} globs")));
    }
    let mut set = GlobSetBuilder::new();
    for pattern in patterns {
        if pattern.starts_with('/') || pattern.split('/').any(|part| part == "..") {
            return Err(Failure::new(Code::CtxScopeDenied, format!("the glob {pattern:?} points outside the worktree")).hint("globs are relative to the worktree's root"));
        }
        // A bare name or suffix (`*.rs`) means at any depth; with a slash, `*` stays within one component.
        let anywhere = if pattern.contains('/') { pattern.clone() } else { format!("**/{pattern}") };
        let glob = GlobBuilder::new(&anywhere).literal_separator(true).build();
        set.add(glob.map_err(|error| query_error(format!("the glob {pattern:?} is wrong: {}", error.kind())))?);
    }
    set.build().map(Some).map_err(|error| query_error(format!("the globs are wrong: {error}")))
}

struct Collector<'a> {
    matcher: &'a RegexMatcher,
    path: &'a RepoPath,
    text: &'a [u8],
    hits: Vec<CodeHit>,
}

impl Sink for Collector<'_> {
    type Error = std::io::Error;

    fn matched(&mut self, _: &Searcher, matched: &SinkMatch<'_>) -> Result<bool, Self::Error> {
        let start = matched.absolute_byte_offset() as usize;
        let end = start + matched.bytes().len();
        let column = self.matcher.find(matched.bytes()).ok().flatten().map_or(1, |found| found.start() as u64 + 1);
        let before = self.text[..start].strip_suffix(b"\n").map(|head| &head[head.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1)..]);
        let after = (end < self.text.len()).then(|| self.text[end..].split(|byte| *byte == b'\n').next().unwrap_or_default());
        self.hits.push(CodeHit {
            path: self.path.clone(),
            line: matched.line_number().unwrap_or(1),
            column,
            before: before.map(shown),
            text: shown(matched.bytes()),
            after: after.map(shown),
        });
        Ok(true)
    }
}

/// One line for people: no line end, cut, lossy.
fn shown(line: &[u8]) -> String {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let mut text = String::from_utf8_lossy(&line[..line.len().min(LINE_BYTES_SHOWN)]).into_owned();
    // The replacement character is longer than the byte it stands for.
    if text.len() > LINE_BYTES_SHOWN {
        let end = (0..=LINE_BYTES_SHOWN).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(end);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_cut_on_characters() {
        assert_eq!(shown(b"abc\r\n"), "abc");
        let long = shown("\u{e9}".repeat(300).as_bytes());
        assert_eq!(long.len(), LINE_BYTES_SHOWN);
        assert!(shown(&[0xff; 1000]).len() <= LINE_BYTES_SHOWN);
    }
}
