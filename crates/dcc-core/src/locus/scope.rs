//! A packet's scope: which paths lie inside its globs. Pure.

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

use crate::failure::{Failure, Outcome};
use crate::path::RepoPath;

/// Compiles the globs of `in_scope_paths`. `*` stays inside one component, `**` crosses them; a directory name covers
/// what is below it.
pub fn compile(globs: &[String]) -> Outcome<GlobSet> {
    let mut builder = GlobSetBuilder::new();
    for glob in globs {
        for form in [glob.trim_end_matches('/').to_owned(), format!("{}/**", glob.trim_end_matches('/'))] {
            let compiled = GlobBuilder::new(&form)
                .literal_separator(true)
                .build()
                .map_err(|e| Failure::invalid(format!("scope {glob:?} is not a valid glob: {e}")))?;
            builder.add(compiled);
        }
    }
    builder.build().map_err(|e| Failure::invalid(format!("the scope's globs cannot be combined: {e}")))
}

/// The paths outside the scope; an empty scope is the whole repository.
pub fn outside<'a>(globs: &[String], paths: impl IntoIterator<Item = &'a RepoPath>) -> Outcome<Vec<RepoPath>> {
    if globs.is_empty() {
        return Ok(Vec::new());
    }
    let set = compile(globs)?;
    Ok(paths.into_iter().filter(|p| !set.is_match(p.to_os_path())).cloned().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_covers_what_is_below_and_nothing_beside() {
        let path = |t: &str| RepoPath::new(t).unwrap();
        let paths = [path("src/a.rs"), path("src/x/b.rs"), path("srcs/c.rs"), path("docs/d.md")];
        let out = outside(&["src".into(), "docs/*.md".into()], &paths).unwrap();
        assert_eq!(out, [path("srcs/c.rs")]);
        assert!(outside(&[], &paths).unwrap().is_empty());
        assert!(outside(&["a[".into()], &paths).is_err());
    }
}
