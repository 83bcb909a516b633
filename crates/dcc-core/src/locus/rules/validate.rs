//! Form and bounds of every field a change brings.

use crate::failure::{Code, Failure, Outcome};
use crate::limits;
use crate::locus::record::{MtFiles, Verify};
use crate::locus::rules::{DONE_CRITERIA_MAX, LIST_ITEMS_MAX, PRIORITY_MAX};
use crate::locus::scope;
use crate::path::RepoPath;

/// One line: trimmed, not empty, no control characters.
pub(super) fn line(name: &str, text: &str) -> Outcome<String> {
    let text = text.trim();
    if text.is_empty() {
        return Err(Failure::invalid(format!("{name} is empty")));
    }
    if text.len() > limits::LINE_BYTES_MAX {
        return Err(Failure::invalid(format!("{name} is longer than {} bytes", limits::LINE_BYTES_MAX)));
    }
    if text.chars().any(is_control) {
        return Err(Failure::invalid(format!("{name} holds a line break or another control character")));
    }
    Ok(text.to_owned())
}

/// A short text that may have several lines: a reason.
pub(super) fn reason(name: &str, text: &str) -> Outcome<String> {
    let text = text.trim();
    if text.is_empty() {
        return Err(Failure::invalid(format!("{name} is missing")).hint("say why, in one sentence"));
    }
    if text.len() > limits::LINE_BYTES_MAX {
        return Err(Failure::invalid(format!("{name} is longer than {} bytes", limits::LINE_BYTES_MAX)).hint("put the rest into a note"));
    }
    multi_line(name, text)
}

/// A text of several lines; may be empty.
pub(super) fn text(name: &str, text: &str) -> Outcome<String> {
    if text.len() > limits::TEXT_BYTES_MAX {
        return Err(Failure::invalid(format!("{name} is longer than {} bytes", limits::TEXT_BYTES_MAX)));
    }
    multi_line(name, text)
}

fn multi_line(name: &str, text: &str) -> Outcome<String> {
    if text.chars().any(|c| is_control(c) && !matches!(c, '\n' | '\r' | '\t' | '\u{2028}' | '\u{2029}')) {
        return Err(Failure::invalid(format!("{name} holds a control character")));
    }
    Ok(text.to_owned())
}

/// Control characters and the two separators that break a line without being one.
fn is_control(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}')
}

pub(super) fn priority(value: u8) -> Outcome<u8> {
    if value <= PRIORITY_MAX {
        Ok(value)
    } else {
        Err(Failure::invalid(format!("priority {value} is not between 0 (highest) and {PRIORITY_MAX}")))
    }
}

/// Lines without repetition.
pub(super) fn lines(name: &str, items: &[String]) -> Outcome<Vec<String>> {
    if items.len() > LIST_ITEMS_MAX {
        return Err(Failure::invalid(format!("{name}: more than {LIST_ITEMS_MAX}")));
    }
    let mut kept: Vec<String> = Vec::with_capacity(items.len());
    for item in items {
        let item = line(name, item)?;
        if kept.contains(&item) {
            return Err(Failure::invalid(format!("{name}: {item:?} stands there twice")));
        }
        kept.push(item);
    }
    Ok(kept)
}

/// Criteria may have several lines each.
pub(super) fn criteria(name: &str, items: &[String]) -> Outcome<Vec<String>> {
    if items.len() > LIST_ITEMS_MAX {
        return Err(Failure::invalid(format!("{name}: more than {LIST_ITEMS_MAX}")));
    }
    items.iter().map(|item| reason(name, item)).collect()
}

pub(super) fn done_criteria(items: &[String]) -> Outcome<Vec<String>> {
    if items.is_empty() || items.len() > DONE_CRITERIA_MAX {
        return Err(Failure::invalid(format!("a micro-task has 1 to {DONE_CRITERIA_MAX} done criteria, not {}", items.len())));
    }
    criteria("done_criteria", items)
}

/// Globs relative to the repository's root.
pub(super) fn globs(name: &str, items: &[String]) -> Outcome<Vec<String>> {
    let kept = lines(name, items)?;
    for glob in &kept {
        relative(name, glob)?;
    }
    scope::compile(&kept)?;
    Ok(kept)
}

fn relative(name: &str, glob: &str) -> Outcome<()> {
    let bare = glob.strip_suffix('/').unwrap_or(glob);
    RepoPath::new(bare.as_bytes()).map(|_| ()).map_err(|f| Failure::invalid(format!("{name}: {}", f.message)).hint("globs are relative to the repository's root, such as src/**"))
}

/// A micro-task's files: relative, inside the packet's scope.
pub(super) fn files(files: &MtFiles, in_scope_paths: &[String]) -> Outcome<MtFiles> {
    let checked = MtFiles {
        read: globs("files.read", &files.read)?,
        modify: globs("files.modify", &files.modify)?,
        create: globs("files.create", &files.create)?,
    };
    let named: Vec<_> = checked
        .read
        .iter()
        .chain(&checked.modify)
        .chain(&checked.create)
        .map(|f| RepoPath::new(f.strip_suffix('/').unwrap_or(f).as_bytes()))
        .collect::<Outcome<_>>()?;
    let outside: Vec<_> = scope::outside(in_scope_paths, &named)?.iter().map(RepoPath::display).collect();
    if outside.is_empty() {
        Ok(checked)
    } else {
        Err(Failure::new(Code::Scope, format!("outside the packet's scope: {}", super::listed(&outside))).hint("widen in_scope_paths of the packet first"))
    }
}

/// How completion is checked: one way to run, one expectation.
pub(super) fn verify(items: &[Verify]) -> Outcome<Vec<Verify>> {
    if items.len() > LIST_ITEMS_MAX {
        return Err(Failure::invalid(format!("verify: more than {LIST_ITEMS_MAX}")));
    }
    for item in items {
        let ways = usize::from(item.recipe.is_some()) + usize::from(item.argv.is_some());
        if ways != 1 {
            return Err(Failure::invalid("verify names a recipe or an argv, one of the two"));
        }
        if let Some(recipe) = &item.recipe {
            line("verify.recipe", recipe)?;
        }
        if item.argv.as_ref().is_some_and(|argv| argv.is_empty() || argv.len() > LIST_ITEMS_MAX || argv[0].is_empty() || argv.iter().any(|a| a.contains('\0'))) {
            return Err(Failure::invalid("verify.argv is empty, too long, or holds a NUL"));
        }
        let wants_pattern = match item.expect.as_str() {
            "exit_zero" | "exit_nonzero" => false,
            "contains" | "not_contains" => true,
            other => return Err(Failure::invalid(format!("verify.expect {other:?} is not one of exit_zero, exit_nonzero, contains, not_contains"))),
        };
        if wants_pattern != item.pattern.as_ref().is_some_and(|p| !p.is_empty()) {
            return Err(Failure::invalid("verify.pattern belongs to contains and not_contains, and only to these"));
        }
        if item.timeout_ms == Some(0) {
            return Err(Failure::invalid("verify.timeout_ms is 0"));
        }
    }
    Ok(items.to_vec())
}
