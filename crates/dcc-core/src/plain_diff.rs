//! Lines taken away and added, for a preview or a ledger row. Pure.

/// One hunk without the common head and tail: exact in what it shows, not the shortest.
pub fn plain_diff(old: Option<&str>, new: &str) -> String {
    let old: Vec<&str> = old.unwrap_or("").lines().collect();
    let new: Vec<&str> = new.lines().collect();
    let head = old.iter().zip(&new).take_while(|(a, b)| a == b).count();
    let tail = old[head..].iter().rev().zip(new[head..].iter().rev()).take_while(|(a, b)| a == b).count();
    let mut out = format!("@@ -{},{} +{},{} @@\n", head + 1, old.len() - head - tail, head + 1, new.len() - head - tail);
    for (sign, lines) in [('-', &old[head..old.len() - tail]), ('+', &new[head..new.len() - tail])] {
        for line in lines {
            out.push(sign);
            out.push_str(line);
            out.push('\n');
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::plain_diff;

    #[test]
    fn only_what_differs_is_shown() {
        assert_eq!(plain_diff(Some("a\nb\nc\n"), "a\nB\nc\n"), "@@ -2,1 +2,1 @@\n-b\n+B\n");
        assert_eq!(plain_diff(None, "x\n"), "@@ -1,0 +1,1 @@\n+x\n");
        assert_eq!(plain_diff(Some("a\na\n"), "a\n"), "@@ -2,1 +2,0 @@\n-a\n");
    }
}
