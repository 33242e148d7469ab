//! Lists of paths for people: the first few, and how many there are.

use crate::verdict::run::Files;

/// Paths that one row shows.
const SHOWN: usize = 4;

/// A row for each kind of file that there is: what it is, and which.
pub(super) fn rows(files: &Files) -> Vec<(&'static str, String)> {
    let pair = |(path, what): (&String, &String)| format!("{path} ({what})");
    let kinds = [
        ("set-id", files.set_ids.iter().map(pair).collect()),
        ("capabilities", files.capabilities.iter().map(pair).collect()),
        ("all may write", files.world_writable.clone()),
        ("owned by app", files.owned.clone().unwrap_or_default()),
    ];
    kinds.into_iter().filter_map(|(kind, paths): (_, Vec<String>)| Some((kind, short(&paths)?))).collect()
}

fn short(paths: &[String]) -> Option<String> {
    let shown = paths.get(..paths.len().min(SHOWN)).filter(|shown| !shown.is_empty())?.join(", ");
    let more = paths.len().saturating_sub(SHOWN);
    Some(if more > 0 { format!("{shown} and {more} more (--format json has them)") } else { shown })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_list_is_counted_and_an_empty_one_is_no_row() {
        let paths = |count: usize| (0..count).map(|at| format!("/{at}")).collect::<Vec<_>>();
        let mut files = Files { world_writable: paths(6), owned: None, ..Files::default() };
        assert_eq!(rows(&files), [("all may write", "/0, /1, /2, /3 and 2 more (--format json has them)".to_owned())]);
        files.world_writable = paths(4);
        files.set_ids.insert("/bin/su".to_owned(), "4755".to_owned());
        let expected = [("set-id", "/bin/su (4755)".to_owned()), ("all may write", "/0, /1, /2, /3".to_owned())];
        assert_eq!(rows(&files), expected);
    }
}
